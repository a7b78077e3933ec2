/*
 * signer.c
 *		Who the sender is towards AWS; signer.h says when credentials are
 *		looked for.
 */
#include "postgres.h"

#include <time.h>

#include <openssl/crypto.h>

#include "utils/memutils.h"

#include "aws/credentials.h"
#include "sender/settings.h"
#include "sender/signer.h"

#define CHECK_INTERVAL		1000000L	/* us, between looks at the files */
#define REFRESH_INTERVAL	30000000L	/* us, between forced refreshes */

/* A clock this close to AWS's is right: signatures are good for 5 minutes. */
#define CLOCK_TOLERANCE		30

static CredentialState state;
static uint64_t generation = 0;
static char problem[256] = "no credentials were looked for yet";
static int64_t checked_at = -CHECK_INTERVAL;
static int64_t refreshed_at = -REFRESH_INTERVAL;
static time_t clock_offset = 0;
static int64_t corrected_at = -1;
static SigV4Key signing_key;

/* What the settings were when we looked last. */
static char *seen_settings = NULL;

static char *
current_settings(void)
{
	return psprintf("%s\n%s\n%s", sender_credentials_file, sender_config_file, sender_profile);
}

/* Are these two the same, either of them possibly absent? */
static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* A copy of a secret, and its end. */
static char *
copy_secret(const char *secret)
{
	return secret ? MemoryContextStrdup(TopMemoryContext, secret) : NULL;
}

static void
wipe_secret(char *secret)
{
	if (secret)
	{
		OPENSSL_cleanse(secret, strlen(secret));
		pfree(secret);
	}
}

/*
 * Look for credentials.  Those found earlier are kept if there are none now:
 * they may still be good.  True if they are others than before.
 */
static bool
load(void)
{
	CredentialSource source = {sender_credentials_file, sender_config_file, sender_profile};
	Credentials *now = &state.credentials;
	char	   *key = copy_secret(now->access_key_id);
	char	   *secret = copy_secret(now->secret_access_key);
	char	   *token = copy_secret(now->session_token);
	bool		changed = false;

	if (seen_settings)
		pfree(seen_settings);
	seen_settings = MemoryContextStrdup(TopMemoryContext, current_settings());

	switch (credentials_load(&state, &source, problem, sizeof(problem)))
	{
		case CREDENTIALS_FOUND:
			changed = !same(key, now->access_key_id) ||
				!same(secret, now->secret_access_key) ||
				!same(token, now->session_token);
			if (changed)
				generation++;
			break;
		case CREDENTIALS_FETCH:
			snprintf(problem, sizeof(problem), "those of %s are not fetched yet", state.provider);
			break;
		case CREDENTIALS_NOT_FOUND:
		case CREDENTIALS_FAILED:
			break;
	}
	wipe_secret(key);
	wipe_secret(secret);
	wipe_secret(token);
	return changed;
}

bool
signer_check(int64_t now)
{
	char	   *settings;
	bool		changed;

	if (now - checked_at < CHECK_INTERVAL)
		return false;
	checked_at = now;
	settings = current_settings();
	changed = seen_settings == NULL || strcmp(settings, seen_settings) != 0 ||
		credentials_changed(&state);
	pfree(settings);
	return changed && load();
}

bool
signer_refresh(int64_t now, uint64_t used)
{
	if (used != generation)
		return true;			/* somebody has refreshed them meanwhile */
	if (now - refreshed_at < REFRESH_INTERVAL)
		return false;
	refreshed_at = now;
	return load();
}

uint64_t
signer_generation(void)
{
	return generation;
}

const char *
signer_problem(void)
{
	return problem;
}

const char *
signer_region(const char *option)
{
	return credentials_region(&state, option);
}

bool
signer_endpoint(const char *url_option, const char *region, Endpoint *endpoint,
				  char *reason, size_t reason_size)
{
	if (!endpoint_resolve(url_option, state.endpoint_url, region, 0, endpoint,
						  reason, reason_size))
		return false;
	if (endpoint_allowed(endpoint, sender_allowed_endpoints))
		return true;
	snprintf(reason, reason_size, "firehose.allowed_endpoints does not allow %s", endpoint->url);
	return false;
}

bool
signer_correct_clock(int64_t signed_at, int64_t now, time_t server_time)
{
	time_t		offset = server_time - time(NULL);

	if (signed_at < corrected_at)
		return true;
	if (server_time == 0 || labs((long) (offset - clock_offset)) <= CLOCK_TOLERANCE)
		return false;
	clock_offset = labs((long) offset) <= CLOCK_TOLERANCE ? 0 : offset;
	corrected_at = now;
	ereport(LOG,
			(errmsg("firehose sender: clock differs from AWS by %ld s; signing with AWS time",
					(long) -offset)));
	return true;
}

bool
signer_sign(const Endpoint *endpoint, const char *region, const char *target,
			  const unsigned char *payload_sha256, SignedHeaders *headers,
			  char *reason, size_t reason_size)
{
	const SigV4Header to_sign[] = {
		{"content-type", "application/x-amz-json-1.1"},
		{"x-amz-target", target},
	};
	SigV4Identity identity = {
		state.credentials.access_key_id,
		state.credentials.secret_access_key,
		state.credentials.session_token,
		region,
		"firehose",
	};
	SigV4Request request = {
		"POST", endpoint->host_header, "/", "",
		to_sign, lengthof(to_sign), payload_sha256,
		time(NULL) + clock_offset,
	};
	char		amz_date[SIGV4_DATE_SIZE];
	char		authorization[SIGV4_AUTHORIZATION_SIZE];

	if (!sigv4_sign(&signing_key, &identity, &request, amz_date,
					authorization, sizeof(authorization), reason, reason_size))
		return false;

	snprintf(headers->host, sizeof(headers->host), "Host: %s", endpoint->host_header);
	snprintf(headers->date, sizeof(headers->date), "X-Amz-Date: %s", amz_date);
	snprintf(headers->authorization, sizeof(headers->authorization), "Authorization: %s",
			 authorization);
	headers->token = NULL;
	if (identity.session_token && *identity.session_token)
	{
		/* lives as long as the request */
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		headers->token = psprintf("X-Amz-Security-Token: %s", identity.session_token);
		MemoryContextSwitchTo(old);
	}
	return true;
}
