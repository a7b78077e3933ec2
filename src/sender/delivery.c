/*
 * delivery.c
 *		The delivery of one stream: which records are sent, and when.
 *		Responses are handled in response_handler.c, options in
 *		delivery_options.c.
 *
 * Sender process only.  A batch is sent at once when the stream has nothing in
 * flight; while requests are in flight it grows until it is full or has
 * lingered long enough.  So a quiet stream has the latency of one request, and
 * a busy one sends full batches, without any tuning.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "sender/completion.h"
#include "sender/delivery.h"
#include "sender/delivery_options.h"
#include "sender/settings.h"
#include "workers/pipeline_table.h"

/* Dead letters of a dropped stream that wait to be stored. */
#define MAX_PENDING_LETTERS			1000

/* The largest response: 500 entries with room for long ids and messages. */
#define MAX_RESPONSE			(2 * 1024 * 1024)

/* Bodies of all requests in flight. */
static Size in_flight_memory = 0;

static void fill_ready(Delivery *d, int64 now);
static bool send_batch(Delivery *d, int64 now);

Delivery *
delivery_create(QueueStream *stream, uint32 *outstanding)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "firehose delivery",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Delivery   *d = palloc0(sizeof(Delivery));

	d->context = context;
	d->option_context = AllocSetContextCreate(context, "firehose stream options",
											  ALLOCSET_SMALL_SIZES);
	d->queue_stream = stream;
	d->target.serverid = stream->serverid;
	strlcpy(d->target.name, NameStr(stream->name), NAMEDATALEN);
	queue_reader_init(&d->target.reader, firehose_queue, stream, outstanding);
	d->target.reader.on_settled = pipeline_settled;
	ready_list_init(&d->ready, context);
	ready_list_init(&d->suspects, context);
	d->target.stats = d->health.stats = &stream->stats;
	d->health.name = d->target.name;
	dlist_init(&d->in_flight);
	MemoryContextSwitchTo(old);

	pg_atomic_write_u64(&stream->stats.in_flight, 0);
	pg_atomic_write_u32(&stream->sender_procno, MyProcNo());
	return d;
}

void
delivery_destroy(Delivery *d)
{
	Assert(d->nin_flight == 0);
	completion_forget(&d->target);
	MemoryContextDelete(d->context);
}

/* Sending ----------------------------------------------------------------- */

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
	return d->ready.count >= pace_max_records(&d->health.pace) ||
		d->ready.bytes >= pace_max_bytes(&d->health.pace);
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

	while (!is_full(d) && queue_reader_next(&d->target.reader, &claimed))
	{
		if (unlikely(claimed.kind == QUEUE_ITEM_DEAD_EVENT))
		{
			completion_dead_event(&d->target, &claimed);
			continue;
		}
		if (d->ready.count == 0)
			d->ready_since = now;
		ready_list_push_back(&d->ready, &claimed);
	}
}

/* The foreign server is gone: all pending records go to the dead letters. */
static void
drain_dropped(Delivery *d)
{
	ClaimedRecord	claimed;
	int			n = d->target.npending;

	while (n < MAX_PENDING_LETTERS)
	{
		if (d->suspects.count > 0)
			ready_list_pop_front(&d->suspects, &claimed);
		else if (d->ready.count > 0)
			ready_list_pop_front(&d->ready, &claimed);
		else if (!queue_reader_next(&d->target.reader, &claimed))
			break;
		completion_failed(&d->target, &claimed, "StreamDropped", "The stream was dropped before the record was sent.");
		n++;
	}
}

/* Are there refused records whose pause is over? */
static inline bool
suspects_due(Delivery *d, int64 now)
{
	return d->suspects.count > 0 && now >= d->suspects_at;
}

/*
 * If nothing is left to send, the service no longer asks for less.  The pause
 * of a rate may outlast the records that it was for, so this is checked in a
 * pause, too: at its end nothing would wake the sender.
 */
static void
note_idle(Delivery *d, int64 now)
{
	if (d->health.shown != PACE_THROTTLED || d->nin_flight > 0 ||
		d->ready.count > 0 || d->suspects.count > 0 ||
		queue_reader_has_more(&d->target.reader))
		return;
	pace_idle(&d->health.pace);
	health_refresh(&d->health, now);
}

void
delivery_pump(Delivery *d, int64 now)
{
	if (d->dropped)
	{
		drain_dropped(d);
		return;
	}
	note_idle(d, now);
	if (!delivery_sends(d) || now < Max(d->tokens_at, pace_not_before(&d->health.pace)))
		return;
	while (d->nin_flight < pace_max_in_flight(&d->health.pace))
	{
		fill_ready(d, now);
		if (!suspects_due(d, now) && (d->ready.count == 0 || !is_ripe(d, now)))
			break;
		if (!delivery_resolve(d, now) || !send_batch(d, now))
			break;
	}
	note_idle(d, now);
}

/*
 * The records that a request is going to carry: the first ones of both lists.
 */
typedef struct Choice
{
	int			nsuspects;
	int			nready;
	Size		bytes;
} Choice;

/* Would one more record of this length be too much?  One always passes. */
static bool
is_too_much(Delivery *d, const Choice *choice, Size length)
{
	int			n = choice->nsuspects + choice->nready;
	Size		bytes = choice->bytes + length;

	return n > 0 &&
		(n >= Min(pace_max_records(&d->health.pace), REQUEST_MAX_RECORDS) ||
		 bytes > pace_max_bytes(&d->health.pace) ||
		 request_body_bound(n + 1, bytes) > body_budget(d));
}

/*
 * Choose as many records as a request may carry now.  Of refused records at
 * most half, so that others go beside them.
 */
static void
choose_records(Delivery *d, int64 now, Choice *choice)
{
	int			most = suspects_due(d, now) ?
		Max(1, pace_max_records(&d->health.pace) / 2) : 0;

	memset(choice, 0, sizeof(Choice));
	while (choice->nsuspects < Min(most, d->suspects.count))
	{
		Size		length = ready_list_get(&d->suspects, choice->nsuspects)->length;

		if (is_too_much(d, choice, length))
			return;
		choice->nsuspects++;
		choice->bytes += length;
	}
	while (choice->nready < d->ready.count)
	{
		Size		length = ready_list_get(&d->ready, choice->nready)->length;

		if (is_too_much(d, choice, length))
			return;
		choice->nready++;
		choice->bytes += length;
	}
}

/* Take the chosen records off their lists. */
static void
take_records(Delivery *d, const Choice *choice, Request *request)
{
	for (int i = 0; i < choice->nsuspects; i++)
		ready_list_pop_front(&d->suspects, &request->records[request->nrecords++]);
	for (int i = 0; i < choice->nready; i++)
		ready_list_pop_front(&d->ready, &request->records[request->nrecords++]);
	request->nsuspects = choice->nsuspects;
	request->payload = choice->bytes;
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

void
delivery_suspect(Delivery *d, const ClaimedRecord *claimed)
{
	ready_list_push_front(&d->suspects, claimed);
}

void
delivery_suspects_refused(Delivery *d, int64 now)
{
	d->suspects_at = now + retry_delay(&d->health.pace.random, RETRY_TRANSIENT,
									   ++d->suspect_failures);
}

void
delivery_suspects_passed(Delivery *d)
{
	d->suspect_failures = 0;
}

/*
 * Count the attempt in the queue, for a later sender that may have to
 * continue.
 */
static void
count_attempts(Delivery *d, Request *request)
{
	for (int i = 0; i < request->nrecords; i++)
		queue_reader_count_attempt(&d->target.reader, &request->records[i]);
	pg_atomic_fetch_add_u64(&d->queue_stream->stats.in_flight, request->nrecords);
}

/* Count the records sent; an attempt that sent nothing is not counted. */
static void
count_sent(Delivery *d, Request *request)
{
	int			resent = 0;

	pg_atomic_fetch_sub_u64(&d->queue_stream->stats.in_flight, request->nrecords);
	for (int i = 0; i < request->nrecords; i++)
	{
		if (request->http.sent > 0)
			resent += request->records[i].attempts > 1;
		else
			queue_reader_uncount_attempt(&d->target.reader, &request->records[i]);
	}
	if (resent > 0)
		pg_atomic_fetch_add_u64(&d->queue_stream->stats.resent, resent);
	if (request->http.sent > 0)
		pg_atomic_fetch_add_u64(&d->queue_stream->stats.requests, 1);
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
 * Flush the commits of the records to be sent.  A commit that did not wait for
 * its flush could otherwise be lost in a crash after the delivery.
 */
static void
flush_commits(void)
{
	XLogRecPtr	upto = pg_atomic_read_u64(&firehose_queue->asynchronous_upto);

	if (unlikely(upto > GetFlushRecPtr(NULL)))
		XLogFlush(upto);
}

/* The request has been handed to libcurl: count it. */
static void
note_sent(Delivery *d, Request *request, int64 now)
{
	count_attempts(d, request);
	request->delivery = d;
	pace_sent(&d->health.pace, &request->sent, request->nrecords, request->payload, now);
	dlist_push_tail(&d->in_flight, &request->node);
	d->nin_flight++;
	d->in_flight_memory += request->body_length;
	in_flight_memory += request->body_length;
	d->ready_since = now;		/* of what is left */
}

/* A request could not be started, for a reason that is not the stream's. */
static void
give_up_start(Delivery *d, Request *request, int64 now, const char *error)
{
	Cause		cause;

	cause_set(&cause, PARTY_HERE, "Resources", "%s", error);
	pace_short_of_resources(&d->health.pace, now);
	health_note_error(&d->health, &cause);
}

/*
 * Send the next batch; false: not now (pace, or trouble that was noted).
 */
static bool
send_batch(Delivery *d, int64 now)
{
	Request    *request;
	Choice		choice;
	Cause		cause;
	char		reason[STATISTICS_MESSAGE_LEN];
	int64		delay;

	choose_records(d, now, &choice);
	delay = pace_delay(&d->health.pace, choice.nsuspects + choice.nready, choice.bytes, now);
	d->tokens_at = delay > 0 ? now + delay : 0;
	if (delay > 0)
		return false;
	request = request_get();
	take_records(d, &choice, request);
	pg_read_barrier();
	flush_commits();
	if (!request_build(request, &d->target.reader, d->options.stream_name, d->identity,
					   &d->endpoint, d->region, reason, sizeof(reason)))
	{
		cause_set(&cause, PARTY_HERE, "Request", "%s", reason);
		health_park(&d->health, &cause, now);
	}
	else
	{
		set_http_limits(d, &request->http);
		if (http_start(&request->http))
		{
			note_sent(d, request, now);
			return true;
		}
		give_up_start(d, request, now, request->http.error);
	}
	delivery_put_all_back(d, request);
	request_put_back(request);
	return false;
}

void
delivery_finished(Request *request)
{
	Delivery   *d = request->delivery;

	dlist_delete(&request->node);
	d->nin_flight--;
	d->in_flight_memory -= request->body_length;
	in_flight_memory -= request->body_length;
	count_sent(d, request);
	d->tokens_at = 0;			/* the response may have changed the pace */
}

/* Waiting ----------------------------------------------------------------- */

/* When the records at hand may go, PG_INT64_MAX: not by time. */
static int64
next_send(Delivery *d)
{
	int64		when = PG_INT64_MAX;

	if (d->ready.count > 0 || queue_reader_has_more(&d->target.reader))
	{
		when = 0;
		if (d->ready.count > 0 && !is_full(d) && d->nin_flight > 0)
			when = d->ready_since + (int64) d->options.linger * 1000;
	}
	if (d->suspects.count > 0)
		when = Min(when, d->suspects_at);
	return when;
}

long
delivery_timeout_ms(Delivery *d, int64 now)
{
	int64		when;

	if (d->dropped)
		return queue_reader_has_more(&d->target.reader) &&
			d->target.npending < MAX_PENDING_LETTERS ? 0 : -1;
	if (!delivery_sends(d) || d->nin_flight >= pace_max_in_flight(&d->health.pace))
		return -1;
	when = next_send(d);
	if (when == PG_INT64_MAX)
		return -1;
	when = Max(when, Max(d->tokens_at, pace_not_before(&d->health.pace)));
	return Max(0, (when - now + 999) / 1000);
}

bool
delivery_ask_to_be_woken(Delivery *d, int64 now)
{
	/* a timer or a response will wake the sender */
	if (!d->dropped &&
		(d->ready.count > 0 || !delivery_sends(d) ||
		 d->nin_flight >= pace_max_in_flight(&d->health.pace)))
		return true;

	pg_atomic_exchange_u32(&d->queue_stream->wake, 1);	/* a full barrier */
	return !queue_reader_has_more(&d->target.reader);
}

QueuePosition
delivery_finished_upto(Delivery *d)
{
	QueuePosition upto = queue_reader_read_upto(&d->target.reader);
	dlist_iter	iter;

	for (int i = 0; i < d->ready.count; i++)
		upto = Min(upto, ready_list_get(&d->ready, i)->position);
	for (int i = 0; i < d->suspects.count; i++)
		upto = Min(upto, ready_list_get(&d->suspects, i)->position);
	dlist_foreach(iter, &d->in_flight)
	{
		Request    *request = dlist_container(Request, node, iter.cur);

		for (int i = 0; i < request->nrecords; i++)
			upto = Min(upto, request->records[i].position);
	}
	return completion_first_failure(&d->target, upto);
}

bool
delivery_is_idle(Delivery *d)
{
	return d->nin_flight == 0 && d->ready.count == 0 && d->suspects.count == 0 &&
		d->target.npending == 0 && !queue_reader_has_more(&d->target.reader) &&
		!queue_reader_has_deferred(&d->target.reader);
}
