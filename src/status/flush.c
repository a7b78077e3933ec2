/*
 * flush.c
 *		firehose_flush and firehose_drain.
 *
 * Runs in backends.  The sender tells how far it is (recent.h says how), and
 * the process sleeps on its latch meanwhile.
 */
#include "postgres.h"

#include "catalog/pg_foreign_server.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "common/preload.h"
#include "put/put_xact.h"
#include "queue/chain.h"
#include "status/recent.h"
#include "status/wait.h"
#include "stream/stat_stream.h"
#include "stream/stream.h"
#include "workers/database_control.h"
#include "workers/database_table.h"
#include "workers/pipeline_table.h"

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

static int	leave_usable(ListedStream *streams, int n);
static bool flush_streams(Oid dboid, Oid serverid, int64 deadline, bool drain);
static void start_flush(Flush *flush, Oid dboid, Oid serverid);
static uint64 request_flush(const ListedStream *id);
static bool owes_nothing(QueueStream *s);
static bool is_flushed(const FlushTarget *target);
static bool is_drained(const FlushTarget *target);
static bool all_owe_nothing(Oid dboid, Oid serverid);
static void warn_unfinished(const FlushTarget *target);

PG_FUNCTION_INFO_V1(firehose_flush);
PG_FUNCTION_INFO_V1(firehose_drain);

/*
 * Nothing is said of a transaction's own records by what waits for committed
 * ones, and whoever asks within it would take the answer for theirs.
 */
static void
refuse_unsent(const char *function, Oid serverid)
{
	if (put_xact_has_pending(serverid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s cannot wait for records that are sent when this transaction commits",
						function),
				 errhint("Commit first; firehose_pending() shows them.")));
}

/* Wait until everything that was committed before has met its outcome. */
Datum
firehose_flush(PG_FUNCTION_ARGS)
{
	Oid			serverid = InvalidOid;
	int64		deadline;

	firehose_check_preloaded();
	deadline = wait_deadline(fcinfo, 1, 2);
	if (!PG_ARGISNULL(0))
	{
		Stream	   *stream = stream_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));

		stream_check_usage(stream, GetUserId());
		serverid = stream->serverid;
	}
	refuse_unsent("firehose_flush()", serverid);

	PG_RETURN_BOOL(flush_streams(MyDatabaseId, serverid, deadline, false));
}

/*
 * Changes that a pipeline is still to read are in the WAL, not in the queue:
 * warn of pipelines that do not stream.
 */
static void
warn_of_pipelines(void)
{
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];
		NameData	name;
		Oid			dboid;
		PipelineState state;

		LWLockAcquire(pipeline_table->lock, LW_SHARED);
		dboid = entry->dropped ? InvalidOid : entry->dboid;
		name = entry->name;
		state = pg_atomic_read_u32(&entry->state);
		LWLockRelease(pipeline_table->lock);
		if (!OidIsValid(dboid) || state == PIPELINE_STREAMING)
			continue;
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 dboid == MyDatabaseId ?
				 errmsg("pipeline \"%s\" is not streaming", NameStr(name)) :
				 errmsg("pipeline \"%s\" of database with OID %u is not streaming",
						NameStr(name), dboid),
				 errdetail("Changes that it has not read from the WAL yet are still to be sent."),
				 errhint("See firehose_stat_pipeline there.")));
	}
}

/* Wait until the queue of the whole server is empty. */
Datum
firehose_drain(PG_FUNCTION_ARGS)
{
	int64		deadline;
	bool		drained;

	firehose_check_preloaded();
	deadline = wait_deadline(fcinfo, 0, -1);
	refuse_unsent("firehose_drain()", InvalidOid);
	drained = flush_streams(InvalidOid, InvalidOid, deadline, true);
	warn_of_pipelines();
	PG_RETURN_BOOL(drained);
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

	if (!wait_read_wal(dboid, deadline))
	{
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("durable puts are still to be read from the WAL"),
				 errdetail("Their pipeline is behind, paused, or has failed."),
				 errhint("See firehose_stat_pipeline.")));
		return false;
	}

	recent_start_flushing();
	PG_ENSURE_ERROR_CLEANUP(wait_stop_flushing, (Datum) 0);
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

			in_time = wait_sleep(deadline, WAIT_FLUSH_RECHECK_MS,
								  WaitEventNamed("FirehoseFlush"), &recheck);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(wait_stop_flushing, (Datum) 0);
	recent_stop_flushing();

	for (int i = 0; i < missing; i++)
		warn_unfinished(&flush.targets[i]);
	return missing == 0;
}

/*
 * Leave those streams that the user may put into, which are the ones that may
 * be flushed by name; to a superuser also those whose server is gone.
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
		pg_atomic_fetch_add_u64(&streams[i].stream->flushes, 1);
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
	uint64		request = recent_flush_request(id->stream);

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
 * there is no answer, but neither is anything half done.
 */
static bool
is_flushed(const FlushTarget *target)
{
	QueueStream *s = target->id.stream;

	if (!stat_stream_is_current(&target->id))
		/* only a stream that owes nothing loses its entry */
		return true;

	if (recent_flush_reached(s, target->request, target->mark))
		return true;
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
			 reason[0] != '\0' && stat_stream_may_see(id) ?
			 errdetail("The stream is %s: %s", state, reason) :
			 errdetail("The stream is %s.", state)));
}
