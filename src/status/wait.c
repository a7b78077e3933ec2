/*
 * wait.c
 *		firehose_wait, firehose_flush and firehose_drain.
 *
 * Runs in backends.  Nothing here reads a table: the answers come from shared
 * memory (outcome.c), and the process sleeps on its latch, which the sender
 * sets when there is news.  It also wakes from time to time by itself, for
 * what no sender tells: that there is no sender.
 *
 * A durable put is in the queue only when its decoder has read it.  So what is
 * not in the queue may still be in the WAL, and all three wait first until the
 * decoder has read as far as the WAL went at their call.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "common/compat.h"
#include "common/preload.h"
#include "put/durable.h"
#include "put/put.h"
#include "put/put_xact.h"
#include "queue/chain.h"
#include "status/recent.h"
#include "stream/stat_stream.h"
#include "stream/stream.h"
#include "workers/database_control.h"
#include "workers/database_table.h"

/* look again after so long, whatever the latch says */
#define WAIT_RECORD_RECHECK_MS	10000
#define WAIT_ANNOUNCED_RECHECK_MS	1000
#define WAIT_FLUSH_RECHECK_MS	1000

/* A deadline, by clock_us(), that never comes. */
#define NO_DEADLINE		PG_INT64_MAX

/* A stream that a flush waits for. */
typedef struct FlushTarget
{
	ListedStream id;
	QueuePosition mark;			/* everything before it is to be finished */
	uint64		request;		/* our number in the handshake */
} FlushTarget;

typedef struct Flush
{
	FlushTarget *targets;
	int			ntargets;
} Flush;

static const char *const outcome_names[] = {
	[OUTCOME_NONE] = "unknown",
	[OUTCOME_ACCEPTED] = "accepted",
	[OUTCOME_FAILED] = "failed"
};

static int64 deadline_of(FunctionCallInfo fcinfo, int argno);
static bool sleep_until(int64 deadline, long at_most_ms, uint32 wait_event,
						bool *recheck);
static bool may_know(Oid serverid);
static int	leave_usable(ListedStream *streams, int n);
static bool await_read(Oid dboid, int64 deadline);
static const char *await_record(uint64 id, int64 deadline);
static bool flush_streams(Oid dboid, Oid serverid, int64 deadline, bool drain);
static void start_flush(Flush *flush, Oid dboid, Oid serverid);
static uint64 request_flush(const ListedStream *id);
static bool owes_nothing(QueueStream *s);
static bool is_flushed(const FlushTarget *target);
static bool is_drained(const FlushTarget *target);
static bool all_owe_nothing(Oid dboid, Oid serverid);
static void warn_unfinished(const FlushTarget *target);

PG_FUNCTION_INFO_V1(firehose_wait);
PG_FUNCTION_INFO_V1(firehose_flush);
PG_FUNCTION_INFO_V1(firehose_drain);

/*
 * The time at which an interval argument is over: NO_DEADLINE for NULL, which
 * means no limit, and for what is too long to matter.
 */
static int64
deadline_of(FunctionCallInfo fcinfo, int argno)
{
	const double longest = 100.0 * 365 * USECS_PER_DAY;
	Interval   *timeout;
	double		usecs;

	if (PG_ARGISNULL(argno))
		return NO_DEADLINE;

	timeout = PG_GETARG_INTERVAL_P(argno);
	usecs = ((double) timeout->month * DAYS_PER_MONTH + timeout->day) * USECS_PER_DAY +
		timeout->time;
	if (usecs < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errhint("Use NULL to wait without a limit.")));

	return usecs > longest ? NO_DEADLINE : clock_us() + (int64) usecs;
}

/*
 * Sleep until the latch is set, but not beyond the deadline (then false), nor
 * longer than a while (then *recheck is set).
 */
static bool
sleep_until(int64 deadline, long at_most_ms, uint32 wait_event, bool *recheck)
{
	long		timeout_ms = at_most_ms;
	int			rc;

	if (deadline != NO_DEADLINE)
	{
		int64		left_ms = (deadline - clock_us() + 999) / 1000;

		if (left_ms <= 0)
			return false;
		timeout_ms = Min(left_ms, at_most_ms);
	}

	rc = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
				   timeout_ms, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();

	*recheck = (rc & WL_TIMEOUT) != 0;
	return true;
}

static void
stop_waiting(int code, Datum arg)
{
	recent_stop_waiting();
}

static void
stop_flushing(int code, Datum arg)
{
	recent_stop_flushing();
}

/* Wait for a record's outcome. */
Datum
firehose_wait(PG_FUNCTION_ARGS)
{
	int64		id;
	int64		deadline;
	const char *response;

	firehose_check_preloaded();
	deadline = deadline_of(fcinfo, 1);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("id of firehose_wait() must not be null"),
				 errhint("A put returns null if its stream discards what the queue has no room for.")));

	id = PG_GETARG_INT64(0);
	if (id <= 0 || id > QUEUE_MAX_ID)
		PG_RETURN_TEXT_P(cstring_to_text(outcome_names[OUTCOME_NONE]));
	if (put_xact_is_own_pending(id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for record " INT64_FORMAT
						", which is sent when this transaction commits", id),
				 errhint("Commit first, or put the record with transactional => false.")));

	recent_start_waiting(id);
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	{
		response = await_record(id, deadline);
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	recent_stop_waiting();
	PG_RETURN_TEXT_P(cstring_to_text(response));
}

/*
 * May the user know what becomes of a stream's records?  As firehose_status:
 * whoever may put into it, owns it, or may read all statistics.
 */
static bool
may_know(Oid serverid)
{
	ForeignServer *server;

	if (has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
		return true;
	server = OidIsValid(serverid) ? GetForeignServerExtended(serverid, FSV_MISSING_OK) : NULL;
	return server != NULL &&
		(has_privs_of_role(GetUserId(), server->owner) ||
		 foreign_server_aclcheck(serverid, GetUserId(), ACL_USAGE) == ACLCHECK_OK);
}

/* May the user know what becomes of any stream's records? */
static bool
may_know_any(void)
{
	Relation	rel = table_open(ForeignServerRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && (tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tuple);

		found = server->srvfdw == stream_wrapper_oid() && may_know(server->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Is the record in the queue, in a stream that the user may know? */
static bool
is_queued(uint64 id)
{
	return queue_find(firehose_queue, MyDatabaseId, id, may_know);
}

/*
 * What the ring of recent outcomes says of a record, likewise.  A word of the
 * ring is written after the record's server, so look at them the other way
 * round.
 */
static RecordOutcome
announced_outcome(uint64 id)
{
	RecordOutcome outcome = recent_lookup_announced(id);

	pg_read_barrier();
	return outcome != OUTCOME_NONE && may_know(recent_server(id)) ? outcome : OUTCOME_NONE;
}

/*
 * Wait until the durable pipelines of a database, or of all, have read the WAL
 * as far as it goes now.  False: not before the deadline.
 */
static bool
await_read(Oid dboid, int64 deadline)
{
	XLogRecPtr	upto;
	bool		recheck;
	bool		read;

	if (!durable_is_anywhere(dboid))
		return true;
	upto = durable_flush_wal();

	recent_start_flushing();
	PG_ENSURE_ERROR_CLEANUP(stop_flushing, (Datum) 0);
	{
		while (!(read = durable_has_read(dboid, upto)) &&
			   sleep_until(deadline, WAIT_FLUSH_RECHECK_MS, WaitEventNamed("FirehoseDurablePuts"),
						   &recheck))
			;
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_flushing, (Datum) 0);
	recent_stop_flushing();
	return read;
}

/*
 * A record's outcome is announced before it leaves the queue.  So if the queue
 * does not have it, and the ring, looked at after that, does not either, then
 * it was never there, or too long ago, or is none of the user's business.  One
 * that is announced has its row written now, which the sender does at once if
 * it is woken and sees us wait; should that not come to pass, the outcome is
 * told all the same.
 */
static const char *
await_record(uint64 id, int64 deadline)
{
	bool		queued = is_queued(id);
	bool		recheck = false;

	/* a durable put may still have to come out of the WAL */
	if (!queued && announced_outcome(id) == OUTCOME_NONE && durable_is_anywhere(MyDatabaseId) &&
		may_know_any())
	{
		if (!await_read(MyDatabaseId, deadline))
			return "pending";
		queued = is_queued(id);
	}

	for (;;)
	{
		if (!queued && (recheck || announced_outcome(id) == OUTCOME_NONE))
			return outcome_names[announced_outcome(id)];
		if (recent_awaited() != OUTCOME_NONE)
			return outcome_names[recent_awaited()];
		if (!queued)
			database_wake_sender(MyDatabaseId);

		if (!sleep_until(deadline,
						 queued ? WAIT_RECORD_RECHECK_MS : WAIT_ANNOUNCED_RECHECK_MS,
						 WaitEventNamed("FirehoseRecord"), &recheck))
			return queued ? "pending" : outcome_names[announced_outcome(id)];
		if (recheck && queued)
		{
			queued = is_queued(id);
			recheck = false;
		}
	}
}

/* Wait until everything that was committed before has met its outcome. */
Datum
firehose_flush(PG_FUNCTION_ARGS)
{
	Oid			serverid = InvalidOid;
	int64		deadline;

	firehose_check_preloaded();
	deadline = deadline_of(fcinfo, 1);
	if (!PG_ARGISNULL(0))
	{
		Stream	   *stream = stream_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));

		stream_check_usage(stream, GetUserId());
		serverid = stream->serverid;
	}

	PG_RETURN_BOOL(flush_streams(MyDatabaseId, serverid, deadline, false));
}

/* Wait until the queue of the whole server is empty. */
Datum
firehose_drain(PG_FUNCTION_ARGS)
{
	firehose_check_preloaded();
	PG_RETURN_BOOL(flush_streams(InvalidOid, InvalidOid, deadline_of(fcinfo, 0), true));
}

/*
 * Wait for the streams of a database, or of all, to come as far as they are
 * now (flush), or to owe nothing at all (drain).  After the deadline warn of
 * those that have not, and return false.
 */
static bool
flush_streams(Oid dboid, Oid serverid, int64 deadline, bool drain)
{
	Flush		flush;
	int			missing = 0;
	bool		in_time = true;

	if (!await_read(dboid, deadline))
	{
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("durable puts are still to be read from the WAL"),
				 errdetail("Their pipeline is behind, paused, or has failed."),
				 errhint("See firehose_stat_pipeline.")));
		return false;
	}

	recent_start_flushing();
	PG_ENSURE_ERROR_CLEANUP(stop_flushing, (Datum) 0);
	{
		bool		recheck = false;

		start_flush(&flush, dboid, serverid);
		for (;;)
		{
			missing = 0;
			for (int i = 0; i < flush.ntargets; i++)
			{
				FlushTarget *target = &flush.targets[i];

				if (drain ? is_drained(target) : is_flushed(target))
					continue;
				if (recheck)
					(void) request_flush(&target->id);
				flush.targets[missing++] = *target;
			}
			flush.ntargets = missing;
			if (!in_time)
				break;
			if (missing == 0)
			{
				/* streams may have come since a drain began */
				if (!drain || all_owe_nothing(dboid, serverid))
					break;
				start_flush(&flush, dboid, serverid);
			}

			in_time = sleep_until(deadline, WAIT_FLUSH_RECHECK_MS,
								  WaitEventNamed("FirehoseFlush"), &recheck);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_flushing, (Datum) 0);
	recent_stop_flushing();

	for (int i = 0; i < missing; i++)
		warn_unfinished(&flush.targets[i]);
	return missing == 0;
}

/*
 * Leave those streams that the user may put into, which are the ones that he
 * may flush by name; to a superuser also those whose server is gone.
 */
static int
leave_usable(ListedStream *streams, int n)
{
	int			left = 0;

	for (int i = 0; i < n; i++)
	{
		Oid			serverid = streams[i].serverid;

		if (superuser() ||
			(GetForeignServerExtended(serverid, FSV_MISSING_OK) != NULL &&
			 foreign_server_aclcheck(serverid, GetUserId(), ACL_USAGE) == ACLCHECK_OK))
			streams[left++] = streams[i];
	}
	return left;
}

/*
 * Note how far each stream is, and ask its sender to tell when it gets there.
 */
static void
start_flush(Flush *flush, Oid dboid, Oid serverid)
{
	ListedStream *streams;

	flush->ntargets = stat_stream_list(dboid, serverid, &streams);
	if (OidIsValid(dboid) && !OidIsValid(serverid))
		flush->ntargets = leave_usable(streams, flush->ntargets);
	flush->targets = palloc(sizeof(FlushTarget) * Max(flush->ntargets, 1));

	for (int i = 0; i < flush->ntargets; i++)
	{
		FlushTarget *target = &flush->targets[i];

		target->id = streams[i];
		target->mark = pg_atomic_read_u64(&streams[i].stream->end_position);
		target->request = request_flush(&target->id);
	}
}

/*
 * Ask a stream's sender for an answer; returns the number of the request.
 * Asking again matters to a sender that has just been started.
 */
static uint64
request_flush(const ListedStream *id)
{
	uint64		request = pg_atomic_add_fetch_u64(&id->stream->flush_requested, 1);

	database_wake_sender(id->dboid);
	return request;
}

/*
 * Does a stream owe nothing? What is finished is read first, see
 * stat_stream.c.
 */
static bool
owes_nothing(QueueStream *s)
{
	uint64		finished = pg_atomic_read_u64(&s->finished_records);

	pg_read_barrier();
	return pg_atomic_read_u64(&s->published_records) == finished;
}

/*
 * Has the stream come as far as it was at the start?  Where no sender runs
 * nobody answers, but neither has anybody something half done.
 */
static bool
is_flushed(const FlushTarget *target)
{
	QueueStream *s = target->id.stream;

	if (!stat_stream_is_current(&target->id))
		/* only a stream that owes nothing loses its slot */
		return true;

	if (pg_atomic_read_u64(&s->flush_answered) >= target->request)
	{
		pg_read_barrier();
		if (pg_atomic_read_u64(&s->finished_upto) >= target->mark)
			return true;
	}

	return owes_nothing(s) && database_sender_pid(target->id.dboid) == 0;
}

/* Does the stream owe nothing, and has its sender written down all of it? */
static bool
is_drained(const FlushTarget *target)
{
	return is_flushed(target) &&
		(!stat_stream_is_current(&target->id) || owes_nothing(target->id.stream));
}

/* Does no stream owe anything, those included that are new? */
static bool
all_owe_nothing(Oid dboid, Oid serverid)
{
	ListedStream *streams;
	int			n = stat_stream_list(dboid, serverid, &streams);

	for (int i = 0; i < n; i++)
	{
		if (!owes_nothing(streams[i].stream))
			return false;
	}
	return true;
}

/* Say which stream has not got there, and why if the user may know. */
static void
warn_unfinished(const FlushTarget *target)
{
	const ListedStream *id = &target->id;
	const char *state;
	char	   *reason;

	state = stat_stream_state(id, &reason);
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 id->dboid == MyDatabaseId ?
			 errmsg("stream \"%s\" still has records to send", id->name) :
			 errmsg("stream \"%s\" of database with OID %u still has records to send",
					id->name, id->dboid),
			 !workers_enabled ?
			 errdetail("Nothing is sent while firehose.enabled is off.") :
			 database_sender_pid(id->dboid) == 0 ?
			 errdetail("No sender is running in the database.") :
			 reason[0] != '\0' && stat_stream_may_read(id) ?
			 errdetail("The stream is %s: %s", state, reason) :
			 errdetail("The stream is %s.", state)));
}
