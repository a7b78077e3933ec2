/*
 * queue.c
 *		The queue's set-up: settings, shared memory and the table of streams.
 *		The locking contract is in layout.h; who may have how much room is in
 *		pool.c, how records lie in it in chain.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "common/clock.h"
#include "common/compat.h"
#include "queue/pool.h"
#include "queue/queue.h"
#include "queue/reserve.h"
#include "queue/wake.h"

#define QUEUE_TABLE_TRANCHE		"FirehoseStreamTable"
#define QUEUE_STREAM_TRANCHE	"FirehoseStream"

/* Pages guaranteed to a stream, where the queue is large enough for it. */
#define QUEUE_MINIMUM_PAGES		16

/*
 * A database may have seven times as many streams in use as it leaves for
 * others: 224 of 256 when it is alone.
 */
#define STREAM_SHARE				7

/* How long to wait for an entry that a sender was asked for, and ask again. */
#define RELEASE_WAIT_MS			1000
#define RELEASE_ASK_MS			100

Queue	   *firehose_queue = NULL;
int			queue_size_mb;
int			queue_max_streams;
static int	max_transaction_size;

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
	DefineCustomIntVariable("firehose.max_transaction_size",
							"Sets how much of the queue one transaction may take.",
							"Records that a transaction has put are in the queue until it ends. "
							"-1 stands for half of firehose.queue_size.",
							&max_transaction_size, -1, -1, INT_MAX, PGC_SUSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
}

Size
queue_largest_transaction(const Queue *q)
{
	Size		limit = max_transaction_size < 0 ?
		(Size) q->npages / 2 * QUEUE_PAGE_DATA : (Size) max_transaction_size * 1024;

	return Min(limit, queue_largest_share(q));
}

static uint32
queue_pages(void)
{
	return (uint64) queue_size_mb * 1024 * 1024 / QUEUE_PAGE_DATA;
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

/* Compute the offsets of the parts, and their total size. */
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
	q->databases_offset = size;
	size = CACHELINEALIGN(add_size(size, mul_size(max_streams, sizeof(QueueDatabase))));
	q->lines_offset = size;
	size = CACHELINEALIGN(add_size(size, mul_size(max_streams / 32 + 1, sizeof(uint32))));
	q->news_offset = size;
	size = CACHELINEALIGN(add_size(size, mul_size(max_streams / 32 + 1, sizeof(uint32))));
	q->streams_offset = size;
	size = CACHELINEALIGN(add_size(size, mul_size(max_streams, sizeof(QueueStream))));
	q->pages_offset = size;
	size = TYPEALIGN(QUEUE_PAGE_DATA, add_size(size, mul_size(npages, sizeof(QueuePage))));
	q->data_offset = size;
	return add_size(size, mul_size(npages, QUEUE_PAGE_DATA));
}

Size
queue_memory_size(uint32 npages, int max_streams, int max_waiters)
{
	return queue_lay_out(NULL, npages, max_streams, max_waiters);
}

/*
 * Make an entry ready for a new stream, except for the fields that belong to
 * the entry.
 */
static void
reset_entry(QueueStream *s)
{
	memset((char *) s + offsetof(QueueStream, in_use), 0,
		   sizeof(QueueStream) - offsetof(QueueStream, in_use));
	s->head = s->tail = QUEUE_NO_PAGE;
	s->first_waiter = s->last_waiter = QUEUE_NO_WAITER;
	pg_atomic_init_u64(&s->end_position, 0);
	pg_atomic_init_u32(&s->pending, 0);
	pg_atomic_init_u64(&s->published_records, 0);
	pg_atomic_init_u64(&s->published_bytes, 0);
	pg_atomic_init_u64(&s->finished_records, 0);
	pg_atomic_init_u64(&s->finished_bytes, 0);
	pg_atomic_init_u32(&s->wake, QUEUE_WAKE_NEVER);
	pg_atomic_init_u64(&s->wake_records, 0);
	pg_atomic_init_u64(&s->wake_bytes, 0);
	pg_atomic_init_u32(&s->sender_procno, PG_UINT32_MAX);
	pg_atomic_init_u32(&s->asked_to_leave, 0);
	pg_atomic_init_u64(&s->flush_requested, 0);
	pg_atomic_init_u64(&s->flushes, 0);
	pg_atomic_init_u64(&s->flush_answered, 0);
	pg_atomic_init_u64(&s->finished_upto, 0);
	stream_stats_init(&s->stats);
}

/*
 * Nothing here may depend on how many pages there are: a start takes no longer
 * for a large queue, and its memory is touched when it is used.
 */
void
queue_init(Queue *q, uint32 npages, int max_streams, int max_waiters,
		   LWLock *table_lock, LWLockPadded *stream_locks)
{
	memset(q, 0, sizeof(Queue));
	queue_lay_out(q, npages, max_streams, max_waiters);
	memset((char *) q + q->waiters_offset, 0, q->streams_offset - q->waiters_offset);
	q->table_lock = table_lock;
	SpinLockInit(&q->pool_lock);
	q->npages = npages;
	q->max_streams = max_streams;
	q->max_waiters = max_waiters;
	q->minimum = Max(1, Min(QUEUE_MINIMUM_PAGES, npages / (2 * (uint32) max_streams)));
	q->free_head = QUEUE_NO_PAGE;
	q->free_pages = q->lowest_free = npages;
	pg_atomic_init_u32(&q->waiters, 0);
	pg_atomic_init_u64(&q->next_id, 1);
	pg_atomic_init_u64(&q->id_limit, 1);
	pg_atomic_init_u64(&q->table_version, 1);
	pg_atomic_init_u64(&q->asynchronous_upto, 0);
	ConditionVariableInit(&q->released);

	for (int i = 0; i < max_waiters; i++)
		pg_atomic_init_u32(&queue_waiter(q, i)->state, QUEUE_WAITER_IDLE);
	for (int i = 0; i <= max_streams / 32; i++)
	{
		pg_atomic_init_u32((pg_atomic_uint32 *) ((char *) q + q->lines_offset) + i, 0);
		pg_atomic_init_u32(queue_news(q, i * 32), 0);
	}
	for (int i = 0; i < max_streams; i++)
	{
		QueueStream *s = queue_stream(q, i);

		s->lock = &stream_locks[i].lock;
		s->news = queue_news(q, i);
		s->news_bit = (uint32) 1 << (i % 32);
		s->lingering = &q->lingering;
		pg_atomic_init_u32(&s->generation, 0);
		reset_entry(s);
	}
}

/* Find a stream's entry. Caller holds table_lock. */
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

/*
 * The database's common account, or, where it has none yet, a free one.
 * Caller holds table_lock.
 */
static int
find_database(Queue *q, Oid dboid)
{
	int			unused = -1;

	for (int i = 0; i < q->max_streams; i++)
	{
		QueueDatabase *d = queue_database(q, i);

		if (d->nstreams > 0 && d->dboid == dboid)
			return i;
		if (d->nstreams == 0 && unused < 0)
			unused = i;
	}
	return unused;
}

/*
 * Does an open transaction still rely on this entry?  Its reservation is
 * real, and it will yet write the flags of the runs it has appended.
 */
static bool
has_open_transactions(QueueStream *s)
{
	return s->reserved > 0 || pg_atomic_read_u32(&s->pending) > 0;
}

/* Does the stream owe nothing, so that its entry may go? */
static bool
is_idle(QueueStream *s)
{
	return !has_open_transactions(s) &&
		pg_atomic_read_u64(&s->published_records) == pg_atomic_read_u64(&s->finished_records);
}

/*
 * Wake the processes that wait for an entry.  The postmaster, which discards a
 * saved queue that proves damaged, has no PGPROC and cannot; no process waits
 * then.
 */
static void
announce_release(Queue *q)
{
	if (MyProc != NULL)
		ConditionVariableBroadcast(&q->released);
}

/* Free the entry and its pages.  Caller holds both locks. */
static void
vacate_entry(Queue *q, QueueStream *s)
{
	while (s->head != QUEUE_NO_PAGE)
	{
		QueuePageNo no = s->head;

		s->head = queue_page(q, no)->next;
		queue_return_page(q, s, no);
	}
	s->tail = QUEUE_NO_PAGE;
	pg_atomic_write_u32(&s->sender_procno, PG_UINT32_MAX);
	queue_ask_for_news(s, QUEUE_WAKE_NEVER);
	s->in_use = false;
	pg_atomic_fetch_add_u32(&s->generation, 1);
	queue_dismiss_waiters(q, s);
	queue_pool_leave(q, s);
	queue_database(q, s->database)->nstreams--;
	pg_atomic_fetch_add_u64(&q->table_version, 1);
}

/* The number of free entries.  Caller holds table_lock. */
static int
count_unused(Queue *q)
{
	int			n = 0;

	for (int i = 0; i < q->max_streams; i++)
		n += !queue_stream(q, i)->in_use;
	return n;
}

/*
 * The stream, of one database or (-1) all, that owes nothing and has sent
 * nothing for the longest time; NULL: none.  What is seen may be over the next
 * moment.  Caller holds table_lock.
 */
static QueueStream *
find_idle(Queue *q, int database)
{
	QueueStream *idle = NULL;
	uint64		used = 0;

	for (int i = 0; i < q->max_streams; i++)
	{
		QueueStream *s = queue_stream(q, i);
		uint64		last = pg_atomic_read_u64(&s->stats.last_accepted_at);

		if (!s->in_use || (database >= 0 && s->database != database) || !is_idle(s) ||
			s->first_waiter != QUEUE_NO_WAITER || (idle != NULL && last >= used))
			continue;
		idle = s;
		used = last;
	}
	return idle;
}

/*
 * Take the entry of an idle stream, or ask its sender for it, who alone knows
 * where it reads.  Caller holds table_lock exclusively.
 */
static void
evict(Queue *q, QueueStream *s, bool *asked)
{
	uint32		procno = pg_atomic_read_u32(&s->sender_procno);

	if (procno != PG_UINT32_MAX)
	{
		pg_atomic_write_u32(&s->asked_to_leave, 1);
		pg_atomic_fetch_or_u32(s->news, s->news_bit);
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
		*asked = true;
		return;
	}
	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	if (is_idle(s))
		vacate_entry(q, s);
	LWLockRelease(s->lock);
}

/*
 * An entry for one more stream of a database, which may have STREAM_SHARE
 * times as many as it leaves free.  If it has, one of its own streams goes
 * before another's.  Caller holds table_lock exclusively.
 */
static QueueStream *
find_unused_entry(Queue *q, int database, bool *asked)
{
	int			nstreams = queue_database(q, database)->nstreams;
	int			nfree = count_unused(q);

	if (nstreams >= STREAM_SHARE * nfree)
	{
		QueueStream *idle = nstreams > 0 ? find_idle(q, database) : NULL;

		if (idle == NULL && nstreams < STREAM_SHARE * (nfree + 1))
			idle = find_idle(q, -1);
		if (idle != NULL)
			evict(q, idle, asked);
		if (queue_database(q, database)->nstreams >= STREAM_SHARE * count_unused(q))
			return NULL;
	}
	for (int i = 0;; i++)
	{
		if (!queue_stream(q, i)->in_use)
			return queue_stream(q, i);
	}
}

/* Give an entry to a stream; NULL: there is none.  Caller holds table_lock. */
static QueueStream *
occupy_entry(Queue *q, Oid dboid, Oid serverid, const char *name, bool *asked)
{
	int			database = find_database(q, dboid);
	QueueStream *s = database < 0 ? NULL : find_unused_entry(q, database, asked);

	if (s == NULL)
		return NULL;
	queue_database(q, database)->dboid = dboid;
	queue_database(q, database)->nstreams++;

	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	reset_entry(s);
	pg_atomic_fetch_add_u32(&s->generation, 1);
	s->in_use = true;
	s->dboid = dboid;
	s->serverid = serverid;
	s->database = database;
	namestrcpy(&s->name, name);
	LWLockRelease(s->lock);
	queue_pool_join(q);
	pg_atomic_fetch_add_u64(&q->table_version, 1);
	return s;
}

/* As queue_find_or_claim, and tell whether a sender was asked for an entry. */
static QueueStream *
find_or_claim(Queue *q, Oid dboid, Oid serverid, const char *name, uint32 *generation,
			  bool *asked)
{
	QueueStream *s;

	/* once the lock is released the entry may change hands at any time */
	LWLockAcquire(q->table_lock, LW_SHARED);
	s = find_stream(q, dboid, serverid);
	if (s != NULL)
		*generation = pg_atomic_read_u32(&s->generation);
	LWLockRelease(q->table_lock);
	if (s != NULL)
		return s;

	LWLockAcquire(q->table_lock, LW_EXCLUSIVE);
	s = find_stream(q, dboid, serverid);
	if (s == NULL)
		s = occupy_entry(q, dboid, serverid, name, asked);
	if (s != NULL)
		*generation = pg_atomic_read_u32(&s->generation);
	LWLockRelease(q->table_lock);
	/* another's may have gone, and given its last page back, even in vain */
	queue_serve_waiters(q, s != NULL ? s : queue_stream(q, 0));
	return s;
}

QueueStream *
queue_find_or_claim(Queue *q, Oid dboid, Oid serverid, const char *name, uint32 *generation)
{
	bool		asked = false;

	return find_or_claim(q, dboid, serverid, name, generation, &asked);
}

QueueStream *
queue_claim_stream(Queue *q, Oid dboid, Oid serverid, const char *name, uint32 *generation)
{
	int64		deadline = 0;
	QueueStream *s;

	for (;;)
	{
		bool		asked = false;

		s = find_or_claim(q, dboid, serverid, name, generation, &asked);
		if (s != NULL || !asked)
			break;
		if (deadline == 0)
			deadline = clock_ms() + RELEASE_WAIT_MS;
		else if (clock_ms() >= deadline)
			break;
		(void) ConditionVariableTimedSleep(&q->released, RELEASE_ASK_MS,
										   WaitEventNamed("FirehoseStreamSlot"));
	}
	if (deadline != 0)
		ConditionVariableCancelSleep();
	if (s == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no room for another stream"),
				 errdetail("Each stream of this database has records to send. One database may use seven eighths of firehose.max_streams (%d), or what others leave.",
						   q->max_streams),
				 errhint("Increase firehose.max_streams and restart the server, or see firehose_stat_stream for why records are not accepted.")));
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

bool
queue_release_stream(Queue *q, QueueStream *s)
{
	bool		released = false;

	LWLockAcquire(q->table_lock, LW_EXCLUSIVE);
	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	if (is_idle(s))
	{
		vacate_entry(q, s);
		released = true;
	}
	LWLockRelease(s->lock);
	LWLockRelease(q->table_lock);
	queue_serve_waiters(q, s);
	if (released)
		announce_release(q);
	return released;
}

/*
 * Called when a database, or the extension in it, is gone, and no process can
 * put or send there any more.  An entry that an open transaction relies on is
 * marked as dropped and left to the next call, which that transaction asks for
 * when it ends (put_xact.c).
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
		/* either this sees its end, or it sees that no process waits for it */
		s->dropped = true;
		pg_memory_barrier();
		if (!has_open_transactions(s))
		{
			discarded += pg_atomic_read_u64(&s->published_records) -
				pg_atomic_read_u64(&s->finished_records);
			vacate_entry(q, s);
		}
		LWLockRelease(s->lock);
	}
	LWLockRelease(q->table_lock);
	queue_serve_waiters(q, queue_stream(q, 0));
	announce_release(q);
	return discarded;
}
