/*
 * put.c
 *		The way from SQL into the queue.
 *
 * Runs in backends.  Checks a record, reserves room for it in the queue, and
 * lays it out in its transaction's run (put_xact.c), or appends it to the
 * queue at once if it is not transactional.  With firehose.put_durability =
 * wal none of this applies: the record goes through the WAL (durable.c).
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

#include "common/preload.h"
#include "put/durable.h"
#include "put/put.h"
#include "put/put_xact.h"
#include "queue/chain.h"
#include "queue/ids.h"
#include "queue/reserve.h"
#include "stream/destination.h"
#include "workers/database_control.h"

/*
 * A transaction that continues to put reserves up to this much ahead: 64 kB
 * are about 8 pages of the queue, or a lock for every 200 records of 300
 * bytes.
 */
#define RESERVE_AHEAD		(64 * 1024)

/* firehose.queue_timeout, firehose.max_queue_timeout */
static int	queue_timeout;
static int	max_queue_timeout;

void
put_define_settings(void)
{
	DefineCustomIntVariable("firehose.queue_timeout",
							"Sets how long a put may wait for room in a full queue.",
							"Applies to streams whose option on_full is wait; "
							"after that time the put is an error.",
							&queue_timeout, 1000, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.max_queue_timeout",
							"Sets how much of firehose.queue_timeout counts.",
							"A put that waits holds the locks of its transaction.",
							&max_queue_timeout, 300000, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
}

void
put_check_allowed(const char *what)
{
	firehose_check_preloaded();
	if (unlikely(RecoveryInProgress()))
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", what),
				 errhint("Put records on the primary server.")));
	if (unlikely(IsInParallelMode() || IsParallelWorker()))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot execute %s during a parallel operation", what)));
	if (unlikely(put_xact_is_committing()))
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

/* Error if a record, the number-th of n, is too large. */
static void
check_length(const Stream *stream, Size length, int number, int n)
{
	if (unlikely(length > QUEUE_MAX_RECORD))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("record for stream \"%s\" is too large: %zu bytes", stream->name, length),
				 n == 1 ?
				 errdetail("A record has at most %d bytes, its delimiter included.",
						   QUEUE_MAX_RECORD) :
				 errdetail("It is record %d of the batch. A record has at most %d bytes, its delimiter included.",
						   number, QUEUE_MAX_RECORD),
				 errhint("Split it, or send a reference to data that is kept elsewhere.")));
}

/*
 * Error if Firehose would take a record, the number-th of n, for several,
 * because it has several lines.
 */
static void
check_lines(const Stream *stream, const RecordBytes *record, RecordShape shape, int number, int n)
{
	Size		length = record->length;

	if (shape.one_line || length == 0)
		return;
	if (record->data[length - 1] == '\n')
		length--;
	if (memchr(record->data, '\n', length) == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("record for stream \"%s\" has more than one line", stream->name),
			 n == 1 ?
			 errdetail("Firehose takes each line for a record of its own where the destination is \"%s\".",
					   destination_name(stream->options.destination)) :
			 errdetail("It is record %d of the batch. Firehose takes each line for a record of its own where the destination is \"%s\".",
					   number, destination_name(stream->options.destination)),
			 errhint("Put json or jsonb, of which the line breaks are taken out, or use a stream with another destination.")));
}

/* Reservation ------------------------------------------------------------- */

static void
queue_full_error(const Stream *stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("the queue has no room for stream \"%s\"", stream->name),
			 stream->options.on_full == ON_FULL_WAIT ?
			 errdetail("No room became free within firehose.queue_timeout (%d ms).",
					   Min(queue_timeout, max_queue_timeout)) : 0,
			 errhint("See firehose_stat_stream for why records are not accepted; firehose.queue_size sets how much can wait.")));
}

/* The stream's entry of the queue's table, claimed if need be. */
static QueueStream *
queue_stream_of(Stream *stream)
{
	if (stream->queue_stream == NULL ||
		pg_atomic_read_u32(&stream->queue_stream->generation) != stream->queue_generation)
		stream->queue_stream = database_claim_stream(stream->serverid, stream->name,
													 &stream->queue_generation);
	return stream->queue_stream;
}

/*
 * Try to reserve; false: no room within the time.  Looks a stale entry up
 * again.
 */
static bool
try_reserve(Stream *stream, Size bytes, int timeout_ms)
{
	for (;;)
	{
		QueueStream *queue_stream = queue_stream_of(stream);

		switch (queue_reserve(firehose_queue, queue_stream, stream->queue_generation,
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

	if (likely(try_reserve(stream, bytes, wait ? Min(queue_timeout, max_queue_timeout) : 0)))
		return true;
	if (stream->options.on_full == ON_FULL_DISCARD)
	{
		pg_atomic_fetch_add_u64(&queue_stream_of(stream)->stats.discarded, nrecords);
		return false;
	}
	queue_full_error(stream);
	return false;				/* not reached */
}

/* Error unless the transaction may have `bytes` more. */
static void
check_transaction_fits(const Stream *stream, Size more)
{
	Size		bytes = put_xact_reserved() + more;
	Size		largest = queue_largest_transaction(firehose_queue);

	if (unlikely(bytes > largest))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the transaction's records for stream \"%s\" do not fit into the queue",
						stream->name),
				 errdetail("They need %zu bytes, and one transaction can have %zu bytes of firehose.queue_size (%dMB).",
						   bytes, largest, queue_size_mb),
				 errhint("Commit more often, or increase firehose.max_transaction_size or firehose.queue_size.")));
}

/*
 * The run for a stream with `space` more bytes reserved for it; NULL: discard.
 * A transaction that continues to put reserves ahead, so that most puts take
 * no lock at all.
 */
static PendingRun *
reserve_in_run(Stream *stream, Size space, int nrecords)
{
	PendingRun *run = put_xact_find_run(queue_stream_of(stream));
	Size		needed = sizeof(QueueRun) + (run ? run->used : 0) + space;
	Size		missing;
	Size		ahead;

	if (likely(run != NULL) && needed <= run->reserved)
		return run;

	missing = needed - (run ? run->reserved : 0);
	check_transaction_fits(stream, missing);
	ahead = run ? Min(run->used, RESERVE_AHEAD) : 0;
	if (run == NULL)
	{
		put_xact_prepare_run();
		if (!reserve(stream, missing, nrecords))
			return NULL;
		/* the wait may have ended at another entry than the one looked for */
		run = put_xact_add_run(stream->queue_stream);
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

	put_run_enlarge(run, QUEUE_RECORD_SPACE(shaped));
	record = (QueueRecord *) (run->buffer + run->used);
	run_write_header(&run->totals, record, QUEUE_ITEM_RECORD, id, shaped,
					 GetCurrentTimestamp());
	record_write_shaped((char *) (record + 1), bytes, shape);
	run->used += QUEUE_RECORD_SPACE(shaped);
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

		check_length(stream, length, i + 1, n);
		if (unlikely(destination_splits(stream->options.destination)))
			check_lines(stream, &records[i], shape, i + 1, n);
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
		put_run_mark(run);
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
		put_run_append(run);
		queue_publish(run->queue_stream, run->published, &run->totals);
		put_note_end(run->queue_stream);
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
