/*
 * wake.h
 *		Waking the sender of a stream.
 */
#ifndef FIREHOSE_QUEUE_WAKE_H
#define FIREHOSE_QUEUE_WAKE_H

#include "queue/layout.h"

/* Set the latch of the stream's sender, if it has asked for any news. */
extern PGDLLEXPORT void queue_wake_sender(QueueStream *s);

/* The same after a publication, for which there may be too little to tell. */
extern void queue_wake_for_publication(QueueStream *s);

/*
 * The queue fills, so that records have to linger no longer: wake the senders
 * that let some.
 */
extern void queue_wake_lingering(Queue *q);

/*
 * By the sender: ask for news.  A full barrier: whoever looks at the queue
 * after it misses nothing.
 */
extern PGDLLEXPORT void queue_ask_for_news(QueueStream *s, QueueWake wake);

/* Is as much published as a sender that lets records linger waits for? */
static inline bool
queue_has_filled_request(QueueStream *s)
{
	return pg_atomic_read_u64(&s->published_records) >= pg_atomic_read_u64(&s->wake_records) ||
		pg_atomic_read_u64(&s->published_bytes) >= pg_atomic_read_u64(&s->wake_bytes);
}

#endif							/* FIREHOSE_QUEUE_WAKE_H */
