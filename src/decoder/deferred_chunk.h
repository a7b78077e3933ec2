/*
 * deferred_chunk.h
 *		A chunk of a copy that was read and waits for standbys.
 *
 * Its snapshot may have seen commits that the standbys of
 * synchronized_standby_slots do not have (standby_gate.h).  They are before
 * the mark, which is written after it, so the chunk is handed over once
 * standbys have that.  Meanwhile the stream goes on as far as they follow,
 * but not past the chunk's position: what comes behind it is to arrive after
 * the chunk. What comes before it may arrive before as well as after, because
 * the chunk contains it.
 *
 * Decoder process only.  A chunk that a decoder leaves so is read again.
 */
#ifndef FIREHOSE_DECODER_DEFERRED_CHUNK_H
#define FIREHOSE_DECODER_DEFERRED_CHUNK_H

#include "decoder/change_batch.h"
#include "decoder/chunks_in_flight.h"
#include "wal/wal_reader.h"

/* A chunk that was read. */
typedef struct ReadChunk
{
	ChunkInFlight chunk;
	int			nmoved;			/* of the rows, those that were moved */
	XLogRecPtr	position;		/* of its rows */
	XLogRecPtr	mark;			/* written after it was read; Invalid: not yet */
} ReadChunk;

/* The chunk whose rows are in the batch waits. */
extern void deferred_chunk_begin(const ReadChunk *read, ChangeBatch *batch, WalReader *wal);

/* The position that standbys are to have first; Invalid: none waits. */
extern XLogRecPtr deferred_chunk_awaits(void);

/* One waits, and they have it. */
extern bool deferred_chunk_is_ready(void);

/*
 * Hand it over, with its rows in the empty batch again, if it need not wait
 * any longer; or forget it.  False: it waits.
 */
extern bool deferred_chunk_end(ChangeBatch *batch, WalReader *wal, bool forget,
							   void (*hand_over) (ReadChunk *));

#endif							/* FIREHOSE_DECODER_DEFERRED_CHUNK_H */
