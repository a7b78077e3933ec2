/*
 * pool.c
 *		Who may have how much of the queue: reservations, the share of a
 *		stream, and waiting for room.  Runs in backends and in the sender;
 *		the locking contract is in queue.h.
 *
 * A reservation is a number of bytes.  They need at most
 *
 *		(reserved - room left in the tail page) / QUEUE_PAGE_DATA, rounded up
 *
 * pages beyond the tail, whoever appends first and in whatever pieces, since
 * the chain is one stream of bytes.  That many pages are set aside in the pool
 * (QueueStream.promised), so an append always finds its pages.
 *
 * A stream may hold QUEUE_SHARE times as many pages as it leaves free, beside
 * a small minimum that is kept for every stream in use.  One stream alone may
 * so fill four fifths of the queue, two dead ones four ninths each, and a live
 * one still finds room.  (The rule is Choudhury and Hahne's dynamic threshold
 * of shared-memory switches.)
 *
 * A stream that comes when the queue is full already may find less than the
 * minimum of all streams free.  Until that has mended, the streams below their
 * minimum have what is free, whoever comes first, and the others nothing.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "queue/pool.h"
#include "queue/queue.h"

#define QUEUE_SHARE		4

/* Is this process in the table of waiters? */
static bool am_waiting = false;

static bool promise_pages(Queue *q, QueueStream *s, uint32 n, bool fair);
static void unpromise_pages(Queue *q, QueueStream *s, uint32 n);
static bool try_reserve(Queue *q, QueueStream *s, Size bytes, bool fair);
static QueueReserveResult wait_for_room(Queue *q, QueueStream *s, uint32 generation,
										Size bytes, int timeout_ms);

/* Pages that `held` pages fall short of the minimum. */
static inline uint32
shortfall(const Queue *q, uint32 held)
{
	return held < q->minimum ? q->minimum - held : 0;
}

/* Pages needed beyond the tail for this much of reservations. */
static inline uint32
pages_needed(const QueueStream *s, uint64 reserved)
{
	uint32		tail_left = s->tail == QUEUE_NO_PAGE ? 0 : QUEUE_PAGE_DATA - s->tail_used;

	if (reserved <= tail_left)
		return 0;
	return (reserved - tail_left + QUEUE_PAGE_DATA - 1) / QUEUE_PAGE_DATA;
}

/*
 * The most bytes that one transaction can have in one stream of an otherwise
 * empty queue.
 */
Size
queue_largest_transaction(const Queue *q)
{
	uint32		pages = ((uint64) QUEUE_SHARE * q->npages + q->minimum) / (QUEUE_SHARE + 1);

	return (Size) (pages - 1) * QUEUE_PAGE_DATA;
}

/*
 * Reserve room.  The quick way takes one lock and looks at two numbers; only
 * when a page is needed is the pool asked, and only a full pool makes us wait.
 */
QueueReserveResult
queue_reserve(Queue *q, QueueStream *s, uint32 generation, Size bytes, int timeout_ms)
{
	QueueReserveResult result = QUEUE_FULL;

	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&s->generation) != generation)
		result = QUEUE_STALE;
	/* newcomers must not overtake those who wait for the same stream */
	else if (pg_atomic_read_u32(&s->waiters) == 0 && try_reserve(q, s, bytes, true))
		result = QUEUE_RESERVED;
	LWLockRelease(s->lock);

	if (result == QUEUE_FULL && timeout_ms > 0)
		result = wait_for_room(q, s, generation, bytes, timeout_ms);
	return result;
}

/*
 * Give a reservation back.  The sender of a dropped stream waits for the last.
 */
void
queue_unreserve(Queue *q, QueueStream *s, Size bytes)
{
	bool		gave_back;
	bool		last_of_dropped;

	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	gave_back = queue_settle_reservation(q, s, bytes);
	last_of_dropped = s->dropped && s->reserved == 0;
	LWLockRelease(s->lock);
	if (gave_back)
		queue_wake_waiters(q);
	if (last_of_dropped)
		queue_wake_sender(s);
}

bool
queue_reserve_again(Queue *q, QueueStream *s, Size bytes)
{
	bool		reserved;

	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	reserved = try_reserve(q, s, bytes, false);
	LWLockRelease(s->lock);
	return reserved;
}

/* Reserve if the accounts allow it.  Caller holds the stream's lock. */
static bool
try_reserve(Queue *q, QueueStream *s, Size bytes, bool fair)
{
	uint32		needed = pages_needed(s, s->reserved + bytes);

	if (needed > s->promised && !promise_pages(q, s, needed - s->promised, fair))
		return false;
	s->reserved += bytes;
	return true;
}

bool
queue_settle_reservation(Queue *q, QueueStream *s, Size bytes)
{
	uint32		needed;

	Assert(s->reserved >= bytes);
	s->reserved -= bytes;
	needed = pages_needed(s, s->reserved);
	if (s->promised == needed)
		return false;
	unpromise_pages(q, s, s->promised - needed);
	return true;
}

/*
 * Set n more free pages aside for the stream, if its share allows (or need
 * not).
 */
static bool
promise_pages(Queue *q, QueueStream *s, uint32 n, bool fair)
{
	uint32		held = s->npages + s->promised;
	bool		granted = false;

	SpinLockAcquire(&q->pool_lock);
	{
		uint32		available = q->free_pages - q->promised;
		uint32		unmet = q->unmet_minimum - shortfall(q, held) + shortfall(q, held + n);

		if (n <= available &&
			(!fair || held + n <= q->minimum ||
			 (unmet <= available - n &&
			  held + n <= q->minimum + (uint64) QUEUE_SHARE * (available - n))))
		{
			q->promised += n;
			q->unmet_minimum = unmet;
			q->lowest_free = Min(q->lowest_free, available - n);
			granted = true;
		}
	}
	SpinLockRelease(&q->pool_lock);

	if (granted)
		s->promised += n;
	return granted;
}

static void
unpromise_pages(Queue *q, QueueStream *s, uint32 n)
{
	uint32		held = s->npages + s->promised;

	SpinLockAcquire(&q->pool_lock);
	q->promised -= n;
	q->unmet_minimum += shortfall(q, held - n) - shortfall(q, held);
	SpinLockRelease(&q->pool_lock);

	s->promised -= n;
}

QueuePageNo
queue_take_page(Queue *q, QueueStream *s)
{
	QueuePageNo no;

	Assert(s->promised > 0);

	SpinLockAcquire(&q->pool_lock);
	no = q->free_head;
	q->free_head = queue_page(q, no)->next;
	q->free_pages--;
	q->promised--;
	SpinLockRelease(&q->pool_lock);

	s->promised--;
	s->npages++;
	return no;
}

void
queue_return_page(Queue *q, QueueStream *s, QueuePageNo no)
{
	uint32		held = s->npages + s->promised;

	SpinLockAcquire(&q->pool_lock);
	queue_page(q, no)->next = q->free_head;
	q->free_head = no;
	q->free_pages++;
	q->unmet_minimum += shortfall(q, held - 1) - shortfall(q, held);
	SpinLockRelease(&q->pool_lock);

	s->npages--;
}

void
queue_pool_join(Queue *q)
{
	SpinLockAcquire(&q->pool_lock);
	q->unmet_minimum += q->minimum;
	SpinLockRelease(&q->pool_lock);
}

void
queue_pool_leave(Queue *q, QueueStream *s)
{
	Assert(s->npages == 0 && s->promised == 0);

	SpinLockAcquire(&q->pool_lock);
	q->unmet_minimum -= q->minimum;
	SpinLockRelease(&q->pool_lock);
}

void
queue_wake_waiters(Queue *q)
{
	if (pg_atomic_read_u32(&q->waiters) > 0)
		ConditionVariableBroadcast(&q->room);
}

static inline QueueWaiter *
my_waiter(Queue *q)
{
	Assert(MyProcNo() < q->max_waiters);
	return (QueueWaiter *) ((char *) q + q->waiters_offset) + MyProcNo();
}

/*
 * Is somebody waiting for this stream with an earlier ticket?  Waiters of
 * other streams do not count: their stream may be dead, ours is not.
 */
static bool
must_queue_behind(Queue *q, int slot, uint64 ticket)
{
	QueueWaiter *waiters = (QueueWaiter *) ((char *) q + q->waiters_offset);

	for (int i = 0; i < q->max_waiters; i++)
	{
		uint64		other = pg_atomic_read_u64(&waiters[i].ticket);

		if (other == 0 || other >= ticket)
			continue;
		pg_read_barrier();		/* pairs with wait_for_room's */
		if (waiters[i].slot == slot)
			return true;
	}
	return false;
}

/*
 * Wait in line for room.  An error or a cancel leaves our entry to
 * queue_stop_waiting, which the abort of the (sub)transaction calls.
 */
static QueueReserveResult
wait_for_room(Queue *q, QueueStream *s, uint32 generation, Size bytes, int timeout_ms)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	QueueReserveResult result = QUEUE_FULL;
	QueueWaiter *me = my_waiter(q);
	uint64		ticket = pg_atomic_fetch_add_u64(&q->next_ticket, 1);

	me->slot = queue_slot(q, s);
	pg_write_barrier();
	pg_atomic_write_u64(&me->ticket, ticket);
	pg_atomic_fetch_add_u32(&s->waiters, 1);
	pg_atomic_fetch_add_u32(&q->waiters, 1);
	am_waiting = true;

	ConditionVariablePrepareToSleep(&q->room);
	for (;;)
	{
		long		left;

		LWLockAcquire(s->lock, LW_EXCLUSIVE);
		if (pg_atomic_read_u32(&s->generation) != generation)
			result = QUEUE_STALE;
		else if (!must_queue_behind(q, me->slot, ticket) && try_reserve(q, s, bytes, true))
			result = QUEUE_RESERVED;
		LWLockRelease(s->lock);

		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (result != QUEUE_FULL || left <= 0)
			break;
		ConditionVariableTimedSleep(&q->room, left, WaitEventNamed("FirehoseQueueFull"));
	}
	ConditionVariableCancelSleep();
	queue_stop_waiting(q);
	return result;
}

/* Leave the line, and let those behind us look again. */
void
queue_stop_waiting(Queue *q)
{
	QueueWaiter *me;
	QueueStream *s;

	if (!am_waiting)
		return;
	am_waiting = false;
	me = my_waiter(q);
	s = queue_stream(q, me->slot);
	pg_atomic_write_u64(&me->ticket, 0);
	pg_atomic_fetch_sub_u32(&q->waiters, 1);
	if (pg_atomic_sub_fetch_u32(&s->waiters, 1) > 0)
		queue_wake_waiters(q);
}
