/*
 * identity_fetch.c
 *		Fetch the credentials of an identity in the event loop.
 *
 * Sender process only.  A role's chain has one step, which begins with the
 * server's own credentials.  Requests go through http.h like all others; a
 * credential_process runs in helper.h.
 *
 * Times of expiry are kept as times of the monotonic clock, counted from the
 * Date of the response that brought them, so that a wrong clock of this
 * machine neither shortens nor lengthens the life of credentials.
 */
#include "postgres.h"

#include <time.h>

#include "utils/guc.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "sender/identity_fetch.h"
#include "sender/settings.h"

/* A clock this close to AWS's is right: signatures are good for 5 minutes. */
#define CLOCK_TOLERANCE		30

static void advance_fetch(Identity *identity, CredentialFetchAction action, int64_t now);

/* Try again later, the later the longer it fails. */
static void
fail_fetch(Identity *identity, const char *problem, int64_t now)
{
	char		text[sizeof(identity->problem)];

	snprintf(text, sizeof(text), "%s%s%s", problem,
			 identity == identities.own && identities.found.passed_over[0] ? "; passed over: " : "",
			 identity == identities.own ? identities.found.passed_over : "");
	identity->fetch_at = now + retry_fetch_delay(&identities.random, identity->failures);
	if (identity != &identities.region_seeker)
		identity_note_failure(identity, text);
	else
		identity->failures++;
}

/* libcurl has finished a request of an identity. */
static void
request_finished(HttpRequest *http)
{
	Identity   *identity = http->owner;
	int64_t		now = clock_us();
	time_t		date = http_date(http);
	CredentialFetchAction action;

	if (date != 0)
		identity->clock_offset = labs((long) (date - time(NULL))) <= CLOCK_TOLERANCE ? 0 :
			date - time(NULL);
	if (http->result != CURLE_OK)
		action = credential_fetch_no_response(&identity->fetch, http->error);
	else
		action = credential_fetch_response(&identity->fetch, http->status, http->response,
										   http->response_length,
										   time(NULL) + identity->clock_offset);
	http_release(http);
	advance_fetch(identity, action, now);
}

/* Send the request that the fetch has written. */
static void
send_request(Identity *identity, int64_t now)
{
	const CredentialRequest *request = &identity->fetch.request;
	HttpRequest *http = &identity->http;

	memset(http, 0, sizeof(*http));
	http->method = request->method;
	http->url = request->url;
	for (int i = 0; i < request->nheaders; i++)
		http->headers[http->nheaders++] = request->headers[i];
	http->headers[http->nheaders++] = "Expect:";
	if (request->body == NULL)
		http->headers[http->nheaders++] = "Content-Type:";
	http->body = request->body;
	http->body_length = request->body_length;
	http->direct = request->direct;
	http->timeout_ms = request->timeout_ms;
	http->connect_timeout_ms = Min(sender_connect_timeout, request->timeout_ms);
	http->max_response = CREDENTIAL_MAX_RESPONSE;
	http->ca_file = *sender_ca_file ? sender_ca_file : NULL;
	http->secret = true;
	http->owner = identity;
	http->on_finished = request_finished;
	if (!http_start(http))
		advance_fetch(identity, credential_fetch_no_response(&identity->fetch, http->error), now);
}

/* Run the command that the fetch names. */
static void
run_helper(Identity *identity, int64_t now)
{
	char		reason[200];

	if (!helper_start(&identity->helper, identity->fetch.command,
					  now + (int64_t) sender_credential_process_timeout * 1000,
					  reason, sizeof(reason)))
	{
		char		problem[256];

		snprintf(problem, sizeof(problem), "credential process: %s", reason);
		identity->fetching = false;
		fail_fetch(identity, problem, now);
	}
}

void
identity_fetch_check_helper(Identity *identity, int64_t now)
{
	Helper	   *helper = &identity->helper;
	const char *error;
	int			status;

	if (helper->pid == 0 || !helper_finished(helper, now, &status, &error))
		return;
	if (error != NULL)
		advance_fetch(identity, credential_fetch_no_response(&identity->fetch, error), now);
	else
		advance_fetch(identity, credential_fetch_output(&identity->fetch, status, helper->output,
												helper->length,
												time(NULL) + identity->clock_offset), now);
	helper_clear(helper);
}

/* The source of fetched credentials, as the view shows it. */
static const char *
fetched_from(const Identity *identity)
{
	if (identity != identities.own)
		return "assume role";
	if (identity->chain.nsteps > 0 && strcmp(identities.found.provider, "settings") == 0)
		return credential_step_name(identity->chain.steps[0].kind);
	return identities.found.provider;
}

/* Keep the result of a fetch. */
static void
finish_fetch(Identity *identity, int64_t now)
{
	CredentialFetch *fetch = &identity->fetch;
	time_t		expiration = fetch->credentials.expiration;
	int64_t		lifetime = IDENTITY_NEVER;

	if (identity == &identities.region_seeker)
	{
		strlcpy(identities.instance_region, fetch->region, sizeof(identities.instance_region));
		identity_note_change(IDENTITIES_SOUGHT);
		return;
	}
	if (expiration != 0)
		lifetime = (int64_t) (expiration - (time(NULL) + identity->clock_offset)) * USECS_PER_SEC;
	if (lifetime <= 0)
	{
		fail_fetch(identity, "the credentials that were fetched have expired already", now);
		return;
	}
	identity_take(identity, &fetch->credentials, fetched_from(identity),
				  fetch->principal, lifetime, now);
}

/* Take the next action of a fetch. */
static void
advance_fetch(Identity *identity, CredentialFetchAction action, int64_t now)
{
	bool		wrong_clock = identity->fetch.wrong_clock && identity->clock_offset != 0;

	switch (action)
	{
		case CREDENTIAL_FETCH_SEND:
			send_request(identity, now);
			return;
		case CREDENTIAL_FETCH_RUN:
			run_helper(identity, now);
			return;
		case CREDENTIAL_FETCH_DONE:
			identity->fetching = false;
			identity->fetch_at = IDENTITY_NEVER;
			finish_fetch(identity, now);
			break;
		case CREDENTIAL_FETCH_FAILED:
			identity->fetching = false;
			fail_fetch(identity, identity->fetch.errmsg, now);
			if (wrong_clock && identity->failures == 1)
				identity->fetch_at = now;	/* with the time of the response */
			break;
	}
	credential_fetch_free(&identity->fetch);
}

/* A role is assumed with the server's own credentials. */
static bool
prepare_role(Identity *identity)
{
	CredentialStep *step;

	credential_chain_free(&identity->chain);
	step = credential_chain_add(&identity->chain, CREDENTIAL_STEP_ASSUME_ROLE);
	return credential_step_set(step, CREDENTIAL_ROLE_ARN, identity->role_arn) &&
		credential_step_set(step, CREDENTIAL_EXTERNAL_ID, identity->external_id);
}

/* Does the fetch ask STS, which needs a region? */
static bool
needs_region(const Identity *identity)
{
	if (identity != identities.own)
		return identity != &identities.region_seeker;
	for (int i = 0; i < identities.own->chain.nsteps; i++)
	{
		if (identities.own->chain.steps[i].kind == CREDENTIAL_STEP_ASSUME_ROLE ||
			identities.own->chain.steps[i].kind == CREDENTIAL_STEP_WEB_IDENTITY)
			return true;
	}
	return false;
}

void
identity_fetch_start(Identity *identity, int64_t now)
{
	const char *region = needs_region(identity) ?
		identity_region(GetConfigOption("firehose.region", true, false)) : NULL;
	CredentialFetchAction action;

	identity->fetch_at = IDENTITY_NEVER;
	if (identity != identities.own && identity != &identities.region_seeker &&
		!identities.own->present)
		return;
	if (needs_region(identity) && region == NULL &&
		identities.found.metadata_url != NULL && identities.region_seeker.failures == 0)
	{
		identity->fetch_at = now + USECS_PER_SEC / 5;
		return;
	}
	if (identity == &identities.region_seeker)
	{
		if (identities.found.metadata_url == NULL)
			return;
		action = credential_fetch_start_region(&identity->fetch, identities.found.metadata_url);
	}
	else
	{
		if (identity != identities.own && !prepare_role(identity))
		{
			fail_fetch(identity, "out of memory", now);
			return;
		}
		if (identity->failures == 0)
			snprintf(identity->problem, sizeof(identity->problem),
					 "credentials are being fetched from %s",
					 credential_step_name(identity->chain.steps[0].kind));
		action = credential_fetch_start(&identity->fetch, &identity->chain,
										identity == identities.own ?
										&identities.found.credentials :
										&identities.own->credentials,
										region, &identities.found.endpoints,
										time(NULL) + identity->clock_offset);
	}
	identity->fetching = true;
	advance_fetch(identity, action, now);
	if (identity->fetching && identity->entry >= 0)
		identity_publish(identity);
}
