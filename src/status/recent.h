/*
 * recent.h
 *		The outcomes of recent records in shared memory, and the processes that
 *		wait for them: firehose_wait, firehose_flush, firehose_drain.
 *
 * A ring of atomics indexed by record id holds the outcomes of the records
 * that finished last.  A backend that waits registers the id in its own entry
 * of a table of waiters; the sender settles it there and sets the backend's
 * latch.
 */
#ifndef FIREHOSE_STATUS_RECENT_H
#define FIREHOSE_STATUS_RECENT_H

#include "queue/layout.h"

typedef enum RecordOutcome
{
	OUTCOME_NONE,
	OUTCOME_ACCEPTED,				/* Firehose gave it a RecordId */
	OUTCOME_FAILED					/* it is in the dead letters */
} RecordOutcome;

typedef struct RecentEntry
{
	uint64		id;
	RecordOutcome	outcome;
} RecentEntry;

extern void recent_shmem_request(void);
extern void recent_shmem_startup(void);

/*
 * Sender: a record's outcome is settled, and will be published when its row is
 * written.  To be called before the record is finished in the queue, so that a
 * process that looks for a recent record always finds it in one of the two.
 */
extern PGDLLEXPORT void recent_announce(uint64 id, RecordOutcome outcome, Oid serverid);

/*
 * Sender: publish outcomes and wake the processes that wait for them.  Never
 * waits, never fails.
 */
extern PGDLLEXPORT void recent_publish(const RecentEntry *entries, int n);

/*
 * Sender: is a process waiting for a record?  (Status rows are then written at
 * once.)
 */
extern PGDLLEXPORT bool recent_has_waiters(void);

/*
 * Flush handshake.  A backend calls recent_flush_request, wakes the sender and
 * waits for recent_flush_reached.  The sender reads the number of the last
 * request *before* it looks at what is pending, and calls recent_flush_done
 * with that number once status rows are written.  It does so again whenever it
 * got further, for as long as recent_has_flushers().
 */

/* Backend: ask a stream's sender how far it is; the number of the request. */
extern uint64 recent_flush_request(QueueStream *s);

/* Backend: has the sender responded to this request, from `mark` or beyond? */
extern bool recent_flush_reached(QueueStream *s, uint64 request, QueuePosition mark);

/* Sender: the number of the last request, 0: there was none. */
extern PGDLLEXPORT uint64 recent_flush_requested(QueueStream *s);

/* Sender: would recent_flush_done say what it has said already? */
extern PGDLLEXPORT bool recent_flush_is_known(QueueStream *s, uint64 request,
											  QueuePosition finished_upto);
extern PGDLLEXPORT void recent_flush_done(QueueStream *s, uint64 request,
										  QueuePosition finished_upto);

/* Decoder: wake the processes that flush, to look how far it is. */
extern void recent_wake_flushers(void);

/* Sender: is a process waiting for a response to a flush, of any stream? */
extern PGDLLEXPORT bool recent_has_flushers(void);

/*
 * Backend: the outcome of a record in the ring, published or announced;
 * OUTCOME_NONE when it is not recent.
 */
extern RecordOutcome recent_lookup(uint64 id);
extern RecordOutcome recent_lookup_announced(uint64 id);

/*
 * Backend: the foreign server whose record this is, to check who may know of
 * it; no such server, or InvalidOid, for one that is not recent or of another
 * database.
 */
extern Oid	recent_server(uint64 id);

/*
 * Backend: take a record's outcome out of the ring, since it is queued again;
 * returns what it was, OUTCOME_NONE when it was not recent.  And put it back,
 * unless there is news of the record or of another in its place.
 */
extern RecordOutcome recent_forget(uint64 id);
extern void recent_restore(uint64 id, RecordOutcome outcome);

/*
 * Backend: wait for a record (1 to QUEUE_MAX_ID), or for responses to flushes.
 * The latch is set at every change.  The stop must follow, after an error too.
 */
extern void recent_start_waiting(uint64 id);
extern RecordOutcome recent_awaited(void);
extern void recent_stop_waiting(void);
extern void recent_start_flushing(void);
extern void recent_stop_flushing(void);

#endif							/* FIREHOSE_STATUS_RECENT_H */
