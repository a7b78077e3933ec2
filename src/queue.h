/*
 * queue.h
 *		The queue: records between the transactions that put them and the
 *		sender that delivers them, in shared memory of a fixed size.
 *
 * The room is a pool of pages.  A stream owns a chain of them, oldest first,
 * and its records lie in the chain as one stream of bytes:
 *
 *		run header | record header, payload | record header, payload | run ...
 *
 * A *run* is what one transaction put into one stream (or one chunk of a
 * decoded transaction).  It is appended as a whole when the transaction is
 * about to commit, and published, or dropped, by one flag in its header.
 * Headers never straddle a page boundary, payloads do.
 *
 * Producers reserve room before they need it (queue_reserve, which is the one
 * call that may wait), so that queue_append and queue_publish cannot fail.
 * Exactly one consumer, the sender of the stream's database, reads a stream
 * (queue_reader.h).
 *
 * Locking contract
 * ----------------
 * Queue.table_lock	(LWLock) protects which slots are in use and their
 *					identity (dboid, serverid, name, generation, dropped).
 *					Shared to look up, exclusive to claim or evict.
 * Queue.pool_lock	(spinlock) protects free_head, free_pages, promised and
 *					unmet_minimum; held for a few instructions, never while
 *					another lock is being acquired.
 * QueueStream.lock	(LWLock) protects the chain (head, tail, tail_used,
 *					next_seq, npages, QueuePage.next/prev/seq) and the
 *					accounts (reserved, promised).  Exclusive to reserve,
 *					append or unlink pages; shared to walk the chain.
 * Payload bytes and record headers of a run belong to the appender until the
 * run is published (QueueRun.state, written after a write barrier, read before
 * a read barrier), and to the stream's only reader afterwards.  The reader
 * alone writes QueueRecord.state and .attempts.
 * Everything named pg_atomic_* is read and written without a lock; where more
 * than one of them must agree the comment at the use says why it does not
 * matter that they may not.
 * Order of acquisition: table_lock, QueueStream.lock, pool_lock.
 */
#ifndef FIREHOSE_QUEUE_H
#define FIREHOSE_QUEUE_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "statistics.h"

/* Geometry */
#define QUEUE_PAGE_SIZE		8192
#define QUEUE_PAGE_DATA		((uint32) (QUEUE_PAGE_SIZE - offsetof(QueuePage, data)))
/* an item's header starts in a page only if this much is left of it */
#define QUEUE_HEADER_ROOM	32
/* what a page is sure to hold, whatever the sizes of the records */
#define QUEUE_PAGE_USABLE	(QUEUE_PAGE_DATA - QUEUE_HEADER_ROOM)
#define QUEUE_NO_PAGE		PG_UINT32_MAX

/* A record's largest size before base64, delimiter included (Firehose: 1,000 KiB). */
#define QUEUE_MAX_RECORD	1024000

typedef uint32 QueuePageNo;

/*
 * A place in a stream's stream of bytes: page sequence number * page size +
 * offset.  Grows as the stream does and is never reused: the stream's LSN.
 */
typedef uint64 QueuePosition;

typedef struct QueuePage
{
	QueuePageNo next;			/* towards the tail; of a free page: next free */
	QueuePageNo prev;			/* towards the head */
	uint64		seq;			/* place in the chain, ascending with gaps */
	uint64		min_id;			/* bounds of the record ids of the runs that */
	uint64		max_id;			/* touch this page, for queue_find */
	uint32		first_item;		/* offset of the first header in this page */
	uint32		used;			/* bytes of data given out, of QUEUE_PAGE_DATA */
	char		data[FLEXIBLE_ARRAY_MEMBER];
} QueuePage;

typedef enum QueueItemKind
{
	QUEUE_ITEM_RUN = 1,
	QUEUE_ITEM_RECORD = 2
} QueueItemKind;

typedef enum QueueRunState
{
	QUEUE_RUN_PENDING,			/* appended, its transaction has not ended */
	QUEUE_RUN_COMMITTED,		/* to be sent */
	QUEUE_RUN_ABORTED			/* to be skipped */
} QueueRunState;

/* Header of a run.  At most QUEUE_HEADER_ROOM bytes. */
typedef struct QueueRun
{
	uint8		kind;			/* QUEUE_ITEM_RUN */
	uint8		source;			/* 0: put; other values: pipelines */
	uint16		unused;
	uint32		nrecords;
	pg_atomic_uint32 state;		/* QueueRunState */
	uint32		nbytes;			/* payload bytes of all its records */
	QueuePosition end;			/* where the run ends */
	uint64		last_id;		/* the largest id in the run */
} QueueRun;

typedef enum QueueRecordState
{
	QUEUE_RECORD_OWED,			/* waiting or in flight: the sender knows which */
	QUEUE_RECORD_DONE			/* its fate is settled */
} QueueRecordState;

/* Header of a record; its payload follows.  At most QUEUE_HEADER_ROOM bytes. */
typedef struct QueueRecord
{
	uint8		kind;			/* QUEUE_ITEM_RECORD */
	uint8		state;			/* QueueRecordState */
	uint16		attempts;		/* requests that carried it, stops at 65535 */
	uint32		length;			/* bytes of payload, 0 to QUEUE_MAX_RECORD */
	uint64		id;				/* record id */
	TimestampTz queued_at;		/* time of the put */
} QueueRecord;

StaticAssertDecl(sizeof(QueueRun) <= QUEUE_HEADER_ROOM, "run header too large");
StaticAssertDecl(sizeof(QueueRecord) <= QUEUE_HEADER_ROOM, "record header too large");

/* Bytes a record of n payload bytes takes in the chain. */
#define QUEUE_RECORD_SPACE(n) (sizeof(QueueRecord) + MAXALIGN(n))

typedef struct QueueStream
{
	/* identity, under Queue.table_lock */
	bool		in_use;
	bool		dropped;		/* the server is gone; remains go to dead letters */
	Oid			dboid;
	Oid			serverid;
	NameData	name;			/* of the foreign server, for when it is gone */
	pg_atomic_uint32 generation;	/* changes whenever the slot changes hands;
									 * also rechecked under .lock */

	/* the chain and its accounts, under .lock */
	QueuePageNo head;
	QueuePageNo tail;
	uint64		next_seq;
	uint32		npages;			/* pages in the chain */
	uint64		reserved;		/* bytes promised to producers, not yet appended */
	uint32		promised;		/* pages set aside in the pool for .reserved */

	/* publication; atomics */
	pg_atomic_uint64 published_records; /* ever published (minus those undone) */
	pg_atomic_uint64 published_bytes;
	pg_atomic_uint64 finished_records;	/* ever settled; written by the reader */
	pg_atomic_uint64 finished_bytes;
	pg_atomic_uint32 wake;		/* 1: the sender wants a SetLatch at the next
								 * publication; whoever swaps it to 0 sets it */
	pg_atomic_uint32 sender_procno; /* whose latch; PG_UINT32_MAX: no sender */

	/* flush handshake (fate.h): requests are numbered, the sender answers */
	pg_atomic_uint64 flush_requested;	/* number of the last request */
	pg_atomic_uint64 flush_answered;	/* request that finished_upto answers */
	pg_atomic_uint64 finished_upto; /* nothing published is owed before it */

	StreamStatistics stats;		/* statistics.h says who writes what */

	LWLock	   *lock;			/* in the tranche "FirehoseStream"; the array
								 * never moves, so that every process that
								 * maps shared memory at its one address may
								 * follow it, as core's do */
} QueueStream;

typedef struct Queue
{
	LWLock	   *table_lock;
	slock_t		pool_lock;
	uint32		npages;			/* fixed */
	int			max_streams;	/* fixed */
	uint32		minimum;		/* pages every stream may always have; fixed */

	/* the pool, under pool_lock */
	QueuePageNo free_head;
	uint32		free_pages;
	uint32		promised;		/* of the free pages, set aside for reservations */
	uint32		unmet_minimum;	/* pages that streams in use may still claim */
	uint32		lowest_free;	/* low-water mark since the last reset */

	ConditionVariable room;		/* producers that wait for pages */
	pg_atomic_uint32 waiters;	/* how many of them */
	pg_atomic_uint64 next_ticket;	/* order among waiters */
	pg_atomic_uint64 next_id;	/* next record id */
	pg_atomic_uint64 id_limit;	/* ids below it may be given out (ids.h) */
	pg_atomic_uint64 table_version; /* changes with every claim and eviction */

	Size		waiters_offset; /* QueueWaiter[MaxBackends + ...] */
	Size		streams_offset; /* QueueStream[max_streams] */
	Size		pages_offset;	/* pages, QUEUE_PAGE_SIZE each */
} Queue;

/* What a full queue does to a put (stream option on_full). */
typedef enum OnFull
{
	ON_FULL_WAIT,
	ON_FULL_ERROR,
	ON_FULL_DISCARD
} OnFull;

/* The server's queue; NULL when the library was not preloaded. */
extern PGDLLEXPORT Queue *firehose_queue;

/* settings */
extern PGDLLEXPORT int queue_size_mb;	/* firehose.queue_size */
extern PGDLLEXPORT int queue_max_streams;	/* firehose.max_streams */

extern void queue_define_settings(void);
extern void queue_shmem_request(void);
extern void queue_shmem_startup(void);

/* Pure set-up, also used by the model test: a queue in memory of queue_memory_size() bytes. */
extern PGDLLEXPORT Size queue_memory_size(uint32 npages, int max_streams);
extern PGDLLEXPORT void queue_init(Queue *q, uint32 npages, int max_streams,
								   LWLock *table_lock, LWLockPadded *stream_locks);

/* Streams */
extern PGDLLEXPORT QueueStream *queue_stream(Queue *q, int slot);
extern PGDLLEXPORT int queue_stream_slot(Queue *q, const QueueStream *s);
extern PGDLLEXPORT QueueStream *queue_claim_stream(Queue *q, Oid dboid, Oid serverid,
												   const char *name);
extern PGDLLEXPORT void queue_rename_stream(Queue *q, QueueStream *s, const char *name);
extern PGDLLEXPORT void queue_mark_dropped(Queue *q, QueueStream *s);
extern PGDLLEXPORT bool queue_release_stream(Queue *q, QueueStream *s);
extern PGDLLEXPORT uint64 queue_discard_database(Queue *q, Oid dboid);

/* Producers */
extern PGDLLEXPORT uint64 queue_next_ids(Queue *q, int n);
extern PGDLLEXPORT bool queue_reserve(Queue *q, QueueStream *s, uint32 generation,
									  Size bytes, OnFull on_full, int timeout_ms);
extern PGDLLEXPORT void queue_unreserve(Queue *q, QueueStream *s, Size bytes);
extern PGDLLEXPORT QueueRun *queue_append(Queue *q, QueueStream *s, uint8 source,
										  const char *items, Size length, Size reserved,
										  uint32 nrecords, uint32 nbytes,
										  uint64 first_id, uint64 last_id,
										  QueueRunState state);
extern PGDLLEXPORT void queue_publish(Queue *q, QueueStream *s, QueueRun *run);
extern PGDLLEXPORT void queue_drop(Queue *q, QueueStream *s, QueueRun *run);
extern PGDLLEXPORT void queue_wake_sender(QueueStream *s);

/* Observers */
extern PGDLLEXPORT Size queue_largest_transaction(const Queue *q);
extern PGDLLEXPORT bool queue_find(Queue *q, Oid dboid, uint64 id);
extern PGDLLEXPORT QueuePosition queue_end_position(QueueStream *s);
extern PGDLLEXPORT TimestampTz queue_oldest(Queue *q, QueueStream *s);

static inline QueuePage *
queue_page(Queue *q, QueuePageNo no)
{
	return (QueuePage *) ((char *) q + q->pages_offset + (Size) no * QUEUE_PAGE_SIZE);
}

#endif							/* FIREHOSE_QUEUE_H */
