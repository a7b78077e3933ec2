/*
 * present_catalogs.c
 *		When caches of catalogs are to be forgotten; the header says why.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "storage/sinval.h"
#include "utils/inval.h"

#include "wal/present_catalogs.h"

bool		present_catalogs_forgetting = false;

void
present_catalogs_forget(XLogRecPtr position)
{
	static uint64 told = 0;
	static XLogRecPtr changed_before = InvalidXLogRecPtr;

	/* in one, messages could come while callbacks take them for our doing */
	Assert(!IsTransactionState());

	/*
	 * A change is told after its commit, to every process that has begun by
	 * then.  Messages are counted, whatever they are about, because there are
	 * more caches than callbacks can be registered for: a schema, a type or a
	 * label of one is altered without its tables.  What was read of a change
	 * that is not told yet is forgotten by core when it is.
	 */
	if (position == InvalidXLogRecPtr || told != SharedInvalidMessageCounter)
		changed_before = GetXLogInsertRecPtr();
	told = SharedInvalidMessageCounter;
	if (position >= changed_before)
		return;
	present_catalogs_forgetting = true;
	InvalidateSystemCaches();
	present_catalogs_forgetting = false;
}
