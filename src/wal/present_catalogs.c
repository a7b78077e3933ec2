/*
 * present_catalogs.c
 *		When caches of catalogs are to be forgotten; the header says why.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/inval.h"

#include "wal/present_catalogs.h"

/* Since the last look. */
static bool changed;

/* Relcache callback: other sessions' changes, and those that are decoded. */
static void
note_change(Datum arg, Oid relid)
{
	changed = true;
}

void
present_catalogs_forget(XLogRecPtr position)
{
	static bool registered = false;
	static XLogRecPtr changed_before = InvalidXLogRecPtr;

	if (!registered)
		CacheRegisterRelcacheCallback(note_change, (Datum) 0);
	registered = true;

	/*
	 * A table is opened under a lock, which its change holds until it has told
	 * of it: what was read is of a change that is noted.
	 */
	if (changed)
		changed_before = GetXLogInsertRecPtr();
	if (position == InvalidXLogRecPtr || position < changed_before)
		InvalidateSystemCaches();
	changed = false;
}
