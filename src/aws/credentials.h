/*-------------------------------------------------------------------------
 *
 * credentials.h
 *	  Find the AWS credentials, and notice when they change.
 *
 * credentials_load() walks a table of providers in the order that every AWS
 * tool uses; the first one that is configured decides.  Present:
 *
 *	  settings		 a credentials file or a profile that was named explicitly
 *	  environment	 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
 *					 AWS_SESSION_TOKEN: the postmaster's, frozen at its start
 *	  shared files	 AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE, AWS_PROFILE,
 *					 otherwise ~/.aws/credentials and ~/.aws/config
 *
 * The door for providers that have to ask a service (web identity, container,
 * instance metadata, assume-role): such a provider cannot answer within
 * credentials_load(), because only the sender's event loop does I/O.  It is
 * one more row of the table whose function returns a new CREDENTIALS_FETCH and
 * describes a request (method, URL, headers, body, timeout, "never through a
 * proxy") in the CredentialState.  The sender performs the request like any
 * other and hands status and body to a function credentials_on_reply(), which
 * calls the row's second function; that one returns the same enum, so a second
 * request (metadata: token, role, keys) or the end follows.  Credentials
 * already carries the expiration that these providers report; the sender
 * loads again five minutes before it.  Callers switch over CredentialsResult
 * without a default, so the compiler finds the place to extend.
 *
 * Knows no PostgreSQL.  Secrets are wiped when they are replaced or freed, and
 * no message contains any.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIALS_H
#define FIREHOSE_AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "aws/profile.h"

typedef enum CredentialsResult
{
	CREDENTIALS_FOUND,
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

/* What the settings say; NULL or "" for what they leave open. */
typedef struct CredentialSource
{
	const char *credentials_file;
	const char *config_file;
	const char *profile;
} CredentialSource;

/* Zero-initialise before the first use. */
typedef struct CredentialState
{
	/* result of the last successful load */
	Credentials credentials;
	/* static name, NULL before the first success */
	const char *provider;

	/*
	 * From the profile, whichever provider had the keys; NULL if not told.
	 * Set by every load, even when no credentials are found.
	 */
	char	   *region;
	char	   *endpoint_url;

	/* private: the files that were read; NULL if there is no path */
	char	   *paths[2];
	ProfileStamp stamps[2];
} CredentialState;

/*
 * Find the credentials.  Unless the result is CREDENTIALS_FOUND, errmsg says
 * why, and credentials found earlier are kept, since they may still be good.
 * The strings in the state are valid until the next call.
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
 * NULL if nobody tells.  Not validated; see endpoint_valid_region().
 */
extern const char *credentials_region(const CredentialState *state,
									  const char *explicit_region);

/* Wipe and free everything; the state is blank again. */
extern void credentials_free(CredentialState *state);

#endif							/* FIREHOSE_AWS_CREDENTIALS_H */
