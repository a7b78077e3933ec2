/*-------------------------------------------------------------------------
 *
 * credential_metadata.c
 *	  Ask an instance's metadata service, by version 2 of its protocol: first
 *	  for a token, then for the role and its credentials, or for the region.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/credential_metadata.h"
#include "aws/credential_request.h"

/* The parts of the metadata service's path */
#define METADATA_TOKEN	"/latest/api/token"
#define METADATA_ROLE	"/latest/meta-data/iam/security-credentials/"
#define METADATA_REGION "/latest/meta-data/placement/region"

/* Begin with a new token: version 2 of the service asks for one. */
static CredentialFetchAction
begin_metadata(CredentialFetch *fetch)
{
	credential_wipe_text(&fetch->token);
	return credential_step_send(fetch, credential_request_metadata(fetch, "PUT", METADATA_TOKEN, ""),
								PHASE_METADATA_TOKEN);
}

CredentialFetchAction
credential_metadata_start(CredentialFetch *fetch, const char *url)
{
	credential_wipe_text(&fetch->metadata_url);
	fetch->metadata_url = strdup(url);
	if (fetch->metadata_url == NULL)
		return credential_step_failed(fetch, "out of memory");
	return begin_metadata(fetch);
}

/* Copy the one word that a response consists of; NULL if it is none. */
static char *
take_word(const CredentialResponse *response, size_t max)
{
	size_t		len = response->length;
	char	   *word;

	while (len > 0 && strchr(" \t\r\n", response->body[len - 1]) != NULL)
		len--;
	if (len == 0 || len > max)
		return NULL;
	for (size_t i = 0; i < len; i++)
	{
		if (response->body[i] <= ' ' || response->body[i] >= 0x7f)
			return NULL;
	}
	word = malloc(len + 1);
	if (word != NULL)
	{
		memcpy(word, response->body, len);
		word[len] = '\0';
	}
	return word;
}

static CredentialFetchAction
take_metadata_token(CredentialFetch *fetch, const CredentialResponse *response)
{
	fetch->token = take_word(response, 1024);
	if (fetch->token == NULL)
		return credential_step_failed(fetch, "the response to the request for a token is none");
	if (fetch->chain == NULL)
		return credential_step_send(fetch, credential_request_metadata(fetch, "GET", METADATA_REGION, ""),
									PHASE_METADATA_REGION);
	return credential_step_send(fetch, credential_request_metadata(fetch, "GET", METADATA_ROLE, ""),
								PHASE_METADATA_ROLE);
}

/* The first line names the role of the instance. */
static CredentialFetchAction
take_metadata_role(CredentialFetch *fetch, CredentialResponse *response)
{
	char	   *newline = memchr(response->body, '\n', response->length);

	if (newline != NULL)
		response->length = newline - response->body;
	credential_wipe_text(&fetch->role);
	fetch->role = take_word(response, 64);
	if (fetch->role == NULL || strpbrk(fetch->role, "/?#%") != NULL)
		return credential_step_failed(fetch, "the response does not name a role");
	return credential_step_send(fetch, credential_request_metadata(fetch, "GET", METADATA_ROLE, fetch->role),
								PHASE_METADATA_KEYS);
}

static CredentialFetchAction
take_metadata_region(CredentialFetch *fetch, const CredentialResponse *response)
{
	char	   *region = take_word(response, sizeof(fetch->region) - 1);

	if (region == NULL)
		return credential_step_failed(fetch, "the response does not name a region");
	snprintf(fetch->region, sizeof(fetch->region), "%s", region);
	credential_wipe_text(&region);
	credential_request_free(&fetch->request);
	return CREDENTIAL_FETCH_DONE;
}

/* Explain a status of the metadata service that is not 200. */
static CredentialFetchAction
metadata_refused(CredentialFetch *fetch, int status)
{
	if (status == 401 && !fetch->renewed && fetch->phase != PHASE_METADATA_TOKEN)
	{
		fetch->renewed = true;	/* the token has expired */
		return begin_metadata(fetch);
	}
	if (status == 404 && fetch->phase == PHASE_METADATA_ROLE)
		return credential_step_failed(fetch, "the instance has no role; attach an instance profile");
	if (status == 403 && fetch->phase == PHASE_METADATA_TOKEN)
		return credential_step_failed(fetch, "answered 403: the metadata service is switched off for this instance");
	return credential_step_refused(fetch, status, NULL, NULL);
}

CredentialFetchAction
credential_metadata_response(CredentialFetch *fetch, CredentialResponse *response)
{
	if (response->status != 200)
		return metadata_refused(fetch, response->status);
	switch (fetch->phase)
	{
		case PHASE_METADATA_TOKEN:
			return take_metadata_token(fetch, response);
		case PHASE_METADATA_ROLE:
			return take_metadata_role(fetch, response);
		case PHASE_METADATA_REGION:
			return take_metadata_region(fetch, response);
		default:
			return credential_step_json_keys(fetch, response);
	}
}
