/*
 * fate.h
 *		What became of young records, in shared memory, and those who wait
 *		for it: firehose_wait, firehose_flush, firehose_drain.
 *
 * A ring of atomics indexed by record id holds the fates of the records that
 * finished last.  A backend that waits registers the id in its own slot of a
 * table of waiters; the sender settles it there and sets the backend's latch.
 */
#ifndef FIREHOSE_FATE_H
#define FIREHOSE_FATE_H

#include "queue.h"

typedef enum RecordFate
{
	FATE_NONE,
	FATE_ACCEPTED,				/* Firehose gave it a RecordId */
	FATE_FAILED					/* it is in the dead letters */
} RecordFate;

typedef struct FateEntry
{
	uint64		id;
	RecordFate	fate;
} FateEntry;

extern void fate_shmem_request(void);
extern void fate_shmem_startup(void);

/* Sender: make fates known and wake those who wait for them.  Never waits, never fails. */
extern PGDLLEXPORT void fate_publish(const FateEntry *entries, int n);

/* Sender: is somebody waiting for a record? (Status rows are then written at once.) */
extern PGDLLEXPORT bool fate_has_waiters(void);

/*
 * Flush handshake.  A backend increments s->flush_requested, wakes the sender
 * and waits; the sender, once status rows are written, calls this with the
 * value of flush_requested it had read *before* it looked at what is owed.
 */
extern PGDLLEXPORT void fate_answer_flush(QueueStream *s, uint64 request,
										  QueuePosition finished_upto);

#endif							/* FIREHOSE_FATE_H */
