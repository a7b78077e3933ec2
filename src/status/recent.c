/*
 * recent.c
 *		The outcomes of recent records, and the processes that wait for them.
 *
 * Runs in senders, which publish outcomes and respond to flushes, and in
 * backends, which look outcomes up and wait (wait.c).
 *
 * Shared state and its contract
 * -----------------------------
 * Everything is atomic and nothing is under a lock, so that a sender never
 * waits for a backend.
 *
 * ring[]		One word per residue of a record id: the id and its outcome.
 *				The senders write it with a plain store: the word always tells
 *				the truth about the id that it names, and a record that is
 *				overwritten has merely ceased to be recent.
 * sources[]	Beside each word, whose record it is; see SOURCE_WORD.  Written
 *				before the word, and tells by itself if it is another record's.
 * waiters[]	One per process number.  `record` is the id that the process
 *				waits for, with OUTCOME_NONE, written by the process itself; a
 *				sender settles it by compare-and-exchange, so that it can never
 *				settle another wait than the one that it read.  `flushing` is
 *				written by the process alone.
 * nwaiting,	Counts of the waiters in use: a sender looks for none when none
 * nflushing	is waiting.
 *
 * No wake-up is lost: a backend registers before it looks at the ring and the
 * queue, a sender writes the ring before it looks for waiters, and a full
 * barrier lies between the two steps of either.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "common/compat.h"
#include "status/recent.h"

/* 2 MB: with 100,000 records a second a record stays recent for 2.6 seconds */
#define OUTCOME_RING_SIZE	(1 << 18)

/*
 * A word of the ring, or of a waiter: id, whether the outcome has only been
 * announced (in the ring), and outcome.
 */
#define OUTCOME_BITS		3
#define OUTCOME_ANNOUNCED	UINT64CONST(4)
#define OUTCOME_WORD(id, outcome) (((id) << OUTCOME_BITS) | (outcome))
#define OUTCOME_WORD_ID(word)	((word) >> OUTCOME_BITS)
#define OUTCOME_WORD_FATE(word) ((RecordOutcome) ((word) & (OUTCOME_ANNOUNCED - 1)))

/*
 * The record's server and as much of its id as the place in the ring does not
 * tell.  Servers of two databases may have one OID, so it is disguised by the
 * database: a session of another database that takes it for a server finds
 * none.
 */
#define SOURCE_WORD(id, serverid) \
	((((id) / OUTCOME_RING_SIZE) << 32) | ((serverid) ^ murmurhash32(MyDatabaseId)))

typedef struct RecentWaiter
{
	pg_atomic_uint64 record;	/* OUTCOME_WORD, 0: waits for no record */
	pg_atomic_uint32 flushing;	/* 1: waits for any response to a flush */
} RecentWaiter;

typedef struct RecentShared
{
	pg_atomic_uint32 nwaiting;
	pg_atomic_uint32 nflushing;
	pg_atomic_uint64 ring[OUTCOME_RING_SIZE];
	pg_atomic_uint64 sources[OUTCOME_RING_SIZE];
	RecentWaiter	waiters[FLEXIBLE_ARRAY_MEMBER]; /* MaxBackends */
} RecentShared;

/* A set of record ids, for a quick no: ids of one batch are close together. */
#define OUTCOME_FILTER_BITS	4096

typedef struct OutcomeFilter
{
	uint64		bits[OUTCOME_FILTER_BITS / 64];
} OutcomeFilter;

static RecentShared *outcomes = NULL;

static Size recent_shmem_size(void);
static void settle_waiters(const RecentEntry *entries, int n);
static void settle_waiter(int procno, const RecentEntry *entries, int n);

static Size
recent_shmem_size(void)
{
	return add_size(offsetof(RecentShared, waiters),
					mul_size(MaxBackends, sizeof(RecentWaiter)));
}

/* Ask for the ring and the waiters. */
void
recent_shmem_request(void)
{
	RequestAddinShmemSpace(recent_shmem_size());
}

/* Set the ring and the waiters up, or attach to them. */
void
recent_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	outcomes = ShmemInitStruct("firehose outcomes", recent_shmem_size(), &found);
	if (!found)
	{
		pg_atomic_init_u32(&outcomes->nwaiting, 0);
		pg_atomic_init_u32(&outcomes->nflushing, 0);
		for (int i = 0; i < OUTCOME_RING_SIZE; i++)
		{
			pg_atomic_init_u64(&outcomes->ring[i], 0);
			pg_atomic_init_u64(&outcomes->sources[i], 0);
		}
		for (int i = 0; i < MaxBackends; i++)
		{
			pg_atomic_init_u64(&outcomes->waiters[i].record, 0);
			pg_atomic_init_u32(&outcomes->waiters[i].flushing, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

static inline pg_atomic_uint64 *
ring_word(uint64 id)
{
	return &outcomes->ring[id % OUTCOME_RING_SIZE];
}

/* Let an outcome be found, but not yet be told. */
void
recent_announce(uint64 id, RecordOutcome outcome, Oid serverid)
{
	pg_atomic_write_u64(&outcomes->sources[id % OUTCOME_RING_SIZE],
						SOURCE_WORD(id, serverid));
	pg_write_barrier();
	pg_atomic_write_u64(ring_word(id), OUTCOME_WORD(id, outcome) | OUTCOME_ANNOUNCED);

	/* before the record is finished in the queue */
	pg_write_barrier();
}

/* Make outcomes known and wake those who wait for them. */
void
recent_publish(const RecentEntry *entries, int n)
{
	for (int i = 0; i < n; i++)
		pg_atomic_write_u64(ring_word(entries[i].id),
							OUTCOME_WORD(entries[i].id, entries[i].outcome));

	/* against recent_start_waiting: the ring first, then the waiters */
	pg_memory_barrier();
	if (pg_atomic_read_u32(&outcomes->nwaiting) > 0)
		settle_waiters(entries, n);
}

/* Is a process waiting for a record? */
bool
recent_has_waiters(void)
{
	return pg_atomic_read_u32(&outcomes->nwaiting) > 0;
}

/*
 * Settle the waiters whose record is in a batch.  The filter keeps this
 * linear: the batch is searched for those waiters only that may be in it.
 */
static void
settle_waiters(const RecentEntry *entries, int n)
{
	OutcomeFilter	filter = {{0}};

	for (int i = 0; i < n; i++)
	{
		uint32		bit = entries[i].id % OUTCOME_FILTER_BITS;

		filter.bits[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}

	for (int procno = 0; procno < MaxBackends; procno++)
	{
		uint64		word = pg_atomic_read_u64(&outcomes->waiters[procno].record);
		uint32		bit = OUTCOME_WORD_ID(word) % OUTCOME_FILTER_BITS;

		if (word != 0 && OUTCOME_WORD_FATE(word) == OUTCOME_NONE &&
			(filter.bits[bit / 64] & (UINT64CONST(1) << (bit % 64))) != 0)
			settle_waiter(procno, entries, n);
	}
}

/* Settle one waiter, if its record is in the batch. */
static void
settle_waiter(int procno, const RecentEntry *entries, int n)
{
	pg_atomic_uint64 *record = &outcomes->waiters[procno].record;
	uint64		word = pg_atomic_read_u64(record);

	for (int i = 0; i < n; i++)
	{
		if (word != OUTCOME_WORD(entries[i].id, OUTCOME_NONE))
			continue;

		/* fails if the process has ceased to wait; nothing to do then */
		if (pg_atomic_compare_exchange_u64(record, &word,
										   OUTCOME_WORD(entries[i].id,
														entries[i].outcome)))
			SetLatch(&ProcGlobal->allProcs[procno].procLatch);
		return;
	}
}

uint64
recent_flush_request(QueueStream *s)
{
	return pg_atomic_add_fetch_u64(&s->flush_requested, 1);
}

bool
recent_flush_reached(QueueStream *s, uint64 request, QueuePosition mark)
{
	if (pg_atomic_read_u64(&s->flush_answered) < request)
		return false;
	pg_read_barrier();			/* pairs with recent_flush_done's */
	return pg_atomic_read_u64(&s->finished_upto) >= mark;
}

uint64
recent_flush_requested(QueueStream *s)
{
	uint64		request = pg_atomic_read_u64(&s->flush_requested);

	pg_memory_barrier();		/* the request first, then what is pending */
	return request;
}

bool
recent_flush_is_known(QueueStream *s, uint64 request, QueuePosition finished_upto)
{
	return request == pg_atomic_read_u64(&s->flush_answered) &&
		finished_upto == pg_atomic_read_u64(&s->finished_upto);
}

/* Tell the processes that flush how far a stream has come. */
void
recent_flush_done(QueueStream *s, uint64 request, QueuePosition finished_upto)
{
	pg_atomic_write_u64(&s->finished_upto, finished_upto);
	pg_write_barrier();
	pg_atomic_write_u64(&s->flush_answered, request);
	recent_wake_flushers();
}

/* Have those who flush look again. */
void
recent_wake_flushers(void)
{
	/* against recent_start_flushing: the news first, then the waiters */
	pg_memory_barrier();
	if (pg_atomic_read_u32(&outcomes->nflushing) == 0)
		return;

	for (int procno = 0; procno < MaxBackends; procno++)
	{
		if (pg_atomic_read_u32(&outcomes->waiters[procno].flushing) != 0)
			SetLatch(&ProcGlobal->allProcs[procno].procLatch);
	}
}

/* Is a process waiting for a response to a flush? */
bool
recent_has_flushers(void)
{
	return pg_atomic_read_u32(&outcomes->nflushing) > 0;
}

/* The outcome of a record in the ring, if it is published. */
RecordOutcome
recent_lookup(uint64 id)
{
	uint64		word = pg_atomic_read_u64(ring_word(id));

	return OUTCOME_WORD_ID(word) == id && (word & OUTCOME_ANNOUNCED) == 0 ?
		OUTCOME_WORD_FATE(word) : OUTCOME_NONE;
}

/* The outcome of a record in the ring, even if it is only announced. */
RecordOutcome
recent_lookup_announced(uint64 id)
{
	uint64		word = pg_atomic_read_u64(ring_word(id));

	return OUTCOME_WORD_ID(word) == id ? OUTCOME_WORD_FATE(word) : OUTCOME_NONE;
}

/* The foreign server of a record. */
Oid
recent_server(uint64 id)
{
	uint64		source = pg_atomic_read_u64(&outcomes->sources[id % OUTCOME_RING_SIZE]);

	if ((source ^ SOURCE_WORD(id, InvalidOid)) >> 32 != 0)
		return InvalidOid;
	return (Oid) ((source ^ SOURCE_WORD(id, InvalidOid)) & PG_UINT32_MAX);
}

/* Take a record's outcome out of the ring: it is to be queued again. */
RecordOutcome
recent_forget(uint64 id)
{
	uint64		word = pg_atomic_read_u64(ring_word(id));

	if (OUTCOME_WORD_ID(word) == id &&
		pg_atomic_compare_exchange_u64(ring_word(id), &word, OUTCOME_WORD(id, OUTCOME_NONE)))
		return OUTCOME_WORD_FATE(word);
	return OUTCOME_NONE;
}

/* It was not queued after all. */
void
recent_restore(uint64 id, RecordOutcome outcome)
{
	uint64		word = OUTCOME_WORD(id, OUTCOME_NONE);

	(void) pg_atomic_compare_exchange_u64(ring_word(id), &word, OUTCOME_WORD(id, outcome));
}

/* Register this process as waiting for a record. */
void
recent_start_waiting(uint64 id)
{
	Assert(id > 0 && id <= QUEUE_MAX_ID);
	Assert(MyProcNo() < MaxBackends);

	pg_atomic_write_u64(&outcomes->waiters[MyProcNo()].record,
						OUTCOME_WORD(id, OUTCOME_NONE));
	/* a full barrier, against recent_publish */
	pg_atomic_fetch_add_u32(&outcomes->nwaiting, 1);
}

/* The outcome, so far, of the record that this process waits for. */
RecordOutcome
recent_awaited(void)
{
	uint64		word = pg_atomic_read_u64(&outcomes->waiters[MyProcNo()].record);

	if (OUTCOME_WORD_FATE(word) != OUTCOME_NONE)
		return OUTCOME_WORD_FATE(word);
	return recent_lookup(OUTCOME_WORD_ID(word));
}

/* Stop waiting for the record. */
void
recent_stop_waiting(void)
{
	pg_atomic_write_u64(&outcomes->waiters[MyProcNo()].record, 0);
	pg_atomic_fetch_sub_u32(&outcomes->nwaiting, 1);
}

/* Register this process as waiting for responses to flushes. */
void
recent_start_flushing(void)
{
	pg_atomic_write_u32(&outcomes->waiters[MyProcNo()].flushing, 1);
	/* a full barrier, against recent_wake_flushers */
	pg_atomic_fetch_add_u32(&outcomes->nflushing, 1);
}

/* Stop waiting for responses. */
void
recent_stop_flushing(void)
{
	pg_atomic_write_u32(&outcomes->waiters[MyProcNo()].flushing, 0);
	pg_atomic_fetch_sub_u32(&outcomes->nflushing, 1);
}
