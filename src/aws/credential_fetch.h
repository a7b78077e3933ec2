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
 *	  web identity	  POST AssumeRoleWithWebIdentity to STS with the token that
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
 * is no secret, and the response.  Everything secret is wiped when it is
 * replaced or freed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIAL_FETCH_H
#define FIREHOSE_AWS_CREDENTIAL_FETCH_H

#include "aws/credential_fetch_state.h"

/*
 * Begin with a chain that outlives the fetch, and the credentials that it
 * starts from; blank ones if its first step gets some.  An sts_region of NULL
 * stands for the global endpoint.  now is the time as STS has it.
 */
extern CredentialFetchAction credential_fetch_start(CredentialFetch *fetch,
													const CredentialChain *chain,
													const Credentials *from,
													const char *sts_region,
													const EndpointConfig *endpoints,
													time_t now);

/* Begin to ask the metadata service at this address for the region. */
extern CredentialFetchAction credential_fetch_start_region(CredentialFetch *fetch,
														   const char *metadata_url);

/* Continue with a whole response; the body is written to. */
extern CredentialFetchAction credential_fetch_response(CredentialFetch *fetch,
													   int status, char *body,
													   size_t length, time_t now);

/* Continue without a response; `error` says why there is none. */
extern CredentialFetchAction credential_fetch_no_response(CredentialFetch *fetch,
														  const char *error);

/* The command has ended with this status; its output is written to. */
extern CredentialFetchAction credential_fetch_output(CredentialFetch *fetch,
													 int exit_status, char *output,
													 size_t length, time_t now);

/* Wipe and free everything; the fetch is blank again. */
extern void credential_fetch_free(CredentialFetch *fetch);

#endif							/* FIREHOSE_AWS_CREDENTIAL_FETCH_H */
