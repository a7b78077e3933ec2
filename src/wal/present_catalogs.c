/*
 * present_catalogs.c
 *		When caches of catalogs are to be forgotten; the header says why.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/sinval.h"
#include "utils/inval.h"

#include "common/compat.h"
#include "wal/present_catalogs.h"

/* How long to wait for the ends of commits, and how often to look (us). */
#define PATIENCE_US		1000
#define POLL_US			50

bool		present_catalogs_forgetting = false;

static XLogRecPtr forgotten_at = InvalidXLogRecPtr;

/*
 * Is a process between the end of a transaction, which others see from then
 * on, and the release of its locks, before which it tells what it has changed?
 * (COMMIT PREPARED is not seen.)
 */
static bool
is_ending(const volatile PGPROC *proc)
{
	return !LocalTransactionIdIsValid(LocalXidOf(proc)) &&
		LocalTransactionIdIsValid(proc->fpLocalTransactionId);
}

static bool
ends_soon(const volatile PGPROC *proc, int *waited)
{
	LocalTransactionId its = proc->fpLocalTransactionId;

	for (; *waited < PATIENCE_US; *waited += POLL_US)
	{
		pg_usleep(POLL_US);
		if (!is_ending(proc) || proc->fpLocalTransactionId != its)
			return true;
	}
	return false;
}

/* May there be a change that is seen, and will not be told of at once? */
static bool
any_stays_untold(void)
{
	bool		any = false;
	int			waited = 0;		/* for all of them */

	pg_memory_barrier();
	for (uint32 i = 0; i < ProcGlobal->allProcCount && !any; i++)
	{
		const volatile PGPROC *proc = &ProcGlobal->allProcs[i];

		any = is_ending(proc) && !ends_soon(proc, &waited);
	}
	pg_memory_barrier();
	return any;
}

void
present_catalogs_forget(XLogRecPtr position)
{
	static uint64 told = 0;
	static XLogRecPtr changed_before = InvalidXLogRecPtr;

	/*
	 * A change is told after its commit, to every process that has begun by
	 * then.  Messages are counted, whatever they are about, because there are
	 * more caches than callbacks can be registered for: a schema, a type or a
	 * label of one is altered without its tables.  What was read of a change
	 * that is not told yet is forgotten by core when it is: at the start of
	 * the next transaction that is decoded, unless its session hangs.
	 */
	if (position == InvalidXLogRecPtr || told != SharedInvalidMessageCounter ||
		(position < GetXLogInsertRecPtr() && any_stays_untold()))
		changed_before = GetXLogInsertRecPtr();
	told = SharedInvalidMessageCounter;
	forgotten_at = position;
	if (position < changed_before)
		present_catalogs_empty_caches();
}

void
present_catalogs_empty_caches(void)
{
	/* in one, messages could come while callbacks take them for our doing */
	Assert(!IsTransactionState());

	present_catalogs_forgetting = true;
	InvalidateSystemCaches();
	present_catalogs_forgetting = false;
}

void
present_catalogs_look(XLogRecPtr position)
{
	if (position != forgotten_at)
		present_catalogs_forget(position);
}
