/*
 * change_batch.h
 *		The records that a decoder has made and not yet handed to the queue.
 *
 * Records of many small commits, or of a part of a large one, are collected
 * and handed over together: one batch is one run in each stream's queue and
 * one entry of the pipeline's commit ring.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_DECODER_CHANGE_BATCH_H
#define FIREHOSE_DECODER_CHANGE_BATCH_H

#include "lib/stringinfo.h"
#include "queue/queue.h"
#include "queue/run_builder.h"
#include "workers/pipeline_table.h"

/* A stream that the pipeline sends to. */
typedef struct BatchStream
{
	Oid			serverid;
	QueueStream *queue_stream;
	uint32		generation;		/* of .queue_stream */
	bool		newline;		/* records end in one */
	char	   *name;
	StringInfoData items;		/* records as they will lie in the queue */
	RunTotals	totals;
	/* in the queue, for the batch being handed over */
	Size		reserved;
	/* of the deferred records */
	StringInfoData deferred_items;
	RunTotals	deferred_totals;
} BatchStream;

typedef struct ChangeBatch
{
	PipelineEntry *pipeline;
	MemoryContext context;		/* of the streams */
	bool		outlives_streams;	/* records of a stream that is dropped are
									 * handed over all the same, for the
									 * sender to make dead letters of */
	int			nstreams;
	int			max_streams;
	BatchStream **streams;
	Size		size;			/* bytes of all items */
	uint32		nrecords;		/* in all streams */
	/* of the commit ring, that they are to be in */
	uint64		entry;
	/* when the first event of them was made; 0: none yet */
	TimestampTz begun_at;
	/* the same of the deferred records */
	Size		deferred_size;
	uint32		deferred_nrecords;
	TimestampTz deferred_begun_at;

	/* up to where the batch goes */
	/* end of the last commit that is in it whole */
	XLogRecPtr	commits_upto;
	/* a commit that is in it in part; Invalid: none */
	XLogRecPtr	part_lsn;
	uint32		part_seq;		/* and the place in it of the last one */
	uint64		part_definition;	/* as counted under this one */
	uint64		definition;		/* Pipeline.fingerprint of this decoder's */

	/* called when the queue has no room, once a second; may end the process */
	void		(*on_full) (const char *stream);
} ChangeBatch;

/* A batch of this size is handed over at once. */
#define OUTBOX_FULL		(256 * 1024)

/* Add a stream, claiming its entry of the queue's table. Needs no catalog. */
extern BatchStream *change_batch_add_stream(ChangeBatch *batch, Oid serverid, const char *name,
											bool newline);

/*
 * Begin a record for a stream: returns where to append its payload, which
 * change_batch_end_record or change_batch_cancel_record ends.
 */
extern StringInfo change_batch_begin_record(ChangeBatch *batch, BatchStream *stream);

/*
 * End it.  False if it is too large for a record: then it is cancelled, and
 * the caller sends a dead letter instead.
 */
extern bool change_batch_end_record(ChangeBatch *batch, BatchStream *stream, XLogRecPtr lsn);
extern void change_batch_cancel_record(ChangeBatch *batch, BatchStream *stream);

/* Send a change to the dead letters instead; id 0: a new one. */
extern void change_batch_add_dead(ChangeBatch *batch, BatchStream *stream, XLogRecPtr lsn,
								  const char *code, const char *message,
								  const char *data, Size length);

/* Add a record that was put, under the id and time of its put, as it is. */
extern void change_batch_add_put(ChangeBatch *batch, BatchStream *stream, XLogRecPtr lsn,
								 uint64 id, TimestampTz queued_at, const char *data, Size length);

/*
 * Hand everything over, waiting for room as long as it takes (but see
 * on_full). Errors if a stream is gone, unless outlives_streams.
 */
extern void change_batch_flush(ChangeBatch *batch);

/* How many bytes of its streams wait in the queue and are in no request. */
extern uint64 change_batch_waiting(const ChangeBatch *batch);

/* Forget all that was not handed over. */
extern void change_batch_discard(ChangeBatch *batch);

/*
 * Put all records out of the way of others that are to be handed over before
 * them.  Then, with an empty batch, have them in it again; or forget them.
 */
extern void change_batch_defer(ChangeBatch *batch);
extern void change_batch_take_deferred(ChangeBatch *batch);
extern void change_batch_drop_deferred(ChangeBatch *batch);

/* At exit: give back what was reserved and not used. */
extern void change_batch_abandon(ChangeBatch *batch);

#endif							/* FIREHOSE_DECODER_CHANGE_BATCH_H */
