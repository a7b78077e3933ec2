/*
 * change_batch.c
 *		The records that a decoder has made and not yet handed to the queue.
 *
 * Decoder process only.  Handing over waits for room in the queue; the WAL is
 * the buffer meanwhile, and no snapshot is held.  The steps after the waiting
 * cannot fail, so that ring, queue and positions agree whenever this process
 * ends.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "decoder/change_batch.h"
#include "queue/chain.h"
#include "queue/ids.h"
#include "queue/queue.h"
#include "queue/reserve.h"
#include "workers/database_control.h"
#include "workers/pipeline_table.h"

/* How long to wait for room before on_full is asked again (ms). */
#define ROOM_WAIT_MS	1000

/* So much of the streams' buffers is kept, and a little of each. */
#define KEEP_BUFFERS	(2 * OUTBOX_FULL)
#define KEEP_OF_EACH	1024

/* Claim a stream's entry of the queue's table, the first time or again. */
static void
claim_queue_stream(BatchStream *stream)
{
	stream->queue_stream = database_claim_stream(stream->serverid, stream->name,
												 &stream->generation);
}

BatchStream *
change_batch_add_stream(ChangeBatch *batch, Oid serverid, const char *name, bool newline)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	BatchStream *stream = palloc0(sizeof(BatchStream));

	stream->serverid = serverid;
	stream->name = pstrdup(name);
	stream->newline = newline;
	claim_queue_stream(stream);
	initStringInfo(&stream->items);

	if (batch->nstreams == batch->max_streams)
	{
		int			n = Max(8, batch->max_streams * 2);

		if (batch->streams == NULL)
			batch->streams = palloc(n * sizeof(BatchStream *));
		else
			batch->streams = repalloc(batch->streams, n * sizeof(BatchStream *));
		batch->max_streams = n;
	}
	batch->streams[batch->nstreams++] = stream;
	MemoryContextSwitchTo(old);
	return stream;
}

StringInfo
change_batch_begin_record(ChangeBatch *batch, BatchStream *stream)
{
	StringInfo	items = &stream->items;
	int			header = QUEUE_HEADER_SIZE(QUEUE_ITEM_EVENT);

	enlargeStringInfo(items, header);
	items->cursor = items->len;	/* where the record begins */
	items->len += header;
	return items;
}

void
change_batch_cancel_record(ChangeBatch *batch, BatchStream *stream)
{
	stream->items.len = stream->items.cursor;
}

/* Complete the record that was begun, as it is. */
static void
finish_record(ChangeBatch *batch, BatchStream *stream, uint8 kind, XLogRecPtr lsn,
			  uint64 id, TimestampTz queued_at)
{
	StringInfo	items = &stream->items;
	int			header = QUEUE_HEADER_SIZE(kind);
	int			length = items->len - items->cursor - header;
	int			padding = TYPEALIGN(8, length) - length;
	QueueRecord *record;

	enlargeStringInfo(items, padding);
	memset(items->data + items->len, 0, padding);
	items->len += padding;

	record = (QueueRecord *) (items->data + items->cursor);
	run_write_header(&stream->totals, record, kind, id, length, queued_at);
	if (batch->nrecords == 0)
		batch->entry = commit_ring_next(&batch->pipeline->ring);
	pipeline_commit_ref(batch->pipeline, batch->entry, lsn, (CommitRef *) (record + 1));

	batch->nrecords++;
	batch->size += items->len - items->cursor;
}

/*
 * A batch is made in a few milliseconds, so its records share one look at the
 * clock.
 */
static TimestampTz
batch_time(ChangeBatch *batch)
{
	if (batch->begun_at == 0)
		batch->begun_at = GetCurrentTimestamp();
	return batch->begun_at;
}

bool
change_batch_end_record(ChangeBatch *batch, BatchStream *stream, XLogRecPtr lsn)
{
	StringInfo	items = &stream->items;
	int			length;

	if (stream->newline)
		appendStringInfoCharMacro(items, '\n');
	length = items->len - items->cursor - QUEUE_HEADER_SIZE(QUEUE_ITEM_EVENT);
	if (length > QUEUE_MAX_RECORD)
	{
		change_batch_cancel_record(batch, stream);
		return false;
	}
	finish_record(batch, stream, QUEUE_ITEM_EVENT, lsn,
				  queue_next_ids(firehose_queue, 1), batch_time(batch));
	return true;
}

void
change_batch_add_put(ChangeBatch *batch, BatchStream *stream, XLogRecPtr lsn, uint64 id,
					 TimestampTz queued_at, const char *data, Size length)
{
	appendBinaryStringInfo(change_batch_begin_record(batch, stream), data, length);
	finish_record(batch, stream, QUEUE_ITEM_DURABLE_PUT, lsn, id, queued_at);
}

void
change_batch_add_dead(ChangeBatch *batch, BatchStream *stream, XLogRecPtr lsn, const char *code,
					  const char *message, const char *data, Size length)
{
	StringInfo	items = change_batch_begin_record(batch, stream);

	appendBinaryStringInfo(items, code, strlen(code) + 1);
	appendBinaryStringInfo(items, message, strlen(message) + 1);
	appendBinaryStringInfo(items, data, length);
	finish_record(batch, stream, QUEUE_ITEM_DEAD_EVENT, lsn,
				  queue_next_ids(firehose_queue, 1), GetCurrentTimestamp());
	pg_atomic_fetch_add_u64(&batch->pipeline->dead, 1);
}

/*
 * The stream's foreign server is gone, and its entry has changed hands or soon
 * will.  Claim a new entry, if the batch outlives streams.
 */
static void
outlive_stream(ChangeBatch *batch, BatchStream *stream)
{
	if (!batch->outlives_streams)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" was dropped", stream->name)));
	claim_queue_stream(stream);
}

/*
 * Try to reserve room in a stream's queue; false: there is none within the
 * time.
 */
static bool
try_reserve(ChangeBatch *batch, BatchStream *stream, Size bytes, int timeout_ms)
{
	for (;;)
	{
		/* what an entry says that has changed hands is of another stream */
		if (stream->queue_stream->dropped &&
			pg_atomic_read_u32(&stream->queue_stream->generation) == stream->generation)
			outlive_stream(batch, stream);
		switch (queue_reserve(firehose_queue, stream->queue_stream, stream->generation, bytes,
							  timeout_ms))
		{
			case QUEUE_RESERVED:
				stream->reserved = bytes;
				return true;
			case QUEUE_FULL:
				return false;
			case QUEUE_STALE:
				/* idle, and its entry was needed; or its server is gone */
				claim_queue_stream(stream);
				break;
		}
	}
}

/*
 * Wait until there is room in the queue for one stream's batch, and take it.
 */
static void
await_room(ChangeBatch *batch, BatchStream *stream, Size bytes)
{
	do
	{
		/*
		 * a snapshot of catalogs, kept while this waits, would hold back
		 * VACUUM
		 */
		InvalidateCatalogSnapshot();
		batch->on_full(stream->name);
	} while (!try_reserve(batch, stream, bytes, ROOM_WAIT_MS));
}

/*
 * Room for all streams' batches.  All reservations are given back before any
 * waiting, because decoders that hold some and wait for more could hold all
 * the space.
 */
static void
reserve_room(ChangeBatch *batch)
{
	for (int i = 0; i < batch->nstreams;)
	{
		BatchStream *stream = batch->streams[i];
		Size		bytes = sizeof(QueueRun) + stream->items.len;

		if (stream->totals.nrecords == 0 || stream->reserved > 0 ||
			try_reserve(batch, stream, bytes, 0))
		{
			i++;
			continue;
		}
		change_batch_abandon(batch);
		await_room(batch, stream, bytes);
		i = 0;
	}
}

/* Note how far the queue has it now. */
static void
note_position(ChangeBatch *batch)
{
	PipelineEntry *pipeline = batch->pipeline;

	if (batch->commits_upto != InvalidXLogRecPtr)
		pg_atomic_write_u64(&pipeline->queued_upto, batch->commits_upto);
	pg_atomic_write_u64(&pipeline->part_lsn, batch->part_lsn);
	pg_atomic_write_u32(&pipeline->part_seq, batch->part_seq);
	pg_atomic_write_u64(&pipeline->part_definition, batch->part_definition);
}

/* Hand one stream's records over, into room reserved for them. */
static void
hand_over(BatchStream *stream)
{
	pg_atomic_uint32 *run = queue_append(firehose_queue, stream->queue_stream, stream->items.data,
										 stream->items.len,
										 stream->reserved, &stream->totals);

	queue_publish(stream->queue_stream, run, &stream->totals);
	resetStringInfo(&stream->items);
	stream->reserved = 0;
	memset(&stream->totals, 0, sizeof(stream->totals));
}

static void
shrink_buffer(StringInfo items, int keep)
{
	if (items->maxlen <= keep || items->len > 0)
		return;
	items->data = repalloc(items->data, keep);
	items->maxlen = keep;
}

/*
 * A batch leaves a buffer as large as itself, and there may be many streams
 * that once had one.
 */
static void
shrink_buffers(ChangeBatch *batch)
{
	int			keep = Max(KEEP_BUFFERS / Max(batch->nstreams, 1), KEEP_OF_EACH);

	for (int i = 0; i < batch->nstreams; i++)
	{
		shrink_buffer(&batch->streams[i]->items, keep);
		shrink_buffer(&batch->streams[i]->deferred_items, keep);
	}
}

void
change_batch_flush(ChangeBatch *batch)
{
	if (batch->nrecords == 0)
	{
		note_position(batch);
		return;
	}

	reserve_room(batch);

	/* from here on nothing fails */
	HOLD_INTERRUPTS();
	commit_ring_push(&batch->pipeline->ring, batch->entry, batch->commits_upto, batch->nrecords);
	note_position(batch);
	for (int i = 0; i < batch->nstreams; i++)
	{
		if (batch->streams[i]->totals.nrecords > 0)
			hand_over(batch->streams[i]);
	}
	RESUME_INTERRUPTS();
	batch->nrecords = 0;
	batch->size = 0;
	batch->begun_at = 0;
	shrink_buffers(batch);
}

uint64
change_batch_waiting(const ChangeBatch *batch)
{
	uint64		waiting = 0;

	for (int i = 0; i < batch->nstreams; i++)
	{
		QueueStream *stream = batch->streams[i]->queue_stream;
		uint64		finished = pg_atomic_read_u64(&stream->finished_records);
		uint64		finished_bytes = pg_atomic_read_u64(&stream->finished_bytes);
		uint64		in_flight = pg_atomic_read_u64(&stream->stats.in_flight);
		uint64		records = pg_atomic_read_u64(&stream->published_records) - finished;
		uint64		bytes = pg_atomic_read_u64(&stream->published_bytes) - finished_bytes;

		/* the sizes of those in flight are not known */
		if (records > in_flight)
			waiting += bytes / records * (records - in_flight);
	}
	return waiting;
}

void
change_batch_discard(ChangeBatch *batch)
{
	for (int i = 0; i < batch->nstreams; i++)
	{
		BatchStream *stream = batch->streams[i];

		resetStringInfo(&stream->items);
		memset(&stream->totals, 0, sizeof(stream->totals));
	}
	batch->nrecords = 0;
	batch->size = 0;
	batch->begun_at = 0;
}

/* Exchange the records with the deferred ones. */
static void
swap_deferred(ChangeBatch *batch)
{
	ChangeBatch whole = *batch;

	for (int i = 0; i < batch->nstreams; i++)
	{
		BatchStream *stream = batch->streams[i];
		BatchStream was = *stream;

		stream->items = was.deferred_items;
		stream->totals = was.deferred_totals;
		stream->deferred_items = was.items;
		stream->deferred_totals = was.totals;
		if (stream->items.data == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(batch->context);

			initStringInfo(&stream->items);
			MemoryContextSwitchTo(old);
		}
	}
	batch->size = whole.deferred_size;
	batch->nrecords = whole.deferred_nrecords;
	batch->begun_at = whole.deferred_begun_at;
	batch->deferred_size = whole.size;
	batch->deferred_nrecords = whole.nrecords;
	batch->deferred_begun_at = whole.begun_at;
}

/* Have the records of a stream be in this entry of the commit ring. */
static void
renumber(const BatchStream *stream, uint64 entry)
{
	int			offset = 0;

	while (offset < stream->items.len)
	{
		QueueRecord *record = (QueueRecord *) (stream->items.data + offset);

		((CommitRef *) (record + 1))->entry = (uint32) entry;
		offset += QUEUE_ITEM_SPACE(record->kind, record->length);
	}
}

void
change_batch_defer(ChangeBatch *batch)
{
	Assert(batch->deferred_nrecords == 0);
	swap_deferred(batch);
}

void
change_batch_take_deferred(ChangeBatch *batch)
{
	Assert(batch->nrecords == 0);
	swap_deferred(batch);
	batch->entry = commit_ring_next(&batch->pipeline->ring);
	for (int i = 0; i < batch->nstreams; i++)
		renumber(batch->streams[i], batch->entry);
}

void
change_batch_drop_deferred(ChangeBatch *batch)
{
	swap_deferred(batch);
	change_batch_discard(batch);
	swap_deferred(batch);
}

void
change_batch_abandon(ChangeBatch *batch)
{
	for (int i = 0; i < batch->nstreams; i++)
	{
		BatchStream *stream = batch->streams[i];

		if (stream->reserved > 0)
			queue_unreserve(firehose_queue, stream->queue_stream, stream->reserved);
		stream->reserved = 0;
	}
}
