/*
 * sender.c
 *		The sender: one background worker per database, the only process that
 *		loads libcurl.  Takes records out of the queue's streams of its
 *		database, sends them, and reports their outcomes.
 *
 * The launcher starts it and, after any exit, another one; everything that
 * only this process knows is lost then, and in-flight records are sent again.
 * So there is no error handling here: an ERROR ends the process.
 *
 * One event loop does everything: finished requests, new records, timers.  It
 * holds no transaction, snapshot or heavyweight lock while it waits, and waits
 * by worker_wait alone.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_foreign_server.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "common/clock.h"
#include "common/compat.h"
#include "pipeline/definition.h"
#include "queue/queue.h"
#include "sender/budget.h"
#include "sender/completion.h"
#include "sender/delivery.h"
#include "sender/delivery_options.h"
#include "sender/http.h"
#include "sender/identity.h"
#include "sender/identity_refresh.h"
#include "sender/response_handler.h"
#include "status/recent.h"
#include "status/status.h"
#include "stream/stream.h"
#include "workers/sender_lifecycle.h"
#include "workers/worker.h"

/*
 * How long the rest is sent, and responses are awaited, when the sender has to
 * exit (ms).
 */
#define SEND_AT_SHUTDOWN	2000
#define GRACE_AT_SHUTDOWN	3000
#define GRACE_WHEN_HELD		500

/* A flush ends the pause after a failure that is as old as this (us). */
#define FLUSH_RETRY_PAUSE	INT64CONST(1000000)

/* When to try again what could not be done to the pipelines (us). */
#define RECONCILE_AGAIN		INT64CONST(1000000)

PG_MODULE_MAGIC;

/*
 * The symbols that sender_start.c looks up: the build, before anything else,
 * and the main function.
 */
extern PGDLLEXPORT const char firehose_sender_build[];
extern PGDLLEXPORT void firehose_sender_main(Oid dboid);

const char	firehose_sender_build[] = FIREHOSE_BUILD;

static Oid	my_database;
static dlist_head deliveries = DLIST_STATIC_INIT(deliveries);
static dlist_head pending = DLIST_STATIC_INIT(pending);	/* not idle when visited */
static bool any_new = false;	/* of them the view does not show trouble yet */
static bool any_leaving = false;	/* a delivery was dropped, or its entry is needed */
static uint32 *outstanding;		/* reader.h */
static uint64 seen_table_version = 0;
static uint64 seen_stream_generation = 0;
static int64 reconcile_at = 0;	/* when; PG_INT64_MAX: not until asked to */
static WaitEventSet *wait_set;
static MemoryContext loop_context;

static void prepare(void);
static void refresh_config(int64 now);
static void handle_finished(void);
static void visit_deliveries(int64 now);
static void respond_to_flushes(int64 now);
static void show_table_error(void);
static void sleep_until_work(void);
static void finish(long send_ms, long grace_ms);

void
firehose_sender_main(Oid dboid)
{
	my_database = dboid;
	worker_connect(my_database);

	if (!sender_check_extension(my_database))
		return;
	prepare();

	for (;;)
	{
		int64		now = clock_us();

		MemoryContextReset(loop_context);
		/* a request to leave the database comes with a SIGTERM */
		if (sender_must_exit(my_database))
			finish(0, GRACE_WHEN_HELD);
		if (worker_shutdown_requested())
			finish(SEND_AT_SHUTDOWN, GRACE_AT_SHUTDOWN);
		/* without the extension the queue is not to be touched any more */
		if (sender_take_recheck(my_database))
		{
			if (!sender_check_extension(my_database))
				proc_exit(0);
			reconcile_at = now;
			seen_stream_generation = 0; /* one may not have come to be */
		}
		if (now >= reconcile_at)
			reconcile_at = pipeline_reconcile() ? PG_INT64_MAX : now + RECONCILE_AGAIN;

		refresh_config(now);
		http_drive();
		handle_finished();
		visit_deliveries(now);
		respond_to_flushes(now);
		completion_flush(now, false);
		show_table_error();
		sleep_until_work();
	}
}

static void
prepare(void)
{
	const char *error;
	int			fd;

	loop_context = AllocSetContextCreate(TopMemoryContext, "firehose sender",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(loop_context);
	outstanding = MemoryContextAllocZero(TopMemoryContext,
										 firehose_queue->npages * sizeof(uint32));
	completion_init();
	turn_init(firehose_queue);

	identity_init(my_database);
	fd = http_init(&error);
	if (fd < 0)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("firehose sender: %s", error)));
	wait_set = CreateWorkerWaitEventSet(3);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, fd, NULL, NULL);
}

/* Streams ----------------------------------------------------------------- */

/* Let go of the roles that no stream names any more. */
static void
forget_identities(void)
{
	dlist_iter	iter;

	identity_unmark();
	dlist_foreach(iter, &deliveries)
		identity_mark(dlist_container(Delivery, node, iter.cur)->identity);
	identity_forget_unmarked();
}

/*
 * Create deliveries for the streams of this database that are new in the
 * queue's table.
 */
static bool
attach_new_streams(void)
{
	uint64		version = pg_atomic_read_u64(&firehose_queue->table_version);
	bool		attached = false;

	if (version == seen_table_version)
		return false;
	seen_table_version = version;

	LWLockAcquire(firehose_queue->table_lock, LW_SHARED);
	for (int i = 0; i < firehose_queue->max_streams; i++)
	{
		QueueStream *s = queue_stream(firehose_queue, i);

		if (s->in_use && s->dboid == my_database && turn_delivery_of(s) == NULL)
		{
			Delivery   *d = delivery_create(s, outstanding);

			dlist_push_tail(&deliveries, &d->node);
			turn_add(&d->turn, d, s);
			attached = true;
		}
	}
	LWLockRelease(firehose_queue->table_lock);
	return attached;
}

/*
 * Look again for a foreign server that is not visible.  False: the transaction
 * that creates it may be under way (ddl_hooks.c), and its end wakes the
 * sender.
 */
static bool
find_committed(Oid serverid, Stream **stream)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, my_database, ForeignServerRelationId, serverid, 0);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	*stream = stream_get_by_id(serverid);
	return true;
}

/* Read the options of all streams anew. */
static void
read_options(int64 now)
{
	dlist_iter	iter;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	seen_stream_generation = stream_cache_generation();
	dlist_foreach(iter, &deliveries)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		Stream	   *stream;

		if (d->started && stream_is_known(d->target.serverid))
			continue;			/* others have changed */
		stream = stream_get_by_id(d->target.serverid);
		if (stream == NULL && !d->dropped && !find_committed(d->target.serverid, &stream))
			continue;
		delivery_set_options(d, stream, now);
		if (d->dropped)
			any_leaving = true;
		turn_mark(&d->turn);
	}
	forget_identities();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(loop_context);
}

static void
no_longer_pending(Delivery *d)
{
	if (d->pending)
		dlist_delete(&d->pending_node);
	d->pending = false;
}

/*
 * Release the streams that have no pending records and were dropped, or whose
 * entries are needed.  An open transaction that still relies on a dropped one
 * wakes the sender at its end, if the sender has asked.
 */
static void
release_idle(void)
{
	dlist_mutable_iter iter;

	if (!any_leaving)
		return;
	any_leaving = false;
	dlist_foreach_modify(iter, &deliveries)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		bool		asked = pg_atomic_read_u32(&d->queue_stream->asked_to_leave) != 0;

		if (asked)
			pg_atomic_write_u32(&d->queue_stream->asked_to_leave, 0);
		any_leaving |= d->dropped;
		if ((d->dropped || asked) && delivery_is_idle(d) &&
			queue_release_stream(firehose_queue, d->queue_stream))
		{
			dlist_delete(&d->node);
			turn_remove(&d->turn, d->queue_stream);
			no_longer_pending(d);
			delivery_destroy(d);
			forget_identities();
		}
	}
}

/*
 * Notice changes of streams, options and credentials.  A session that alters a
 * stream wakes the sender, which may be without a transaction for days, and so
 * has to process the invalidation here.
 */
static void
refresh_config(int64 now)
{
	dlist_iter	iter;
	bool		attached = attach_new_streams();
	IdentityChange change;

	any_new |= attached;
	budget_refresh();
	http_set_bounds(budget_open_connections(), budget_for_responses());
	AcceptInvalidationMessages();
	change = identity_refresh(now);
	if (change != IDENTITIES_SAME)
	{
		dlist_foreach(iter, &deliveries)
			delivery_reconsider(dlist_container(Delivery, node, iter.cur),
								change == IDENTITIES_SOUGHT, now);
	}
	if (attached || seen_stream_generation != stream_cache_generation())
		read_options(now);
}

/* Responses --------------------------------------------------------------- */

static void
handle_finished(void)
{
	HttpRequest *http;

	while ((http = http_next_finished()) != NULL)
	{
		Request    *request = http->owner;

		if (http->on_finished != NULL)
		{
			http->on_finished(http);
			continue;
		}
		delivery_finished(request);
		turn_mark(&request->delivery->turn);
		completion_make_room(clock_us());
		response_handler_take(request->delivery, request, clock_us());
		request_put_back(request);
	}
}

/* Turns ------------------------------------------------------------------- */

/*
 * Have a delivery send what it can, and find out what it waits for: a time, a
 * put, one of its requests, or its turn in line.  Asking to be woken comes
 * first, and a last look at the queue after it, so that no publication is
 * missed.
 */
static void
visit(Delivery *d, int64 now)
{
	int64		at;

	delivery_pump(d, now);
	delivery_ask_to_be_woken(d, now);
	at = delivery_due_at(d, now);
	if (pg_atomic_read_u32(&d->queue_stream->asked_to_leave) != 0)
		any_leaving = true;
	if (!d->pending && !delivery_is_idle(d))
	{
		d->pending = true;
		dlist_push_tail(&pending, &d->pending_node);
	}
	if (at <= now)
		turn_mark(&d->turn);
	turn_set_timer(&d->turn, at <= now ? PG_INT64_MAX : at);
}

static Delivery *
delivery_of(BudgetShare *share)
{
	return (Delivery *) ((char *) share - offsetof(Delivery, budget));
}

/* Visit those that stand in line while there is room for them. */
static void
serve_line(int64 now)
{
	BudgetShare *share;

	while ((share = budget_first_served(now)) != NULL)
		visit(delivery_of(share), now);
	while ((share = budget_next_to_show(now)) != NULL)
		health_waits(&delivery_of(share)->health, budget_reason());
}

/* Visit those that have something to do, each once. */
static void
visit_deliveries(int64 now)
{
	int			n;

	turn_collect(now);
	budget_heed_responses();
	serve_line(now);
	for (n = turn_count(); n > 0; n--)
	{
		Delivery   *d = turn_next();

		if (d == NULL)
			break;
		visit(d, now);
	}
}

/*
 * Each flush that begins ends a pause between attempts, so that it need not
 * wait for the pause of a fault that is mended; at most one a second, so that
 * flushes in a loop do not take the place of the pauses.
 */
static void
hurry(Delivery *d, int64 now)
{
	uint64		flushes = pg_atomic_read_u64(&d->queue_stream->flushes);

	if (flushes != d->seen_flushes && !d->dropped && d->started &&
		pace_try_early(&d->health.pace, FLUSH_RETRY_PAUSE, now))
	{
		d->seen_flushes = flushes;
		delivery_hurry(d);
		turn_mark(&d->turn);
	}
}

/* Respond to sessions that wait for everything published so far (recent.h). */
static void
respond_to_flushes(int64 now)
{
	dlist_iter	iter;

	if (!recent_has_flushers())
		return;
	dlist_foreach(iter, &deliveries)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		QueueStream *s = d->queue_stream;
		uint64		request = recent_flush_requested(s);
		QueuePosition upto;

		if (request == 0)
			continue;
		hurry(d, now);
		upto = delivery_finished_upto(d);
		if (recent_flush_is_known(s, request, upto))
			continue;
		/* a session that waited for the records finds their rows */
		completion_flush(now, true);
		recent_flush_done(s, request, upto);
	}
}

/* Show in the view, once, that tables cannot be written, or can again. */
static void
show_table_error(void)
{
	static char shown[STATISTICS_MESSAGE_LEN];
	const char *error = *dead_letter_trouble() ? dead_letter_trouble() : status_trouble();
	dlist_iter	iter;

	if (!any_new && strncmp(shown, error, sizeof(shown) - 1) == 0)
		return;
	any_new = false;
	strlcpy(shown, error, sizeof(shown));
	dlist_foreach(iter, &deliveries)
	{
		StreamStatistics *stats = dlist_container(Delivery, node, iter.cur)->target.stats;

		/* (no other process writes it: no lock) */
		if (strcmp(stats->table_error, error) != 0)
			stream_stats_set_table_error(stats, error);
	}
}

/* Waiting ----------------------------------------------------------------- */

/* Has any stream something left?  Those that have not leave the list. */
static bool
anything_pending(void)
{
	while (!dlist_is_empty(&pending))
	{
		Delivery   *d = dlist_container(Delivery, pending_node, dlist_head_node(&pending));

		if (!delivery_is_idle(d))
			return true;
		no_longer_pending(d);
	}
	return false;
}

/* Sleep until there is something to do. */
static void
sleep_until_work(void)
{
	WaitEvent	events[3];
	int64		now = clock_us();
	long		timeout = clock_sooner(http_timeout_ms(), completion_timeout_ms(now));

	timeout = clock_sooner(timeout, turn_timeout_ms(now));
	timeout = clock_sooner(timeout, budget_timeout_ms(now));
	if (reconcile_at != PG_INT64_MAX)
		timeout = clock_sooner(timeout, (long) (Max(reconcile_at - now, 0) / 1000 + 1));
	timeout = clock_sooner(timeout, identity_refresh_timeout_ms(now, anything_pending()));
	if (budget_used() == 0)
		request_trim();
	release_idle();
	worker_wait(wait_set, timeout, WaitEventNamed("FirehoseSenderMain"), events, lengthof(events));
}

/* The end ----------------------------------------------------------------- */

static bool
anything_in_flight(void)
{
	return budget_used() > 0;
}

/*
 * Send what is pending as long as this may take, but let no request begin
 * after it.
 */
static void
send_the_rest(int64 deadline)
{
	while (clock_us() < deadline)
	{
		WaitEvent	events[3];
		int64		now = clock_us();
		long		timeout;

		visit_deliveries(now);
		timeout = clock_sooner(http_timeout_ms(), turn_timeout_ms(now));
		timeout = clock_sooner(timeout, budget_timeout_ms(now));
		if (!anything_in_flight())
			/* nothing is pending, or nothing can be sent now */
			break;
		worker_wait(wait_set, clock_sooner(timeout, Max(1, (deadline - now) / 1000)),
					WaitEventNamed("FirehoseSenderShutdown"), events, lengthof(events));
		http_drive();
		handle_finished();
	}
}

static void
await_responses(int64 deadline)
{
	while (anything_in_flight())
	{
		WaitEvent	events[3];
		long		left = (deadline - clock_us()) / 1000;

		if (left <= 0)
			break;
		worker_wait(wait_set, clock_sooner(http_timeout_ms(), left),
					WaitEventNamed("FirehoseSenderShutdown"), events, lengthof(events));
		http_drive();
		handle_finished();
	}
}

/*
 * Leave, so that as little as possible need be sent again: at a shutdown send
 * the rest of the queue if that goes quickly, and in any case await the
 * responses to the requests in flight. libcurl is not cleaned up: that might
 * wait for a resolver thread.
 */
static void
finish(long send_ms, long grace_ms)
{
	int64		now = clock_us();
	dlist_iter	iter;

	dlist_foreach(iter, &deliveries)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		delivery_hurry(d);
		turn_mark(&d->turn);
	}
	if (send_ms > 0)
		send_the_rest(now + send_ms * INT64CONST(1000));
	await_responses(now + grace_ms * INT64CONST(1000));
	respond_to_flushes(clock_us());
	completion_flush(clock_us(), true);

	dlist_foreach(iter, &deliveries)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		pg_atomic_write_u32(&d->queue_stream->sender_procno, PG_UINT32_MAX);
		pg_atomic_write_u64(&d->queue_stream->stats.in_flight, 0);
	}
	proc_exit(0);
}
