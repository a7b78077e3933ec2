/*-------------------------------------------------------------------------
 *
 * credential_fetch.c
 *	  Carry out a chain of steps that leads to credentials.
 *
 * Called by the sender's identity.c.  Each kind of step has a function that
 * begins it and one that goes on with a response; what they need to remember
 * in between is the phase.  Requests are written by credential_request.c.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/credential_fetch.h"
#include "aws/credential_request.h"
#include "aws/json_fields.h"
#include "aws/sso_token.h"
#include "aws/sts_response.h"
#include "aws/timestamp.h"

/* The parts of the metadata service's path */
#define METADATA_TOKEN	"/latest/api/token"
#define METADATA_ROLE	"/latest/meta-data/iam/security-credentials/"
#define METADATA_REGION "/latest/meta-data/placement/region"

/* Refresh a cached token that lives no longer than this, as botocore does. */
#define SSO_REFRESH_WINDOW	(15 * 60)

/* Phases of a step */
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

static CredentialFetchAction begin_step(CredentialFetch *fetch, time_t now);

/* A response on its way through the functions of a step */
typedef struct Response
{
	int			status;
	char	   *body;
	size_t		length;
	time_t		now;
} Response;

/* Make a text that a service sent fit for a message, in place. */
static void
sanitize(char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text < ' ' || *text >= 0x7f)
			*text = '?';
	}
}

static const CredentialStep *
current_step(const CredentialFetch *fetch)
{
	return &fetch->chain->steps[fetch->step];
}

/* What the present step is called. */
static const char *
step_name(const CredentialFetch *fetch)
{
	return fetch->chain == NULL ? "region from instance metadata" :
		credential_step_name(current_step(fetch)->kind);
}

/*
 * Stop.  The message says which provider, which address, and what happened;
 * `what` may be what a service said.
 */
static CredentialFetchAction
failed(CredentialFetch *fetch, const char *what)
{
	char		said[400];

	snprintf(said, sizeof(said), "%s", what);
	sanitize(said);
	snprintf(fetch->errmsg, sizeof(fetch->errmsg), "%s%s%s: %s", step_name(fetch),
			 fetch->address[0] != '\0' ? ", " : "", fetch->address, said);
	credential_request_free(&fetch->request);
	return CREDENTIAL_FETCH_FAILED;
}

/* Stop because a request could not be written; errmsg says why. */
static CredentialFetchAction
not_written(CredentialFetch *fetch)
{
	char		why[sizeof(fetch->errmsg)];

	snprintf(why, sizeof(why), "%s", fetch->errmsg);
	return failed(fetch, why);
}

static CredentialFetchAction
send_if(CredentialFetch *fetch, bool written, int phase)
{
	if (!written)
		return not_written(fetch);
	fetch->phase = phase;
	return CREDENTIAL_FETCH_SEND;
}

/* Stop because of an answer whose status is not 200. */
static CredentialFetchAction
refused(CredentialFetch *fetch, int status, const char *code, const char *message)
{
	char		what[400];

	snprintf(what, sizeof(what), "answered %d%s%s%s%s", status,
			 code != NULL ? " " : "", code != NULL ? code : "",
			 message != NULL ? ": " : "", message != NULL ? message : "");
	return failed(fetch, what);
}

/* Keep the credentials that a step ends with, and go on with the next one. */
static CredentialFetchAction
take_keys(CredentialFetch *fetch, const char *id, const char *secret,
		  const char *token, const char *expiration_text, time_t expiration, time_t now)
{
	char		why[200];

	if (expiration_text != NULL &&
		!timestamp_parse(expiration_text, strlen(expiration_text), &expiration))
		return failed(fetch, "the expiration is not a time");
	if (!credentials_set(&fetch->credentials, id, secret, token, expiration,
						 "the response", why, sizeof(why)))
		return failed(fetch, why);
	fetch->step++;
	return begin_step(fetch, now);
}

/*
 * Instance metadata --------------------------------------------------------
 */

/* Begin with a new token: version 2 of the service asks for one. */
static CredentialFetchAction
begin_metadata(CredentialFetch *fetch)
{
	credential_wipe_text(&fetch->token);
	return send_if(fetch, credential_request_metadata(fetch, "PUT", METADATA_TOKEN, ""),
				   PHASE_METADATA_TOKEN);
}

/* Begin with the service at this address. */
static CredentialFetchAction
begin_metadata_at(CredentialFetch *fetch, const char *url)
{
	credential_wipe_text(&fetch->metadata_url);
	fetch->metadata_url = strdup(url);
	if (fetch->metadata_url == NULL)
		return failed(fetch, "out of memory");
	return begin_metadata(fetch);
}

/* Copy the one word that a response consists of; NULL if it is none. */
static char *
take_word(const Response *response, size_t max)
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
take_metadata_token(CredentialFetch *fetch, const Response *response)
{
	fetch->token = take_word(response, 1024);
	if (fetch->token == NULL)
		return failed(fetch, "the response to the request for a token is none");
	if (fetch->chain == NULL)
		return send_if(fetch, credential_request_metadata(fetch, "GET", METADATA_REGION, ""),
					   PHASE_METADATA_REGION);
	return send_if(fetch, credential_request_metadata(fetch, "GET", METADATA_ROLE, ""),
				   PHASE_METADATA_ROLE);
}

/* The first line names the role of the instance. */
static CredentialFetchAction
take_metadata_role(CredentialFetch *fetch, Response *response)
{
	char	   *newline = memchr(response->body, '\n', response->length);

	if (newline != NULL)
		response->length = newline - response->body;
	credential_wipe_text(&fetch->role);
	fetch->role = take_word(response, 64);
	if (fetch->role == NULL || strpbrk(fetch->role, "/?#%") != NULL)
		return failed(fetch, "the response does not name a role");
	return send_if(fetch, credential_request_metadata(fetch, "GET", METADATA_ROLE, fetch->role),
				   PHASE_METADATA_KEYS);
}

static CredentialFetchAction
take_metadata_region(CredentialFetch *fetch, const Response *response)
{
	char	   *region = take_word(response, sizeof(fetch->region) - 1);

	if (region == NULL)
		return failed(fetch, "the response does not name a region");
	snprintf(fetch->region, sizeof(fetch->region), "%s", region);
	credential_wipe_text(&region);
	credential_request_free(&fetch->request);
	return CREDENTIAL_FETCH_DONE;
}

/*
 * Take the keys that the metadata service or a container's agent has.  An
 * error may come with status 200 and says so in Code.
 */
static CredentialFetchAction
take_json_keys(CredentialFetch *fetch, const Response *response)
{
	enum
	{
		ID, SECRET, TOKEN, EXPIRATION, CODE, MESSAGE, ROLE, NFIELDS
	};
	JsonField	fields[NFIELDS] = {
		[ID] = {"AccessKeyId", NULL}, [SECRET] = {"SecretAccessKey", NULL},
		[TOKEN] = {"Token", NULL}, [EXPIRATION] = {"Expiration", NULL},
		[CODE] = {"Code", NULL}, [MESSAGE] = {"Message", NULL}, [ROLE] = {"RoleArn", NULL},
	};
	char		why[200];

	if (!json_fields_read(response->body, response->length, NULL, fields, NFIELDS,
						  why, sizeof(why)))
		return failed(fetch, why);
	if (fields[CODE].value != NULL && strcmp(fields[CODE].value, "Success") != 0)
		return refused(fetch, response->status, fields[CODE].value, fields[MESSAGE].value);
	snprintf(fetch->principal, sizeof(fetch->principal), "%s",
			 fields[ROLE].value != NULL ? fields[ROLE].value :
			 fetch->role != NULL ? fetch->role : "");
	sanitize(fetch->principal);
	return take_keys(fetch, fields[ID].value, fields[SECRET].value, fields[TOKEN].value,
					 fields[EXPIRATION].value, 0, response->now);
}

/* Say what the metadata service means by a status that is not 200. */
static CredentialFetchAction
metadata_refused(CredentialFetch *fetch, int status)
{
	if (status == 401 && !fetch->renewed && fetch->phase != PHASE_METADATA_TOKEN)
	{
		fetch->renewed = true;	/* the token was good no more */
		return begin_metadata(fetch);
	}
	if (status == 404 && fetch->phase == PHASE_METADATA_ROLE)
		return failed(fetch, "the instance has no role; attach an instance profile");
	if (status == 403 && fetch->phase == PHASE_METADATA_TOKEN)
		return failed(fetch, "answered 403: the metadata service is switched off for this instance");
	return refused(fetch, status, NULL, NULL);
}

static CredentialFetchAction
metadata_response(CredentialFetch *fetch, Response *response)
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
			return take_json_keys(fetch, response);
	}
}

/*
 * Containers ---------------------------------------------------------------
 */

static CredentialFetchAction
container_response(CredentialFetch *fetch, const Response *response)
{
	JsonField	fields[] = {{"code", NULL}, {"message", NULL}, {"Code", NULL}, {"Message", NULL}};
	char		why[200];

	if (response->status == 200)
		return take_json_keys(fetch, response);
	if (!json_fields_read(response->body, response->length, NULL, fields, 4, why, sizeof(why)))
		return refused(fetch, response->status, NULL, NULL);
	return refused(fetch, response->status,
				   fields[0].value != NULL ? fields[0].value : fields[2].value,
				   fields[1].value != NULL ? fields[1].value : fields[3].value);
}

/*
 * STS ----------------------------------------------------------------------
 */

/* Does STS say that our clock is wrong? */
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
sts_response(CredentialFetch *fetch, const Response *response)
{
	StsResponse sts;
	char		why[200];

	if (!sts_response_parse(response->body, response->length, &sts, why, sizeof(why)))
		return response->status == 200 ? failed(fetch, why) :
			refused(fetch, response->status, NULL, NULL);
	if (response->status != 200)
	{
		fetch->wrong_clock = is_about_the_clock(&sts);
		return refused(fetch, response->status, sts.error_code, sts.error_message);
	}
	snprintf(fetch->principal, sizeof(fetch->principal), "%s",
			 sts.arn != NULL ? sts.arn : current_step(fetch)->values[CREDENTIAL_ROLE_ARN]);
	sanitize(fetch->principal);
	return take_keys(fetch, sts.access_key_id, sts.secret_access_key, sts.session_token,
					 NULL, sts.expiration, response->now);
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
	const CredentialStep *step = current_step(fetch);
	SsoToken	token = {0};
	CredentialFetchAction action;

	if (!sso_token_read(step->values[CREDENTIAL_SSO_TOKEN_FILE], &token,
						fetch->errmsg, sizeof(fetch->errmsg)))
		return not_written(fetch);
	if (may_refresh && step->values[CREDENTIAL_SSO_REFRESHABLE] != NULL &&
		token.expiration - now < SSO_REFRESH_WINDOW && sso_token_refreshable(&token, now))
		action = send_if(fetch, credential_request_sso_refresh(fetch, step,
															   token.values[SSO_CLIENT_ID],
															   token.values[SSO_CLIENT_SECRET],
															   token.values[SSO_REFRESH_TOKEN]),
						 PHASE_SSO_REFRESH);
	else if (token.expiration <= now)
		action = failed(fetch, "the cached token has expired; run \"aws sso login\" as the server's user");
	else
		action = send_if(fetch, credential_request_sso(fetch, step, token.values[SSO_ACCESS_TOKEN]),
						 PHASE_SSO_KEYS);
	sso_token_free(&token);
	return action;
}

/* Use the new token, and keep it for later; or go on with the old one. */
static CredentialFetchAction
sso_refreshed(CredentialFetch *fetch, const Response *response)
{
	const CredentialStep *step = current_step(fetch);
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
	action = send_if(fetch, credential_request_sso(fetch, step, token.values[SSO_ACCESS_TOKEN]),
					 PHASE_SSO_KEYS);
	sso_token_free(&token);
	return action;
}

static CredentialFetchAction
take_sso_keys(CredentialFetch *fetch, const Response *response)
{
	JsonField	fields[] = {
		{"accessKeyId", NULL}, {"secretAccessKey", NULL}, {"sessionToken", NULL},
		{"expiration", NULL},
	};
	JsonField	errors[] = {{"__type", NULL}, {"message", NULL}};
	const CredentialStep *step = current_step(fetch);
	char		why[200];
	long long	milliseconds = 0;

	if (response->status != 200)
	{
		(void) json_fields_read(response->body, response->length, NULL, errors, 2,
								why, sizeof(why));
		return refused(fetch, response->status, errors[0].value, errors[1].value);
	}
	if (!json_fields_read(response->body, response->length, "roleCredentials", fields, 4,
						  why, sizeof(why)))
		return failed(fetch, why);
	if (fields[3].value != NULL)
		milliseconds = strtoll(fields[3].value, NULL, 10);
	snprintf(fetch->principal, sizeof(fetch->principal), "%s in account %s",
			 step->values[CREDENTIAL_SSO_ROLE_NAME], step->values[CREDENTIAL_SSO_ACCOUNT_ID]);
	return take_keys(fetch, fields[0].value, fields[1].value, fields[2].value,
					 NULL, (time_t) (milliseconds / 1000), response->now);
}

static CredentialFetchAction
sso_response(CredentialFetch *fetch, const Response *response)
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
	fetch->command = strdup(current_step(fetch)->values[CREDENTIAL_COMMAND]);
	if (fetch->command == NULL)
		return failed(fetch, "out of memory");
	fetch->phase = PHASE_ONLY;
	return CREDENTIAL_FETCH_RUN;
}

CredentialFetchAction
credential_fetch_output(CredentialFetch *fetch, int exit_status, char *output,
						size_t length, time_t now)
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
		return failed(fetch, why);
	}
	if (!json_fields_read(output, length, NULL, fields, 5, why, sizeof(why)))
		return failed(fetch, why);
	if (fields[0].value == NULL || strcmp(fields[0].value, "1") != 0)
		return failed(fetch, "its output is not of version 1");
	return take_keys(fetch, fields[1].value, fields[2].value, fields[3].value,
					 fields[4].value, 0, now);
}

/*
 * All of them --------------------------------------------------------------
 */

/* Begin the present step, or be done if there is none. */
static CredentialFetchAction
begin_step(CredentialFetch *fetch, time_t now)
{
	const CredentialStep *step = current_step(fetch);

	fetch->address[0] = '\0';
	if (fetch->step == fetch->chain->nsteps)
	{
		credential_request_free(&fetch->request);
		return CREDENTIAL_FETCH_DONE;
	}
	switch (step->kind)
	{
		case CREDENTIAL_STEP_METADATA:
			return begin_metadata_at(fetch, step->values[CREDENTIAL_URL]);
		case CREDENTIAL_STEP_CONTAINER:
			return send_if(fetch, credential_request_container(fetch, step), PHASE_ONLY);
		case CREDENTIAL_STEP_WEB_IDENTITY:
		case CREDENTIAL_STEP_ASSUME_ROLE:
			return send_if(fetch, credential_request_sts(fetch, step, now), PHASE_ONLY);
		case CREDENTIAL_STEP_SSO:
			return begin_sso(fetch, true, now);
		case CREDENTIAL_STEP_PROCESS:
			return begin_process(fetch);
	}
	return failed(fetch, "unknown step");
}

CredentialFetchAction
credential_fetch_start(CredentialFetch *fetch, const CredentialChain *chain,
					   const Credentials *from, const CredentialFetchContext *context,
					   time_t now)
{
	credential_fetch_free(fetch);
	fetch->chain = chain;
	fetch->context = *context;
	if (context->region != NULL)
		fetch->context.region = fetch->context_region = strdup(context->region);
	if (context->endpoint_url != NULL)
		fetch->context.endpoint_url = fetch->context_url = strdup(context->endpoint_url);
	if (!credentials_copy(&fetch->credentials, from))
		return failed(fetch, "out of memory");
	return begin_step(fetch, now);
}

CredentialFetchAction
credential_fetch_start_region(CredentialFetch *fetch, const char *metadata_url)
{
	credential_fetch_free(fetch);
	return begin_metadata_at(fetch, metadata_url);
}

CredentialFetchAction
credential_fetch_response(CredentialFetch *fetch, int status, char *body,
						  size_t length, time_t now)
{
	Response	response = {status, body, length, now};

	if (fetch->chain == NULL)
		return metadata_response(fetch, &response);
	switch (current_step(fetch)->kind)
	{
		case CREDENTIAL_STEP_METADATA:
			return metadata_response(fetch, &response);
		case CREDENTIAL_STEP_CONTAINER:
			return container_response(fetch, &response);
		case CREDENTIAL_STEP_WEB_IDENTITY:
		case CREDENTIAL_STEP_ASSUME_ROLE:
			return sts_response(fetch, &response);
		case CREDENTIAL_STEP_SSO:
			return sso_response(fetch, &response);
		case CREDENTIAL_STEP_PROCESS:
			break;
	}
	return failed(fetch, "unexpected response");
}

CredentialFetchAction
credential_fetch_no_response(CredentialFetch *fetch, const char *error)
{
	char		what[400];

	if (fetch->phase == PHASE_METADATA_TOKEN &&
		(fetch->chain == NULL || current_step(fetch)->kind == CREDENTIAL_STEP_METADATA))
	{
		snprintf(what, sizeof(what), "%s (in a container on EC2 the hop limit of the instance's metadata must be 2)",
				 error);
		return failed(fetch, what);
	}
	/* a token that cannot be refreshed now may still be good */
	if (fetch->phase == PHASE_SSO_REFRESH && fetch->chain != NULL &&
		current_step(fetch)->kind == CREDENTIAL_STEP_SSO)
		return begin_sso(fetch, false, time(NULL));
	return failed(fetch, error);
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
	credential_wipe_text(&fetch->context_region);
	credential_wipe_text(&fetch->context_url);
	sigv4_key_clear(&fetch->key);
	memset(fetch, 0, sizeof(*fetch));
}
