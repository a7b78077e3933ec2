/*-------------------------------------------------------------------------
 *
 * credential_step.h
 *	  How a step of credential_fetch.h continues or ends.
 *
 * Only the files that carry out steps include this.  Each function that
 * returns an action leaves the fetch as that action needs it; the caller
 * returns it at once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIAL_STEP_H
#define FIREHOSE_AWS_CREDENTIAL_STEP_H

#include <time.h>

#include "aws/credential_fetch_state.h"

/* Which response of a step the fetch waits for */
enum
{
	PHASE_METADATA_TOKEN,
	PHASE_METADATA_ROLE,
	PHASE_METADATA_KEYS,
	PHASE_METADATA_REGION,
	PHASE_SSO_REFRESH,
	PHASE_SSO_KEYS,
	PHASE_ONLY
};

/* A response on its way through the functions of a step */
typedef struct CredentialResponse
{
	int			status;
	char	   *body;			/* may be written to */
	size_t		length;
	time_t		now;
} CredentialResponse;

/* The present step; the fetch has a chain. */
extern const CredentialStep *credential_step_now(const CredentialFetch *fetch);

/* Send the request if it could be written; its response has this phase. */
extern CredentialFetchAction credential_step_send(CredentialFetch *fetch, bool written,
												  int phase);

/*
 * Stop.  The message says which provider, which address, and what happened,
 * in words that a service may have sent.
 */
extern CredentialFetchAction credential_step_failed(CredentialFetch *fetch, const char *what);

/* Stop because a request could not be written; errmsg says why. */
extern CredentialFetchAction credential_step_not_written(CredentialFetch *fetch);

/*
 * Stop because of a response whose status is not 200; code and message are
 * NULL if the service sent none.
 */
extern CredentialFetchAction credential_step_refused(CredentialFetch *fetch, int status,
													 const char *code, const char *message);

/*
 * Keep the credentials that a step ends with: the result is
 * CREDENTIAL_FETCH_DONE, and .step counts the step as done.  The time of
 * expiry is expiration_text, or expiration if that is NULL.
 */
extern CredentialFetchAction credential_step_keys(CredentialFetch *fetch, const char *id,
												  const char *secret, const char *token,
												  const char *expiration_text,
												  time_t expiration);

/*
 * The same with the keys that the metadata service or a container's agent
 * sent.  An error may come with status 200 and says so in Code.
 */
extern CredentialFetchAction credential_step_json_keys(CredentialFetch *fetch,
													   const CredentialResponse *response);

/* Make a text that a service sent fit for a message, in place. */
extern void credential_step_sanitize(char *text);

#endif							/* FIREHOSE_AWS_CREDENTIAL_STEP_H */
