/*
 * visibility.h
 *		When commits become visible: a transaction writes its
 *		commit record first, and new snapshots see it only afterwards; long
 *		afterwards, if it waits for a standby.
 *
 * Decoder process only, not in recovery.
 */
#ifndef FIREHOSE_WAL_VISIBILITY_H
#define FIREHOSE_WAL_VISIBILITY_H

#include "access/xlogdefs.h"

/*
 * Write a record of the WAL that means nothing; returns where it ends.  So no
 * commit, and no other mark, has a position within it.
 */
extern XLogRecPtr visibility_write_mark(void);

/*
 * Wait until every transaction whose commit record is in the WAL by now is
 * visible to new snapshots: briefly, and somewhat longer each time in a row
 * that this was not enough.  Returns 0, or if they are not visible, for how
 * long (ms) nothing is to be waited for.  Allocates in the current memory
 * context.
 */
extern long visibility_await(void);

#endif							/* FIREHOSE_WAL_VISIBILITY_H */
