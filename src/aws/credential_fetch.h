/*-------------------------------------------------------------------------
 *
 * credential_fetch.h
 *	  Carry out a chain of steps that leads to credentials.
 *
 * A state machine without any I/O of its own.  Each call returns what the
 * caller has to do next: send .request and hand in the response, run .command
 * and hand in its output, or stop.  Which requests there are:
 *
 *	  instance metadata, version 2 only
 *					  PUT token; GET the role's name; GET its credentials
 *	  container		  GET, with the authorization that the environment has or
 *					  that the file it names has now
 *	  web identity	  POST AssumeRoleWithWebIdentity to STS, with the token that
 *					  the file has now
 *	  assume role	  POST AssumeRole to STS, signed with what came before
 *	  IAM Identity Center
 *					  POST to refresh the cached token if it is about to run
 *					  out; GET the role's credentials
 *
 * Token files and the cached token are read here, and are bounded; they are
 * regular files on this machine.
 *
 * Knows no PostgreSQL.  Messages name the provider, the address as far as it
 * is no secret, and what was answered.  Everything secret is wiped when it is
 * replaced or freed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIAL_FETCH_H
#define FIREHOSE_AWS_CREDENTIAL_FETCH_H

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

/* What requests are made for; the strings are copied. */
typedef struct CredentialFetchContext
{
	const char *region;			/* of STS; NULL: the global endpoint */
	const char *endpoint_url;	/* the profile's */
	int			endpoint_flags; /* ENDPOINT_FIPS etc. */
	bool		ignore_endpoint_urls;
} CredentialFetchContext;

/* Zero-initialise before the first use. */
typedef struct CredentialFetch
{
	CredentialRequest request;
	char	   *command;		/* of a credential_process */

	/* the result */
	Credentials credentials;
	char		principal[256]; /* who they are, "" if nobody told */
	char		region[64];
	char		errmsg[800];
	bool		wrong_clock;	/* a service refused our idea of the time */

	/* private */
	const CredentialChain *chain;	/* NULL: the region is wanted */
	char	   *metadata_url;
	CredentialFetchContext context; /* points to the copies */
	char	   *context_region;
	char	   *context_url;
	int			step;
	int			phase;
	bool		renewed;		/* a metadata token was refused once */
	char		address[300];	/* whom the request goes to, for messages */
	char	   *token;			/* of the metadata service */
	char	   *role;			/* the name it told */
	SigV4Key	key;
} CredentialFetch;

/*
 * Begin with a chain that outlives the fetch, and the credentials that it
 * starts from; blank ones if its first step gets some.  now is the time as
 * STS has it.
 */
extern CredentialFetchAction credential_fetch_start(CredentialFetch *fetch,
													const CredentialChain *chain,
													const Credentials *from,
													const CredentialFetchContext *context,
													time_t now);

/* Begin to ask the metadata service at this address for the region. */
extern CredentialFetchAction credential_fetch_start_region(CredentialFetch *fetch,
														   const char *metadata_url);

/* There is a whole response; the body is written to. */
extern CredentialFetchAction credential_fetch_response(CredentialFetch *fetch,
													   int status, char *body,
													   size_t length, time_t now);

/* There is none; says why. */
extern CredentialFetchAction credential_fetch_no_response(CredentialFetch *fetch,
														  const char *error);

/* The command has ended with this status; its output is written to. */
extern CredentialFetchAction credential_fetch_output(CredentialFetch *fetch,
													 int exit_status, char *output,
													 size_t length, time_t now);

/* Wipe and free everything; the fetch is blank again. */
extern void credential_fetch_free(CredentialFetch *fetch);

#endif							/* FIREHOSE_AWS_CREDENTIAL_FETCH_H */
