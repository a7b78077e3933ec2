/*
 * sender_absence.c
 *		Why a database has no sender; sender_absence.h says more.
 *
 * Runs in backends.  A sender that has ended is the one that cannot say so.
 */
#include "postgres.h"

#include "access/xlog.h"

#include "common/clock.h"
#include "stream/stat_stream.h"
#include "workers/database_table.h"
#include "workers/sender_absence.h"

/*
 * How long after it may start a sender is taken for one that cannot (ms): the
 * launcher needs a moment, longer on a busy machine.
 */
#define LATE_MS		2000

static const char *
absence_in(const DatabaseEntry *entry, int64 now)
{
	const WorkerSlot *sender = &entry->sender;

	if (sender->state == WORKER_SLOT_TAKEN)
		return NULL;
	if (entry->exclusions > 0)
		return "this server: a statement has the database emptied of workers";
	if (sender->backoff_ms > 0)
		return "this server: the sender ended with an error, see the server's log; another one will start";
	if (now > sender->start_at + LATE_MS && sender->state == WORKER_SLOT_EMPTY)
		return "this server: there is no process for a sender, see max_worker_processes";
	return NULL;
}

static const char *
sender_absence(Oid dboid)
{
	const DatabaseEntry *entry;
	const char *reason = NULL;

	if (RecoveryInProgress())
		return NULL;
	if (!workers_enabled)
		return "this server: firehose.enabled is off";
	LWLockAcquire(database_table->lock, LW_SHARED);
	entry = database_find(dboid);
	if (database_table->launcher_procno == NO_PROC)
		reason = "this server: the launcher does not run";
	else if (entry != NULL)
		reason = absence_in(entry, clock_ms());
	LWLockRelease(database_table->lock);
	return reason;
}

void
sender_absence_register(void)
{
	stat_stream_sender_absence = sender_absence;
}
