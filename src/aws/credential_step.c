/*-------------------------------------------------------------------------
 *
 * credential_step.c
 *	  How a step of credential_fetch.h continues or ends.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "aws/credential_request.h"
#include "aws/credential_step.h"
#include "aws/json_fields.h"
#include "aws/timestamp.h"

void
credential_step_sanitize(char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text < ' ' || *text >= 0x7f)
			*text = '?';
	}
}

const CredentialStep *
credential_step_now(const CredentialFetch *fetch)
{
	return &fetch->chain->steps[fetch->step];
}

/* The name of the present step. */
static const char *
step_name(const CredentialFetch *fetch)
{
	return fetch->chain == NULL ? "region from instance metadata" :
		credential_step_name(credential_step_now(fetch)->kind);
}

CredentialFetchAction
credential_step_failed(CredentialFetch *fetch, const char *what)
{
	char		said[400];

	snprintf(said, sizeof(said), "%s", what);
	credential_step_sanitize(said);
	snprintf(fetch->errmsg, sizeof(fetch->errmsg), "%s%s%s: %s", step_name(fetch),
			 fetch->address[0] != '\0' ? ", " : "", fetch->address, said);
	credential_request_free(&fetch->request);
	return CREDENTIAL_FETCH_FAILED;
}

CredentialFetchAction
credential_step_not_written(CredentialFetch *fetch)
{
	char		why[sizeof(fetch->errmsg)];

	snprintf(why, sizeof(why), "%s", fetch->errmsg);
	return credential_step_failed(fetch, why);
}

CredentialFetchAction
credential_step_send(CredentialFetch *fetch, bool written, int phase)
{
	if (!written)
		return credential_step_not_written(fetch);
	fetch->phase = phase;
	return CREDENTIAL_FETCH_SEND;
}

CredentialFetchAction
credential_step_refused(CredentialFetch *fetch, int status, const char *code,
						const char *message)
{
	char		what[400];

	snprintf(what, sizeof(what), "answered %d%s%s%s%s", status,
			 code != NULL ? " " : "", code != NULL ? code : "",
			 message != NULL ? ": " : "", message != NULL ? message : "");
	return credential_step_failed(fetch, what);
}

CredentialFetchAction
credential_step_keys(CredentialFetch *fetch, const char *id, const char *secret,
					 const char *token, const char *expiration_text, time_t expiration)
{
	char		why[200];

	if (expiration_text != NULL &&
		!timestamp_parse(expiration_text, strlen(expiration_text), &expiration))
		return credential_step_failed(fetch, "the expiration is not a time");
	if (!credentials_set(&fetch->credentials, id, secret, token, expiration,
						 "the response", why, sizeof(why)))
		return credential_step_failed(fetch, why);
	fetch->step++;
	return CREDENTIAL_FETCH_DONE;
}

CredentialFetchAction
credential_step_json_keys(CredentialFetch *fetch, const CredentialResponse *response)
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
		return credential_step_failed(fetch, why);
	if (fields[CODE].value != NULL && strcmp(fields[CODE].value, "Success") != 0)
		return credential_step_refused(fetch, response->status, fields[CODE].value, fields[MESSAGE].value);
	snprintf(fetch->principal, sizeof(fetch->principal), "%s",
			 fields[ROLE].value != NULL ? fields[ROLE].value :
			 fetch->role != NULL ? fetch->role : "");
	credential_step_sanitize(fetch->principal);
	return credential_step_keys(fetch, fields[ID].value, fields[SECRET].value, fields[TOKEN].value,
								fields[EXPIRATION].value, 0);
}
