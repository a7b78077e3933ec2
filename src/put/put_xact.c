/*
 * put_xact.c
 *		A transaction's part in the way into the queue.
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
 * A savepoint is a mark in the buffer; rolling back to it cuts the buffer off
 * there.  Marks are pushed only by puts, so subtransactions that put nothing
 * cost nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "put/durable.h"
#include "put/put_xact.h"
#include "queue/chain.h"
#include "queue/queue.h"
#include "queue/reserve.h"
#include "workers/database_control.h"

/* Buffers larger than this are not kept for the next transaction. */
#define KEEP_BUFFER			(64 * 1024)

/*
 * The current transaction's runs.  Entries beyond nruns keep their buffers.
 * Each of the others has a reservation, so that its entry of the queue's table
 * stays its stream's.
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
put_xact_register_callbacks(void)
{
	RegisterXactCallback(put_xact_callback, NULL);
	RegisterSubXactCallback(put_subxact_callback, NULL);
}

bool
put_xact_is_committing(void)
{
	return committing;
}

/* Runs -------------------------------------------------------------------- */

/* The transaction's run for a stream, or NULL. */
PendingRun *
put_xact_find_run(QueueStream *queue_stream)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].queue_stream == queue_stream)
			return &runs[i];
	}
	return NULL;
}

Size
put_xact_reserved(void)
{
	Size		reserved = 0;

	for (int i = 0; i < nruns; i++)
		reserved += runs[i].reserved;
	return reserved;
}

/* Make sure that add_run has an entry to give. */
void
put_xact_prepare_run(void)
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
PendingRun *
put_xact_add_run(QueueStream *queue_stream)
{
	Assert(nruns < max_runs);
	reset_run(&runs[nruns], queue_stream);
	return &runs[nruns++];
}

/* Runs of the transaction ------------------------------------------------- */

static void
reset_run(PendingRun *run, QueueStream *queue_stream)
{
	run->queue_stream = queue_stream;
	run->used = run->reserved = 0;
	memset(&run->totals, 0, sizeof(run->totals));
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
void
put_run_enlarge(PendingRun *run, Size space)
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
void
put_run_mark(PendingRun *run)
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
	mark->totals = run->totals;
}

/* Append a run to its stream.  Its reservation is used up. */
void
put_run_append(PendingRun *run)
{
	run->published = queue_append(firehose_queue, run->queue_stream, run->buffer, run->used,
								  run->reserved, &run->totals);
	run->reserved = 0;
}

bool
put_xact_is_own_pending(uint64 id)
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

bool
put_xact_has_pending(Oid serverid)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].totals.nrecords > 0 &&
			(!OidIsValid(serverid) || runs[i].queue_stream->serverid == serverid))
			return true;
	}
	return durable_has_pending(serverid);
}

void
put_xact_visit(PendingVisitor visit, void *arg)
{
	for (int i = 0; i < nruns; i++)
	{
		Size		at = 0;

		while (at < runs[i].used)
		{
			QueueRecord *record = (QueueRecord *) (runs[i].buffer + at);

			visit(record->id, runs[i].queue_stream->serverid, (char *) (record + 1),
				  record->length, arg);
			at += QUEUE_RECORD_SPACE(record->length);
		}
	}
}

/* Transaction callbacks --------------------------------------------------- */

/*
 * Copy everything into the queue, into the room reserved.  Waits for no other
 * process.
 */
static void
append_runs(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].totals.nrecords > 0)
			put_run_append(&runs[i]);
	}
}

/* Nothing here can fail. */
static void
publish_runs(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].published)
			queue_publish(runs[i].queue_stream, runs[i].published, &runs[i].totals);
	}
}

static void
drop_runs(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].published)
			queue_drop(runs[i].queue_stream, runs[i].published);
	}
}

void
put_note_end(QueueStream *queue_stream)
{
	pg_memory_barrier();		/* against queue_discard_database */
	if (unlikely(queue_stream->dropped))
		database_request_check(MyDatabaseId);
}

/* In any case: give back the reservations, and forget the runs. */
static void
forget_runs(void)
{
	for (int i = 0; i < nruns; i++)
	{
		if (runs[i].reserved > 0)
			queue_unreserve(firehose_queue, runs[i].queue_stream, runs[i].reserved);
		put_note_end(runs[i].queue_stream);
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
		if (runs[i].totals.nrecords > 0)
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
			/* a put by a later callback would not be appended */
			committing = true;
			append_runs();
			break;
		case XACT_EVENT_COMMIT:
			if (nruns > 0 && synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
				queue_note_asynchronous(firehose_queue, XactLastCommitEnd);
			publish_runs();
			forget_runs();
			break;
		case XACT_EVENT_ABORT:
			if (firehose_queue != NULL)
				queue_stop_waiting(firehose_queue);
			drop_runs();
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
		run->totals = mark->totals;
	}

	needed = run->totals.nrecords > 0 ? sizeof(QueueRun) + run->used : 0;
	if (run->reserved > needed)
	{
		queue_unreserve(firehose_queue, run->queue_stream, run->reserved - needed);
		run->reserved = needed;
	}
}

/*
 * Forget a run that has nothing left: its stream's entry may change hands from
 * now on.  The last one takes its place.
 */
static void
remove_run(int i)
{
	PendingRun	run = runs[i];

	runs[i] = runs[--nruns];
	runs[nruns] = run;
}

/* The records that the subtransaction put belong to its parent from now on. */
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
