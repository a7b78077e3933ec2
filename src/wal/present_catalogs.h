/*
 * present_catalogs.h
 *		Catalogs as they are now, in a process that decodes.
 *
 * What is decoded next may be older than the last ALTER, and core takes a
 * description that is in its caches for one of its time.  So what a
 * transaction of this process has read of the catalogs is to be forgotten
 * before decoding goes on, if the stream has still to come past a change.
 *
 * And what decoding has left in the caches is older than now, although the
 * change was told before: it is to be forgotten before such a transaction.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_WAL_PRESENT_CATALOGS_H
#define FIREHOSE_WAL_PRESENT_CATALOGS_H

#include "access/xlogdefs.h"

/*
 * Forget them, at a position of the stream (Invalid: in any case, and what was
 * changed before the process began counts).  To be called before the first
 * record is decoded, and after each transaction that has looked at catalogs.
 */
extern void present_catalogs_forget(XLogRecPtr position);

/* To be called before each transaction that looks at catalogs. */
extern void present_catalogs_look(XLogRecPtr position);

/* Forget all that is in core's caches, outside of a transaction. */
extern void present_catalogs_empty_caches(void);

/* Callbacks of invalidations are called by it: nothing has changed. */
extern bool present_catalogs_forgetting;

#endif							/* FIREHOSE_WAL_PRESENT_CATALOGS_H */
