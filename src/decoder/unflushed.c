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

/* Between two flushes: this long (us), or this many times what one took. */
#define PAUSE_US		1000
#define PAUSE_FLUSHES	4

/* When the next flush may be (us of the monotonic clock). */
static int64 next_flush_at = 0;

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

void
unflushed_flush(void)
{
	XLogRecPtr	upto = wanted_flush();
	int64		begun;
	int64		ended;

	if (upto == InvalidXLogRecPtr)
		return;
	begun = clock_us();
	if (begun < next_flush_at)
		return;
	XLogFlush(upto);
	ended = clock_us();
	next_flush_at = ended + Max(PAUSE_US, PAUSE_FLUSHES * (ended - begun));
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
		return Max(1, (next_flush_at - clock_us() + 999) / 1000);
	return wait;
}
