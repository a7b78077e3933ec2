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
 * Everything is 8-byte aligned and may straddle a page boundary, but no field
 * of a header does, because a page holds a multiple of 8 bytes.
 *
 * Producers reserve room before they need it (queue_reserve, which is the one
 * call that may wait), so that queue_append and queue_publish cannot fail.
 * Exactly one consumer, the sender of the stream's database, reads a stream
 * (reader.h).
 *
 * Locking contract
 * ----------------
 * Queue.table_lock	(LWLock) protects which slots are in use and their
 *					identity (dboid, serverid, name, dropped).  Shared to look
 *					up, exclusive to claim, rename or release.
 * Queue.pool_lock	(spinlock) protects free_head, free_pages, promised,
 *					unmet_minimum and lowest_free; held for a few instructions,
 *					no other lock is acquired under it.
 * QueueStream.lock	(LWLock) protects the chain (head, tail, tail_used,
 *					next_seq, npages; of a page next, prev, seq, min_id,
 *					max_id) and the accounts (reserved, promised).
 *					Exclusive to reserve, append or unlink pages; shared to
 *					walk the chain.  The reader walks without it: it follows
 *					QueuePage.next only below end_position, which is advanced
 *					after the pages and run headers before it were written,
 *					and nobody but the reader unlinks pages.
 * The bytes of a run's records belong to the appender until the run is
 * published (QueueRun.state, written after a write barrier, read before a
 * read barrier), and to the stream's only reader afterwards.  The reader
 * alone writes QueueRun.passed, QueueRecord.state and .attempts.
 * Everything named pg_atomic_* is read and written without a lock.
 * Order of acquisition: table_lock, QueueStream.lock, pool_lock.
 */
#ifndef FIREHOSE_QUEUE_H
#define FIREHOSE_QUEUE_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "queue/stream_stats.h"

/* Geometry */
#define QUEUE_PAGE_SIZE		8192
#define QUEUE_PAGE_DATA		((uint32) (QUEUE_PAGE_SIZE - offsetof(QueuePage, data)))
#define QUEUE_NO_PAGE		PG_UINT32_MAX
#define QUEUE_NO_OFFSET		PG_UINT32_MAX

/*
 * A record's largest size before base64, delimiter included (Firehose: 1,000
 * KiB).
 */
#define QUEUE_MAX_RECORD	1024000

/* Largest record id: ids are exact as JSON numbers, which have 53 bits. */
#define QUEUE_MAX_ID		((UINT64CONST(1) << 53) - 1)

typedef uint32 QueuePageNo;

/*
 * A place in a stream's stream of bytes, counted from the stream's beginning
 * and never reused: the stream's LSN.  QueuePage.seq is the place of a page's
 * first byte divided by QUEUE_PAGE_DATA.
 */
typedef uint64 QueuePosition;

typedef struct QueuePage
{
	/* towards the tail; of a free page: next free */
	QueuePageNo next;
	QueuePageNo prev;			/* towards the head */
	uint64		seq;			/* place in the chain, ascending, with gaps
								 * where pages were freed */
	uint64		min_id;			/* bounds of the record ids of the runs that */
	uint64		max_id;			/* touch this page, for queue_find */
	uint32		unused;
	pg_atomic_uint32 first_item;	/* offset of the first header that begins
									 * here, or QUEUE_NO_OFFSET; lowered by
									 * appenders, who may do so without the
									 * lock once their records are written */
	char		data[FLEXIBLE_ARRAY_MEMBER];
} QueuePage;

StaticAssertDecl(offsetof(QueuePage, data) % 8 == 0, "page data must be aligned");

typedef enum QueueItemKind
{
	QUEUE_ITEM_RUN = 1,
	QUEUE_ITEM_RECORD = 2,
	QUEUE_ITEM_EVENT = 3,		/* a record of a pipeline */
	/*
	 * the same for the dead letters: payload is code, NUL, message, NUL, data
	 */
	QUEUE_ITEM_DEAD_EVENT = 4,
	QUEUE_ITEM_DURABLE_PUT = 5	/* a record that was put and came through the WAL */
} QueueItemKind;

/* Was it put, whichever way it came? */
#define QUEUE_ITEM_IS_PUT(kind) \
	((kind) == QUEUE_ITEM_RECORD || (kind) == QUEUE_ITEM_DURABLE_PUT)

/* Did a decoder read it from the WAL, so that a CommitRef tells from where? */
#define QUEUE_ITEM_HAS_ORIGIN(kind) ((kind) != QUEUE_ITEM_RECORD)

typedef enum QueueRunState
{
	QUEUE_RUN_PENDING,			/* appended, its transaction has not ended */
	QUEUE_RUN_COMMITTED,		/* to be sent */
	QUEUE_RUN_ABORTED			/* to be skipped */
} QueueRunState;

/* Header of a run. */
typedef struct QueueRun
{
	uint8		kind;			/* QUEUE_ITEM_RUN */
	uint8		visited;		/* a reader has been here: the records tell for
								 * themselves what is pending, and the rest of
								 * this header may lie in a page that is gone
								 * */
	uint8		unused[2];
	uint32		nrecords;
	pg_atomic_uint32 state;		/* QueueRunState */
	uint32		unused2;
	QueuePosition end;			/* where the run ends */
} QueueRun;

typedef enum QueueRecordState
{
	/* waiting or in flight: the sender knows which */
	QUEUE_RECORD_PENDING,
	QUEUE_RECORD_DONE			/* its outcome is settled */
} QueueRecordState;

/* Where a record that a decoder read comes from: pipeline_table.h */
typedef struct CommitRef
{
	uint16		pipeline;		/* 0: none, it was put */
	uint16		generation;
	uint32		entry;			/* in the pipeline's commit ring */
	XLogRecPtr	lsn;			/* of the commit */
} CommitRef;

/*
 * Header of a record.  A CommitRef follows it if it was read from the WAL,
 * then the payload, padded to 8 bytes.
 */
typedef struct QueueRecord
{
	uint8		kind;			/* QueueItemKind, but not a run */
	uint8		state;			/* QueueRecordState */
	uint16		attempts;		/* requests that carried it, stops at 65535 */
	uint32		length;			/* bytes of payload, 0 to QUEUE_MAX_RECORD */
	uint64		id;				/* record id */
	TimestampTz queued_at;		/* time of the put */
} QueueRecord;

/* Bytes before the payload. */
#define QUEUE_HEADER_SIZE(kind) \
	(sizeof(QueueRecord) + (QUEUE_ITEM_HAS_ORIGIN(kind) ? sizeof(CommitRef) : 0))

/*
 * Bytes that a put record of n payload bytes takes in the chain, or one of
 * another kind.
 */
#define QUEUE_RECORD_SPACE(n) (sizeof(QueueRecord) + TYPEALIGN(8, n))
#define QUEUE_ITEM_SPACE(kind, n) (QUEUE_HEADER_SIZE(kind) + TYPEALIGN(8, n))

typedef struct QueueStream
{
	/*
	 * These belong to the slot, whoever has it, and are never reset: a backend
	 * may look at a slot that has just changed hands.
	 */
	LWLock	   *lock;			/* shared memory is mapped at one address in
								 * every process, as core's pointers to locks
								 * in it rely on */
	pg_atomic_uint32 generation;	/* changes whenever the slot changes hands
									 * (written under both locks) */
	pg_atomic_uint32 waiters;	/* producers that wait for room in it */

	/* identity, under Queue.table_lock */
	bool		in_use;
	/* the server is gone; remains go to dead letters */
	bool		dropped;
	Oid			dboid;
	Oid			serverid;
	/* of the foreign server, for when it is gone */
	NameData	name;

	/* the chain and its accounts, under .lock */
	QueuePageNo head;
	QueuePageNo tail;
	uint32		tail_used;		/* bytes given out of the tail page */
	uint64		next_seq;
	uint32		npages;			/* pages in the chain */
	/* bytes promised to producers, not yet appended */
	uint64		reserved;
	uint32		promised;		/* pages set aside in the pool for .reserved */

	pg_atomic_uint64 end_position;	/* written under .lock, read without */
	pg_atomic_uint32 pending;	/* runs appended whose transaction has not
								 * ended: it will write their flag, so their
								 * pages must stay */

	/* publication */
	pg_atomic_uint64 published_records;
	pg_atomic_uint64 published_bytes;
	pg_atomic_uint64 finished_records;	/* settled; written by the reader */
	pg_atomic_uint64 finished_bytes;
	pg_atomic_uint32 wake;		/* 1: the sender wants a SetLatch at the next
								 * publication; whoever swaps it to 0 sets it
								 * */
	pg_atomic_uint32 sender_procno; /* whose latch; PG_UINT32_MAX: no sender */

	/*
	 * flush handshake (recent.h): requests are numbered, the sender answers
	 */
	pg_atomic_uint64 flush_requested;	/* number of the last request */
	/* request that finished_upto answers */
	pg_atomic_uint64 flush_answered;
	/* nothing published is pending before it */
	pg_atomic_uint64 finished_upto;

	StreamStatistics stats;		/* stream_stats.h says who writes what */
} QueueStream;

/* A backend that waits for room in a stream; indexed by proc number. */
typedef struct QueueWaiter
{
	pg_atomic_uint64 ticket;	/* 0: not waiting; written by its owner */
	int			slot;			/* of the stream; valid while ticket is set */
} QueueWaiter;

typedef struct Queue
{
	LWLock	   *table_lock;
	slock_t		pool_lock;
	uint32		npages;			/* fixed */
	int			max_streams;	/* fixed */
	int			max_waiters;	/* fixed */
	uint32		minimum;		/* pages every stream may always have; fixed */
	bool		file_claimed;		/* what was saved is here; written by the
								 * postmaster before it has children */

	/* the pool, under pool_lock */
	QueuePageNo free_head;
	uint32		free_pages;
	/* of the free pages, set aside for reservations */
	uint32		promised;
	uint32		unmet_minimum;	/* pages that streams in use may still claim */
	uint32		lowest_free;	/* low-water mark since the last reset */

	ConditionVariable room;		/* producers that wait for pages */
	pg_atomic_uint32 waiters;	/* how many of them, in all streams */
	pg_atomic_uint64 next_ticket;	/* order among waiters */
	pg_atomic_uint64 next_id;	/* next record id */
	/* ids below it may be given out (ids.h) */
	pg_atomic_uint64 id_limit;
	pg_atomic_uint64 table_version; /* changes with every claim and release */

	Size		waiters_offset; /* QueueWaiter[max_waiters] */
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

typedef enum QueueReserveResult
{
	QUEUE_RESERVED,
	QUEUE_FULL,					/* no room within the time allowed */
	QUEUE_STALE					/* it has changed hands: look it up again */
} QueueReserveResult;

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

/*
 * Streams.  queue_find_or_claim finds the slot of a stream or claims one (NULL
 * when all are taken), and tells the generation in which it is this stream's.
 * queue_claim_stream raises configuration_limit_exceeded instead.  queue_release_stream
 * gives up the slot of a stream that owes nothing (false: it still does).
 * queue_discard_database does so for all streams of a database that has gone,
 * with what they hold; returns the number of records thrown away.
 */
extern PGDLLEXPORT QueueStream *queue_find_or_claim(Queue *q, Oid dboid, Oid serverid,
													const char *name, uint32 *generation);
extern PGDLLEXPORT QueueStream *queue_claim_stream(Queue *q, Oid dboid, Oid serverid,
												   const char *name, uint32 *generation);
extern PGDLLEXPORT void queue_rename_stream(Queue *q, QueueStream *s, const char *name);
extern PGDLLEXPORT void queue_mark_dropped(Queue *q, QueueStream *s);
extern PGDLLEXPORT bool queue_release_stream(Queue *q, QueueStream *s);
extern PGDLLEXPORT uint64 queue_discard_database(Queue *q, Oid dboid);

/* Producers */

/*
 * Reserve `bytes` of the chain.  Waits at most timeout_ms for room (0: not at
 * all); cancellable.  In a transaction, whose abort must call
 * queue_stop_waiting.
 */
extern PGDLLEXPORT QueueReserveResult queue_reserve(Queue *q, QueueStream *s,
													uint32 generation, Size bytes,
													int timeout_ms);
extern PGDLLEXPORT void queue_stop_waiting(Queue *q);
extern PGDLLEXPORT void queue_unreserve(Queue *q, QueueStream *s, Size bytes);

/*
 * Append a run of `length` bytes of records (as QUEUE_RECORD_SPACE lays them
 * out), taken out of `reserved` bytes that were reserved before and are all
 * given up (reserved >= sizeof(QueueRun) + length).  Neither waits for room
 * nor fails.  Returns the run's flag, for queue_publish or queue_drop.
 */
extern PGDLLEXPORT pg_atomic_uint32 *queue_append(Queue *q, QueueStream *s,
												  const char *records, Size length,
												  Size reserved, uint32 nrecords,
												  uint64 first_id, uint64 last_id);
extern PGDLLEXPORT void queue_publish(QueueStream *s, pg_atomic_uint32 *run_state,
									  uint32 nrecords, uint64 nbytes);
extern PGDLLEXPORT void queue_drop(QueueStream *s, pg_atomic_uint32 *run_state);
extern PGDLLEXPORT void queue_wake_sender(QueueStream *s);

/* Observers */
extern PGDLLEXPORT Size queue_largest_transaction(const Queue *q);
extern PGDLLEXPORT bool queue_find(Queue *q, Oid dboid, uint64 id);
extern Oid	queue_find_server(Queue *q, Oid dboid, uint64 id);
extern PGDLLEXPORT TimestampTz queue_oldest(Queue *q, QueueStream *s);

/*
 * Called for each record that is pending, oldest first, with the place of its
 * header; false ends the visit.  queue_visit_pending needs the stream's lock.
 */
typedef bool (*QueueVisitor) (Queue *q, const QueueRecord *record,
							  QueuePageNo page, uint32 offset, void *arg);
extern PGDLLEXPORT void queue_visit_pending(Queue *q, QueueStream *s,
										 QueueVisitor visit, void *arg);

static inline QueuePage *
queue_page(Queue *q, QueuePageNo no)
{
	return (QueuePage *) ((char *) q + q->pages_offset + (Size) no * QUEUE_PAGE_SIZE);
}

static inline QueueStream *
queue_stream(Queue *q, int slot)
{
	return (QueueStream *) ((char *) q + q->streams_offset) + slot;
}

static inline int
queue_slot(Queue *q, const QueueStream *s)
{
	return s - queue_stream(q, 0);
}

/*
 * Copy `length` bytes out of the chain, from a place in a page on; the place
 * moves on with it and may end at the very end of a page.
 */
extern PGDLLEXPORT void queue_read(Queue *q, QueuePageNo *page, uint32 *offset,
								   void *to, Size length);

/* Reader: take a page out of the chain and give it back to the pool. */
extern PGDLLEXPORT void queue_free_page(Queue *q, QueueStream *s, QueuePageNo no);

#endif							/* FIREHOSE_QUEUE_H */
