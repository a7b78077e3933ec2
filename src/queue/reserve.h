/*
 * reserve.h
 *		Reserving space in the queue, and the lines of processes that wait for
 *		it.
 */
#ifndef FIREHOSE_QUEUE_RESERVE_H
#define FIREHOSE_QUEUE_RESERVE_H

#include "queue/layout.h"

/*
 * Reserve `bytes` of the chain.  Waits at most timeout_ms for space (0: not at
 * all); cancellable.  The abort of its (sub)transaction must call
 * queue_stop_waiting, and so must the exit of a process that reserves outside
 * of transactions.
 */
extern PGDLLEXPORT QueueReserveResult queue_reserve(Queue *q, QueueStream *s,
													uint32 generation, Size bytes,
													int timeout_ms);
extern PGDLLEXPORT void queue_stop_waiting(Queue *q);
extern PGDLLEXPORT void queue_unreserve(Queue *q, QueueStream *s, Size bytes);

/*
 * For the queue's own modules.  Space of `s` came free: serve the processes
 * that wait for it, and those of other streams.  No lock may be held.
 */
extern void queue_serve_waiters(Queue *q, QueueStream *s);

/*
 * The entry changes hands: remove all processes from its line.  Wants its
 * lock, exclusively.
 */
extern void queue_dismiss_waiters(Queue *q, QueueStream *s);

/*
 * The line itself, for the model test: process number `waiter` joins, unless
 * the entry has changed hands, and leaves with its result; QUEUE_FULL: it got
 * nothing.
 */
extern PGDLLEXPORT bool queue_join_line(Queue *q, QueueStream *s, int waiter,
										uint32 generation, Size bytes);
extern PGDLLEXPORT QueueReserveResult queue_leave_line(Queue *q, int waiter);

static inline QueueWaiter *
queue_waiter(Queue *q, int procno)
{
	Assert(procno >= 0 && procno < q->max_waiters);
	return (QueueWaiter *) ((char *) q + q->waiters_offset) + procno;
}

#endif							/* FIREHOSE_QUEUE_RESERVE_H */
