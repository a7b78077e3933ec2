/*
 * identity.c
 *		Who the sender is towards AWS; identity.h says when credentials are
 *		looked for.
 *
 * The server's own identity is what credentials_load() finds: keys at hand, or
 * a chain of steps that credential_fetch.h carries out.  A role's identity is
 * a chain of one step, that begins with the server's own credentials.
 * Requests go through http.h like all others; a credential_process runs in
 * helper.h.
 *
 * Times of expiry are kept as times of the monotonic clock, counted from the
 * Date of the response that brought them, so that a wrong clock of this
 * machine neither shortens nor lengthens the life of credentials.
 */
#include "postgres.h"

#include <limits.h>
#include <time.h>

#include <openssl/crypto.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "aws/credential_fetch.h"
#include "aws/endpoint.h"
#include "aws/retry.h"
#include "sender/helper.h"
#include "sender/http.h"
#include "sender/identity.h"
#include "sender/settings.h"

#define SECOND				INT64CONST(1000000)

#define CHECK_INTERVAL		SECOND	/* between looks at the files */
#define REFUSED_INTERVAL	(30 * SECOND)	/* between refreshes by refusal */

/*
 * Refresh five minutes before expiry, as all SDKs do, and up to one minute
 * more, so that the senders of many servers do not come at once.
 */
#define REFRESH_AHEAD		(300 * SECOND)
#define REFRESH_JITTER		(60 * SECOND)

/* Delays after failures: 1 s, doubled each time up to a minute, jittered. */
#define FIRST_DELAY			SECOND
#define LONGEST_DELAY		(60 * SECOND)

#define HELPER_TIMEOUT		(60 * SECOND)
/* between the end of a helper's output and its own */
#define HELPER_POLL			(SECOND / 50)

/* A clock this close to AWS's is right: signatures are good for 5 minutes. */
#define CLOCK_TOLERANCE		30

#define NEVER				PG_INT64_MAX

struct Identity
{
	dlist_node	node;
	char	   *role_arn;		/* "": the server's own */
	char	   *external_id;
	bool		marked;			/* some stream names it */

	bool		present;		/* .credentials can be used */
	Credentials credentials;
	uint64_t	generation;		/* of the credentials */
	SigV4Key	signing_key;
	int64_t		expires_at;		/* us; or NEVER */

	int64_t		fetch_at;		/* us; or NEVER */
	bool		fetching;
	int			failures;		/* in a row */
	int64_t		refused_at;		/* last refresh by refusal */
	CredentialChain chain;		/* what .fetch carries out */
	CredentialFetch fetch;
	HttpRequest http;
	Helper		helper;
	time_t		clock_offset;	/* of STS */

	char		problem[800];	/* why it is not present */
	bool		logged;			/* the log was told of it */
	int			entry;			/* identity_stats.h */
	IdentityStats stats;
};

static dlist_head identities = DLIST_STATIC_INIT(identities);
static Identity *own;			/* the server's */
static uint64_t last_generation = 0;	/* over all identities */
static Oid	my_dboid;
static bool changed = false;	/* since the last identity_check() */
static int64_t checked_at = -CHECK_INTERVAL;
static char *seen_settings = NULL;
static RetryRandom random_state;

/* What the server's own credentials are looked for with */
static CredentialState found;
static int64_t missing_since = -1;	/* they are not to be found any more */
static bool exposed_logged = false;

/* The region that the instance told */
static bool region_wanted = false;
static char instance_region[64];
static Identity region_seeker;	/* only its fetch is used */

static void go_on(Identity *identity, CredentialFetchAction action, int64_t now);

/* Microseconds of a clock that never jumps. */
static int64_t
clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * SECOND + ts.tv_nsec / 1000;
}

/*
 * Set up -------------------------------------------------------------------
 */

static Identity *
create(const char *role_arn, const char *external_id)
{
	Identity   *identity = MemoryContextAllocZero(TopMemoryContext, sizeof(Identity));

	identity->role_arn = MemoryContextStrdup(TopMemoryContext, role_arn);
	identity->external_id = MemoryContextStrdup(TopMemoryContext, external_id);
	identity->expires_at = NEVER;
	identity->fetch_at = 0;
	identity->refused_at = -REFUSED_INTERVAL;
	identity->helper.fd = -1;
	identity->marked = true;
	strlcpy(identity->problem, "credentials were not looked for yet", sizeof(identity->problem));
	strlcpy(identity->stats.role_arn, role_arn, sizeof(identity->stats.role_arn));
	identity->stats.dboid = my_dboid;
	identity->entry = identity_stats_take(my_dboid);
	dlist_push_tail(&identities, &identity->node);
	return identity;
}

void
identity_init(Oid dboid)
{
	my_dboid = dboid;
	retry_random_seed(&random_state,
					  (uint64) GetCurrentTimestamp() ^ ((uint64) MyProcPid << 32));
	identity_stats_clear(dboid);
	own = create("", "");
	/* until credentials_load() says what to fetch */
	own->fetch_at = NEVER;
	region_seeker.fetch_at = NEVER;
	region_seeker.entry = -1;
	region_seeker.helper.fd = -1;
}

Identity *
identity_of(const char *role_arn, const char *external_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &identities)
	{
		Identity   *identity = dlist_container(Identity, node, iter.cur);

		if (strcmp(identity->role_arn, role_arn) == 0 &&
			(identity == own || strcmp(identity->external_id, external_id) == 0))
		{
			identity->marked = true;
			return identity;
		}
	}
	return create(role_arn, external_id);
}

void
identity_unmark(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &identities)
		dlist_container(Identity, node, iter.cur)->marked = false;
}

void
identity_mark(Identity *identity)
{
	if (identity != NULL)
		identity->marked = true;
}

/* One that is just fetching goes the next time. */
void
identity_forget_unmarked(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &identities)
	{
		Identity   *identity = dlist_container(Identity, node, iter.cur);

		if (identity->marked || identity == own || identity->fetching)
			continue;
		dlist_delete(&identity->node);
		identity_stats_release(identity->entry);
		credentials_wipe(&identity->credentials);
		credential_chain_free(&identity->chain);
		credential_fetch_free(&identity->fetch);
		sigv4_key_clear(&identity->signing_key);
		pfree(identity->role_arn);
		pfree(identity->external_id);
		pfree(identity);
	}
}

/*
 * What is known ------------------------------------------------------------
 */

IdentityState
identity_state(const Identity *identity)
{
	if (identity->present)
		return IDENTITY_READY;
	if (identity != own && !own->present)
		return identity_state(own);
	return identity->failures == 0 && (identity->fetching || identity->fetch_at != NEVER) ?
		IDENTITY_FETCHING : IDENTITY_FAILED;
}

const char *
identity_problem(const Identity *identity)
{
	return identity->present || own->present ? identity->problem : own->problem;
}

uint64_t
identity_generation(const Identity *identity)
{
	return identity->generation;
}

const Credentials *
identity_credentials(const Identity *identity)
{
	return &identity->credentials;
}

SigV4Key *
identity_signing_key(Identity *identity)
{
	return &identity->signing_key;
}

const char *
identity_region(const char *option)
{
	const char *region = credentials_region(&found, option);

	if (region != NULL)
		return region;
	if (instance_region[0] == '\0' && !region_wanted)
	{
		region_wanted = true;
		region_seeker.fetch_at = 0;
	}
	return instance_region[0] != '\0' ? instance_region : NULL;
}

const char *
identity_endpoint_url(void)
{
	return found.endpoint_url;
}

bool
identity_ignores_endpoint_urls(void)
{
	return found.ignore_endpoint_urls;
}

int
identity_endpoint_flags(void)
{
	return found.endpoint_flags;
}

/* Show what is known in the view. */
static void
publish(Identity *identity)
{
	identity->stats.state = identity_state(identity);
	identity_stats_publish(identity->entry, &identity->stats);
}

/*
 * Having, losing and failing ------------------------------------------------
 */

/* The server has credentials again: assume the roles that waited for them. */
static void
fetch_waiting_roles(int64_t now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &identities)
	{
		Identity   *identity = dlist_container(Identity, node, iter.cur);

		if (identity != own && !identity->present && !identity->fetching)
			identity->fetch_at = now;
	}
}

/* Use these credentials from now on.  lifetime is in us, or NEVER. */
static void
take(Identity *identity, const Credentials *credentials, const char *source,
	 const char *principal, int64_t lifetime, int64_t now)
{
	if (!identity->present || !credentials_equal(&identity->credentials, credentials))
	{
		credentials_wipe(&identity->credentials);
		if (!credentials_copy(&identity->credentials, credentials))
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		identity->generation = ++last_generation;
		identity->stats.fetched_at = GetCurrentTimestamp();
		changed = true;
	}
	if (identity == own && !own->present)
		fetch_waiting_roles(now);
	if (identity->logged)
		ereport(LOG,
				(errmsg("firehose sender: credentials of %s found again, from %s",
						identity == own ? "the server" : identity->role_arn, source)));
	identity->logged = false;
	identity->present = true;
	identity->failures = 0;
	identity->expires_at = identity->fetch_at = NEVER;
	if (lifetime != NEVER)
	{
		int64_t		ahead = REFRESH_AHEAD +
			(int64_t) (retry_random(&random_state) * REFRESH_JITTER);

		identity->expires_at = now + lifetime;
		identity->fetch_at = now + Max(SECOND, lifetime - Min(ahead, lifetime / 2));
	}
	identity->stats.fetches++;
	identity->stats.expires_at = lifetime == NEVER ? 0 :
		GetCurrentTimestamp() + lifetime;
	strlcpy(identity->stats.source, source, sizeof(identity->stats.source));
	strlcpy(identity->stats.principal, principal, sizeof(identity->stats.principal));
	publish(identity);
}

/* There are no credentials any more. */
static void
drop(Identity *identity)
{
	if (!identity->present)
		return;
	identity->present = false;
	identity->expires_at = NEVER;
	identity->generation = ++last_generation;
	credentials_wipe(&identity->credentials);
	sigv4_key_clear(&identity->signing_key);
	changed = true;
}

/* Note a failure, in the view and once in the log. */
static void
note_failure(Identity *identity, const char *problem)
{
	/* a stream that was waiting has to be told that this came to nothing */
	if (identity->failures++ == 0 && !identity->present)
		changed = true;
	strlcpy(identity->problem, problem, sizeof(identity->problem));
	identity->stats.failures++;
	strlcpy(identity->stats.last_error, problem, sizeof(identity->stats.last_error));
	identity->stats.last_error_at = GetCurrentTimestamp();
	if (!identity->logged)
		ereport(LOG,
				(errmsg("firehose sender: could not get credentials of %s: %s",
						identity == own ? "the server" : identity->role_arn, problem),
				 identity->present ?
				 errdetail("The old ones are used meanwhile.") : 0));
	identity->logged = true;
	publish(identity);
}

/*
 * Fetching ------------------------------------------------------------------
 */

/* Try again later, the later the longer it fails. */
static void
fail_fetch(Identity *identity, const char *problem, int64_t now)
{
	int			doublings = Min(identity->failures, 6);
	int64_t		delay = Min(FIRST_DELAY << doublings, LONGEST_DELAY);
	char		text[sizeof(identity->problem)];

	snprintf(text, sizeof(text), "%s%s%s", problem,
			 identity == own && found.passed_over[0] ? "; passed over: " : "",
			 identity == own ? found.passed_over : "");
	identity->fetch_at = now + delay / 2 + (int64_t) (retry_random(&random_state) * delay / 2);
	if (identity != &region_seeker)
		note_failure(identity, text);
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
	{
		action = credential_fetch_response(&identity->fetch, http->status, http->response,
										   http->response_length,
										   time(NULL) + identity->clock_offset);
		if (http->response != NULL)
			OPENSSL_cleanse(http->response, http->response_length);
	}
	http_release(http);
	go_on(identity, action, now);
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
	http->owner = identity;
	http->on_finished = request_finished;
	if (!http_start(http))
		go_on(identity, credential_fetch_no_response(&identity->fetch, http->error), now);
}

/* Run the command that the fetch names. */
static void
run_helper(Identity *identity, int64_t now)
{
	char		reason[200];

	if (!helper_start(&identity->helper, identity->fetch.command, now + HELPER_TIMEOUT,
					  reason, sizeof(reason)))
	{
		char		problem[256];

		snprintf(problem, sizeof(problem), "credential process: %s", reason);
		identity->fetching = false;
		fail_fetch(identity, problem, now);
	}
}

/* See whether a helper has ended, and go on with its output. */
static void
check_helper(Identity *identity, int64_t now)
{
	Helper	   *helper = &identity->helper;
	const char *error;
	int			status;

	if (helper->pid == 0 || !helper_finished(helper, now, &status, &error))
		return;
	if (error != NULL)
		go_on(identity, credential_fetch_no_response(&identity->fetch, error), now);
	else
		go_on(identity, credential_fetch_output(&identity->fetch, status, helper->output,
												helper->length,
												time(NULL) + identity->clock_offset), now);
	helper_clear(helper);
}

/* Keep what a fetch has brought. */
static void
finish_fetch(Identity *identity, int64_t now)
{
	CredentialFetch *fetch = &identity->fetch;
	time_t		expiration = fetch->credentials.expiration;
	int64_t		lifetime = NEVER;
	CredentialStepKind first;

	if (identity == &region_seeker)
	{
		strlcpy(instance_region, fetch->region, sizeof(instance_region));
		changed = true;
		return;
	}
	if (expiration != 0)
		lifetime = (int64_t) (expiration - (time(NULL) + identity->clock_offset)) * SECOND;
	if (lifetime <= 0)
	{
		fail_fetch(identity, "the credentials that were fetched have expired already", now);
		return;
	}
	first = identity->chain.steps[0].kind;
	take(identity, &fetch->credentials,
		 identity == own ? (identity->chain.nsteps > 0 &&
							strcmp(found.provider, "settings") == 0 ?
							credential_step_name(first) : found.provider) :
		 "assume role",
		 fetch->principal, lifetime, now);
}

/* Do what the fetch says comes next. */
static void
go_on(Identity *identity, CredentialFetchAction action, int64_t now)
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
			identity->fetch_at = NEVER;
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

/* Does it take STS, which is asked in a region? */
static bool
needs_region(const Identity *identity)
{
	if (identity != own)
		return identity != &region_seeker;
	for (int i = 0; i < own->chain.nsteps; i++)
	{
		if (own->chain.steps[i].kind == CREDENTIAL_STEP_ASSUME_ROLE ||
			own->chain.steps[i].kind == CREDENTIAL_STEP_WEB_IDENTITY)
			return true;
	}
	return false;
}

/*
 * Begin to fetch.  A role waits for the server's own credentials: take() will
 * come back to it.  STS waits a moment for the region, if only the instance
 * can tell it.
 */
static void
start_fetch(Identity *identity, int64_t now)
{
	CredentialFetchContext context = {
		.region = needs_region(identity) ?
		identity_region(GetConfigOption("firehose.region", true, false)) : NULL,
		.endpoint_url = found.endpoint_url,
		.endpoint_flags = found.endpoint_flags,
		.ignore_endpoint_urls = found.ignore_endpoint_urls
	};
	CredentialFetchAction action;

	identity->fetch_at = NEVER;
	if (identity != own && identity != &region_seeker && !own->present)
		return;
	if (needs_region(identity) && context.region == NULL &&
		found.metadata_url != NULL && region_seeker.failures == 0)
	{
		identity->fetch_at = now + SECOND / 5;
		return;
	}
	if (identity == &region_seeker)
	{
		if (found.metadata_url == NULL)
			return;
		action = credential_fetch_start_region(&identity->fetch, found.metadata_url);
	}
	else
	{
		if (identity != own && !prepare_role(identity))
		{
			fail_fetch(identity, "out of memory", now);
			return;
		}
		if (identity->failures == 0)
			snprintf(identity->problem, sizeof(identity->problem),
					 "credentials are being fetched from %s",
					 credential_step_name(identity->chain.steps[0].kind));
		action = credential_fetch_start(&identity->fetch, &identity->chain,
										identity == own ? &found.credentials : &own->credentials,
										&context, time(NULL) + identity->clock_offset);
	}
	identity->fetching = true;
	go_on(identity, action, now);
	if (identity->fetching && identity->entry >= 0)
		publish(identity);
}

/*
 * The server's own credentials ----------------------------------------------
 */

static char *
current_settings(void)
{
	return psprintf("%s\n%s\n%s\n%s\n%s", sender_credentials_file, sender_config_file,
					sender_profile, sender_allowed_roles, sender_allowed_endpoints);
}

/* Take the chain over, and carry it out. */
static void
take_chain(int64_t now)
{
	credential_chain_free(&own->chain);
	own->chain = found.chain;
	memset(&found.chain, 0, sizeof(found.chain));
	own->fetch_at = now;
}

/* Warn of a file with keys that others on this machine can read, once. */
static void
warn_if_exposed(void)
{
	if (found.exposed && !exposed_logged)
		ereport(WARNING,
				(errmsg("firehose sender: other users of this machine can read the file with the AWS credentials"),
				 errhint("Let its owner alone read it: chmod 600.")));
	exposed_logged = found.exposed;
}

/*
 * Look for the server's credentials.  Those found earlier are used for a while
 * if there are none now: whoever replaces a file may take it away first.
 */
static void
load(int64_t now)
{
	CredentialSource source = {sender_credentials_file, sender_config_file, sender_profile};
	char		problem[sizeof(own->problem)];

	if (seen_settings)
		pfree(seen_settings);
	seen_settings = NULL;
	if (own->fetching)
		/* its chain is in use; the next check is soon */
		return;
	seen_settings = MemoryContextStrdup(TopMemoryContext, current_settings());

	switch (credentials_load(&found, &source, problem, sizeof(problem)))
	{
		case CREDENTIALS_FOUND:
			missing_since = -1;
			warn_if_exposed();
			credential_chain_free(&own->chain);
			take(own, &found.credentials, found.provider, "", NEVER, now);
			break;
		case CREDENTIALS_FETCH:
			missing_since = -1;
			warn_if_exposed();
			take_chain(now);
			break;
		case CREDENTIALS_NOT_FOUND:
		case CREDENTIALS_FAILED:
			if (missing_since < 0)
				missing_since = now;
			own->fetch_at = NEVER;
			note_failure(own, problem);
			break;
	}
}

/* Has anything changed that credentials are looked for with? */
static bool
is_outdated(void)
{
	char	   *settings = current_settings();
	bool		outdated = seen_settings == NULL ||
		strcmp(settings, seen_settings) != 0 || credentials_changed(&found);

	pfree(settings);
	return outdated;
}

/* Do what is due for one identity. */
static void
do_what_is_due(Identity *identity, int64_t now)
{
	check_helper(identity, now);
	if (now >= identity->expires_at)
	{
		drop(identity);
		publish(identity);
	}
	if (!identity->fetching && now >= identity->fetch_at)
		start_fetch(identity, now);
}

bool
identity_check(int64_t now)
{
	bool		result;
	dlist_iter	iter;

	if (now - checked_at >= CHECK_INTERVAL)
	{
		checked_at = now;
		if (is_outdated())
		{
			load(now);
			changed = true;		/* what is allowed may be another list now */
		}
	}
	if (missing_since >= 0 && own->present &&
		now - missing_since >= (int64_t) sender_credentials_grace_period * 1000)
	{
		drop(own);
		publish(own);
	}
	dlist_foreach(iter, &identities)
		do_what_is_due(dlist_container(Identity, node, iter.cur), now);
	if (!region_seeker.fetching && now >= region_seeker.fetch_at)
		start_fetch(&region_seeker, now);

	result = changed;
	changed = false;
	return result;
}

long
identity_timeout_ms(int64_t now)
{
	int64_t		when = Min(region_seeker.fetch_at, PG_INT64_MAX);
	dlist_iter	iter;

	if (missing_since >= 0 && own->present)
		when = Min(when, missing_since + (int64_t) sender_credentials_grace_period * 1000);
	dlist_foreach(iter, &identities)
	{
		Identity   *identity = dlist_container(Identity, node, iter.cur);

		when = Min(when, identity->expires_at);
		if (!identity->fetching)
			when = Min(when, identity->fetch_at);
		if (identity->helper.pid != 0)
			when = Min(when, identity->helper.fd < 0 ? now + HELPER_POLL :
					   identity->helper.deadline);
	}
	if (when == PG_INT64_MAX)
		return -1;
	return (long) Min(Max(when - now + 999, 0) / 1000, INT_MAX);
}

bool
identity_refused(Identity *identity, int64_t now, uint64_t used)
{
	if (used != identity->generation)
		return identity->present;	/* they were refreshed meanwhile */
	if (now - identity->refused_at < REFUSED_INTERVAL || identity->fetching)
		return false;
	identity->refused_at = now;
	if (identity != own)
		identity->fetch_at = now;
	else
	{
		load(now);
		if (own->chain.nsteps > 0)
			own->fetch_at = now;
	}
	return used != identity->generation && identity->present;
}
