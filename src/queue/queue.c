/*
 * queue.c
 *		The queue's set-up: settings, shared memory and the table of streams.
 *		The locking contract is in queue.h; who may have how much room is in
 *		pool.c, how records lie in it in chain.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "queue/pool.h"
#include "queue/queue.h"

#define QUEUE_TABLE_TRANCHE		"FirehoseStreamTable"
#define QUEUE_STREAM_TRANCHE	"FirehoseStream"

/* Pages guaranteed to a stream, where the queue is large enough for it. */
#define QUEUE_MINIMUM_PAGES		16

Queue	   *firehose_queue = NULL;
int			queue_size_mb;
int			queue_max_streams;

void
queue_define_settings(void)
{
	DefineCustomIntVariable("firehose.queue_size",
							"Sets the amount of shared memory for records that wait to be sent.",
							"All streams of all databases share it; when it is full, "
							"puts do what their stream's option on_full says.",
							&queue_size_mb, 64, 4, 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.max_streams",
							"Sets how many streams may be in use at the same time, in all databases.",
							NULL,
							&queue_max_streams, 256, 1, 10000, PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
}

static uint32
queue_pages(void)
{
	return (uint64) queue_size_mb * 1024 * 1024 / QUEUE_PAGE_SIZE;
}

/* Every process that may wait has a proc number below this. */
static int
queue_waiters(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

void
queue_shmem_request(void)
{
	RequestAddinShmemSpace(queue_memory_size(queue_pages(), queue_max_streams,
											 queue_waiters()));
	RequestNamedLWLockTranche(QUEUE_TABLE_TRANCHE, 1);
	RequestNamedLWLockTranche(QUEUE_STREAM_TRANCHE, queue_max_streams);
}

void
queue_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	firehose_queue = ShmemInitStruct("firehose queue",
									 queue_memory_size(queue_pages(), queue_max_streams,
													   queue_waiters()),
									 &found);
	if (!found)
		queue_init(firehose_queue, queue_pages(), queue_max_streams, queue_waiters(),
				   &GetNamedLWLockTranche(QUEUE_TABLE_TRANCHE)->lock,
				   GetNamedLWLockTranche(QUEUE_STREAM_TRANCHE));
	LWLockRelease(AddinShmemInitLock);
}

/* Where things lie, and how much they take. */
static Size
queue_lay_out(Queue *q, uint32 npages, int max_streams, int max_waiters)
{
	Queue		scratch;
	Size		size;

	if (q == NULL)
		q = &scratch;
	size = CACHELINEALIGN(sizeof(Queue));
	q->waiters_offset = size;
	size = CACHELINEALIGN(add_size(size, mul_size(max_waiters, sizeof(QueueWaiter))));
	q->streams_offset = size;
	size = add_size(size, mul_size(max_streams, sizeof(QueueStream)));
	size = TYPEALIGN(QUEUE_PAGE_SIZE, size);
	q->pages_offset = size;
	return add_size(size, mul_size(npages, QUEUE_PAGE_SIZE));
}

Size
queue_memory_size(uint32 npages, int max_streams, int max_waiters)
{
	return queue_lay_out(NULL, npages, max_streams, max_waiters);
}

/*
 * Make a slot ready for a stream that begins, all but what belongs to the
 * slot.
 */
static void
reset_stream_slot(QueueStream *s)
{
	memset((char *) s + offsetof(QueueStream, in_use), 0,
		   sizeof(QueueStream) - offsetof(QueueStream, in_use));
	s->head = s->tail = QUEUE_NO_PAGE;
	pg_atomic_init_u64(&s->end_position, 0);
	pg_atomic_init_u32(&s->pending, 0);
	pg_atomic_init_u64(&s->published_records, 0);
	pg_atomic_init_u64(&s->published_bytes, 0);
	pg_atomic_init_u64(&s->finished_records, 0);
	pg_atomic_init_u64(&s->finished_bytes, 0);
	pg_atomic_init_u32(&s->wake, 0);
	pg_atomic_init_u32(&s->sender_procno, PG_UINT32_MAX);
	pg_atomic_init_u64(&s->flush_requested, 0);
	pg_atomic_init_u64(&s->flush_answered, 0);
	pg_atomic_init_u64(&s->finished_upto, 0);
	stream_stats_init(&s->stats);
}

void
queue_init(Queue *q, uint32 npages, int max_streams, int max_waiters,
		   LWLock *table_lock, LWLockPadded *stream_locks)
{
	QueueWaiter *waiters;

	memset(q, 0, sizeof(Queue));
	queue_lay_out(q, npages, max_streams, max_waiters);
	q->table_lock = table_lock;
	SpinLockInit(&q->pool_lock);
	q->npages = npages;
	q->max_streams = max_streams;
	q->max_waiters = max_waiters;
	q->minimum = Max(1, Min(QUEUE_MINIMUM_PAGES, npages / (2 * (uint32) max_streams)));
	q->free_head = QUEUE_NO_PAGE;
	ConditionVariableInit(&q->room);
	pg_atomic_init_u32(&q->waiters, 0);
	pg_atomic_init_u64(&q->next_ticket, 1);
	pg_atomic_init_u64(&q->next_id, 1);
	pg_atomic_init_u64(&q->id_limit, 1);
	pg_atomic_init_u64(&q->table_version, 1);

	waiters = (QueueWaiter *) ((char *) q + q->waiters_offset);
	for (int i = 0; i < max_waiters; i++)
		pg_atomic_init_u64(&waiters[i].ticket, 0);
	for (int i = 0; i < max_streams; i++)
	{
		QueueStream *s = queue_stream(q, i);

		s->lock = &stream_locks[i].lock;
		pg_atomic_init_u32(&s->generation, 0);
		pg_atomic_init_u32(&s->waiters, 0);
		reset_stream_slot(s);
	}

	/* lowest page first, so that a quiet server touches little memory */
	for (uint32 no = npages; no-- > 0;)
	{
		queue_page(q, no)->next = q->free_head;
		q->free_head = no;
	}
	q->free_pages = q->lowest_free = npages;
}

/* Find a stream's slot.  Caller holds table_lock. */
static QueueStream *
find_stream(Queue *q, Oid dboid, Oid serverid)
{
	for (int i = 0; i < q->max_streams; i++)
	{
		QueueStream *s = queue_stream(q, i);

		if (s->in_use && s->serverid == serverid && s->dboid == dboid)
			return s;
	}
	return NULL;
}

static QueueStream *
find_unused_slot(Queue *q)
{
	for (int i = 0; i < q->max_streams; i++)
	{
		if (!queue_stream(q, i)->in_use)
			return queue_stream(q, i);
	}
	return NULL;
}

QueueStream *
queue_find_or_claim(Queue *q, Oid dboid, Oid serverid, const char *name, uint32 *generation)
{
	QueueStream *s;

	/* once the lock is released the slot may change hands at any time */
	LWLockAcquire(q->table_lock, LW_SHARED);
	s = find_stream(q, dboid, serverid);
	if (s != NULL)
		*generation = pg_atomic_read_u32(&s->generation);
	LWLockRelease(q->table_lock);
	if (s != NULL)
		return s;

	LWLockAcquire(q->table_lock, LW_EXCLUSIVE);
	s = find_stream(q, dboid, serverid);
	if (s == NULL && (s = find_unused_slot(q)) != NULL)
	{
		LWLockAcquire(s->lock, LW_EXCLUSIVE);
		reset_stream_slot(s);
		pg_atomic_fetch_add_u32(&s->generation, 1);
		s->in_use = true;
		s->dboid = dboid;
		s->serverid = serverid;
		namestrcpy(&s->name, name);
		LWLockRelease(s->lock);
		queue_pool_join(q);
		pg_atomic_fetch_add_u64(&q->table_version, 1);
	}
	if (s != NULL)
		*generation = pg_atomic_read_u32(&s->generation);
	LWLockRelease(q->table_lock);
	return s;
}

QueueStream *
queue_claim_stream(Queue *q, Oid dboid, Oid serverid, const char *name, uint32 *generation)
{
	QueueStream *s = queue_find_or_claim(q, dboid, serverid, name, generation);

	if (s == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no room for another stream: %d are in use", q->max_streams),
				 errhint("Increase firehose.max_streams and restart the server.")));
	return s;
}

void
queue_rename_stream(Queue *q, QueueStream *s, const char *name)
{
	LWLockAcquire(q->table_lock, LW_EXCLUSIVE);
	namestrcpy(&s->name, name);
	LWLockRelease(q->table_lock);
}

void
queue_mark_dropped(Queue *q, QueueStream *s)
{
	LWLockAcquire(q->table_lock, LW_EXCLUSIVE);
	s->dropped = true;
	LWLockRelease(q->table_lock);
}

/*
 * Does an open transaction still count on this slot?  Its reservation is real,
 * and it will yet write the flags of the runs it has appended.
 */
static bool
has_open_transactions(QueueStream *s)
{
	return s->reserved > 0 || pg_atomic_read_u32(&s->pending) > 0;
}

/* Free the slot and its pages.  Caller holds both locks. */
static void
vacate_worker_slot(Queue *q, QueueStream *s)
{
	while (s->head != QUEUE_NO_PAGE)
	{
		QueuePageNo no = s->head;

		s->head = queue_page(q, no)->next;
		queue_return_page(q, s, no);
	}
	s->tail = QUEUE_NO_PAGE;
	pg_atomic_write_u32(&s->sender_procno, PG_UINT32_MAX);
	s->in_use = false;
	pg_atomic_fetch_add_u32(&s->generation, 1);
	queue_pool_leave(q, s);
	pg_atomic_fetch_add_u64(&q->table_version, 1);
}

bool
queue_release_stream(Queue *q, QueueStream *s)
{
	bool		released = false;

	LWLockAcquire(q->table_lock, LW_EXCLUSIVE);
	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	if (!has_open_transactions(s) &&
		pg_atomic_read_u64(&s->published_records) == pg_atomic_read_u64(&s->finished_records))
	{
		vacate_worker_slot(q, s);
		released = true;
	}
	LWLockRelease(s->lock);
	LWLockRelease(q->table_lock);
	queue_wake_waiters(q);
	return released;
}

/*
 * Called when a database, or the extension in it, is gone and nobody can put
 * or send there any more.  A slot that an open transaction counts on is left
 * to the next call.
 */
uint64
queue_discard_database(Queue *q, Oid dboid)
{
	uint64		discarded = 0;

	LWLockAcquire(q->table_lock, LW_EXCLUSIVE);
	for (int i = 0; i < q->max_streams; i++)
	{
		QueueStream *s = queue_stream(q, i);

		if (!s->in_use || s->dboid != dboid)
			continue;
		LWLockAcquire(s->lock, LW_EXCLUSIVE);
		if (!has_open_transactions(s))
		{
			discarded += pg_atomic_read_u64(&s->published_records) -
				pg_atomic_read_u64(&s->finished_records);
			vacate_worker_slot(q, s);
		}
		LWLockRelease(s->lock);
	}
	LWLockRelease(q->table_lock);
	queue_wake_waiters(q);
	return discarded;
}
