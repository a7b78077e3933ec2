/*-------------------------------------------------------------------------
 *
 * credential_request.h
 *	  Write the requests of credential_fetch.h.
 *
 * Each function fills in fetch->request and fetch->address, and returns false
 * with fetch->errmsg set if it cannot.  Only credential_fetch.c includes this.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIAL_REQUEST_H
#define FIREHOSE_AWS_CREDENTIAL_REQUEST_H

#include "aws/credential_fetch_state.h"

/* A request to the metadata service; with the token if there is one. */
extern bool credential_request_metadata(CredentialFetch *fetch, const char *method,
										const char *path, const char *name);

extern bool credential_request_container(CredentialFetch *fetch,
										 const CredentialStep *step);

/* AssumeRole or AssumeRoleWithWebIdentity, as the step says */
extern bool credential_request_sts(CredentialFetch *fetch,
								   const CredentialStep *step, time_t now);

/* The token file of IAM Identity Center's session; see sso_token.h. */
extern bool credential_request_sso(CredentialFetch *fetch, const CredentialStep *step,
								   const char *access_token);
extern bool credential_request_sso_refresh(CredentialFetch *fetch,
										   const CredentialStep *step,
										   const char *client_id,
										   const char *client_secret,
										   const char *refresh_token);

/* Wipe and free a request. */
extern void credential_request_free(CredentialRequest *request);

/*
 * Read a small file that holds a token, without the white space at its end.
 * malloc'd, of visible ASCII; NULL with errmsg set if it is none.
 */
extern char *credential_read_token(const char *path, char *errmsg, size_t errmsg_size);

#endif							/* FIREHOSE_AWS_CREDENTIAL_REQUEST_H */
