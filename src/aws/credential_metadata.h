/*-------------------------------------------------------------------------
 *
 * credential_metadata.h
 *	  The step of credential_fetch.h that asks an instance's metadata service,
 *	  for credentials or for the region.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIAL_METADATA_H
#define FIREHOSE_AWS_CREDENTIAL_METADATA_H

#include "aws/credential_step.h"

/* Begin with the service at this address, which is copied. */
extern CredentialFetchAction credential_metadata_start(CredentialFetch *fetch, const char *url);

/* Continue with a response. */
extern CredentialFetchAction credential_metadata_response(CredentialFetch *fetch,
														  CredentialResponse *response);

#endif							/* FIREHOSE_AWS_CREDENTIAL_METADATA_H */
