/*
 * chunks_in_flight.h
 *		The chunks of the copy under way that are handed over and not
 *		delivered, in the order of their reading.
 *
 * Decoder process only.  What fits is in shared memory as well
 * (copy_chunks.h), because the records lie in the queue and are delivered
 * though this process ends.  If the next one read them again, a copy whose
 * decoder ends sooner than the queue is delivered would never get on.
 */
#ifndef FIREHOSE_DECODER_CHUNKS_IN_FLIGHT_H
#define FIREHOSE_DECODER_CHUNKS_IN_FLIGHT_H

#include "pipeline/copies.h"
#include "workers/pipeline_table.h"

/* A chunk that is handed over. */
typedef struct ChunkInFlight
{
	uint64		until;			/* delivered once the ring begins here */
	bool		advances;		/* the copy has come to `last` */
	CopyPosition last;
	int64		rows;
	int64		bytes;
	XLogRecPtr	end;			/* of the copy, if it was the last chunk */
	XLogRecPtr	hold;			/* of its moved rows, until it is delivered */
} ChunkInFlight;

/*
 * Begin with those that an earlier decoder left of this copy, read in the same
 * order; with none if they are of another.  Positions are in this context.
 */
extern void chunks_in_flight_begin(PipelineEntry *entry, const CopyRow *copy,
								   MemoryContext context);

extern int	chunks_in_flight_count(void);
extern bool chunks_in_flight_full(void);
extern int64 chunks_in_flight_bytes(void);

/* Go on after these: where the next chunk begins, and the end. */
extern void chunks_in_flight_follow(MemoryContext context, CopyPosition *next, XLogRecPtr *end);

/* Add one that is in the queue now. */
extern void chunks_in_flight_add(const ChunkInFlight *chunk);

/* Is the oldest one delivered? */
extern bool chunks_in_flight_delivered(void);

/* Count those that are delivered in the row of the copy; false: none is. */
extern bool chunks_in_flight_settle(CopyRow *copy);

/* There is no copy any more, or it begins anew. */
extern void chunks_in_flight_forget(PipelineEntry *entry);

/*
 * The first commit whose moved rows are in them; Invalid: none.  Also right
 * before chunks_in_flight_begin.
 */
extern XLogRecPtr chunks_in_flight_hold(const PipelineEntry *entry);

#endif							/* FIREHOSE_DECODER_CHUNKS_IN_FLIGHT_H */
