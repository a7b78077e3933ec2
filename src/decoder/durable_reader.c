/*
 * durable_reader.c
 *		Turn durable puts in the WAL into records of the queue.
 *
 * Decoder process only.  Only logical messages are read: the WAL reader passes
 * them on as they lie in the WAL and drops changes of tables, so that no
 * publication is looked for.  A message that is not transactional comes
 * outside of any transaction, where there is neither a resource owner nor a
 * snapshot; nothing here needs one.
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/hsearch.h"

#include "decoder/durable_reader.h"
#include "wal/durable_message.h"

/* A stream that something was durably put into. */
typedef struct PutStream
{
	Oid			serverid;		/* hash key */
	BatchStream *stream;
} PutStream;

struct DurableReader
{
	MemoryContext context;
	ChangeBatch *batch;
	HTAB	   *streams;		/* of PutStream */
	bool		warned;			/* of a message that passes for a put */

	/*
	 * ids of messages outside of transactions, of two windows of the WAL: the
	 * one that begins at seen_from, and the one before it
	 */
	HTAB	   *seen;
	HTAB	   *seen_before;
	XLogRecPtr	seen_from;

	/* the transaction that is being read */
	XLogRecPtr	lsn;			/* of its commit */
	TransactionId xid;			/* top-level */
	uint64		full_xid;		/* with its epoch; 0: not worked out yet */
	uint32		seq;			/* puts of it so far */
	uint32		done_seq;		/* puts of it that an earlier decoder has sent
								 * */
};

/* Ids of messages outside of transactions. */
static HTAB *
create_seen(MemoryContext context)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(uint64);
	ctl.hcxt = context;
	return hash_create("firehose durable puts seen", 64, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

DurableReader *
durable_reader_create(MemoryContext context, ChangeBatch *batch)
{
	DurableReader *reader = MemoryContextAllocZero(context, sizeof(DurableReader));
	HASHCTL		ctl = {0};

	reader->context = context;
	reader->batch = batch;
	reader->seen = create_seen(context);
	reader->seen_before = create_seen(context);
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(PutStream);
	ctl.hcxt = context;
	reader->streams = hash_create("firehose streams put into", 16, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	durable_message_make_keys();
	return reader;
}

static void
begin_transaction(const ReorderBufferTXN *txn, void *arg)
{
	DurableReader *reader = arg;
	PipelineEntry *entry = reader->batch->pipeline;

	reader->lsn = txn->final_lsn;
	reader->xid = txn->xid;
	reader->full_xid = 0;
	reader->seq = 0;
	/* an earlier decoder may have ended in the middle of this one */
	reader->done_seq = pg_atomic_read_u64(&entry->part_lsn) == txn->final_lsn ?
		pg_atomic_read_u32(&entry->part_seq) : 0;
}

static void
commit_transaction(const ReorderBufferTXN *txn, void *arg)
{
	DurableReader *reader = arg;
	ChangeBatch *batch = reader->batch;
	PipelineEntry *entry = batch->pipeline;

	batch->commits_upto = txn->end_lsn;
	batch->part_lsn = InvalidXLogRecPtr;
	batch->part_seq = 0;
	if (reader->seq == 0)
		return;
	pg_atomic_write_u64(&entry->last_commit_time, (uint64) txn->xact_time.commit_time);
	pg_atomic_fetch_add_u64(&entry->transactions, 1);
	if (batch->size >= OUTBOX_FULL)
		change_batch_flush(batch);
}

/* The batch's stream for a server, whether that is still there or not. */
static BatchStream *
put_stream(DurableReader *reader, Oid serverid, const char *name)
{
	bool		found;
	PutStream  *entry = hash_search(reader->streams, &serverid, HASH_FIND, &found);
	BatchStream *stream;

	if (likely(found))
		return entry->stream;
	stream = change_batch_add_stream(reader->batch, serverid, name, false);
	entry = hash_search(reader->streams, &serverid, HASH_ENTER, NULL);
	entry->stream = stream;
	return stream;
}

/* Count a message that no put has written, and say so once. */
static void
refuse_message(DurableReader *reader, XLogRecPtr lsn)
{
	pg_atomic_fetch_add_u64(&reader->batch->pipeline->refused, 1);
	if (reader->warned)
		return;
	ereport(LOG,
			(errmsg("firehose decoder: ignored a logical message with prefix \"%s\" at %X/%X, which was not written by a durable put",
					DURABLE_MESSAGE_PREFIX, LSN_FORMAT_ARGS(lsn)),
			 errhint("Messages of this prefix are for firehose_put_record and firehose_put_batch; use another prefix with pg_logical_emit_message.")));
	reader->warned = true;
}

/*
 * A transaction's id with its epoch.  The slot holds back the horizon of
 * transaction ids, so the id is less than 2^31 behind.
 */
static uint64
full_xid_of(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

/*
 * Is this the first message with its id, of those that may belong here?  A
 * message further back than a window is refused for its place, so that its id
 * need not be remembered.
 */
static bool
is_first_seen(DurableReader *reader, uint64 id, XLogRecPtr lsn)
{
	bool		found;

	if (lsn - reader->seen_from > DURABLE_MESSAGE_WINDOW)
	{
		HTAB	   *oldest = reader->seen_before;

		reader->seen_before = reader->seen;
		reader->seen = create_seen(reader->context);
		reader->seen_from = lsn;
		hash_destroy(oldest);
	}
	hash_search(reader->seen_before, &id, HASH_FIND, &found);
	if (!found)
		hash_search(reader->seen, &id, HASH_ENTER, &found);
	return !found;
}

/* Does a sealed message lie where the put wrote it, or is it a copy? */
static bool
is_in_place(DurableReader *reader, const DurableMessage *message, bool transactional,
			XLogRecPtr lsn)
{
	DurableMessage copy = *message;
	DurableRecord first;

	if (message->transactional != transactional)
		return false;
	if (!transactional)
		return durable_message_in_window(message->place, lsn) &&
			durable_message_next(&copy, &first) && is_first_seen(reader, first.id, lsn);
	if (reader->full_xid == 0)
		reader->full_xid = full_xid_of(reader->xid);
	return message->place == reader->full_xid;
}

static bool
wants_prefix(const char *prefix, void *arg)
{
	return strcmp(prefix, DURABLE_MESSAGE_PREFIX) == 0;
}

/*
 * Add a put to the batch.  In a transaction it counts as a change, so that a
 * later decoder can continue in the middle of it; otherwise it is a commit of
 * its own, at its LSN.
 */
static void
add_put(DurableReader *reader, const DurableRecord *put, bool transactional, XLogRecPtr lsn)
{
	ChangeBatch *batch = reader->batch;

	if (transactional && ++reader->seq <= reader->done_seq)
		return;
	change_batch_add_put(batch, put_stream(reader, put->serverid, put->stream), lsn, put->id,
						 put->queued_at, put->bytes.data, put->bytes.length);
	if (transactional)
	{
		batch->part_lsn = lsn;
		batch->part_seq = reader->seq;
	}
	else
		batch->commits_upto = Max(batch->commits_upto, lsn);
	pg_atomic_fetch_add_u64(&batch->pipeline->messages, 1);
	if (batch->size >= OUTBOX_FULL)
		change_batch_flush(batch);
}

/* A message that a session has put, or that passes for one. */
static void
take_message(XLogRecPtr lsn, bool transactional, const char *content, Size length, void *arg)
{
	DurableReader *reader = arg;
	DurableMessage message;
	DurableRecord put;

	if (!transactional && lsn <= pg_atomic_read_u64(&reader->batch->pipeline->queued_upto))
		return;
	if (!durable_message_open(&message, content, length) ||
		!is_in_place(reader, &message, transactional, lsn))
	{
		refuse_message(reader, lsn);
		return;
	}
	while (durable_message_next(&message, &put))
	{
		add_put(reader, &put, transactional, transactional ? reader->lsn : lsn);
		/* one that waits for no commit is at a place of its own */
		if (!transactional)
			break;
	}
	if (message.at != message.end)
		refuse_message(reader, lsn);
}

const WalConsumer durable_reader_consumer = {
	.begin = begin_transaction,
	.commit = commit_transaction,
	.logical_message = take_message,
	.wants_prefix = wants_prefix
};
