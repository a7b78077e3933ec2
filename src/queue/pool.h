/*
 * pool.h
 *		The pool's accounts, for the modules of the queue itself.
 *
 * All of these are called with the stream's lock held exclusively.
 */
#ifndef FIREHOSE_QUEUE_POOL_H
#define FIREHOSE_QUEUE_POOL_H

#include "queue/queue.h"

/*
 * A stream that comes or goes: its minimum joins or leaves what is kept for
 * others.
 */
extern void queue_pool_join(Queue *q);
extern void queue_pool_leave(Queue *q, QueueStream *s);

/*
 * Reserve room without regard to shares and minimums, for what had its room
 * before a restart.  False: there is none.
 */
extern bool queue_reserve_again(Queue *q, QueueStream *s, Size bytes);

/* Turn one of the stream's promised pages into a page. */
extern QueuePageNo queue_take_page(Queue *q, QueueStream *s);

/* Give a page that is in no chain any more back to the pool. */
extern void queue_return_page(Queue *q, QueueStream *s, QueuePageNo no);

/*
 * Forget `bytes` of the stream's reservations, and the pages only they needed.
 * Returns whether there were any.
 */
extern bool queue_settle_reservation(Queue *q, QueueStream *s, Size bytes);

/*
 * Call after the stream's lock was released, if room was given back.  Wakes
 * all who wait, in whatever stream, so do not call it for nothing.
 */
extern void queue_wake_waiters(Queue *q);

#endif							/* FIREHOSE_QUEUE_POOL_H */
