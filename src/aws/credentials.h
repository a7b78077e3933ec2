/*-------------------------------------------------------------------------
 *
 * credentials.h
 *	  Find the AWS credentials, and notice when they change.
 *
 * credentials_load() walks a table of providers in the order of the AWS CLI;
 * the first one that is configured decides:
 *
 *	  settings		 a credentials file or a profile that was named explicitly
 *	  environment	 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
 *					 AWS_SESSION_TOKEN: the postmaster's, frozen at its start
 *	  assume role	 the profile's role_arn with source_profile or
 *					 credential_source
 *	  web identity	 AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, or the
 *					 profile's web_identity_token_file
 *	  IAM Identity Center	the profile's sso_account_id and sso_role_name
 *	  shared files	 keys in AWS_SHARED_CREDENTIALS_FILE, by default
 *					 ~/.aws/credentials; then the profile's credential_process;
 *					 then keys in AWS_CONFIG_FILE, by default ~/.aws/config
 *	  container		 AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI
 *	  instance metadata	   unless AWS_EC2_METADATA_DISABLED is true
 *
 * Keys that are at hand are copied.  For all others the result is
 * CREDENTIALS_FETCH, and the state's chain lists the services to ask; only the
 * sender's event loop does I/O on a network (credential_fetch.h).
 *
 * Knows no PostgreSQL.  Secrets are wiped when they are replaced or freed, and
 * no message contains any.  Messages do name files and profiles.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIALS_H
#define FIREHOSE_AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "aws/credential_chain.h"
#include "aws/endpoint.h"
#include "aws/profile.h"

typedef enum CredentialsResult
{
	CREDENTIALS_FOUND,
	CREDENTIALS_FETCH,			/* the chain tells how to get them */
	CREDENTIALS_NOT_FOUND,		/* no provider is configured */
	CREDENTIALS_FAILED			/* one is, but wrongly; later ones not tried */
} CredentialsResult;

typedef struct Credentials
{
	char	   *access_key_id;
	char	   *secret_access_key;
	char	   *session_token;	/* NULL if there is none */
	time_t		expiration;		/* 0 = never, as far as is known */
} Credentials;

/* The values of the settings; NULL or "" if one is not set. */
typedef struct CredentialSource
{
	const char *credentials_file;
	const char *config_file;
	const char *profile;
} CredentialSource;

/* Zero-initialise before the first use. */
typedef struct CredentialState
{
	/*
	 * Result of the last load that found something: keys, or the keys that a
	 * chain starts from, which may be none.
	 */
	Credentials credentials;
	CredentialChain chain;
	/* static name, NULL before the first success */
	const char *provider;

	/* Which providers the last load passed over, and why; "" if none. */
	char		passed_over[1024];

	/* Can other users of the machine read the file that the keys are from? */
	bool		exposed;

	/*
	 * From the profile, whichever provider had the keys; NULL if not told.
	 * Set by every load, even when no credentials are found.
	 */
	char	   *region;
	EndpointConfig endpoints;
	char	   *metadata_url;	/* NULL if the metadata service is disabled */

	/* private: the files that were read; NULL if there is no path */
	char	   *paths[2];
	ProfileStamp stamps[2];
} CredentialState;

/*
 * Find the credentials.  For CREDENTIALS_NOT_FOUND and CREDENTIALS_FAILED
 * errmsg says why, and what was found earlier is kept, since it may still be
 * good.  The strings in the state are valid until the next call.
 */
extern CredentialsResult credentials_load(CredentialState *state,
										  const CredentialSource *source,
										  char *errmsg, size_t errmsg_size);

/*
 * Has one of the files changed, appeared or vanished since they were read?
 * Costs two stat() calls; the sender asks before it refreshes.
 */
extern bool credentials_changed(const CredentialState *state);

/*
 * The region to use: explicit, then AWS_REGION, AWS_DEFAULT_REGION, profile.
 * NULL if none of them is set.  Not validated; see endpoint_valid_region().
 */
extern const char *credentials_region(const CredentialState *state,
									  const char *explicit_region);

/*
 * Check and copy three strings.  All of them end up in headers of HTTP or next
 * to them, so they have to be visible ASCII.  The token may be NULL or "".
 * `place` names their origin in the message.
 */
extern bool credentials_set(Credentials *credentials,
							const char *access_key_id,
							const char *secret_access_key,
							const char *session_token, time_t expiration,
							const char *place,
							char *errmsg, size_t errmsg_size);

/* Are these the same keys? */
extern bool credentials_equal(const Credentials *a, const Credentials *b);

/* Copy credentials over blank ones; false if there is no memory. */
extern bool credentials_copy(Credentials *to, const Credentials *from);

/* Overwrite and free a text that may be secret; NULL is left alone. */
extern void credential_wipe_text(char **text);

/* Wipe and free; blank again. */
extern void credentials_wipe(Credentials *credentials);
extern void credentials_free(CredentialState *state);

#endif							/* FIREHOSE_AWS_CREDENTIALS_H */
