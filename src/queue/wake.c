/*
 * wake.c
 *		Waking the sender of a stream.  Runs in the process that has news for
 *		it.
 */
#include "postgres.h"

#include "storage/latch.h"
#include "storage/proc.h"

#include "queue/wake.h"

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

	if (pg_atomic_read_u32(&s->wake) == 0 ||
		pg_atomic_exchange_u32(&s->wake, 0) == 0)
		return;
	pg_atomic_fetch_or_u32(s->news, s->news_bit);
	procno = pg_atomic_read_u32(&s->sender_procno);
	if (procno != PG_UINT32_MAX)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}
