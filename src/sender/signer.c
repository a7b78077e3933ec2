/*
 * signer.c
 *		The signature of a request, its endpoint, and the clock of that
 *		endpoint.
 */
#include "postgres.h"

#include <time.h>

#include "utils/memutils.h"

#include "sender/settings.h"
#include "sender/signer.h"

/* A clock this close to AWS's is right: signatures are good for 5 minutes. */
#define CLOCK_TOLERANCE		30

/*
 * The number of endpoints whose clocks are known to differ from this
 * machine's.  When there are more, the one that was corrected longest ago is
 * forgotten.
 */
#define MAX_CLOCKS			32

#define TOKEN_HEADER		"X-Amz-Security-Token: "

typedef struct Clock
{
	char		host[URL_HOST_SIZE + 8];	/* "": free */
	time_t		offset;			/* seconds that it is ahead of this machine's
								 * */
	int64_t		corrected_at;	/* us, monotonic */
} Clock;

static Clock clocks[MAX_CLOCKS];

/* The clock of an endpoint, NULL if it is not known to differ. */
static Clock *
find_clock(const Endpoint *endpoint)
{
	for (int i = 0; i < MAX_CLOCKS; i++)
	{
		if (strcmp(clocks[i].host, endpoint->host_header) == 0)
			return &clocks[i];
	}
	return NULL;
}

/* A place for an endpoint's clock. */
static Clock *
new_clock(const Endpoint *endpoint)
{
	Clock	   *oldest = &clocks[0];

	for (int i = 0; i < MAX_CLOCKS && oldest->host[0] != '\0'; i++)
	{
		if (clocks[i].host[0] == '\0' || clocks[i].corrected_at < oldest->corrected_at)
			oldest = &clocks[i];
	}
	memset(oldest, 0, sizeof(*oldest));
	strlcpy(oldest->host, endpoint->host_header, sizeof(oldest->host));
	return oldest;
}

bool
signer_endpoint(const char *url_option, const char *region,
				int use_fips, int use_dualstack, Endpoint *endpoint,
				char *reason, size_t reason_size)
{
	const EndpointConfig *config = identity_endpoints();
	int			flags = config->flags;

	if (use_fips >= 0)
		flags = (flags & ~ENDPOINT_FIPS) | (use_fips ? ENDPOINT_FIPS : 0);
	if (use_dualstack >= 0)
		flags = (flags & ~ENDPOINT_DUALSTACK) | (use_dualstack ? ENDPOINT_DUALSTACK : 0);

	if (!endpoint_resolve(url_option, config, region, flags, endpoint, reason, reason_size))
		return false;
	if (endpoint_allowed(endpoint, sender_allowed_endpoints))
		return true;
	snprintf(reason, reason_size, "firehose.allowed_endpoints does not allow %s", endpoint->url);
	return false;
}

bool
signer_correct_clock(const Endpoint *endpoint, int64_t signed_at, time_t signed_time,
					 int64_t now, time_t server_time)
{
	time_t		offset = server_time - time(NULL);
	Clock	   *clock = find_clock(endpoint);

	if (clock != NULL && signed_at < clock->corrected_at)
		return true;
	if (server_time == 0)
		return false;
	/*
	 * The offset is right.  The signature was wrong nevertheless if the clock
	 * was set meanwhile, as NTP does soon after a machine's start.
	 */
	if (labs((long) (offset - (clock != NULL ? clock->offset : 0))) <= CLOCK_TOLERANCE)
	{
		time_t		took = (now - signed_at) / USECS_PER_SEC;

		return labs((long) (server_time - signed_time - took)) > CLOCK_TOLERANCE;
	}
	if (clock == NULL)
		clock = new_clock(endpoint);
	clock->offset = labs((long) offset) <= CLOCK_TOLERANCE ? 0 : offset;
	clock->corrected_at = now;
	ereport(LOG,
			(errmsg("firehose sender: clock differs from AWS by %ld s; signing with AWS time",
					(long) -offset)));
	return true;
}

bool
signer_sign(Identity *identity, const Endpoint *endpoint, const char *region,
			const char *target, const unsigned char *payload_sha256,
			SignedHeaders *headers, char *reason, size_t reason_size)
{
	const SigV4Header to_sign[] = {
		{"content-type", "application/x-amz-json-1.1"},
		{"x-amz-target", target},
	};
	const Credentials *credentials = identity_credentials(identity);
	const Clock *clock = find_clock(endpoint);
	SigV4Identity signer = {
		credentials->access_key_id,
		credentials->secret_access_key,
		credentials->session_token,
		region,
		"firehose",
	};
	SigV4Request request = {
		"POST", endpoint->host_header, "/", "",
		to_sign, lengthof(to_sign), payload_sha256,
		time(NULL) + (clock != NULL ? clock->offset : 0),
	};
	char		amz_date[SIGV4_DATE_SIZE];
	char		authorization[SIGV4_AUTHORIZATION_SIZE];

	if (!sigv4_sign(identity_signing_key(identity), &signer, &request, amz_date,
					authorization, sizeof(authorization), reason, reason_size))
		return false;

	headers->time = request.now;
	snprintf(headers->host, sizeof(headers->host), "Host: %s", endpoint->host_header);
	snprintf(headers->date, sizeof(headers->date), "X-Amz-Date: %s", amz_date);
	snprintf(headers->authorization, sizeof(headers->authorization), "Authorization: %s",
			 authorization);
	headers->token = NULL;
	if (signer.session_token && *signer.session_token)
	{
		/* lives as long as the request; psprintf could leave pieces behind */
		Size		size = sizeof(TOKEN_HEADER) + strlen(signer.session_token);

		headers->token = MemoryContextAlloc(TopMemoryContext, size);
		snprintf(headers->token, size, TOKEN_HEADER "%s", signer.session_token);
	}
	return true;
}
