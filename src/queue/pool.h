/*
 * pool.h
 *		The pool's reservations, for the modules of the queue itself.
 *
 * Unless it says otherwise, call with the stream's lock held exclusively.
 */
#ifndef FIREHOSE_QUEUE_POOL_H
#define FIREHOSE_QUEUE_POOL_H

#include "queue/layout.h"

/*
 * The most bytes that one stream can have in an otherwise empty queue, with
 * nothing else in its database.  Needs no lock.
 */
extern PGDLLEXPORT Size queue_largest_share(const Queue *q);

/*
 * A stream that comes or goes: its minimum joins or leaves the pages kept for
 * others. s->database must be set.
 */
extern void queue_pool_join(Queue *q);
extern void queue_pool_leave(Queue *q, QueueStream *s);

/*
 * Reserve space if the pool allows it.  If not `fair`, shares and minimums are
 * ignored, for records that had their space before a restart.
 */
extern bool queue_pool_reserve(Queue *q, QueueStream *s, Size bytes, bool fair);

/*
 * Forget `bytes` of the stream's reservations, and the pages only they needed.
 * Returns whether a process may have waited for that: there were such pages,
 * or the stream has a line, to which even a part of a page may matter.
 */
extern bool queue_settle_reservation(Queue *q, QueueStream *s, Size bytes);

/*
 * Is the queue filling up, when so many pages are free?  Then processes may
 * soon wait for space, or lose records, and none should stay for long.
 */
static inline bool
queue_is_short_of_pages(const Queue *q, uint32 free_pages)
{
	return free_pages < q->npages / 4 * 3;
}

/*
 * The same now, or do processes wait already?  Without a lock: a number of a
 * moment ago will do.
 */
static inline bool
queue_is_filling(Queue *q)
{
	return queue_is_short_of_pages(q, q->free_pages) || pg_atomic_read_u32(&q->waiters) > 0;
}

/* Turn one of the stream's promised pages into a page. */
extern QueuePageNo queue_take_page(Queue *q, QueueStream *s);

/* Give a page that is in no chain any more back to the pool. */
extern void queue_return_page(Queue *q, QueueStream *s, QueuePageNo no);

#endif							/* FIREHOSE_QUEUE_POOL_H */
