/*
 * queue.h
 *		The queue's set-up and its table of streams.  layout.h says what the
 *		queue is.
 */
#ifndef FIREHOSE_QUEUE_H
#define FIREHOSE_QUEUE_H

#include "queue/layout.h"

/* The server's queue; NULL when the library was not preloaded. */
extern PGDLLEXPORT Queue *firehose_queue;

extern PGDLLEXPORT int queue_size_mb;	/* firehose.queue_size */
extern PGDLLEXPORT int queue_max_streams;	/* firehose.max_streams */

extern void queue_define_settings(void);
extern void queue_shmem_request(void);
extern void queue_shmem_startup(void);

/*
 * Set-up of a queue in memory of queue_memory_size() bytes.  Also used by the
 * model test, in memory of its own.
 */
extern PGDLLEXPORT Size queue_memory_size(uint32 npages, int max_streams, int max_waiters);
extern PGDLLEXPORT void queue_init(Queue *q, uint32 npages, int max_streams,
								   int max_waiters, LWLock *table_lock,
								   LWLockPadded *stream_locks);

/* The most bytes, headers included, that one transaction may reserve. */
extern Size queue_largest_transaction(const Queue *q);

/*
 * Streams. queue_find_or_claim finds the entry of a stream or claims one (NULL
 * when the database has its share of them), and tells the generation in which
 * it is this stream's. queue_claim_stream raises configuration_limit_exceeded
 * instead. queue_release_stream gives up the entry of a stream without pending
 * records (false: it still has some). queue_discard_database does so for all
 * streams of a database that has gone, with their records; returns the number
 * of records thrown away.
 */
extern PGDLLEXPORT QueueStream *queue_find_or_claim(Queue *q, Oid dboid, Oid serverid,
													const char *name, uint32 *generation);
extern QueueStream *queue_claim_stream(Queue *q, Oid dboid, Oid serverid,
									   const char *name, uint32 *generation);
extern PGDLLEXPORT void queue_rename_stream(Queue *q, QueueStream *s, const char *name);
extern PGDLLEXPORT void queue_mark_dropped(Queue *q, QueueStream *s);
extern PGDLLEXPORT bool queue_release_stream(Queue *q, QueueStream *s);
extern PGDLLEXPORT uint64 queue_discard_database(Queue *q, Oid dboid);

#endif							/* FIREHOSE_QUEUE_H */
