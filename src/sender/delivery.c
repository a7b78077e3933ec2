/*
 * delivery.c
 *		The delivery of one stream: what is sent, and when.  What follows from
 *		an answer is in response_handler.c.
 *
 * Sender process only.  A batch is sent at once when the stream has nothing in
 * flight; while requests are in flight it grows until it is full or has
 * lingered long enough.  So a quiet stream has the latency of one request, and
 * a busy one sends full batches, without any tuning.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "aws/role_arn.h"
#include "common/compat.h"
#include "sender/completion.h"
#include "sender/delivery.h"
#include "sender/response_handler.h"
#include "sender/settings.h"
#include "stream/stream_options.h"
#include "workers/pipeline_table.h"

/* Dead letters of a dropped stream that wait to be stored. */
#define MAX_BURIALS			1000

/* The largest response: 500 entries with room for long ids and messages. */
#define MAX_RESPONSE			(2 * 1024 * 1024)

/* Bodies of all requests in flight. */
static Size in_flight_memory = 0;

static bool resolve(Delivery *d, int64 now);
static void fill_ready(Delivery *d, int64 now);
static bool send_batch(Delivery *d, int64 now);

Delivery *
delivery_create(QueueStream *slot, uint32 *outstanding)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "firehose delivery",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Delivery   *d = palloc0(sizeof(Delivery));

	d->context = context;
	d->option_context = AllocSetContextCreate(context, "firehose stream options",
											  ALLOCSET_SMALL_SIZES);
	d->queue_stream = slot;
	d->serverid = slot->serverid;
	strlcpy(d->name, NameStr(slot->name), NAMEDATALEN);
	queue_reader_init(&d->reader, firehose_queue, slot, outstanding);
	d->reader.on_settled = pipeline_settled;
	ready_list_init(&d->ready, context);
	dlist_init(&d->in_flight);
	MemoryContextSwitchTo(old);

	pg_atomic_write_u64(&slot->stats.in_flight, 0);
	pg_atomic_write_u32(&slot->sender_procno, MyProcNo());
	return d;
}

void
delivery_destroy(Delivery *d)
{
	Assert(d->nin_flight == 0);
	completion_forget(d);
	MemoryContextDelete(d->context);
}

/* Options ----------------------------------------------------------------- */

void
delivery_set_options(Delivery *d, const Stream *stream, int64 now)
{
	StreamOptions *o = &d->options;
	bool		first = d->batch_limit == 0;

	if (stream == NULL)
	{
		if (!d->dropped)
			queue_mark_dropped(firehose_queue, d->queue_stream);
		d->dropped = true;
		return;
	}

	MemoryContextReset(d->option_context);
	*o = stream->options;
	o->region = MemoryContextStrdup(d->option_context, stream->options.region);
	o->role_arn = MemoryContextStrdup(d->option_context, stream->options.role_arn);
	o->external_id = MemoryContextStrdup(d->option_context, stream->options.external_id);
	o->endpoint_url = MemoryContextStrdup(d->option_context, stream->options.endpoint_url);
	if (strcmp(d->name, stream->name) != 0)
	{
		completion_forget(d);
		strlcpy(d->name, stream->name, NAMEDATALEN);
		queue_rename_stream(firehose_queue, d->queue_stream, stream->name);
	}

	if (first)
	{
		adaptive_limit_init(&d->limit, o->max_in_flight);
		token_bucket_init(&d->records, o->records_per_second, o->max_batch_records, now);
		token_bucket_init(&d->bytes, o->bytes_per_second, QUEUE_MAX_RECORD, now);
		token_bucket_init(&d->requests, o->requests_per_second, 1, now);
	}
	else
	{
		adaptive_limit_set_max(&d->limit, o->max_in_flight);
		token_bucket_set_rate(&d->records, o->records_per_second, o->max_batch_records, now);
		token_bucket_set_rate(&d->bytes, o->bytes_per_second, QUEUE_MAX_RECORD, now);
		token_bucket_set_rate(&d->requests, o->requests_per_second, 1, now);
	}
	d->batch_limit = o->max_batch_records;
	d->tokens_at = 0;
	delivery_reconsider(d, now);
}

void
delivery_reconsider(Delivery *d, int64 now)
{
	if (d->dropped || d->options.role_arn == NULL)
		return;
	d->resolved = false;
	d->identity = NULL;
	if (*d->options.role_arn == '\0' ||
		role_arn_allowed(d->options.role_arn, sender_allowed_roles))
		d->identity = identity_of(d->options.role_arn, d->options.external_id);
	if (!d->options.enabled)
		stream_stats_set_state(&d->queue_stream->stats, STREAM_DISABLED, "the stream's option enabled is false");
	else if (d->parked || d->authenticating)
		d->next_attempt = now;
	else if (d->failures == 0)
		stream_stats_set_state(&d->queue_stream->stats, STREAM_ACTIVE, "");
}

/*
 * Wait for credentials that are being fetched for the first time: that is no
 * trouble, and delivery_reconsider() ends it.
 */
static void
await_credentials(Delivery *d, int64 now)
{
	d->authenticating = true;
	d->next_attempt = now + (int64) sender_probe_interval * 1000;
	if (!d->parked)
		stream_stats_set_state(&d->queue_stream->stats, STREAM_AUTHENTICATING,
							   identity_problem(d->identity));
}

/*
 * Find out where to send, and whether we may; false: parked with the reason,
 * or waiting for credentials.
 */
static bool
resolve(Delivery *d, int64 now)
{
	char		reason[STATISTICS_MESSAGE_LEN];
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
	response_handler_park(d, now, "Configuration", reason);
	return false;
}

/* Sending ----------------------------------------------------------------- */

static inline int
max_requests(Delivery *d)
{
	return d->parked || d->bisect_left > 0 ? 1 : adaptive_limit_get(&d->limit);
}

/* How many records a request may have now: a probe carries one. */
static inline int
max_records(Delivery *d)
{
	int			n = d->parked ? 1 : Min(d->batch_limit, d->options.max_batch_records);

	if (d->options.records_per_second > 0)
		n = Min(n, d->options.records_per_second);
	return n;
}

static inline Size
max_bytes(Delivery *d)
{
	Size		n = d->options.max_batch_bytes;

	if (d->options.bytes_per_second > 0)
		n = Min(n, d->options.bytes_per_second);
	return n;
}

/*
 * How large the next body may be.  All requests of the sender share
 * firehose.request_memory; a stream may have as much in flight as it leaves
 * free, so that streams whose requests hang do not starve the others.
 */
static inline Size
body_budget(Delivery *d)
{
	Size		cap = (Size) sender_request_memory * 1024;
	Size		claimed = in_flight_memory + d->in_flight_memory;

	return cap > claimed ? cap - claimed : 0;
}

static inline bool
is_full(Delivery *d)
{
	return d->ready.count >= max_records(d) || d->ready.bytes >= max_bytes(d);
}

static bool
is_ripe(Delivery *d, int64 now)
{
	return d->nin_flight == 0 || is_full(d) ||
		now - d->ready_since >= (int64) d->options.linger * 1000;
}

/* Have a batch at hand, as far as the queue has one. */
static void
fill_ready(Delivery *d, int64 now)
{
	ClaimedRecord	claimed;

	while (!is_full(d) && queue_reader_next(&d->reader, &claimed))
	{
		if (unlikely(claimed.kind == QUEUE_ITEM_DEAD_EVENT))
		{
			completion_dead_event(d, &claimed);
			continue;
		}
		if (d->ready.count == 0)
			d->ready_since = now;
		ready_list_push_back(&d->ready, &claimed);
	}
}

/* The server is gone: all it is pending goes to the dead letters. */
static void
bury(Delivery *d)
{
	ClaimedRecord	claimed;
	int			n = completion_pending_failures(d);

	while (n < MAX_BURIALS)
	{
		if (d->ready.count > 0)
			ready_list_pop_front(&d->ready, &claimed);
		else if (!queue_reader_next(&d->reader, &claimed))
			break;
		completion_failed(d, &claimed, "StreamDropped", "The stream was dropped before the record was sent.");
		n++;
	}
}

void
delivery_pump(Delivery *d, int64 now)
{
	if (d->dropped)
	{
		bury(d);
		return;
	}
	if (!d->options.enabled || now < d->next_attempt)
		return;
	while (d->nin_flight < max_requests(d))
	{
		fill_ready(d, now);
		if (d->ready.count == 0 || !is_ripe(d, now) || !resolve(d, now) ||
			!send_batch(d, now))
			break;
	}
}

/* Take records off the ready list, as many as a request may carry now. */
static void
choose_records(Delivery *d, Request *request)
{
	int			most = Min(max_records(d), REQUEST_MAX_RECORDS);
	Size		bytes = max_bytes(d);
	Size		budget = body_budget(d);
	bool		tight = request_body_bound(most, bytes) > budget;

	while (d->ready.count > 0 && request->nrecords < most)
	{
		Size		length = ready_list_get(&d->ready, 0)->length;

		/* one record always passes, however little there is */
		if (request->nrecords > 0 &&
			(request->payload + length > bytes ||
			 (tight && request_body_bound(request->nrecords + 1,
										  request->payload + length) > budget)))
			break;
		ready_list_pop_front(&d->ready, &request->records[request->nrecords++]);
		request->payload += length;
	}
}

void
delivery_put_back(Delivery *d, const ClaimedRecord *claimed)
{
	ready_list_push_front(&d->ready, claimed);
}

void
delivery_put_all_back(Delivery *d, Request *request)
{
	for (int i = request->nrecords; i-- > 0;)
		delivery_put_back(d, &request->records[i]);
}

/* Do the rate limits let this request go now?  If not, note when they will. */
static bool
take_tokens(Delivery *d, Request *request, int64 now)
{
	int64		delay = Max(token_bucket_delay(&d->requests, 1, now),
							Max(token_bucket_delay(&d->records, request->nrecords, now),
								token_bucket_delay(&d->bytes, request->payload, now)));

	if (delay > 0)
	{
		d->tokens_at = now + delay;
		return false;
	}
	d->tokens_at = 0;
	token_bucket_take(&d->requests, 1, now);
	token_bucket_take(&d->records, request->nrecords, now);
	token_bucket_take(&d->bytes, request->payload, now);
	return true;
}

/* Count the attempt in the queue, for whoever may have to go on after us. */
static void
count_attempts(Delivery *d, Request *request)
{
	int			resent = 0;

	for (int i = 0; i < request->nrecords; i++)
	{
		resent += request->records[i].attempts > 0;
		queue_reader_count_attempt(&d->reader, &request->records[i]);
	}
	if (resent > 0)
		pg_atomic_fetch_add_u64(&d->queue_stream->stats.resent, resent);
	pg_atomic_fetch_add_u64(&d->queue_stream->stats.requests, 1);
	pg_atomic_fetch_add_u64(&d->queue_stream->stats.in_flight, request->nrecords);
}

static void
set_http_limits(Delivery *d, HttpRequest *http)
{
	http->timeout_ms = d->options.request_timeout;
	http->connect_timeout_ms = Min(sender_connect_timeout, d->options.request_timeout);
	http->max_response = MAX_RESPONSE;
	http->ca_file = *sender_ca_file ? sender_ca_file : NULL;
}

/*
 * Send the next batch; false: not now (rate limit, or trouble that was noted).
 */
static bool
send_batch(Delivery *d, int64 now)
{
	Request    *request = request_get();
	char		reason[STATISTICS_MESSAGE_LEN];

	choose_records(d, request);
	if (!take_tokens(d, request, now))
	{
		delivery_put_all_back(d, request);
		request_put_back(request);
		return false;
	}
	if (!request_build(request, &d->reader, d->options.stream_name, d->identity, &d->endpoint, d->region,
					   reason, sizeof(reason)))
	{
		delivery_put_all_back(d, request);
		request_put_back(request);
		response_handler_park(d, now, "Request", reason);
		return false;
	}
	set_http_limits(d, &request->http);
	if (!http_start(&request->http))
	{
		delivery_put_all_back(d, request);
		response_handler_back_off(d, now, RETRY_TRANSIENT, -1, "Request", request->http.error);
		request_put_back(request);
		return false;
	}

	count_attempts(d, request);
	request->delivery = d;
	request->sent_at = now;
	dlist_push_tail(&d->in_flight, &request->node);
	d->nin_flight++;
	d->in_flight_memory += request->body_length;
	in_flight_memory += request->body_length;
	d->ready_since = now;		/* of what is left */
	return true;
}

void
delivery_finished(Request *request, int64 now)
{
	Delivery   *d = request->delivery;

	dlist_delete(&request->node);
	d->nin_flight--;
	d->in_flight_memory -= request->body_length;
	in_flight_memory -= request->body_length;
	pg_atomic_fetch_sub_u64(&d->queue_stream->stats.in_flight, request->nrecords);
	response_handler_take(d, request, now);
	request_put_back(request);
}

/* Waiting ----------------------------------------------------------------- */

long
delivery_timeout_ms(Delivery *d, int64 now)
{
	int64		when;

	if (d->dropped)
		return queue_reader_has_more(&d->reader) &&
			completion_pending_failures(d) < MAX_BURIALS ? 0 : -1;
	if (!d->options.enabled || d->nin_flight >= max_requests(d))
		return -1;
	if (d->ready.count == 0 && !queue_reader_has_more(&d->reader))
		return -1;
	when = Max(d->next_attempt, d->tokens_at);
	if (d->ready.count > 0 && !is_full(d) && d->nin_flight > 0)
		when = Max(when, d->ready_since + (int64) d->options.linger * 1000);
	return Max(0, (when - now + 999) / 1000);
}

bool
delivery_ask_to_be_woken(Delivery *d, int64 now)
{
	/* a timer or an answer will bring us back */
	if (!d->dropped &&
		(d->ready.count > 0 || !d->options.enabled || d->nin_flight >= max_requests(d)))
		return true;

	pg_atomic_exchange_u32(&d->queue_stream->wake, 1);	/* a full barrier */
	return !queue_reader_has_more(&d->reader);
}

QueuePosition
delivery_finished_upto(Delivery *d)
{
	QueuePosition upto = queue_reader_read_upto(&d->reader);
	dlist_iter	iter;

	for (int i = 0; i < d->ready.count; i++)
		upto = Min(upto, ready_list_get(&d->ready, i)->position);
	dlist_foreach(iter, &d->in_flight)
	{
		Request    *request = dlist_container(Request, node, iter.cur);

		for (int i = 0; i < request->nrecords; i++)
			upto = Min(upto, request->records[i].position);
	}
	return completion_first_failure(d, upto);
}

bool
delivery_is_idle(Delivery *d)
{
	return d->nin_flight == 0 && d->ready.count == 0 &&
		completion_pending_failures(d) == 0 && !queue_reader_has_more(&d->reader) &&
		!queue_reader_has_deferred(&d->reader);
}
