/*-------------------------------------------------------------------------
 *
 * credential_fetch.c
 *	  Carry out a chain of steps that leads to credentials.
 *
 * Called by the sender's identity_fetch.c.  Each kind of step has a function
 * that begins it and one that continues with a response; in between they need
 * to remember only the phase.  A step that returns CREDENTIAL_FETCH_DONE has
 * brought credentials, and the next step begins.  Requests are written by
 * credential_request.c.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/credential_fetch.h"
#include "aws/credential_metadata.h"
#include "aws/credential_request.h"
#include "aws/credential_step.h"
#include "aws/json_fields.h"
#include "aws/sso_token.h"
#include "aws/sts_response.h"

/* Refresh a cached token that lives no longer than this, as botocore does. */
#define SSO_REFRESH_WINDOW	(15 * 60)

/*
 * Containers ---------------------------------------------------------------
 */

static CredentialFetchAction
container_response(CredentialFetch *fetch, const CredentialResponse *response)
{
	JsonField	fields[] = {{"code", NULL}, {"message", NULL}, {"Code", NULL}, {"Message", NULL}};
	char		why[200];

	if (response->status == 200)
		return credential_step_json_keys(fetch, response);
	if (!json_fields_read(response->body, response->length, NULL, fields, 4, why, sizeof(why)))
		return credential_step_refused(fetch, response->status, NULL, NULL);
	return credential_step_refused(fetch, response->status,
								   fields[0].value != NULL ? fields[0].value : fields[2].value,
								   fields[1].value != NULL ? fields[1].value : fields[3].value);
}

/*
 * STS ----------------------------------------------------------------------
 */

/* Does STS say that the clock of this machine is wrong? */
static bool
is_about_the_clock(const StsResponse *sts)
{
	const char *code = sts->error_code != NULL ? sts->error_code : "";
	const char *message = sts->error_message != NULL ? sts->error_message : "";

	return strcmp(code, "RequestExpired") == 0 ||
		(strcmp(code, "SignatureDoesNotMatch") == 0 &&
		 (strstr(message, "expired") != NULL || strstr(message, "not yet current") != NULL));
}

static CredentialFetchAction
sts_response(CredentialFetch *fetch, const CredentialResponse *response)
{
	StsResponse sts;
	char		why[200];

	if (!sts_response_parse(response->body, response->length, &sts, why, sizeof(why)))
		return response->status == 200 ? credential_step_failed(fetch, why) :
			credential_step_refused(fetch, response->status, NULL, NULL);
	if (response->status != 200)
	{
		fetch->wrong_clock = is_about_the_clock(&sts);
		return credential_step_refused(fetch, response->status, sts.error_code, sts.error_message);
	}
	snprintf(fetch->principal, sizeof(fetch->principal), "%s",
			 sts.arn != NULL ? sts.arn : credential_step_now(fetch)->values[CREDENTIAL_ROLE_ARN]);
	credential_step_sanitize(fetch->principal);
	return credential_step_keys(fetch, sts.access_key_id, sts.secret_access_key, sts.session_token,
								NULL, sts.expiration);
}

/*
 * IAM Identity Center ------------------------------------------------------
 */

/*
 * Ask for the role's keys, or first for a new token if the cached one is about
 * to run out and can be refreshed.
 */
static CredentialFetchAction
begin_sso(CredentialFetch *fetch, bool may_refresh, time_t now)
{
	const CredentialStep *step = credential_step_now(fetch);
	SsoToken	token = {0};
	CredentialFetchAction action;

	if (!sso_token_read(step->values[CREDENTIAL_SSO_TOKEN_FILE], &token,
						fetch->errmsg, sizeof(fetch->errmsg)))
		return credential_step_not_written(fetch);
	if (may_refresh && step->values[CREDENTIAL_SSO_REFRESHABLE] != NULL &&
		token.expiration - now < SSO_REFRESH_WINDOW && sso_token_refreshable(&token, now))
		action = credential_step_send(fetch, credential_request_sso_refresh(fetch, step,
																			token.values[SSO_CLIENT_ID],
																			token.values[SSO_CLIENT_SECRET],
																			token.values[SSO_REFRESH_TOKEN]),
									  PHASE_SSO_REFRESH);
	else if (token.expiration <= now)
		action = credential_step_failed(fetch, "the cached token has expired; run \"aws sso login\" as the server's user");
	else
		action = credential_step_send(fetch, credential_request_sso(fetch, step, token.values[SSO_ACCESS_TOKEN]),
									  PHASE_SSO_KEYS);
	sso_token_free(&token);
	return action;
}

/* Use the new token, and keep it for later; or continue with the old one. */
static CredentialFetchAction
sso_refreshed(CredentialFetch *fetch, const CredentialResponse *response)
{
	const CredentialStep *step = credential_step_now(fetch);
	const char *path = step->values[CREDENTIAL_SSO_TOKEN_FILE];
	SsoToken	token = {0};
	CredentialFetchAction action;

	if (response->status != 200 ||
		!sso_token_read(path, &token, fetch->errmsg, sizeof(fetch->errmsg)) ||
		!sso_token_refreshed(&token, response->body, response->length, response->now,
							 fetch->errmsg, sizeof(fetch->errmsg)))
	{
		sso_token_free(&token);
		return begin_sso(fetch, false, response->now);
	}
	(void) sso_token_write(path, &token);
	action = credential_step_send(fetch, credential_request_sso(fetch, step, token.values[SSO_ACCESS_TOKEN]),
								  PHASE_SSO_KEYS);
	sso_token_free(&token);
	return action;
}

static CredentialFetchAction
take_sso_keys(CredentialFetch *fetch, const CredentialResponse *response)
{
	JsonField	fields[] = {
		{"accessKeyId", NULL}, {"secretAccessKey", NULL}, {"sessionToken", NULL},
		{"expiration", NULL},
	};
	JsonField	errors[] = {{"__type", NULL}, {"message", NULL}};
	const CredentialStep *step = credential_step_now(fetch);
	char		why[200];
	long long	milliseconds = 0;

	if (response->status != 200)
	{
		(void) json_fields_read(response->body, response->length, NULL, errors, 2,
								why, sizeof(why));
		return credential_step_refused(fetch, response->status, errors[0].value, errors[1].value);
	}
	if (!json_fields_read(response->body, response->length, "roleCredentials", fields, 4,
						  why, sizeof(why)))
		return credential_step_failed(fetch, why);
	if (fields[3].value != NULL)
		milliseconds = strtoll(fields[3].value, NULL, 10);
	snprintf(fetch->principal, sizeof(fetch->principal), "%s in account %s",
			 step->values[CREDENTIAL_SSO_ROLE_NAME], step->values[CREDENTIAL_SSO_ACCOUNT_ID]);
	return credential_step_keys(fetch, fields[0].value, fields[1].value, fields[2].value,
								NULL, (time_t) (milliseconds / 1000));
}

static CredentialFetchAction
sso_response(CredentialFetch *fetch, const CredentialResponse *response)
{
	return fetch->phase == PHASE_SSO_REFRESH ? sso_refreshed(fetch, response) :
		take_sso_keys(fetch, response);
}

/*
 * credential_process -------------------------------------------------------
 */

static CredentialFetchAction
begin_process(CredentialFetch *fetch)
{
	credential_wipe_text(&fetch->command);
	fetch->command = strdup(credential_step_now(fetch)->values[CREDENTIAL_COMMAND]);
	if (fetch->command == NULL)
		return credential_step_failed(fetch, "out of memory");
	fetch->phase = PHASE_ONLY;
	return CREDENTIAL_FETCH_RUN;
}

/* Take the keys that a command has printed. */
static CredentialFetchAction
process_output(CredentialFetch *fetch, int exit_status, char *output, size_t length)
{
	JsonField	fields[] = {
		{"Version", NULL}, {"AccessKeyId", NULL}, {"SecretAccessKey", NULL},
		{"SessionToken", NULL}, {"Expiration", NULL},
	};
	char		why[200];

	credential_wipe_text(&fetch->command);
	if (exit_status != 0)
	{
		snprintf(why, sizeof(why), "it ended with status %d", exit_status);
		return credential_step_failed(fetch, why);
	}
	if (!json_fields_read(output, length, NULL, fields, 5, why, sizeof(why)))
		return credential_step_failed(fetch, why);
	if (fields[0].value == NULL || strcmp(fields[0].value, "1") != 0)
		return credential_step_failed(fetch, "its output is not of version 1");
	return credential_step_keys(fetch, fields[1].value, fields[2].value, fields[3].value,
								fields[4].value, 0);
}

/*
 * All of them --------------------------------------------------------------
 */

/* Begin the present step. */
static CredentialFetchAction
begin_step(CredentialFetch *fetch, time_t now)
{
	const CredentialStep *step = credential_step_now(fetch);

	fetch->address[0] = '\0';
	switch (step->kind)
	{
		case CREDENTIAL_STEP_METADATA:
			return credential_metadata_start(fetch, step->values[CREDENTIAL_URL]);
		case CREDENTIAL_STEP_CONTAINER:
			return credential_step_send(fetch, credential_request_container(fetch, step), PHASE_ONLY);
		case CREDENTIAL_STEP_WEB_IDENTITY:
		case CREDENTIAL_STEP_ASSUME_ROLE:
			return credential_step_send(fetch, credential_request_sts(fetch, step, now), PHASE_ONLY);
		case CREDENTIAL_STEP_SSO:
			return begin_sso(fetch, true, now);
		case CREDENTIAL_STEP_PROCESS:
			return begin_process(fetch);
	}
	return credential_step_failed(fetch, "unknown step");
}

/* After a step: begin the next, if the step is done and there is one. */
static CredentialFetchAction
next_step(CredentialFetch *fetch, CredentialFetchAction action, time_t now)
{
	if (action != CREDENTIAL_FETCH_DONE)
		return action;
	if (fetch->step < fetch->chain->nsteps)
		return begin_step(fetch, now);
	fetch->address[0] = '\0';
	credential_request_free(&fetch->request);
	return CREDENTIAL_FETCH_DONE;
}

/* Copy to a blank one; false if there is no memory. */
static bool
copy_endpoints(EndpointConfig *to, const EndpointConfig *from)
{
	*to = *from;
	memset(to->profile_urls, 0, sizeof(to->profile_urls));
	for (int i = 0; i < ENDPOINT_NSERVICES; i++)
	{
		if (from->profile_urls[i] != NULL &&
			(to->profile_urls[i] = strdup(from->profile_urls[i])) == NULL)
			return false;
	}
	return true;
}

CredentialFetchAction
credential_fetch_start(CredentialFetch *fetch, const CredentialChain *chain,
					   const Credentials *from, const char *sts_region,
					   const EndpointConfig *endpoints, time_t now)
{
	credential_fetch_free(fetch);
	fetch->chain = chain;
	if (!copy_endpoints(&fetch->endpoints, endpoints) ||
		(sts_region != NULL && (fetch->sts_region = strdup(sts_region)) == NULL) ||
		!credentials_copy(&fetch->credentials, from))
		return credential_step_failed(fetch, "out of memory");
	return next_step(fetch, CREDENTIAL_FETCH_DONE, now);
}

CredentialFetchAction
credential_fetch_start_region(CredentialFetch *fetch, const char *metadata_url)
{
	credential_fetch_free(fetch);
	return credential_metadata_start(fetch, metadata_url);
}

/* Continue the present step with a response. */
static CredentialFetchAction
step_response(CredentialFetch *fetch, CredentialResponse *response)
{
	switch (credential_step_now(fetch)->kind)
	{
		case CREDENTIAL_STEP_METADATA:
			return credential_metadata_response(fetch, response);
		case CREDENTIAL_STEP_CONTAINER:
			return container_response(fetch, response);
		case CREDENTIAL_STEP_WEB_IDENTITY:
		case CREDENTIAL_STEP_ASSUME_ROLE:
			return sts_response(fetch, response);
		case CREDENTIAL_STEP_SSO:
			return sso_response(fetch, response);
		case CREDENTIAL_STEP_PROCESS:
			break;
	}
	return credential_step_failed(fetch, "unexpected response");
}

CredentialFetchAction
credential_fetch_response(CredentialFetch *fetch, int status, char *body,
						  size_t length, time_t now)
{
	CredentialResponse response = {status, body, length, now};

	if (fetch->chain == NULL)
		return credential_metadata_response(fetch, &response);
	return next_step(fetch, step_response(fetch, &response), now);
}

CredentialFetchAction
credential_fetch_output(CredentialFetch *fetch, int exit_status, char *output,
						size_t length, time_t now)
{
	return next_step(fetch, process_output(fetch, exit_status, output, length), now);
}

CredentialFetchAction
credential_fetch_no_response(CredentialFetch *fetch, const char *error)
{
	char		what[400];

	if (fetch->phase == PHASE_METADATA_TOKEN &&
		(fetch->chain == NULL || credential_step_now(fetch)->kind == CREDENTIAL_STEP_METADATA))
	{
		snprintf(what, sizeof(what), "%s (in a container on EC2 the hop limit of the instance's metadata must be 2)",
				 error);
		return credential_step_failed(fetch, what);
	}
	/* a token that cannot be refreshed now may still be good */
	if (fetch->phase == PHASE_SSO_REFRESH && fetch->chain != NULL &&
		credential_step_now(fetch)->kind == CREDENTIAL_STEP_SSO)
		return begin_sso(fetch, false, time(NULL));
	return credential_step_failed(fetch, error);
}

void
credential_fetch_free(CredentialFetch *fetch)
{
	credential_request_free(&fetch->request);
	credentials_wipe(&fetch->credentials);
	credential_wipe_text(&fetch->command);
	credential_wipe_text(&fetch->token);
	credential_wipe_text(&fetch->role);
	credential_wipe_text(&fetch->metadata_url);
	credential_wipe_text(&fetch->sts_region);
	for (int i = 0; i < ENDPOINT_NSERVICES; i++)
		credential_wipe_text(&fetch->endpoints.profile_urls[i]);
	sigv4_key_clear(&fetch->key);
	memset(fetch, 0, sizeof(*fetch));
}
