/*
 * chain.h
 *		How records lie in a stream's chain: appending, publishing, looking.
 */
#ifndef FIREHOSE_QUEUE_CHAIN_H
#define FIREHOSE_QUEUE_CHAIN_H

#include "queue/layout.h"
#include "queue/run_builder.h"

/*
 * To be called before the records of a commit that does not wait for its flush
 * are published.  The sender flushes the WAL up to there before it sends them.
 * Otherwise a crash could leave a delivered record whose transaction was never
 * committed.
 */
extern void queue_note_asynchronous(Queue *q, XLogRecPtr commit_end);

/*
 * Append a run of `length` bytes of records (as QUEUE_RECORD_SPACE lays them
 * out), taken out of `reserved` bytes that were reserved before and are all
 * given up (reserved >= sizeof(QueueRun) + length).  Neither waits for room
 * nor fails.  Returns the run's flag, for queue_publish or queue_drop.
 */
extern PGDLLEXPORT pg_atomic_uint32 *queue_append(Queue *q, QueueStream *s,
												  const char *records, Size length,
												  Size reserved,
												  const RunTotals *totals);
extern PGDLLEXPORT void queue_publish(QueueStream *s, pg_atomic_uint32 *run_state,
									  const RunTotals *totals);
extern PGDLLEXPORT void queue_drop(QueueStream *s, pg_atomic_uint32 *run_state);

/* Observers */

/*
 * Is this record published and pending in a stream of the database that may be
 * searched?  Others are not looked at, so that the time does not tell of them
 * either.  Interruptible; takes no lock for longer than one page's records.
 */
extern PGDLLEXPORT bool queue_find(Queue *q, Oid dboid, uint64 id,
								   bool (*may_search) (Oid serverid));

/* When was the oldest record that is pending queued?  0: none. */
extern PGDLLEXPORT TimestampTz queue_oldest(Queue *q, QueueStream *s);

/*
 * Called for each record that is pending, oldest first, with the place of its
 * header; false ends the visit.  queue_visit_pending needs the stream's lock.
 */
typedef bool (*QueueVisitor) (Queue *q, const QueueRecord *record,
							  QueuePageNo page, uint32 offset, void *arg);
extern PGDLLEXPORT void queue_visit_pending(Queue *q, QueueStream *s,
											QueueVisitor visit, void *arg);

/*
 * Copy `length` bytes out of the chain, from a place in a page on; the place
 * moves on with it and may end at the very end of a page.
 */
extern PGDLLEXPORT void queue_read(Queue *q, QueuePageNo *page, uint32 *offset,
								   void *to, Size length);

/*
 * Reader: take a page out of the chain and give it back to the pool.  Those
 * that wait for it are not served (queue_reader_serve_waiters).
 */
extern PGDLLEXPORT void queue_free_page(Queue *q, QueueStream *s, QueuePageNo no);

#endif							/* FIREHOSE_QUEUE_CHAIN_H */
