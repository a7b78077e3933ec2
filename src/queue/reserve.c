/*
 * reserve.c
 *		Reserving space in the queue, and waiting for it.  Runs in backends and
 *		decoders, which reserve, and in senders, which serve the processes that
 *		wait.
 *
 * Processes that wait for space in a stream stand in its line.  The process
 * that gives space back makes the reservations of those at the head of the
 * line, as far as the pool allows, and only then wakes them.  So no process
 * wakes in vain, none is overtaken within a stream, and the number of those
 * that wait costs nothing.
 *
 * No wake-up is lost.  A process counts itself as waiting and stands in the
 * line before it looks at the pool a last time; a process that gives pages
 * back does so before it looks at the count and at the lines; and both steps
 * are separated by a full barrier.
 *
 * The lines are under the locks of their streams; which streams have one is
 * also in a bitmap, so that only they are looked at.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/latch.h"
#include "storage/proc.h"

#include "common/clock.h"
#include "common/compat.h"
#include "queue/pool.h"
#include "queue/reserve.h"
#include "queue/wake.h"

/* Processes that are woken without taking the lock of their line again. */
#define WAKE_AT_ONCE	16

/* Processes that were taken out of a line, and do not know it yet. */
typedef struct WakeList
{
	int			n;
	int			procno[WAKE_AT_ONCE];
} WakeList;

/* Does this process stand in a line? */
static bool is_waiting = false;

static void join_line(Queue *q, QueueStream *s, int waiter, Size bytes);
static QueueReserveResult wait_in_line(Queue *q, int timeout_ms);

/*
 * Reserve space.  The quick way takes one lock and compares two numbers.  The
 * pool is asked only when a page is needed, and only a full pool makes this
 * wait, which takes no lock a second time.
 */
QueueReserveResult
queue_reserve(Queue *q, QueueStream *s, uint32 generation, Size bytes, int timeout_ms)
{
	QueueReserveResult result = QUEUE_FULL;

	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&s->generation) != generation)
		result = QUEUE_STALE;
	/* newcomers must not overtake processes that wait for the same stream */
	else if (s->first_waiter == QUEUE_NO_WAITER && queue_pool_reserve(q, s, bytes, true))
		result = QUEUE_RESERVED;
	else if (timeout_ms > 0)
	{
		join_line(q, s, MyProcNo(), bytes);
		is_waiting = true;
	}
	LWLockRelease(s->lock);

	return is_waiting ? wait_in_line(q, timeout_ms) : result;
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
		queue_serve_waiters(q, s);
	if (last_of_dropped)
		queue_wake_sender(s);
}

/* Lines ------------------------------------------------------------------- */

static inline pg_atomic_uint32 *
line_word(Queue *q, int number)
{
	return (pg_atomic_uint32 *) ((char *) q + q->lines_offset) + number / 32;
}

/* Put a process at the end of the line.  Caller holds the stream's lock. */
static void
link_waiter(Queue *q, QueueStream *s, int procno)
{
	QueueWaiter *w = queue_waiter(q, procno);
	int			number = queue_stream_number(q, s);

	w->next = QUEUE_NO_WAITER;
	w->prev = s->last_waiter;
	if (w->prev != QUEUE_NO_WAITER)
		queue_waiter(q, w->prev)->next = procno;
	else
	{
		s->first_waiter = procno;
		pg_atomic_fetch_or_u32(line_word(q, number), 1U << (number % 32));
	}
	s->last_waiter = procno;
}

/* Take it out.  Caller holds the stream's lock. */
static void
unlink_waiter(Queue *q, QueueStream *s, int procno)
{
	QueueWaiter *w = queue_waiter(q, procno);
	int			number = queue_stream_number(q, s);

	if (w->next != QUEUE_NO_WAITER)
		queue_waiter(q, w->next)->prev = w->prev;
	else
		s->last_waiter = w->prev;
	if (w->prev != QUEUE_NO_WAITER)
		queue_waiter(q, w->prev)->next = w->next;
	else
		s->first_waiter = w->next;
	if (s->first_waiter == QUEUE_NO_WAITER)
		pg_atomic_fetch_and_u32(line_word(q, number), ~(1U << (number % 32)));
}

/* Remove the first of the line, with this result. */
static void
dismiss_first(Queue *q, QueueStream *s, QueueWaiterState state, WakeList *woken)
{
	int			procno = s->first_waiter;

	unlink_waiter(q, s, procno);
	/* from here on it may go on, and stand in another line */
	pg_write_barrier();
	pg_atomic_write_u32(&queue_waiter(q, procno)->state, state);
	woken->procno[woken->n++] = procno;
}

/*
 * Serve a line, as far as there is space.  Caller holds the stream's lock, and
 * wakes those that were served when it does not any more: they go on with a
 * put, which takes the lock.
 */
static void
serve_line(Queue *q, QueueStream *s, WakeList *woken)
{
	while (s->first_waiter != QUEUE_NO_WAITER && woken->n < WAKE_AT_ONCE &&
		   queue_pool_reserve(q, s, queue_waiter(q, s->first_waiter)->bytes, true))
		dismiss_first(q, s, QUEUE_WAITER_SERVED, woken);
}

static void
wake_all(const WakeList *woken)
{
	for (int i = 0; i < woken->n; i++)
		SetLatch(&ProcGlobal->allProcs[woken->procno[i]].procLatch);
}

static void
lock_and_serve(Queue *q, QueueStream *s)
{
	WakeList	woken;

	do
	{
		woken.n = 0;
		LWLockAcquire(s->lock, LW_EXCLUSIVE);
		serve_line(q, s, &woken);
		LWLockRelease(s->lock);
		wake_all(&woken);
	} while (woken.n == WAKE_AT_ONCE);
}

void
queue_serve_waiters(Queue *q, QueueStream *s)
{
	int			nwords = (q->max_streams + 31) / 32;

	/* pairs with join_line's */
	pg_memory_barrier();
	if (pg_atomic_read_u32(&q->waiters) == 0)
		return;

	/* first those whose stream it is */
	lock_and_serve(q, s);
	for (int i = 0; i < nwords; i++)
	{
		uint32		bits = pg_atomic_read_u32(line_word(q, i * 32));

		for (; bits != 0; bits &= bits - 1)
		{
			QueueStream *other = queue_stream(q, i * 32 + pg_rightmost_one_pos32(bits));

			if (other != s)
				lock_and_serve(q, other);
		}
	}
}

void
queue_dismiss_waiters(Queue *q, QueueStream *s)
{
	while (s->first_waiter != QUEUE_NO_WAITER)
	{
		WakeList	woken = {0};

		while (s->first_waiter != QUEUE_NO_WAITER && woken.n < WAKE_AT_ONCE)
			dismiss_first(q, s, QUEUE_WAITER_STALE, &woken);
		wake_all(&woken);
	}
}

/*
 * A process joins the line.  Caller holds the stream's lock.  The last look at
 * the pool is for this process: if more than WAKE_AT_ONCE stand before it and
 * may go on, whoever gave the space back is about to serve them.
 */
static void
join_line(Queue *q, QueueStream *s, int waiter, Size bytes)
{
	QueueWaiter *w = queue_waiter(q, waiter);
	WakeList	woken = {0};

	w->stream = queue_stream_number(q, s);
	w->bytes = bytes;
	pg_atomic_write_u32(&w->state, QUEUE_WAITER_IN_LINE);
	/* a full barrier, against queue_serve_waiters and senders that linger */
	pg_atomic_fetch_add_u32(&q->waiters, 1);
	link_waiter(q, s, waiter);
	serve_line(q, s, &woken);
	wake_all(&woken);
}

bool
queue_join_line(Queue *q, QueueStream *s, int waiter, uint32 generation, Size bytes)
{
	bool		joined;

	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	joined = pg_atomic_read_u32(&s->generation) == generation;
	if (joined)
		join_line(q, s, waiter, bytes);
	LWLockRelease(s->lock);
	return joined;
}

/* Leave the line without having got anything, unless it came this moment. */
static void
give_up(Queue *q, QueueStream *s, int waiter)
{
	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&queue_waiter(q, waiter)->state) == QUEUE_WAITER_IN_LINE)
		unlink_waiter(q, s, waiter);
	LWLockRelease(s->lock);
	/* those behind may need less, however many they are */
	lock_and_serve(q, s);
}

QueueReserveResult
queue_leave_line(Queue *q, int waiter)
{
	QueueWaiter *w = queue_waiter(q, waiter);
	QueueReserveResult result;

	if (pg_atomic_read_u32(&w->state) == QUEUE_WAITER_IN_LINE)
		give_up(q, queue_stream(q, w->stream), waiter);
	switch ((QueueWaiterState) pg_atomic_read_u32(&w->state))
	{
		case QUEUE_WAITER_SERVED:
			result = QUEUE_RESERVED;
			break;
		case QUEUE_WAITER_STALE:
			result = QUEUE_STALE;
			break;
		default:
			result = QUEUE_FULL;
			break;
	}
	pg_atomic_write_u32(&w->state, QUEUE_WAITER_IDLE);
	pg_atomic_fetch_sub_u32(&q->waiters, 1);
	return result;
}

/* Waiting ----------------------------------------------------------------- */

/*
 * Wait in line for space.  An error, a cancel or the end of the process leaves
 * the place in the line to queue_stop_waiting.
 */
static QueueReserveResult
wait_in_line(Queue *q, int timeout_ms)
{
	int64		deadline = clock_ms() + timeout_ms;
	QueueWaiter *me = queue_waiter(q, MyProcNo());

	queue_wake_lingering(q);
	for (;;)
	{
		int64		left = deadline - clock_ms();

		if (pg_atomic_read_u32(&me->state) != QUEUE_WAITER_IN_LINE || left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left, WaitEventNamed("FirehoseQueueFull"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	is_waiting = false;
	return queue_leave_line(q, MyProcNo());
}

/* Leave the line, and give back a reservation received meanwhile. */
void
queue_stop_waiting(Queue *q)
{
	QueueWaiter *me;

	if (!is_waiting)
		return;
	is_waiting = false;
	me = queue_waiter(q, MyProcNo());
	if (queue_leave_line(q, MyProcNo()) == QUEUE_RESERVED)
		queue_unreserve(q, queue_stream(q, me->stream), me->bytes);
}
