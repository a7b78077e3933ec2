/*-------------------------------------------------------------------------
 *
 * credential_fetch_state.h
 *	  The state that the state machine of credential_fetch.h shares with the
 *	  writer of its requests, credential_request.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIAL_FETCH_STATE_H
#define FIREHOSE_AWS_CREDENTIAL_FETCH_STATE_H

#include "aws/credentials.h"
#include "aws/sigv4.h"

#define CREDENTIAL_REQUEST_HEADERS	6

/* The largest response; AWS's are a few kB. */
#define CREDENTIAL_MAX_RESPONSE		(64 * 1024)

typedef enum CredentialFetchAction
{
	CREDENTIAL_FETCH_SEND,
	CREDENTIAL_FETCH_RUN,
	CREDENTIAL_FETCH_DONE,		/* .credentials, or .region */
	CREDENTIAL_FETCH_FAILED		/* .errmsg */
} CredentialFetchAction;

typedef struct CredentialRequest
{
	const char *method;
	char	   *url;
	char	   *headers[CREDENTIAL_REQUEST_HEADERS];	/* "Name: value" */
	int			nheaders;
	char	   *body;
	size_t		body_length;
	int			timeout_ms;
	bool		direct;			/* never through a proxy */
} CredentialRequest;

/* Zero-initialise before the first use. */
typedef struct CredentialFetch
{
	CredentialRequest request;
	char	   *command;		/* of a credential_process */

	/* the result */
	Credentials credentials;
	char		principal[256]; /* who they are, "" if no service told */
	char		region[64];
	char		errmsg[800];
	bool		wrong_clock;	/* a service refused the time of this machine
								 * */

	/* private */
	const CredentialChain *chain;	/* NULL: the region is wanted */
	char	   *metadata_url;
	char	   *sts_region;		/* NULL: the global endpoint */
	EndpointConfig endpoints;	/* a copy */
	int			step;
	int			phase;
	bool		renewed;		/* a metadata token was refused once */
	char		address[300];	/* whom the request goes to, for messages */
	char	   *token;			/* of the metadata service */
	char	   *role;			/* the name it told */
	SigV4Key	key;
} CredentialFetch;

#endif							/* FIREHOSE_AWS_CREDENTIAL_FETCH_STATE_H */
