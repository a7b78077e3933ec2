/*
 * caught_error.h
 *		The end of a worker's transaction that failed, in PG_CATCH.
 */
#ifndef FIREHOSE_COMMON_CAUGHT_ERROR_H
#define FIREHOSE_COMMON_CAUGHT_ERROR_H

#include "access/xact.h"
#include "utils/elog.h"
#include "utils/memutils.h"

/*
 * Abort the transaction, and go on in `context`.  Returns a copy of the error
 * there, which is the caller's to free.
 */
static inline ErrorData *
caught_error_abort(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	return error;
}

#endif							/* FIREHOSE_COMMON_CAUGHT_ERROR_H */
