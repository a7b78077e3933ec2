/*
 * copy_chunks.h
 *		The chunks of a copy that a decoder has handed over and that are not
 *		delivered yet, in shared memory: they wait in the queue when the
 *		decoder ends, and the next one goes on after them.
 *
 * Plain data.  Only the pipeline's decoder reads and writes it, and there is
 * one at a time.
 */
#ifndef FIREHOSE_WORKERS_COPY_CHUNKS_H
#define FIREHOSE_WORKERS_COPY_CHUNKS_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

/*
 * Chunks that are handed over and not delivered, 16 MB at most: when the queue
 * is full of changes, each of them waits for all that is before it.
 */
#define COPY_CHUNKS			64

/* A key with longer texts is not remembered: its chunk is read again. */
#define COPY_CHUNK_TEXTS	118

typedef struct CopyChunkEntry
{
	uint64		until;			/* delivered once the commit ring begins here */
	int64		rows;
	int64		bytes;
	XLogRecPtr	end;			/* of the copy, if it was the last chunk */
	XLogRecPtr	hold;			/* of its moved rows, until it is delivered */
	int16		ntexts;			/* of the position it has come to; 0: unknown */
	char		texts[COPY_CHUNK_TEXTS];	/* each ends in a zero byte */
} CopyChunkEntry;

typedef struct CopyChunks
{
	/* of which copy, and in which order it is read */
	Oid			relid;			/* InvalidOid: none */
	TimestampTz requested_at;
	uint64		order;
	int			n;
	CopyChunkEntry entries[COPY_CHUNKS];
} CopyChunks;

#endif							/* FIREHOSE_WORKERS_COPY_CHUNKS_H */
