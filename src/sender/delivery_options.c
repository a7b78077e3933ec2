/*
 * delivery_options.c
 *		Apply a stream's options to its delivery: the pace, the identity that
 *		signs, and the endpoint.
 *
 * Sender process only.  Options are read when the stream's foreign server
 * changes; the endpoint is resolved before the next request, so that a stream
 * without records needs neither credentials nor a region.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "aws/role_arn.h"
#include "sender/completion.h"
#include "sender/delivery_options.h"
#include "sender/settings.h"
#include "stream/stream_options.h"

/* The limits of the pace that the options set. */
static PaceOptions
pace_options(const StreamOptions *o)
{
	PaceOptions pace = {
		.max_records = o->max_batch_records,
		.max_bytes = o->max_batch_bytes,
		.max_in_flight = o->max_in_flight,
		.timeout = (int64) o->request_timeout * 1000,
		.records_per_second = o->records_per_second,
		.bytes_per_second = o->bytes_per_second,
		.requests_per_second = o->requests_per_second,
		.largest_record = QUEUE_MAX_RECORD,
		.packs = o->pack
	};

	/* nothing is sent before what precedes it is settled */
	if (o->order == ORDER_STRICT)
		pace.max_records = pace.max_in_flight = 1;
	return pace;
}

/* Start the pace, or let it know of new options. */
static void
set_pace(Delivery *d, int64 now)
{
	PaceOptions pace = pace_options(&d->options);

	/* neighbouring streams and processes must not keep step */
	if (!d->started)
		pace_init(&d->health.pace, &pace, (uint64) GetCurrentTimestamp() ^
				  ((uint64) MyProcPid << 32) ^ ((uint64) d->target.serverid << 16), now);
	else
		pace_set_options(&d->health.pace, &pace, now);
	d->started = true;
	d->tokens_at = 0;
}

/* Are these other options?  Where they are equal but for padding: perhaps. */
static bool
differ(const StreamOptions *old, const StreamOptions *new)
{
	StreamOptions copy = *new;

	if (strcmp(old->region, new->region) != 0 ||
		strcmp(old->role_arn, new->role_arn) != 0 ||
		strcmp(old->external_id, new->external_id) != 0 ||
		strcmp(old->endpoint_url, new->endpoint_url) != 0)
		return true;
	copy.region = old->region;
	copy.role_arn = old->role_arn;
	copy.external_id = old->external_id;
	copy.endpoint_url = old->endpoint_url;
	return memcmp(&copy, old, sizeof(copy)) != 0;
}

/* Who signs, which is looked at before the next request. */
static void
find_identity(Delivery *d)
{
	d->resolved = false;
	d->identity = NULL;
	if (*d->options.role_arn == '\0' ||
		role_arn_allowed(d->options.role_arn, sender_allowed_roles))
		d->identity = identity_of(d->options.role_arn, d->options.external_id);
	d->identity_generation = d->identity != NULL ? identity_generation(d->identity) : 0;
}

/*
 * Has the identity of the stream other credentials than when last looked at,
 * or has it none?  A role that is not allowed has no identity whatever the
 * credentials are.
 */
static bool
has_other_credentials(const Delivery *d)
{
	if (d->identity == NULL)
		return false;
	return d->authenticating || identity_state(d->identity) != IDENTITY_READY ||
		identity_generation(d->identity) != d->identity_generation;
}

/* Show what the options say, or the state of the pace. */
static void
show_options(Delivery *d)
{
	if (!d->options.enabled)
		health_hold(&d->health, STREAM_DISABLED, "the stream's option enabled is false");
	else if (d->options.paused)
		health_hold(&d->health, STREAM_PAUSED, "the stream's option paused is true");
	else
		health_show(&d->health);
}

void
delivery_set_options(Delivery *d, const Stream *stream, int64 now)
{
	StreamOptions *o = &d->options;
	bool		was_strict = o->order == ORDER_STRICT;
	bool		changed;

	if (stream == NULL)
	{
		if (!d->dropped)
			queue_mark_dropped(firehose_queue, d->queue_stream);
		d->dropped = true;
		return;
	}

	changed = d->started && differ(o, &stream->options);
	MemoryContextReset(d->option_context);
	*o = stream->options;
	o->region = MemoryContextStrdup(d->option_context, stream->options.region);
	o->role_arn = MemoryContextStrdup(d->option_context, stream->options.role_arn);
	o->external_id = MemoryContextStrdup(d->option_context, stream->options.external_id);
	o->endpoint_url = MemoryContextStrdup(d->option_context, stream->options.endpoint_url);
	d->target.status = o->status;
	if (strcmp(d->target.name, stream->name) != 0)
	{
		completion_forget(&d->target);
		strlcpy(d->target.name, stream->name, NAMEDATALEN);
		queue_rename_stream(firehose_queue, d->queue_stream, stream->name);
	}
	set_pace(d, now);
	/* whoever changes a stream wants to see what that does */
	if (changed)
	{
		pace_try_now(&d->health.pace, now);
		d->unordered = o->order == ORDER_STRICT && (d->unordered || !was_strict);
	}
	find_identity(d);
	if (d->authenticating)
		pace_hold(&d->health.pace, now);
	show_options(d);
}

void
delivery_reconsider(Delivery *d, bool all, int64 now)
{
	if (d->dropped || !d->started || (!all && !has_other_credentials(d)))
		return;
	find_identity(d);
	pace_probe_now(&d->health.pace, now);
	if (d->authenticating)
		pace_hold(&d->health.pace, now);
	show_options(d);
	turn_mark(&d->turn);
}

/*
 * Wait for credentials that are being fetched for the first time: this is not
 * shown as trouble, and delivery_reconsider() ends it.
 */
static void
await_credentials(Delivery *d, int64 now)
{
	d->authenticating = true;
	pace_hold(&d->health.pace, now + (int64) sender_probe_interval * 1000);
	if (pace_state(&d->health.pace) != PACE_PARKED)
		stream_stats_set_state(&d->queue_stream->stats, STREAM_AUTHENTICATING,
							   identity_problem(d->identity));
}

bool
delivery_resolve(Delivery *d, int64 now)
{
	char		reason[STATISTICS_MESSAGE_LEN];
	Cause		cause;
	const char *region = identity_region(d->options.region);

	if (d->resolved)
		return true;
	if (d->identity != NULL && identity_state(d->identity) == IDENTITY_FETCHING)
	{
		await_credentials(d, now);
		return false;
	}
	d->authenticating = false;
	if (d->identity == NULL)
		snprintf(reason, sizeof(reason), "firehose.allowed_roles does not allow the stream's role_arn");
	else if (identity_state(d->identity) != IDENTITY_READY)
		snprintf(reason, sizeof(reason), NO_CREDENTIALS "%s", identity_problem(d->identity));
	else if (!stream_options_valid_name(d->options.stream_name))
		snprintf(reason, sizeof(reason),
				 "the server's name is not one that a Firehose stream can have: set its option stream_name");
	else if (region == NULL || *region == '\0')
		snprintf(reason, sizeof(reason),
				 "no region: set the stream's option region or firehose.region");
	else if (!endpoint_valid_region(region))
		snprintf(reason, sizeof(reason), "\"%s\" is not a region", region);
	else if (signer_endpoint(d->options.endpoint_url, region, d->options.use_fips,
							 d->options.use_dualstack, &d->endpoint,
							 reason, sizeof(reason)))
	{
		strlcpy(d->region, region, sizeof(d->region));
		d->resolved = true;
		return true;
	}
	cause_set(&cause, PARTY_HERE, "Configuration", "%s", reason);
	health_park(&d->health, &cause, now);
	return false;
}
