/*
 * wait.h
 *		Shared by the functions that wait in a backend: wait.c and flush.c.
 */
#ifndef FIREHOSE_STATUS_WAIT_H
#define FIREHOSE_STATUS_WAIT_H

#include "fmgr.h"

/* A deadline, by clock_us(), that never comes. */
#define NO_DEADLINE		PG_INT64_MAX

/* How often to look at what sets no latch (ms). */
#define WAIT_FLUSH_RECHECK_MS	1000

/*
 * The time at which an interval argument is over: NO_DEADLINE for NULL, which
 * means no limit, and for what is too long to matter.  The number of seconds
 * in another argument (-1: there is none) comes before it unless it is NULL.
 * Error if it is negative.
 */
extern int64 wait_deadline(FunctionCallInfo fcinfo, int argno, int seconds_argno);

/*
 * Sleep until the latch is set, but not beyond the deadline (then false), nor
 * longer than a while (then *recheck is set).
 */
extern bool wait_sleep(int64 deadline, long at_most_ms, uint32 wait_event, bool *recheck);

/*
 * Wait until the durable pipelines of a database, or of all, have read the WAL
 * as far as it goes now.  False: not before the deadline.
 */
extern bool wait_read_wal(Oid dboid, int64 deadline);

/* For PG_ENSURE_ERROR_CLEANUP: recent_stop_flushing(). */
extern void wait_stop_flushing(int code, Datum arg);

#endif							/* FIREHOSE_STATUS_WAIT_H */
