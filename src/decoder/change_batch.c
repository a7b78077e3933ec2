/*
 * change_batch.c
 *		What a decoder has made and not yet handed to the queue.
 *
 * Decoder process only.  Handing over waits for room in the queue and in the
 * commit ring; the WAL is the buffer meanwhile, and no snapshot is held.  What
 * follows the waiting cannot fail, so that ring, queue and positions agree
 * whenever this process ends.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "decoder/change_batch.h"
#include "workers/launcher.h"

/* How long to wait for room before on_full is asked again (ms). */
#define ROOM_WAIT_MS	1000

/* A stream's buffer larger than this is not kept. */
#define KEEP_BUFFER		(2 * OUTBOX_FULL)

/* (Re-)claim a stream's slot in the queue. */
static void
claim_slot(OutboxStream *stream)
{
	stream->slot = queue_claim_stream(firehose_queue, MyDatabaseId, stream->serverid,
									  stream->name, &stream->generation);
	/* a sender that does not know the slot yet is not woken by publications */
	if (pg_atomic_read_u32(&stream->slot->sender_procno) == PG_UINT32_MAX)
		launcher_wake_sender(MyDatabaseId);
}

OutboxStream *
outbox_add_stream(Outbox *outbox, Oid serverid, const char *name, bool newline)
{
	MemoryContext old = MemoryContextSwitchTo(outbox->context);
	OutboxStream *stream = palloc0(sizeof(OutboxStream));

	stream->serverid = serverid;
	stream->name = pstrdup(name);
	stream->newline = newline;
	claim_slot(stream);
	initStringInfo(&stream->items);

	if (outbox->nstreams == outbox->max_streams)
	{
		int			n = Max(8, outbox->max_streams * 2);

		if (outbox->streams == NULL)
			outbox->streams = palloc(n * sizeof(OutboxStream *));
		else
			outbox->streams = repalloc(outbox->streams, n * sizeof(OutboxStream *));
		outbox->max_streams = n;
	}
	outbox->streams[outbox->nstreams++] = stream;
	MemoryContextSwitchTo(old);
	return stream;
}

StringInfo
outbox_begin_record(Outbox *outbox, OutboxStream *stream)
{
	StringInfo	items = &stream->items;
	int			header = QUEUE_HEADER_SIZE(QUEUE_ITEM_EVENT);

	enlargeStringInfo(items, header);
	items->cursor = items->len;	/* where the record begins */
	items->len += header;
	return items;
}

void
outbox_cancel_record(Outbox *outbox, OutboxStream *stream)
{
	stream->items.len = stream->items.cursor;
}

/* Complete the record that was begun, as it is. */
static void
finish_record(Outbox *outbox, OutboxStream *stream, uint8 kind, XLogRecPtr lsn,
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
	record->kind = kind;
	record->state = QUEUE_RECORD_OWED;
	record->attempts = 0;
	record->length = length;
	record->id = id;
	record->queued_at = queued_at;
	pipeline_origin(outbox->pipeline, commit_ring_next(&outbox->pipeline->ring), lsn,
					(QueueOrigin *) (record + 1));

	/* bounds, not an order: records that were put have the ids of their puts */
	if (stream->nrecords++ == 0)
		stream->first_id = stream->last_id = id;
	stream->first_id = Min(stream->first_id, id);
	stream->last_id = Max(stream->last_id, id);
	stream->nbytes += length;
	outbox->nrecords++;
	outbox->size += items->len - items->cursor;
}

/* A helping is made in a few milliseconds: one look at the clock will do for its records. */
static TimestampTz
helping_time(Outbox *outbox)
{
	if (outbox->begun_at == 0)
		outbox->begun_at = GetCurrentTimestamp();
	return outbox->begun_at;
}

bool
outbox_end_record(Outbox *outbox, OutboxStream *stream, XLogRecPtr lsn)
{
	StringInfo	items = &stream->items;
	int			length;

	if (stream->newline)
		appendStringInfoCharMacro(items, '\n');
	length = items->len - items->cursor - QUEUE_HEADER_SIZE(QUEUE_ITEM_EVENT);
	if (length > QUEUE_MAX_RECORD)
	{
		outbox_cancel_record(outbox, stream);
		return false;
	}
	finish_record(outbox, stream, QUEUE_ITEM_EVENT, lsn,
				  queue_next_ids(firehose_queue, 1), helping_time(outbox));
	return true;
}

void
outbox_add_put(Outbox *outbox, OutboxStream *stream, XLogRecPtr lsn, uint64 id,
			   TimestampTz queued_at, const char *data, Size length)
{
	appendBinaryStringInfo(outbox_begin_record(outbox, stream), data, length);
	finish_record(outbox, stream, QUEUE_ITEM_DURABLE_PUT, lsn, id, queued_at);
}

void
outbox_add_dead(Outbox *outbox, OutboxStream *stream, XLogRecPtr lsn, const char *code,
				const char *message, const char *data, Size length)
{
	StringInfo	items = outbox_begin_record(outbox, stream);

	appendBinaryStringInfo(items, code, strlen(code) + 1);
	appendBinaryStringInfo(items, message, strlen(message) + 1);
	appendBinaryStringInfo(items, data, length);
	finish_record(outbox, stream, QUEUE_ITEM_DEAD_EVENT, lsn,
				  queue_next_ids(firehose_queue, 1), GetCurrentTimestamp());
	pg_atomic_fetch_add_u64(&outbox->pipeline->dead, 1);
}

/*
 * The stream's slot has changed hands, or soon will: its server is gone.  Go on
 * in a slot of its own, if that is what the outbox is to do.
 */
static void
outlive_stream(Outbox *outbox, OutboxStream *stream)
{
	if (!outbox->outlives_streams)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" was dropped", stream->name)));
	claim_slot(stream);
}

/* Try to reserve room in a stream's queue; false: there is none within the time. */
static bool
try_reserve(Outbox *outbox, OutboxStream *stream, Size bytes, int timeout_ms)
{
	for (;;)
	{
		if (stream->slot->dropped)
			outlive_stream(outbox, stream);
		switch (queue_reserve(firehose_queue, stream->slot, stream->generation, bytes,
							  timeout_ms))
		{
			case QUEUE_RESERVED:
				stream->reserved = bytes;
				return true;
			case QUEUE_FULL:
				return false;
			case QUEUE_STALE:
				outlive_stream(outbox, stream);
				break;
		}
	}
}

/* Room in the queue for one stream's helping. */
static void
reserve_room(Outbox *outbox, OutboxStream *stream, Size bytes)
{
	while (!try_reserve(outbox, stream, bytes, 0))
	{
		/* a snapshot of catalogs, kept while we wait, would hold up others */
		InvalidateCatalogSnapshot();
		outbox->on_full();
		if (try_reserve(outbox, stream, bytes, ROOM_WAIT_MS))
			return;
	}
}

/* A free entry in the ring. */
static void
await_ring(Outbox *outbox)
{
	PipelineSlot *pipeline = outbox->pipeline;

	while (commit_ring_is_full(&pipeline->ring))
	{
		commit_ring_advance(&pipeline->ring);
		if (!commit_ring_is_full(&pipeline->ring))
			break;
		InvalidateCatalogSnapshot();
		outbox->on_full();
		pg_atomic_exchange_u32(&pipeline->wants_settled, 1);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ROOM_WAIT_MS, WaitEventNamed("FirehoseQueueFull"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Note how far the queue has it now. */
static void
note_position(Outbox *outbox)
{
	PipelineSlot *pipeline = outbox->pipeline;

	if (outbox->commits_upto != InvalidXLogRecPtr)
		pg_atomic_write_u64(&pipeline->queued_upto, outbox->commits_upto);
	pg_atomic_write_u64(&pipeline->part_lsn, outbox->part_lsn);
	pg_atomic_write_u32(&pipeline->part_seq, outbox->part_seq);
}

/* Hand one stream's records over, into room reserved for them. */
static void
hand_over(OutboxStream *stream)
{
	pg_atomic_uint32 *run = queue_append(firehose_queue, stream->slot, stream->items.data,
										 stream->items.len,
										 stream->reserved, stream->nrecords,
										 stream->first_id, stream->last_id);

	queue_publish(stream->slot, run, stream->nrecords, stream->nbytes);
	resetStringInfo(&stream->items);
	stream->reserved = 0;
	stream->nrecords = 0;
	stream->nbytes = 0;
}

/* A large record leaves a large buffer, and there may be many streams. */
static void
shrink_buffers(Outbox *outbox)
{
	for (int i = 0; i < outbox->nstreams; i++)
	{
		StringInfo	items = &outbox->streams[i]->items;

		if (items->maxlen > KEEP_BUFFER)
		{
			items->data = repalloc(items->data, KEEP_BUFFER);
			items->maxlen = KEEP_BUFFER;
		}
	}
}

void
outbox_flush(Outbox *outbox)
{
	if (outbox->nrecords == 0)
	{
		note_position(outbox);
		return;
	}

	await_ring(outbox);
	for (int i = 0; i < outbox->nstreams; i++)
	{
		OutboxStream *stream = outbox->streams[i];

		if (stream->nrecords > 0)
			reserve_room(outbox, stream, sizeof(QueueRun) + stream->items.len);
	}

	/* from here on nothing fails */
	HOLD_INTERRUPTS();
	commit_ring_push(&outbox->pipeline->ring, outbox->commits_upto, outbox->nrecords);
	note_position(outbox);
	for (int i = 0; i < outbox->nstreams; i++)
	{
		if (outbox->streams[i]->nrecords > 0)
			hand_over(outbox->streams[i]);
	}
	RESUME_INTERRUPTS();
	outbox->nrecords = 0;
	outbox->size = 0;
	outbox->begun_at = 0;
	shrink_buffers(outbox);
}

void
outbox_abandon(Outbox *outbox)
{
	for (int i = 0; i < outbox->nstreams; i++)
	{
		OutboxStream *stream = outbox->streams[i];

		if (stream->reserved > 0)
			queue_unreserve(firehose_queue, stream->slot, stream->reserved);
		stream->reserved = 0;
	}
}
