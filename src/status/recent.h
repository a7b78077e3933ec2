/*
 * recent.h
 *		What became of young records, in shared memory, and those who wait
 *		for it: firehose_wait, firehose_flush, firehose_drain.
 *
 * A ring of atomics indexed by record id holds the fates of the records that
 * finished last.  A backend that waits registers the id in its own slot of a
 * table of waiters; the sender settles it there and sets the backend's latch.
 */
#ifndef FIREHOSE_STATUS_RECENT_H
#define FIREHOSE_STATUS_RECENT_H

#include "queue/queue.h"

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

/* Record ids are below it: exact in a double, and the ring keeps bits beside them. */
#define FATE_MAX_ID		((UINT64CONST(1) << 53) - 1)

/*
 * Sender: a record's fate is settled, and will be published when its row is
 * written.  To be called before the record is finished in the queue, so that
 * who looks for a young record always finds it in one of the two.
 */
extern PGDLLEXPORT void fate_announce(uint64 id, RecordFate fate);

/* Sender: make fates known and wake those who wait for them.  Never waits, never fails. */
extern PGDLLEXPORT void fate_publish(const FateEntry *entries, int n);

/* Sender: is somebody waiting for a record? (Status rows are then written at once.) */
extern PGDLLEXPORT bool fate_has_waiters(void);

/*
 * Flush handshake.  A backend increments s->flush_requested, wakes the sender
 * and waits; the sender, once status rows are written, calls this with the
 * value of flush_requested it had read *before* it looked at what is owed;
 * and again whenever it got further, for as long as fate_has_flushers().
 */
extern PGDLLEXPORT void fate_answer_flush(QueueStream *s, uint64 request,
										  QueuePosition finished_upto);

/* Decoder: wake those who flush, if any, to look how far it is. */
extern void fate_wake_flushers(void);

/* Sender: is somebody waiting for an answer to a flush, of whatever stream? */
extern PGDLLEXPORT bool fate_has_flushers(void);

/* Backend: what the ring says of a record, published or announced; FATE_NONE when it is not young. */
extern RecordFate fate_lookup(uint64 id);
extern RecordFate fate_lookup_announced(uint64 id);

/* Backend: take a record's fate out of the ring, since it is queued again. */
extern void fate_forget(uint64 id);

/*
 * Backend: wait for a record (1 to FATE_MAX_ID), or for answers to flushes.
 * The latch is set at every change.  The stop must follow, whatever happens.
 */
extern void fate_start_waiting(uint64 id);
extern RecordFate fate_awaited(void);
extern void fate_stop_waiting(void);
extern void fate_start_flushing(void);
extern void fate_stop_flushing(void);

#endif							/* FIREHOSE_STATUS_RECENT_H */
