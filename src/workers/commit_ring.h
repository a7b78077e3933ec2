/*
 * commit_ring.h
 *		Which commits have been delivered: the acknowledgement queue of a
 *		pipeline.
 *
 * A decoder hands its records to the queue in batches.  Each batch is an entry
 * here, in the order of the WAL: how many of its records are not settled yet,
 * and the position up to which all commits are in this batch or an earlier
 * one.  Records may be settled in any order; the slot may be confirmed to the
 * position of the last entry of the finished prefix, never further.  When all
 * entries are taken, further batches join the last one, so that a stream
 * without delivery never keeps records of others out.
 *
 * Plain memory with atomics: the decoder alone pushes and pops, the sender
 * alone settles.  Nothing here waits or fails.  Lives in shared memory, where
 * it survives both of them.  An entry's counter carries the generation of its
 * pipeline's entry: a record of one that was there before settles nothing.
 */
#ifndef FIREHOSE_WORKERS_COMMIT_RING_H
#define FIREHOSE_WORKERS_COMMIT_RING_H

#include "access/xlogdefs.h"
#include "port/atomics.h"

#define COMMIT_RING_SIZE	1024	/* a power of two */

typedef struct CommitEntry
{
	pg_atomic_uint64 outstanding;	/* generation, and records not settled */
	XLogRecPtr	upto;			/* all commits that end here or before are in
								 * this entry or an earlier one */
} CommitEntry;

typedef struct CommitRing
{
	pg_atomic_uint64 first;		/* number of the oldest entry */
	pg_atomic_uint64 next;		/* number of the next one to push */
	/* position of the last entry popped; decoder only */
	XLogRecPtr	finished;
	CommitEntry entries[COMMIT_RING_SIZE];
} CommitRing;

/* Empty; everything up to `position` counts as delivered. */
extern PGDLLEXPORT void commit_ring_init(CommitRing *ring, uint32 generation,
										 XLogRecPtr position);

/*
 * Decoder: the number of the entry of the next batch.  It holds until the
 * batch is pushed if nothing is dropped before.
 */
extern PGDLLEXPORT uint64 commit_ring_next(const CommitRing *ring);

/* Decoder: add a batch of n > 0 records.  Before they can be settled. */
extern PGDLLEXPORT void commit_ring_push(CommitRing *ring, uint64 number,
										 XLogRecPtr upto, uint32 n);

/*
 * Decoder: drop the finished prefix; returns the position that may be
 * confirmed.
 */
extern PGDLLEXPORT XLogRecPtr commit_ring_advance(CommitRing *ring);

/* Is everything settled that was ever pushed? Any process may ask. */
extern PGDLLEXPORT bool commit_ring_is_empty(const CommitRing *ring);

/* Records not settled, for a view. */
extern PGDLLEXPORT uint64 commit_ring_outstanding(const CommitRing *ring);

/*
 * Sender: one record of an entry is settled; true if that was its last one,
 * and false as well if the entry is another pipeline's by now.
 */
extern PGDLLEXPORT bool commit_ring_settle(CommitRing *ring, uint64 number,
										   uint16 generation);

#endif							/* FIREHOSE_WORKERS_COMMIT_RING_H */
