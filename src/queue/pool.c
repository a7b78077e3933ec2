/*
 * pool.c
 *		Who may have how much of the queue: reservations and shares.  Runs in
 *		backends, decoders and senders; the locking contract is in layout.h.
 *
 * A reservation is a number of bytes.  They need at most
 *
 *		(reserved - what is left in the tail page) / QUEUE_PAGE_DATA, raised
 *
 * pages beyond the tail, in whichever order and pieces they are appended,
 * because the chain is one stream of bytes.  That many pages are set aside in
 * the pool (QueueStream.promised), so an append always finds its pages.
 *
 * A database may hold QUEUE_SHARE times as many pages as it leaves free, and a
 * stream QUEUE_SHARE times as many as it leaves of what its database may still
 * have; beside a small minimum that is kept for every stream in use.  So the
 * streams of one database, however many are dead, fill four fifths of the
 * queue and leave the others room, and one stream alone fills 16/21, and
 * leaves room to its neighbours.  (The rule is Choudhury and Hahne's dynamic
 * threshold of shared-memory switches, applied twice.)
 *
 * A stream that comes when the queue is full already may find less than the
 * minimum of all streams free.  Until that has mended, the streams below their
 * minimum share the free pages in order of arrival, and the others get none.
 */
#include "postgres.h"

#include "queue/pool.h"
#include "queue/wake.h"

#define QUEUE_SHARE		4

static bool promise_pages(Queue *q, QueueStream *s, uint32 n, bool fair);
static void unpromise_pages(Queue *q, QueueStream *s, uint32 n);

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

Size
queue_largest_share(const Queue *q)
{
	uint64		minimum = (uint64) (QUEUE_SHARE + 1) * q->minimum;
	uint64		whole = (uint64) QUEUE_SHARE * QUEUE_SHARE * q->npages;
	uint64		pages = (whole + minimum) / (QUEUE_SHARE * QUEUE_SHARE + QUEUE_SHARE + 1);

	return (Size) (pages - 1) * QUEUE_PAGE_DATA;
}

bool
queue_pool_reserve(Queue *q, QueueStream *s, Size bytes, bool fair)
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
		return s->first_waiter != QUEUE_NO_WAITER;
	unpromise_pages(q, s, s->promised - needed);
	return true;
}

/*
 * May the stream hold n pages more, of which then `left` are free?  Caller
 * holds pool_lock.
 */
static bool
within_share(Queue *q, const QueueStream *s, uint32 n, uint32 left)
{
	uint64		held = (uint64) s->npages + s->promised + n;
	uint64		database_held = (uint64) queue_database(q, s->database)->held + n;
	uint64		allowed = q->minimum + (uint64) QUEUE_SHARE * left;

	return database_held <= allowed &&
		held <= q->minimum + QUEUE_SHARE * (allowed - database_held);
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
			 (unmet <= available - n && within_share(q, s, n, available - n))))
		{
			q->promised += n;
			q->unmet_minimum = unmet;
			q->lowest_free = Min(q->lowest_free, available - n);
			queue_database(q, s->database)->held += n;
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
	queue_database(q, s->database)->held -= n;
	SpinLockRelease(&q->pool_lock);

	s->promised -= n;
}

/*
 * Pages that were used before come first, so that a quiet server touches few.
 */
QueuePageNo
queue_take_page(Queue *q, QueueStream *s)
{
	QueuePageNo no;
	uint32		left;

	Assert(s->promised > 0);

	SpinLockAcquire(&q->pool_lock);
	no = q->free_head;
	if (no != QUEUE_NO_PAGE)
		q->free_head = queue_page(q, no)->next;
	else
		no = q->untouched++;
	left = --q->free_pages;
	q->promised--;
	SpinLockRelease(&q->pool_lock);

	/* it begins to fill */
	if (queue_is_short_of_pages(q, left) && !queue_is_short_of_pages(q, left + 1))
		queue_wake_lingering(q);
	s->promised--;
	s->npages++;
	return no;
}

void
queue_return_page(Queue *q, QueueStream *s, QueuePageNo no)
{
	uint32		held = s->npages + s->promised;

	/*
	 * a process that reads it without a lock now has to see that it has left
	 */
	queue_page(q, no)->owner = QUEUE_NO_OWNER;
	pg_write_barrier();

	SpinLockAcquire(&q->pool_lock);
	queue_page(q, no)->next = q->free_head;
	q->free_head = no;
	q->free_pages++;
	q->unmet_minimum += shortfall(q, held - 1) - shortfall(q, held);
	queue_database(q, s->database)->held--;
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
