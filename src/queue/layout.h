/*
 * layout.h
 *		The layout of the queue, and its locking contract.
 *
 * The queue: records between the transactions that put them and the sender
 * that delivers them, in shared memory of a fixed size.
 *
 * Its memory is a pool of pages.  A stream owns a chain of them, oldest first,
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
 * An entry of the table is for a stream in use.  When there is none left, a
 * stream that owes nothing loses its entry: by its reader if it has one, which
 * is asked to (asked_to_leave), and otherwise by whoever needs it.
 * Exactly one consumer, the sender of the stream's database, reads a stream
 * (reader.h).
 *
 * Locking contract
 * ----------------
 * To find a stream in the table, hold Queue.table_lock (LWLock) shared.  To
 * claim, rename, drop or release one, hold it exclusively: it protects which
 * entries are in use and their identity (dboid, serverid, name, dropped), and
 * QueueDatabase.dboid and .nstreams.  in_use and dboid change only under
 * QueueStream.lock as well, so either lock will do to read them.
 *
 * To reserve, append, unlink a page, or join a stream's line, hold
 * QueueStream.lock (LWLock) exclusively: it protects the chain (head, tail,
 * tail_used, next_seq, npages, highest_id; of a page next, prev, seq, owner,
 * min_id, max_id, ids_before), the reservations (reserved, promised) and the
 * line (first_waiter, last_waiter, and the waiters in it).  To walk the chain,
 * hold it shared.  Two walk without it.  The reader follows QueuePage.next
 * only below end_position, which is advanced after the pages and run headers
 * before it were written, and only the reader unlinks pages. queue_find reads
 * the headers of pages, and uses one only if owner and seq are the same before
 * and after: owner is written last when a page joins a chain, and first when
 * it leaves.
 *
 * To take or give back pages, hold Queue.pool_lock (spinlock): it protects
 * free_head, untouched, free_pages, promised, unmet_minimum, lowest_free and
 * QueueDatabase.held, for a few instructions, and no lock is acquired under
 * it.
 *
 * The bytes of a run's records belong to the appender until the run is
 * published (QueueRun.state, written after a write barrier, read before a
 * read barrier), and to the stream's only reader afterwards.  The reader
 * alone writes QueueRun.visited, QueueRecord.state and .attempts.
 * Everything named pg_atomic_* is read and written without a lock.  The words
 * of news belong to all streams whose bits they have: whoever wakes a sender
 * sets one, and a sender takes away those of its own streams.
 * Order of acquisition: table_lock, one QueueStream.lock, pool_lock.
 */
#ifndef FIREHOSE_QUEUE_LAYOUT_H
#define FIREHOSE_QUEUE_LAYOUT_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "queue/stream_stats.h"

/* Geometry */
#define QUEUE_PAGE_DATA		((uint32) 8192)
#define QUEUE_NO_PAGE		PG_UINT32_MAX
#define QUEUE_NO_OFFSET		PG_UINT32_MAX
#define QUEUE_NO_OWNER		PG_UINT32_MAX
#define QUEUE_NO_WAITER		(-1)

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

/*
 * The state of a page.  It lies apart from the page's bytes, so that
 * queue_find reads few cache lines, and in a line of its own, so that
 * appenders to different streams do not share one.
 */
typedef struct QueuePage
{
	/* towards the tail; of a free page: next free */
	QueuePageNo next;
	QueuePageNo prev;			/* towards the head */
	uint64		seq;			/* place in the chain, ascending, with gaps
								 * where pages were freed */
	uint64		min_id;			/* bounds of the record ids that begin in this */
	uint64		max_id;			/* page, for queue_find; narrowed by the
								 * appender of a page that has one run alone,
								 * without the lock */
	uint64		ids_before;		/* no page before has a larger id */
	uint32		owner;			/* number of the stream whose chain it is in,
								 * or QUEUE_NO_OWNER */
	pg_atomic_uint32 first_item;	/* offset of the first header that begins
									 * here, or QUEUE_NO_OFFSET; lowered by
									 * appenders, who may do so without the
									 * lock once their records are written */
	uint64		unused[2];
} QueuePage;

StaticAssertDecl(sizeof(QueuePage) == 64, "a page's header must fill a cache line");

typedef enum QueueItemKind
{
	QUEUE_ITEM_RUN = 1,
	QUEUE_ITEM_RECORD = 2,
	QUEUE_ITEM_EVENT = 3,		/* a record of a pipeline */
	/*
	 * the same for the dead letters: payload is code, NUL, message, NUL, data
	 */
	QUEUE_ITEM_DEAD_EVENT = 4,
	/* a record that was put and came through the WAL */
	QUEUE_ITEM_DURABLE_PUT = 5
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

/* Which news a stream's sender wants to be woken by: QueueStream.wake */
typedef enum QueueWake
{
	QUEUE_WAKE_NEVER,			/* it knows already, or would not act on any */
	QUEUE_WAKE_ANY,
	/*
	 * records linger: when .wake_records or .wake_bytes are published, or the
	 * queue fills
	 */
	QUEUE_WAKE_FULL
} QueueWake;

typedef struct QueueStream
{
	/*
	 * These belong to the entry, whichever stream has it, and are never reset,
	 * because a backend may look at an entry that has just changed hands.
	 */
	LWLock	   *lock;			/* shared memory is mapped at one address in
								 * every process, as core's pointers to locks
								 * in it rely on */
	pg_atomic_uint32 generation;	/* changes whenever the entry changes hands
									 * (written under both locks) */
	pg_atomic_uint32 *news;		/* where the sender looks for streams that
								 * have something for it ... */
	uint32		news_bit;		/* ... and this stream's bit there */
	pg_atomic_uint32 *lingering;	/* Queue.lingering */

	/* identity, under Queue.table_lock */
	bool		in_use;
	/* the server is gone; remains go to dead letters */
	bool		dropped;
	Oid			dboid;
	Oid			serverid;
	int			database;		/* number of its QueueDatabase */
	/* of the foreign server, for when it is gone */
	NameData	name;

	/* the chain and its reservations, under .lock */
	QueuePageNo head;
	QueuePageNo tail;
	uint32		tail_used;		/* bytes given out of the tail page */
	uint64		next_seq;
	uint64		highest_id;		/* of all records appended so far */
	uint32		npages;			/* pages in the chain */
	/* bytes promised to producers, not yet appended */
	uint64		reserved;
	uint32		promised;		/* pages set aside in the pool for .reserved */

	/* producers that wait for space, in order; QUEUE_NO_WAITER: none */
	int			first_waiter;
	int			last_waiter;

	pg_atomic_uint64 end_position;	/* written under .lock, read without */
	pg_atomic_uint32 pending;	/* runs appended whose transaction has not
								 * ended: it will write their flag, so their
								 * pages must stay */

	/* publication */
	pg_atomic_uint64 published_records;
	pg_atomic_uint64 published_bytes;
	pg_atomic_uint64 finished_records;	/* settled; written by the reader */
	pg_atomic_uint64 finished_bytes;
	pg_atomic_uint32 wake;		/* QueueWake: whether the sender wants a
								 * SetLatch; whoever swaps it to 0 sets it */
	pg_atomic_uint64 wake_records;	/* written by the sender before .wake */
	pg_atomic_uint64 wake_bytes;
	pg_atomic_uint32 sender_procno; /* whose latch; PG_UINT32_MAX: no sender;
									 * set under table_lock, shared */
	pg_atomic_uint32 asked_to_leave;	/* 1: if it is idle, its entry is needed */

	/*
	 * flush handshake (recent.h): requests are numbered, the sender responds
	 */
	pg_atomic_uint64 flush_requested;	/* number of the last request */
	pg_atomic_uint64 flushes;	/* how many have begun, each of which may end a
								 * pause between attempts */
	/* request that finished_upto answers */
	pg_atomic_uint64 flush_answered;
	/* nothing published is pending before it */
	pg_atomic_uint64 finished_upto;

	StreamStatistics stats;		/* stream_stats.h says who writes what */
} QueueStream;

typedef enum QueueWaiterState
{
	QUEUE_WAITER_IDLE,
	QUEUE_WAITER_IN_LINE,
	QUEUE_WAITER_SERVED,		/* has its reservation, and left the line */
	QUEUE_WAITER_STALE			/* the stream's entry changed hands */
} QueueWaiterState;

/* A process that waits for space in a stream; indexed by proc number. */
typedef struct QueueWaiter
{
	pg_atomic_uint32 state;		/* QueueWaiterState; its owner reads it without
								 * the lock, and once it is out of the line
								 * all here is the owner's own */
	int			stream;			/* of the stream in whose line it stands */
	int			next;
	int			prev;
	Size		bytes;			/* that it waits for */
} QueueWaiter;

/* The account that the streams of a database share. */
typedef struct QueueDatabase
{
	Oid			dboid;			/* valid while nstreams > 0 */
	int			nstreams;
	uint32		held;			/* pages in chains, and promised */
} QueueDatabase;

/*
 * Three cache lines or groups of them: the fixed fields are read by all
 * processes at every page; the pool changes with every page, ids with every
 * record.
 */
typedef struct Queue
{
	LWLock	   *table_lock;
	uint32		npages;			/* fixed */
	int			max_streams;	/* fixed */
	int			max_waiters;	/* fixed */
	uint32		minimum;		/* pages every stream may always have; fixed */
	Size		waiters_offset; /* QueueWaiter[max_waiters] */
	Size		databases_offset;	/* QueueDatabase[max_streams] */
	/* bits: streams with a line */
	Size		lines_offset;
	Size		news_offset;	/* bits: streams whose sender was woken */
	Size		streams_offset; /* QueueStream[max_streams] */
	Size		pages_offset;	/* QueuePage[npages] */
	Size		data_offset;	/* their bytes, QUEUE_PAGE_DATA each */
	bool		file_claimed;	/* what was saved is here; written by the
								 * postmaster before it has children */
	/*
	 * end of the last commit that put records and did not wait for its flush
	 */
	pg_atomic_uint64 asynchronous_upto;
	pg_atomic_uint64 table_version; /* changes with every claim and release */
	ConditionVariable released; /* for those who need an entry */
	char		pad1[PG_CACHE_LINE_SIZE];

	/* the pool, under pool_lock */
	slock_t		pool_lock;
	QueuePageNo free_head;		/* pages that were used before */
	uint32		untouched;		/* pages from here on never were */
	uint32		free_pages;		/* of both kinds */
	/* of the free pages, set aside for reservations */
	uint32		promised;
	uint32		unmet_minimum;	/* pages that streams in use may still claim */
	uint32		lowest_free;	/* low-water mark since the last reset */
	pg_atomic_uint32 waiters;	/* processes in all lines */
	pg_atomic_uint32 lingering; /* streams whose .wake is QUEUE_WAKE_FULL */
	char		pad2[PG_CACHE_LINE_SIZE];

	pg_atomic_uint64 next_id;	/* next record id */
	/* ids below it may be given out (ids.h) */
	pg_atomic_uint64 id_limit;
	char		pad3[PG_CACHE_LINE_SIZE];
} Queue;

/* The effect of a full queue on a put (stream option on_full). */
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

static inline QueuePage *
queue_page(Queue *q, QueuePageNo no)
{
	return (QueuePage *) ((char *) q + q->pages_offset) + no;
}

static inline char *
queue_data(Queue *q, QueuePageNo no)
{
	return (char *) q + q->data_offset + (Size) no * QUEUE_PAGE_DATA;
}

static inline QueueStream *
queue_stream(Queue *q, int number)
{
	return (QueueStream *) ((char *) q + q->streams_offset) + number;
}

/* The word of news that has the bit of a stream, by the stream's number. */
static inline pg_atomic_uint32 *
queue_news(Queue *q, int number)
{
	return (pg_atomic_uint32 *) ((char *) q + q->news_offset) + number / 32;
}

static inline int
queue_stream_number(Queue *q, const QueueStream *s)
{
	return s - queue_stream(q, 0);
}

static inline QueueDatabase *
queue_database(Queue *q, int number)
{
	return (QueueDatabase *) ((char *) q + q->databases_offset) + number;
}

#endif							/* FIREHOSE_QUEUE_LAYOUT_H */
