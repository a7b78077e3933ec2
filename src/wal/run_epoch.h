/*
 * run_epoch.h
 *		Epochs in the WAL: each run of the server says its own there, once.
 *
 * An epoch is a number of 48 bits: the 1024th of a second since 2000 in which
 * it was drawn, and 6 random bits.  A server does not start twice in that
 * time; copies of it may.  The second of a clock that is before 2000 or beyond
 * 2135 is the first or the last; the rest is as the clock says, so that runs
 * still differ.  position.h says what it is for.
 *
 * The epoch of a position in the WAL is the first that is said behind the last
 * start of the server before it.  So a run that ended before it had said its
 * epoch, or that had not loaded the library, has that of the run after it:
 * nothing of it was handed over before.  Every server that has the WAL up to
 * there, and every pipeline, agrees on it.
 *
 * It is said before the first commit of the run, which says it if no other
 * process has, and before any decoder runs.  So a server that has a commit of
 * a run has its epoch.  A new session begins with a commit.  So only one that
 * was there before a promotion may write something else first that is sent: a
 * logical message outside of transactions.
 *
 * It is a logical message of no database.  A session writes messages of its
 * own database alone, so none can pretend to say an epoch, and to decoding it
 * is nothing.
 */
#ifndef FIREHOSE_WAL_RUN_EPOCH_H
#define FIREHOSE_WAL_RUN_EPOCH_H

#include "access/xlogreader.h"

#define EPOCH_FRACTION_BITS	10
#define EPOCH_RANDOM_BITS	6

/* The second since 2000 in which an epoch was drawn, and what is below it. */
#define EPOCH_LOW_BITS		(EPOCH_FRACTION_BITS + EPOCH_RANDOM_BITS)
#define EPOCH_SECOND(number)	((number) >> EPOCH_LOW_BITS)
#define EPOCH_LOW(number)	((number) & ((UINT64CONST(1) << EPOCH_LOW_BITS) - 1))

/*
 * The last second that there is, and the last that is drawn: behind it is room
 * for the epochs that are lifted above one of a clock far ahead.
 */
#define EPOCH_MAX_SECOND	UINT64CONST(0xFFFFFFFF)
#define EPOCH_LAST_DRAWN	UINT64CONST(0xFF000000)

/* 0 is none; a number that is too high is none, too. */
#define EPOCH_IS_VALID(number) \
	((number) != 0 && EPOCH_SECOND(number) <= EPOCH_MAX_SECOND)

extern void run_epoch_shmem_request(void);
extern void run_epoch_shmem_startup(void);

/* Have every first commit say the epoch. */
extern void run_epoch_register(void);

/*
 * Say this run's epoch, unless that was done or the server is in recovery.
 * Errors only as of writing WAL.  Not in a critical section.
 */
extern void run_epoch_say(void);

/* The same, and wait until it is flushed. */
extern void run_epoch_flush(void);

/*
 * The epoch of this run, and from where on in the WAL it holds at least; 0 if
 * it was not said yet.
 */
extern uint64 run_epoch_current(XLogRecPtr *since);

/*
 * The epoch of a position, as the WAL from `start` on says it: a record begins
 * there, at the position or before it.  If it is an earlier run, and the WAL
 * from `start` to the position has neither its start nor its epoch, the next
 * run's.  Decoder process only, not in recovery: after run_epoch_flush.  Error
 * if the WAL cannot be read.
 */
extern uint64 run_epoch_at(XLogRecPtr start, XLogRecPtr position);

/*
 * Is this the last record before a start of the server, or the first of one?
 */
extern bool run_epoch_is_start(XLogReaderState *record);

#endif							/* FIREHOSE_WAL_RUN_EPOCH_H */
