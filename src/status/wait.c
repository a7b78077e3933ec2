/*
 * wait.c
 *		firehose_wait and firehose_wait_all, and what they share with
 *		firehose_flush and firehose_drain (flush.c).
 *
 * Runs in backends.  Nothing here reads a table: the results come from shared
 * memory (recent.c), and the process sleeps on its latch, which the sender
 * sets when there is news.  It also wakes from time to time by itself, because
 * no sender can tell that there is no sender.  For records that shared memory
 * does not know any more, firehose_status is read, once, after the wait.
 *
 * A durable put is in the queue only when its decoder has read it.  So a
 * record that is not in the queue may still be in the WAL, and every wait
 * begins with one for the decoder to read as far as the WAL goes at its call.
 */
#include "postgres.h"

#include <math.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "common/compat.h"
#include "common/preload.h"
#include "common/srf_row.h"
#include "put/durable.h"
#include "put/put_xact.h"
#include "queue/chain.h"
#include "status/recent.h"
#include "status/status_lookup.h"
#include "status/wait.h"
#include "workers/database_control.h"

/* look again after so long, whatever the latch says */
#define WAIT_RECORD_RECHECK_MS	10000
#define WAIT_ANNOUNCED_RECHECK_MS	1000

static const char *const outcome_names[] = {
	[OUTCOME_NONE] = "unknown",
	[OUTCOME_ACCEPTED] = "accepted",
	[OUTCOME_FAILED] = "failed"
};

static bool may_know(Oid serverid);
static const char *await_record(uint64 id, int64 deadline, bool *read);

PG_FUNCTION_INFO_V1(firehose_wait);
PG_FUNCTION_INFO_V1(firehose_wait_all);

/* Error unless a timeout makes sense; it may be as long as you like. */
static int64
deadline_after(double usecs)
{
	const double longest = 100.0 * 365 * USECS_PER_DAY;

	if (isnan(usecs) || usecs < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errhint("Use NULL to wait without a limit.")));
	return usecs > longest ? NO_DEADLINE : clock_us() + (int64) usecs;
}

/*
 * The time at which an interval argument is over: NO_DEADLINE for NULL, which
 * means no limit, and for what is too long to matter.  The number of seconds
 * in another argument (-1: there is none) comes before it unless it is NULL.
 */
int64
wait_deadline(FunctionCallInfo fcinfo, int argno, int seconds_argno)
{
	Interval   *timeout;

	if (seconds_argno >= 0 && !PG_ARGISNULL(seconds_argno))
		return deadline_after(PG_GETARG_FLOAT8(seconds_argno) * USECS_PER_SEC);
	if (PG_ARGISNULL(argno))
		return NO_DEADLINE;

	timeout = PG_GETARG_INTERVAL_P(argno);
	return deadline_after(((double) timeout->month * DAYS_PER_MONTH + timeout->day) *
						  USECS_PER_DAY + timeout->time);
}

/*
 * Sleep until the latch is set, but not beyond the deadline (then false), nor
 * longer than a while (then *recheck is set).
 */
bool
wait_sleep(int64 deadline, long at_most_ms, uint32 wait_event, bool *recheck)
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

void
wait_stop_flushing(int code, Datum arg)
{
	recent_stop_flushing();
}

/*
 * Wait for a record's outcome, and say what it is.  `read` remembers from call
 * to call whether the WAL has been read as far as it went at the first.
 */
static const char *
wait_for(int64 id, int64 deadline, bool *read)
{
	const char *response;

	if (id <= 0 || id > QUEUE_MAX_ID)
		return outcome_names[OUTCOME_NONE];

	recent_start_waiting(id);
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	{
		response = await_record(id, deadline, read);
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	recent_stop_waiting();
	return response;
}

static void
refuse_own(int64 id)
{
	if (put_xact_is_own_pending(id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for record " INT64_FORMAT
						", which is sent when this transaction commits", id),
				 errhint("Commit first, or put the record with transactional => false.")));
}

/* Wait for a record's outcome. */
Datum
firehose_wait(PG_FUNCTION_ARGS)
{
	int64		id;
	int64		deadline;
	bool		read = false;
	const char *response;
	StatusRow  *row;

	firehose_check_preloaded();
	deadline = wait_deadline(fcinfo, 1, 2);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("id of firehose_wait() must not be null"),
				 errhint("A put returns null if its stream discards what the queue has no room for.")));

	id = PG_GETARG_INT64(0);
	refuse_own(id);
	response = wait_for(id, deadline, &read);
	if (response == outcome_names[OUTCOME_NONE] && status_lookup(&id, 1, &row) > 0)
		response = row->status;
	PG_RETURN_TEXT_P(cstring_to_text(response));
}

/* The row of a record, NULL: there is none. */
static StatusRow *
find_row(StatusRow *rows, int n, uint64 id)
{
	int			low = 0;

	while (low < n)
	{
		int			middle = low + (n - low) / 2;

		if (rows[middle].id == id)
			return &rows[middle];
		if (rows[middle].id < id)
			low = middle + 1;
		else
			n = middle;
	}
	return NULL;
}

/* The ids of an array; errors for nulls and records of this transaction. */
static int64 *
waited_ids(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	int64	   *ids;

	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, &nulls, n);
	ids = palloc_array(int64, Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("ids of firehose_wait_all() must not contain nulls")));
		ids[i] = DatumGetInt64(elements[i]);
		refuse_own(ids[i]);
	}
	return ids;
}

/*
 * Wait for the outcomes of records, all in all as long as the timeout: they
 * proceed together, so waiting for one after another takes no longer.  A row
 * for each, in the order of the array.
 */
Datum
firehose_wait_all(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		deadline;
	bool		read = false;
	int64	   *ids;
	const char **responses;
	StatusRow  *rows = NULL;
	int			n;
	int			nrows = 0;

	firehose_check_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	deadline = wait_deadline(fcinfo, 1, 2);
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	ids = waited_ids(PG_GETARG_ARRAYTYPE_P(0), &n);
	responses = palloc_array(const char *, Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		responses[i] = wait_for(ids[i], deadline, &read);
	}
	if (n > 0)
		nrows = status_lookup(ids, n, &rows);

	for (int i = 0; i < n; i++)
	{
		StatusRow  *found = find_row(rows, nrows, ids[i]);
		ResultRow	row = {.ncolumns = 0};

		if (found != NULL && responses[i] == outcome_names[OUTCOME_NONE])
			responses[i] = found->status;
		if (found != NULL && strcmp(responses[i], found->status) != 0)
			found = NULL;
		row_int64(&row, ids[i]);
		row_text(&row, responses[i]);
		row_text(&row, found ? found->record_id : NULL);
		row_text(&row, found ? found->error_code : NULL);
		row_text(&row, found ? found->error_message : NULL);
		row_return(&row, rsinfo);
	}
	return (Datum) 0;
}

/*
 * May the user know the outcomes of a stream's records?  As firehose_status:
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
 * The outcome of a record in the ring of recent ones, likewise.  A word of the
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
bool
wait_read_wal(Oid dboid, int64 deadline)
{
	XLogRecPtr	upto;
	bool		recheck;
	bool		read;

	if (!durable_is_anywhere(dboid))
		return true;
	upto = durable_flush_wal();

	recent_start_flushing();
	PG_ENSURE_ERROR_CLEANUP(wait_stop_flushing, (Datum) 0);
	{
		while (!(read = durable_has_read(dboid, upto)) &&
			   wait_sleep(deadline, WAIT_FLUSH_RECHECK_MS, WaitEventNamed("FirehoseDurablePuts"),
						   &recheck))
			;
	}
	PG_END_ENSURE_ERROR_CLEANUP(wait_stop_flushing, (Datum) 0);
	recent_stop_flushing();
	return read;
}

/*
 * A record's outcome is announced before it leaves the queue.  So if the queue
 * does not have it, and the ring, looked at after that, does not either, then
 * it was never there, or too long ago, or the user may not know of it.  The
 * row of an announced one is written at once if the sender is woken and sees
 * that this process waits.  If that does not happen, the outcome is told all
 * the same.
 */
static const char *
await_record(uint64 id, int64 deadline, bool *read)
{
	bool		queued = is_queued(id);
	bool		recheck = false;

	/* a durable put may still have to come out of the WAL */
	if (!queued && announced_outcome(id) == OUTCOME_NONE && !*read &&
		durable_is_anywhere(MyDatabaseId) && may_know_any())
	{
		if (!wait_read_wal(MyDatabaseId, deadline))
			return "pending";
		*read = true;
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

		if (!wait_sleep(deadline,
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
