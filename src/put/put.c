/*
 * put.c
 *		The way from SQL into the queue, and a transaction's part in it.
 *
 * Runs in backends.  A record that is put transactionally is laid out, as it
 * will lie in the queue, in a buffer of the transaction: one per stream, a
 * PendingRun.  Room for it is reserved in the queue at the put, which is the
 * only place that may wait or fail; then
 *
 *		PRE_COMMIT	appends each buffer to its stream, into the room reserved,
 *		COMMIT		publishes it with one store, and wakes the sender,
 *		ABORT		gives back the room, or drops what was appended.
 *
 * With firehose.put_durability = wal nothing of this applies: the record goes by
 * the WAL (durable.c).
 *
 * A savepoint is a mark in the buffer; rolling back to it cuts the buffer off
 * there.  Marks are pushed only by puts, so subtransactions that put nothing
 * cost nothing.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "put/durable.h"
#include "put/put.h"
#include "workers/launcher.h"

/* Buffers larger than this are not kept for the next transaction. */
#define KEEP_BUFFER			(64 * 1024)

/* A transaction that goes on putting reserves up to this much ahead. */
#define RESERVE_AHEAD		(64 * 1024)

/* What a run was when a subtransaction began to put. */
typedef struct RunMark
{
	int			level;			/* of the subtransaction */
	Size		used;
	uint32		nrecords;
	uint64		nbytes;
	uint64		last_id;
} RunMark;

typedef struct PendingRun
{
	QueueStream *queue_stream;
	char	   *buffer;			/* records, as QUEUE_RECORD_SPACE lays them out */
	Size		used;
	Size		allocated;
	Size		reserved;		/* in the queue, for header and records */
	uint32		nrecords;
	uint64		nbytes;
	uint64		first_id;
	uint64		last_id;
	RunMark    *marks;
	int			nmarks;
	int			max_marks;
	pg_atomic_uint32 *published;	/* the run's flag, once appended */
} PendingRun;

/* firehose.queue_timeout */
static int	queue_timeout;

/*
 * The current transaction's runs.  Entries beyond nruns keep their buffers.
 * Each of the others has a reservation, so that its slot stays its stream's.
 */
static PendingRun *runs = NULL;
static int	nruns = 0;
static int	max_runs = 0;
static bool committing = false;

static void put_xact_callback(XactEvent event, void *arg);
static void put_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
								 SubTransactionId parentSubid, void *arg);
static void reset_run(PendingRun *run, QueueStream *queue_stream);

void
put_define_settings(void)
{
	DefineCustomIntVariable("firehose.queue_timeout",
							"Sets how long a put may wait for room in a full queue.",
							"Applies to streams whose option on_full is wait; "
							"after that time the put is an error.",
							&queue_timeout, 1000, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
}

void
put_register_callbacks(void)
{
	RegisterXactCallback(put_xact_callback, NULL);
	RegisterSubXactCallback(put_subxact_callback, NULL);
}

void
put_check_allowed(const char *what)
{
	if (unlikely(firehose_queue == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("firehose must be loaded via shared_preload_libraries"),
				 errhint("Add firehose to shared_preload_libraries and restart the server.")));
	if (unlikely(RecoveryInProgress()))
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", what),
				 errhint("Put records on the primary server.")));
	if (unlikely(IsInParallelMode() || IsParallelWorker()))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot execute %s during a parallel operation", what)));
	if (unlikely(committing))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot execute %s while the transaction commits", what)));
}

uint64
put_next_id(void)
{
	return queue_next_ids(firehose_queue, 1);
}

static void
check_enabled(Stream *stream)
{
	if (!stream->options.enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" is disabled", stream->name),
				 errhint("Enable it with: ALTER SERVER %s OPTIONS (SET enabled 'true');",
						 quote_identifier(stream->name))));
}

static void
check_length(const Stream *stream, Size length)
{
	if (unlikely(length > QUEUE_MAX_RECORD))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("record for stream \"%s\" is too large: %zu bytes", stream->name, length),
				 errdetail("A record has at most %d bytes, its delimiter included.",
						   QUEUE_MAX_RECORD),
				 errhint("Split it, or send a reference to data that is kept elsewhere.")));
}

/* Runs of the transaction ------------------------------------------------- */

/* The transaction's run for a slot, or NULL. */
static PendingRun *
find_run(QueueStream *queue_stream)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].queue_stream == queue_stream)
			return &runs[i];
	}
	return NULL;
}

/* Make sure that add_run has an entry to give. */
static void
prepare_run(void)
{
	int			n = Max(4, max_runs * 2);

	if (nruns < max_runs)
		return;
	if (runs == NULL)
		runs = MemoryContextAllocZero(TopMemoryContext, n * sizeof(PendingRun));
	else
	{
		runs = repalloc(runs, n * sizeof(PendingRun));
		memset(runs + max_runs, 0, (n - max_runs) * sizeof(PendingRun));
	}
	max_runs = n;
}

/* Begin a run.  Cannot fail: the caller has reserved room for it already. */
static PendingRun *
add_run(QueueStream *queue_stream)
{
	Assert(nruns < max_runs);
	reset_run(&runs[nruns], queue_stream);
	return &runs[nruns++];
}

static void
reset_run(PendingRun *run, QueueStream *queue_stream)
{
	run->queue_stream = queue_stream;
	run->used = run->reserved = 0;
	run->nrecords = run->nbytes = 0;
	run->nmarks = 0;
	run->published = NULL;
	if (run->allocated > KEEP_BUFFER)
	{
		pfree(run->buffer);
		run->buffer = NULL;
		run->allocated = 0;
	}
}

/* Have room for `space` more bytes in the run's buffer. */
static void
enlarge_buffer(PendingRun *run, Size space)
{
	Size		size;

	if (run->used + space <= run->allocated)
		return;
	size = Max(run->used + space, Max(1024, run->allocated * 2));
	if (run->buffer == NULL)
		run->buffer = MemoryContextAllocHuge(TopMemoryContext, size);
	else
		run->buffer = repalloc_huge(run->buffer, size);
	run->allocated = size;
}

/* Remember where the current subtransaction began to put. */
static void
push_mark(PendingRun *run)
{
	int			level = GetCurrentTransactionNestLevel();
	RunMark    *mark;

	if (level == 1 ||
		(run->nmarks > 0 && run->marks[run->nmarks - 1].level >= level))
		return;
	if (run->nmarks == run->max_marks)
	{
		int			n = Max(8, run->max_marks * 2);

		if (run->marks == NULL)
			run->marks = MemoryContextAlloc(TopMemoryContext, n * sizeof(RunMark));
		else
			run->marks = repalloc(run->marks, n * sizeof(RunMark));
		run->max_marks = n;
	}
	mark = &run->marks[run->nmarks++];
	mark->level = level;
	mark->used = run->used;
	mark->nrecords = run->nrecords;
	mark->nbytes = run->nbytes;
	mark->last_id = run->last_id;
}

/* Reservation ------------------------------------------------------------- */

static void
queue_full_error(const Stream *stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("the queue has no room for stream \"%s\"", stream->name),
			 stream->options.on_full == ON_FULL_WAIT ?
			 errdetail("None came free within firehose.queue_timeout (%d ms).", queue_timeout) : 0,
			 errhint("See firehose_stat_stream for why records are not accepted; firehose.queue_size sets how much can wait.")));
}

/* The queue's slot of a stream, claimed if need be. */
static QueueStream *
stream_slot(Stream *stream)
{
	if (stream->queue_stream == NULL ||
		pg_atomic_read_u32(&stream->queue_stream->generation) != stream->slot_generation)
	{
		stream->queue_stream = queue_claim_stream(firehose_queue, MyDatabaseId, stream->serverid,
										  stream->name, &stream->slot_generation);
		/* a sender that does not know the slot yet is not woken by publications */
		if (pg_atomic_read_u32(&stream->queue_stream->sender_procno) == PG_UINT32_MAX)
			launcher_wake_sender(MyDatabaseId);
	}
	return stream->queue_stream;
}

/* Try to reserve; false: no room within the time.  Looks a stale slot up again. */
static bool
try_reserve(Stream *stream, Size bytes, int timeout_ms)
{
	for (;;)
	{
		QueueStream *queue_stream = stream_slot(stream);

		switch (queue_reserve(firehose_queue, queue_stream, stream->slot_generation,
							  bytes, timeout_ms))
		{
			case QUEUE_RESERVED:
				return true;
			case QUEUE_FULL:
				return false;
			case QUEUE_STALE:
				break;
		}
	}
}

/*
 * Reserve `bytes` as the stream's on_full says.  False: no room, and the
 * records are to be discarded.
 */
static bool
reserve(Stream *stream, Size bytes, int nrecords)
{
	bool		wait = stream->options.on_full == ON_FULL_WAIT;

	if (likely(try_reserve(stream, bytes, wait ? queue_timeout : 0)))
		return true;
	if (stream->options.on_full == ON_FULL_DISCARD)
	{
		pg_atomic_fetch_add_u64(&stream_slot(stream)->stats.discarded, nrecords);
		return false;
	}
	queue_full_error(stream);
	return false;				/* not reached */
}

static void
check_transaction_fits(const Stream *stream, Size bytes)
{
	Size		largest = queue_largest_transaction(firehose_queue);

	if (unlikely(bytes > largest))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the transaction's records for stream \"%s\" do not fit into the queue",
						stream->name),
				 errdetail("They need %zu bytes; of firehose.queue_size = %dMB one stream can have %zu.",
						   bytes, queue_size_mb, largest),
				 errhint("Commit more often, or increase firehose.queue_size.")));
}

/*
 * The run for a stream with `space` more bytes reserved for it; NULL: discard.
 * A transaction that goes on putting reserves ahead, so that most puts take no
 * lock at all.
 */
static PendingRun *
reserve_in_run(Stream *stream, Size space, int nrecords)
{
	PendingRun *run = find_run(stream_slot(stream));
	Size		needed = sizeof(QueueRun) + (run ? run->used : 0) + space;
	Size		missing;
	Size		ahead;

	if (likely(run != NULL) && needed <= run->reserved)
		return run;

	check_transaction_fits(stream, needed);
	missing = needed - (run ? run->reserved : 0);
	ahead = run ? Min(run->used, RESERVE_AHEAD) : 0;
	if (run == NULL)
	{
		prepare_run();
		if (!reserve(stream, missing, nrecords))
			return NULL;
		/* waiting may have brought us to another slot than we looked for */
		run = add_run(stream->queue_stream);
	}
	else if (ahead > 0 && try_reserve(stream, missing + ahead, 0))
		missing += ahead;
	else if (!reserve(stream, missing, nrecords))
		return NULL;
	Assert(run->queue_stream == stream->queue_stream);
	run->reserved += missing;
	return run;
}

/* Records ----------------------------------------------------------------- */

/* Lay a record out at the end of a run, in room it has. */
static void
add_record(PendingRun *run, uint64 id, const RecordBytes *bytes, RecordShape shape)
{
	Size		shaped = record_shaped_length(bytes, shape);
	QueueRecord *record;

	enlarge_buffer(run, QUEUE_RECORD_SPACE(shaped));
	record = (QueueRecord *) (run->buffer + run->used);
	record->kind = QUEUE_ITEM_RECORD;
	record->state = QUEUE_RECORD_PENDING;
	record->attempts = 0;
	record->length = shaped;
	record->id = id;
	record->queued_at = GetCurrentTimestamp();
	record_write_shaped((char *) (record + 1), bytes, shape);

	/* bounds, not an order: a dead letter that is queued again has an old id */
	if (run->nrecords == 0)
		run->first_id = run->last_id = id;
	run->first_id = Min(run->first_id, id);
	run->last_id = Max(run->last_id, id);
	run->used += QUEUE_RECORD_SPACE(shaped);
	run->nrecords++;
	run->nbytes += shaped;
}

/* Append a run to its stream.  Its reservation is used up. */
static void
append_run(PendingRun *run)
{
	run->published = queue_append(firehose_queue, run->queue_stream, run->buffer, run->used,
								  run->reserved, run->nrecords, run->first_id, run->last_id);
	run->reserved = 0;
}

bool
put_records(Stream *stream, uint64 first_id, const RecordBytes *records, int n,
			RecordShape shape, bool transactional)
{
	Size		space = 0;
	PendingRun	own;
	PendingRun *run = &own;

	check_enabled(stream);
	for (int i = 0; i < n; i++)
	{
		Size		length = record_shaped_length(&records[i], shape);

		check_length(stream, length);
		space += QUEUE_RECORD_SPACE(length);
	}

	if (put_durability == PUT_DURABILITY_WAL)
	{
		durable_put(stream, first_id, records, n, shape, transactional);
		return true;
	}

	if (transactional)
	{
		run = reserve_in_run(stream, space, n);
		if (run == NULL)
			return false;
		push_mark(run);
	}
	else
	{
		memset(&own, 0, sizeof(own));
		own.buffer = palloc_extended(space, MCXT_ALLOC_HUGE);
		own.allocated = space;
		own.reserved = sizeof(QueueRun) + space;
		check_transaction_fits(stream, own.reserved);
		if (!reserve(stream, own.reserved, n))
			return false;
		own.queue_stream = stream->queue_stream;
	}

	for (int i = 0; i < n; i++)
		add_record(run, first_id + i, &records[i], shape);

	if (!transactional)
	{
		append_run(run);
		queue_publish(run->queue_stream, run->published, run->nrecords, run->nbytes);
		pfree(own.buffer);
	}
	return true;
}

bool
put_record(Stream *stream, uint64 id, const char *data, Size length, bool transactional)
{
	RecordBytes record = {data, length};
	RecordShape as_is = {false, false};

	return put_records(stream, id, &record, 1, as_is, transactional);
}

bool
put_is_own_pending(uint64 id)
{
	if (durable_is_own_pending(id))
		return true;
	for (int i = 0; i < nruns; i++)
	{
		Size		at = 0;

		while (at < runs[i].used)
		{
			QueueRecord *record = (QueueRecord *) (runs[i].buffer + at);

			if (record->id == id)
				return true;
			at += QUEUE_RECORD_SPACE(record->length);
		}
	}
	return false;
}

/* Transaction callbacks --------------------------------------------------- */

/* Copy everything into the queue, into room that is ours.  Waits for nobody. */
static void
pre_commit(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].nrecords > 0)
			append_run(&runs[i]);
	}
}

/* Nothing here can fail. */
static void
commit(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].published)
			queue_publish(runs[i].queue_stream, runs[i].published,
						  runs[i].nrecords, runs[i].nbytes);
	}
}

static void
abort_runs(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].published)
			queue_drop(runs[i].queue_stream, runs[i].published);
	}
}

/* Whatever became of the runs: give back what is reserved, and forget them. */
static void
forget_runs(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].reserved > 0)
			queue_unreserve(firehose_queue, runs[i].queue_stream, runs[i].reserved);
		reset_run(&runs[i], NULL);
	}
	nruns = 0;
	committing = false;
}

static void
refuse_prepare(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].nrecords > 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has put records into a stream"),
					 errdetail("Records wait for the end of their transaction in the memory of its session."),
					 errhint("Put them with firehose.put_durability = wal or transactional => false, or commit without PREPARE.")));
	}
}

static void
put_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			/* what another callback would put after this one, nobody would append */
			committing = true;
			pre_commit();
			break;
		case XACT_EVENT_COMMIT:
			commit();
			forget_runs();
			break;
		case XACT_EVENT_ABORT:
			if (firehose_queue != NULL)
				queue_stop_waiting(firehose_queue);
			abort_runs();
			forget_runs();
			break;
		case XACT_EVENT_PRE_PREPARE:
			committing = true;
			refuse_prepare();
			break;
		case XACT_EVENT_PREPARE:
			forget_runs();
			break;
		default:
			break;
	}
}

/* Cut a run off where the aborted subtransaction began to put. */
static void
roll_back_run(PendingRun *run, int level)
{
	Size		needed;

	while (run->nmarks > 0 && run->marks[run->nmarks - 1].level >= level)
	{
		RunMark    *mark = &run->marks[--run->nmarks];

		run->used = mark->used;
		run->nrecords = mark->nrecords;
		run->nbytes = mark->nbytes;
		run->last_id = mark->last_id;
	}

	needed = run->nrecords > 0 ? sizeof(QueueRun) + run->used : 0;
	if (run->reserved > needed)
	{
		queue_unreserve(firehose_queue, run->queue_stream, run->reserved - needed);
		run->reserved = needed;
	}
}

/*
 * Forget a run that has nothing left: its slot may change hands from now on.
 * The last one takes its place.
 */
static void
remove_run(int i)
{
	PendingRun	run = runs[i];

	runs[i] = runs[--nruns];
	runs[nruns] = run;
}

/* What the subtransaction put belongs to its parent from now on. */
static void
merge_mark(PendingRun *run, int level)
{
	RunMark    *top = run->nmarks > 0 ? &run->marks[run->nmarks - 1] : NULL;

	if (top == NULL || top->level != level)
		return;
	if (level - 1 == 1 || (run->nmarks > 1 && top[-1].level == level - 1))
		run->nmarks--;
	else
		top->level = level - 1;
}

static void
put_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
					 SubTransactionId parentSubid, void *arg)
{
	int			level;

	if (event == SUBXACT_EVENT_ABORT_SUB && firehose_queue != NULL)
		queue_stop_waiting(firehose_queue);
	if (nruns == 0)
		return;

	level = GetCurrentTransactionNestLevel();
	for (int i = nruns; i-- > 0;)
	{
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			merge_mark(&runs[i], level);
		else if (event == SUBXACT_EVENT_ABORT_SUB)
		{
			roll_back_run(&runs[i], level);
			if (runs[i].reserved == 0)
				remove_run(i);
		}
	}
}
