/*
 * identity_internal.h
 *		Shared by identity.c, identity_fetch.c and identity_refresh.c: the
 *		structure of an identity, and the sender's set of them.
 *
 * Sender process only.
 */
#ifndef FIREHOSE_SENDER_IDENTITY_INTERNAL_H
#define FIREHOSE_SENDER_IDENTITY_INTERNAL_H

#include "lib/ilist.h"

#include "aws/credential_fetch.h"
#include "aws/credentials.h"
#include "aws/retry.h"
#include "aws/sigv4.h"
#include "sender/helper.h"
#include "sender/http.h"
#include "sender/identity.h"
#include "sender/identity_refresh.h"
#include "stream/identity_stats.h"

#define IDENTITY_NEVER		PG_INT64_MAX

/* us; the least between two refreshes because a service refused them */
#define IDENTITY_REFUSED_INTERVAL	(30 * USECS_PER_SEC)

struct Identity
{
	dlist_node	node;
	char	   *role_arn;		/* "": the server's own */
	char	   *external_id;
	bool		marked;			/* some stream names it */

	bool		present;		/* .credentials can be used */
	Credentials credentials;
	uint64_t	generation;		/* of the credentials */
	SigV4Key	signing_key;
	int64_t		expires_at;		/* us; or IDENTITY_NEVER */

	int64_t		fetch_at;		/* us; or IDENTITY_NEVER */
	bool		fetching;
	int			failures;		/* in a row */
	int64_t		refused_at;		/* last refresh by refusal */
	CredentialChain chain;		/* what .fetch carries out */
	CredentialFetch fetch;
	HttpRequest http;
	Helper		helper;
	time_t		clock_offset;	/* of STS */

	char		problem[800];	/* why it is not present */
	bool		logged;			/* the log was told of it */
	int			entry;			/* identity_stats.h */
	IdentityStats stats;
};

/*
 * The identities of this sender, and the state of the search for credentials.
 */
typedef struct Identities
{
	dlist_head	all;			/* without .region_seeker */
	Identity   *own;			/* the server's; one of .all */
	Identity	region_seeker;	/* asks the instance for its region: only its
								 * fetch is used */
	char		instance_region[64];	/* the instance's region */
	CredentialState found;		/* how the server's own were found */
	IdentityChange change;		/* since the last identity_refresh() */
	RetryRandom random;
} Identities;

extern Identities identities;

/* Something has changed: what identity_refresh() will return. */
static inline void
identity_note_change(IdentityChange change)
{
	identities.change = Max(identities.change, change);
}

/*
 * Use these credentials from now on.  lifetime is in us, or IDENTITY_NEVER.
 * Roles that waited for the server's own credentials are fetched next.
 */
extern void identity_take(Identity *identity, const Credentials *credentials,
						  const char *source, const char *principal,
						  int64_t lifetime, int64_t now);

/* The credentials can no longer be used: wipe them. */
extern void identity_drop(Identity *identity);

/* Note a failure, in the view and once in the log. */
extern void identity_note_failure(Identity *identity, const char *problem);

/* Show the identity's state in the view. */
extern void identity_publish(Identity *identity);

#endif							/* FIREHOSE_SENDER_IDENTITY_INTERNAL_H */
