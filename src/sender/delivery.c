/*
 * delivery.c
 *		The delivery of one stream: which records are sent, and when.
 *		Responses are handled in response_handler.c, options in
 *		delivery_options.c.
 *
 * Sender process only.  A batch is sent at once when the stream has nothing in
 * flight; while requests are in flight it grows until it is full or has
 * lingered long enough.  So a quiet stream has the latency of one request, and
 * a busy one sends full batches, without any tuning.  With the option
 * pack_linger the first records of a quiet stream wait, too, because records
 * that travel together cost less.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "queue/pool.h"
#include "queue/wake.h"
#include "sender/completion.h"
#include "sender/delivery.h"
#include "sender/delivery_options.h"
#include "sender/settings.h"
#include "workers/pipeline_table.h"

/*
 * Dead letters of a stream that wait to be stored, and when to look again
 * whether they are (us).
 */
#define MAX_PENDING_LETTERS			1000
#define LETTERS_PAUSE				20000

/* The largest response: 500 entries with room for long ids and messages. */
#define MAX_RESPONSE			(2 * 1024 * 1024)

/*
 * When to look again at records whose transaction is just ending, and which
 * may fill a request (us).
 */
#define LOOK_AGAIN				1000

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
	group_ratio_init(&d->ratio);
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
	budget_leave_line(&d->budget);
	completion_forget(&d->target);
	MemoryContextDelete(d->context);
}

/* Sending ----------------------------------------------------------------- */

/* Is as much at hand as a request may have? */
static inline bool
is_full(const Delivery *d, const GroupLimits *limits)
{
	return d->ready.count >= limits->records || (int64) d->ready.bytes >= limits->bytes;
}

/*
 * Until when records at hand wait for others, unless they fill a request.
 * Those that came back have waited.
 */
static int64
ripe_at(const Delivery *d)
{
	int64		linger = d->options.pack_linger;

	if (linger > 0 && (d->hurried || d->came_back || queue_is_filling(firehose_queue)))
		linger = 0;
	if (d->nin_flight > 0)
		linger = Max(linger, d->options.linger);
	return linger > 0 ? d->ready_since + linger * 1000 : 0;
}

/*
 * Is nothing more sent until dead letters are stored?  In strict order no
 * record passes one that is in neither place yet.
 */
static inline bool
awaits_letters(const Delivery *d)
{
	return d->target.npending >= (d->options.order == ORDER_STRICT ? 1 : MAX_PENDING_LETTERS);
}

/*
 * Have a batch at hand, as far as the queue has one.  Returns whether it is
 * full.
 */
static bool
fill_ready(Delivery *d, int64 now)
{
	GroupLimits limits;

	delivery_group_limits(d, &limits);
	while (!is_full(d, &limits) && !awaits_letters(d))
	{
		ClaimedRecord *claimed = ready_list_next(&d->ready);

		if (!queue_reader_next(&d->target.reader, claimed))
			break;
		if (unlikely(claimed->kind == QUEUE_ITEM_DEAD_EVENT))
		{
			completion_dead_event(&d->target, claimed);
			continue;
		}
		if (d->ready.count == 0)
			d->ready_since = now;
		ready_list_added(&d->ready, claimed);
	}
	return is_full(d, &limits);
}

void
delivery_hurry(Delivery *d)
{
	d->hurried = d->ready.count > 0 || queue_reader_has_more(&d->target.reader);
	d->health.pace.suspects_at = 0;
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

/*
 * If nothing is left to send, the service no longer asks for less, and nothing
 * is tried again.  A pause may outlast the records that it was for, so this is
 * checked in a pause, too: at its end nothing would wake the sender.
 */
static void
note_idle(Delivery *d, int64 now)
{
	if (d->nin_flight > 0 || d->ready.count > 0 || d->suspects.count > 0 ||
		queue_reader_has_more(&d->target.reader))
		return;
	pace_idle(&d->health.pace);
	health_refresh(&d->health, now);
}

/* Send as many requests as the pace and the budget allow. */
static void
send_batches(Delivery *d, int64 now)
{
	if (!delivery_sends(d) || now < Max(d->tokens_at, pace_not_before(&d->health.pace)))
		return;
	if (d->unordered && d->nin_flight == 0)
		delivery_restore_order(d);
	while (d->nin_flight < pace_max_in_flight(&d->health.pace))
	{
		bool		full = fill_ready(d, now);

		if (d->options.order == ORDER_STRICT && awaits_letters(d))
			break;
		if (!delivery_suspects_due(d, now) &&
			(d->ready.count == 0 || (!full && now < ripe_at(d))))
			break;
		if (!delivery_resolve(d, now) || !send_batch(d, now))
			break;
	}
}

void
delivery_pump(Delivery *d, int64 now)
{
	d->asked = false;
	if (d->dropped)
		drain_dropped(d);
	else
		send_batches(d, now);
	/* reading on frees pages, too */
	queue_reader_serve_waiters(firehose_queue);
	if (d->health.shown == PACE_THROTTLED || d->health.shown == PACE_RETRYING)
		note_idle(d, now);
	if (d->nin_flight == 0)
		ready_list_trim(&d->ready);

	/* a stream that does not want to send does not stand in line */
	if (!d->asked)
		budget_leave_line(&d->budget);
	if (!d->budget.in_line)
		health_waits(&d->health, NULL);
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

/* Nothing was sent: these were no attempts. */
static void
uncount_attempts(Delivery *d, Request *request)
{
	for (int i = 0; i < request->nrecords; i++)
		queue_reader_uncount_attempt(&d->target.reader, &request->records[i]);
}

/* Count the records sent; an attempt that sent nothing is not counted. */
static void
count_sent(Delivery *d, Request *request)
{
	int			resent = 0;

	pg_atomic_fetch_sub_u64(&d->queue_stream->stats.in_flight, request->nrecords);
	if (request->http.sent == 0)
	{
		uncount_attempts(d, request);
		return;
	}
	for (int i = 0; i < request->nrecords; i++)
		resent += request->records[i].attempts > 1;
	if (resent > 0)
		pg_atomic_fetch_add_u64(&d->queue_stream->stats.resent, resent);
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
	pace_sent(&d->health.pace, &request->sent, request->ngroups, request->sent_bytes, now);
	request->sent.rows = request->nrecords;
	dlist_push_tail(&d->in_flight, &request->node);
	d->nin_flight++;
	d->ready_since = now;		/* of what is left */
	if (d->ready.count == 0)
	{
		d->came_back = false;
		d->hurried = d->hurried && queue_reader_has_more(&d->target.reader);
	}
}

/*
 * The system lacks something: no fault of the stream, and every stream waits.
 */
static void
note_shortage(Delivery *d, const char *error, int64 now)
{
	Cause		cause;

	cause_set(&cause, PARTY_HERE, "Resources", "%s", error);
	budget_shortage(error, now);
	health_note_error(&d->health, &cause);
}

/* A request cannot be built, for this reason. */
static void
note_not_built(Delivery *d, Request *request, RequestResult result, const char *reason, int64 now)
{
	Cause		cause;

	switch (result)
	{
		case REQUEST_BUILT:
			break;
		case REQUEST_RECORD_TOO_LARGE:
			completion_failed(&d->target, &request->records[0], "RecordTooLarge", reason);
			break;
		case REQUEST_SHORT_OF_MEMORY:
			note_shortage(d, reason, now);
			break;
		case REQUEST_NOT_SIGNED:
			cause_set(&cause, PARTY_HERE, "Request", "%s", reason);
			health_park(&d->health, &cause, now);
			break;
	}
}

/* Build a request and hand it to libcurl; false with the trouble noted. */
static bool
start(Delivery *d, Request *request, int64 now)
{
	char		reason[STATISTICS_MESSAGE_LEN];
	int			taken = request->ngroups;
	RequestResult result;

	pg_read_barrier();
	flush_commits();
	result = request_build(request, &d->target.reader, &d->ratio, &d->options, d->identity,
						   &d->endpoint, d->region, reason, sizeof(reason));
	if (result == REQUEST_BUILT)
	{
		set_http_limits(d, &request->http);
		if (http_start(&request->http))
		{
			delivery_take_back(d, request, taken);
			return true;
		}
		note_shortage(d, request->http.error, now);
	}
	else
		note_not_built(d, request, result, reason, now);
	request->ngroups = result == REQUEST_RECORD_TOO_LARGE ? 1 : 0;
	delivery_take_back(d, request, taken);
	return false;
}

/*
 * Ask the budget for a request.  NULL: it has no room, so that the stream
 * stands in line, or waits until one of its requests has ended; or the system
 * has no memory.
 */
static Request *
get_request(Delivery *d, const GroupList *list, int64 now)
{
	RequestShape shape = delivery_shape(d, list);
	Size		cost = request_cost(&shape);
	Request    *request;

	d->asked = true;
	if (!budget_take(&d->budget, cost, now))
	{
		d->crowded = !d->budget.in_line;
		return NULL;
	}
	request = request_get(&shape);
	if (request == NULL)
	{
		budget_give_back(&d->budget, cost);
		note_shortage(d, "out of memory", now);
		return NULL;
	}
	request->cost = cost;
	return request;
}

/*
 * Send the next batch; false: not now (pace, budget, or trouble that was
 * noted).
 */
static bool
send_batch(Delivery *d, int64 now)
{
	static GroupList list;
	Request    *request;
	int			nsuspects = delivery_choose(d, now, &list);
	int64		bytes = (int64) ((double) list.bytes * delivery_ratio(d));
	int64		delay = pace_delay(&d->health.pace, list.ngroups, bytes, now);

	d->tokens_at = delay > 0 ? now + delay : 0;
	if (delay > 0)
		return false;
	request = get_request(d, &list, now);
	if (request == NULL)
		return false;
	delivery_take(d, &list, nsuspects, request);
	if (start(d, request, now))
	{
		note_sent(d, request, now);
		return true;
	}
	budget_give_back(&d->budget, request->cost);
	request_put_back(request);
	return false;
}

void
delivery_finished(Request *request)
{
	Delivery   *d = request->delivery;

	dlist_delete(&request->node);
	d->nin_flight--;
	budget_give_back(&d->budget, request->cost);
	d->crowded = false;
	count_sent(d, request);
	d->tokens_at = 0;			/* the response may have changed the pace */
}

/* Waiting ----------------------------------------------------------------- */

/* When the records at hand may go, PG_INT64_MAX: not by time. */
static int64
next_send(Delivery *d, int64 now)
{
	int64		when = PG_INT64_MAX;
	GroupLimits limits;

	delivery_group_limits(d, &limits);
	if (d->ready.count > 0 || queue_reader_has_more(&d->target.reader))
	{
		when = 0;
		if (d->ready.count > 0 && !is_full(d, &limits))
			when = ripe_at(d);
		/* it was asked for a wake-up, which is for what comes from then on */
		if (when > now && queue_has_filled_request(d->queue_stream))
			when = Min(when, now + LOOK_AGAIN);
	}
	if (d->suspects.count > 0)
		when = Min(when, d->health.pace.suspects_at);
	return when;
}

int64
delivery_due_at(Delivery *d, int64 now)
{
	int64		when;

	/* until dead letters are stored there is no room for more */
	if (awaits_letters(d))
		return now + LETTERS_PAUSE;
	if (d->dropped)
		return queue_reader_has_more(&d->target.reader) || d->ready.count > 0 ||
			d->suspects.count > 0 ? now : PG_INT64_MAX;
	if (!delivery_sends(d) || d->budget.in_line || d->crowded ||
		d->nin_flight >= pace_max_in_flight(&d->health.pace))
		return PG_INT64_MAX;
	when = next_send(d, now);
	if (when == PG_INT64_MAX)
		return PG_INT64_MAX;
	return Max(when, Max(d->tokens_at, pace_not_before(&d->health.pace)));
}

void
delivery_ask_to_be_woken(Delivery *d, int64 now)
{
	GroupLimits limits;

	/* a timer or a response will wake the sender */
	if (!d->dropped && (!delivery_sends(d) ||
						d->nin_flight >= pace_max_in_flight(&d->health.pace)))
		return;
	if (d->dropped || d->ready.count == 0)
	{
		queue_ask_for_news(d->queue_stream, QUEUE_WAKE_ANY);
		return;
	}
	delivery_group_limits(d, &limits);
	if (!is_full(d, &limits) && ripe_at(d) > now)
		queue_reader_wake_at(&d->target.reader, limits.records - d->ready.count,
							 limits.bytes - d->ready.bytes);
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
