/*
 * wake.c
 *		Waking the sender of a stream.  Runs in the process that has news for
 *		it.
 */
#include "postgres.h"

#include "storage/latch.h"
#include "storage/proc.h"

#include "queue/wake.h"

/* Swap what a sender wants to know; returns what it wanted. */
static QueueWake
ask(QueueStream *s, QueueWake wake)
{
	QueueWake	before = pg_atomic_exchange_u32(&s->wake, wake);

	if (before != wake && wake == QUEUE_WAKE_FULL)
		pg_atomic_fetch_add_u32(s->lingering, 1);
	if (before != wake && before == QUEUE_WAKE_FULL)
		pg_atomic_fetch_sub_u32(s->lingering, 1);
	return before;
}

void
queue_ask_for_news(QueueStream *s, QueueWake wake)
{
	(void) ask(s, wake);
}

/*
 * The atomic operation that comes before the call is a full barrier: either
 * this process sees that the sender asked to be woken, or the sender, which
 * looks once more after it asked, sees the publication.  The bit comes before
 * the latch, so that a sender that is awake finds it.
 */
void
queue_wake_sender(QueueStream *s)
{
	uint32		procno;

	if (pg_atomic_read_u32(&s->wake) == QUEUE_WAKE_NEVER ||
		ask(s, QUEUE_WAKE_NEVER) == QUEUE_WAKE_NEVER)
		return;
	pg_atomic_fetch_or_u32(s->news, s->news_bit);
	procno = pg_atomic_read_u32(&s->sender_procno);
	if (procno != PG_UINT32_MAX)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

void
queue_wake_for_publication(QueueStream *s)
{
	if (pg_atomic_read_u32(&s->wake) != QUEUE_WAKE_FULL || queue_has_filled_request(s))
		queue_wake_sender(s);
}

void
queue_wake_lingering(Queue *q)
{
	if (pg_atomic_read_u32(&q->lingering) == 0)
		return;
	for (int i = 0; i < q->max_streams; i++)
	{
		QueueStream *s = queue_stream(q, i);

		if (pg_atomic_read_u32(&s->wake) == QUEUE_WAKE_FULL)
			queue_wake_sender(s);
	}
}
