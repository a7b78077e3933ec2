/*
 * unflushed.c
 *		WAL that is not flushed yet; unflushed.h says more.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"

#include "common/clock.h"
#include "decoder/unflushed.h"
#include "wal/wal_reader.h"
#include "workers/pipeline_table.h"

/*
 * How often WAL of open transactions is looked at again (ms), while something
 * is added to it, and at most.
 */
#define WAIT_MS			10
#define WAIT_MAX_MS		1000

/*
 * Flushes take one part in so many of the time.  Time without them is saved,
 * up to so much (us), so that a commit now and then need not wait because the
 * flush before it was a slow one.
 */
#define FLUSH_SHARE		5
#define MAX_SAVED_US	250000

/* Between two flushes at least (us). */
#define PAUSE_US		1000

/* Time saved (us); below 0: no flush may begin. */
static int64 saved = MAX_SAVED_US;
static int64 saved_at = 0;		/* us of the monotonic clock */
static int64 last_flush_at = 0;

/* Up to where commits wait for a flush; Invalid: none does. */
static XLogRecPtr
wanted_flush(void)
{
	XLogRecPtr	upto;

	if (RecoveryInProgress())
		return InvalidXLogRecPtr;
	upto = pg_atomic_read_u64(&pipeline_table->asynchronous_upto);
	return upto > GetFlushRecPtr(NULL) ? upto : InvalidXLogRecPtr;
}

/* When the next flush may begin (us from now; 0: at once). */
static int64
flush_due(int64 now)
{
	saved = Min(saved + now - saved_at, MAX_SAVED_US);
	saved_at = now;
	return Max(Max(-saved, 0), last_flush_at + PAUSE_US - now);
}

void
unflushed_flush(void)
{
	XLogRecPtr	upto = wanted_flush();
	int64		begun;

	if (upto == InvalidXLogRecPtr)
		return;
	begun = clock_us();
	if (flush_due(begun) > 0)
		return;
	XLogFlush(upto);
	last_flush_at = clock_us();
	saved -= FLUSH_SHARE * (last_flush_at - begun);
}

/*
 * An open transaction may leave its last page unflushed for hours: the pauses
 * grow while nothing is added.  (On a page boundary the insert position stands
 * behind the next page's header already.)
 */
long
unflushed_timeout(void)
{
	static XLogRecPtr seen = InvalidXLogRecPtr;
	static long wait = WAIT_MS;
	XLogRecPtr	inserted = RecoveryInProgress() ? InvalidXLogRecPtr : GetXLogInsertRecPtr();

	if (inserted % XLOG_BLCKSZ <= SizeOfXLogLongPHD)
		inserted -= inserted % XLOG_BLCKSZ;
	if (inserted <= wal_reader_limit())
		return -1;
	wait = inserted == seen ? Min(wait * 2, WAIT_MAX_MS) : WAIT_MS;
	seen = inserted;
	if (wanted_flush() != InvalidXLogRecPtr)
		return Max(1, (flush_due(clock_us()) + 999) / 1000);
	return wait;
}
