/*
 * database_control.c
 *		Requests of backends and senders to the workers of a database: look at
 *		it again, wake up, keep out of it.
 *
 * Shared memory and its locking contract: database_table.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"

#include "common/clock.h"
#include "common/compat.h"
#include "queue/queue.h"
#include "workers/database_control.h"
#include "workers/database_table.h"
#include "workers/decoder_lifecycle.h"
#include "workers/worker.h"

static bool has_workers(Oid dboid);

/* Have the extension looked for in a database, or pg_database read. */
void
database_request_check(Oid dboid)
{
	DatabaseEntry *entry;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	entry = database_find(dboid);
	if (entry && entry->eligible)
	{
		pg_atomic_fetch_or_u32(&entry->sender.requests, REQUEST_RECHECK);
		if (entry->sender.state == WORKER_SLOT_EMPTY)
			entry->extension = EXTENSION_UNKNOWN;
		worker_slot_start_now(&entry->sender);
		worker_slot_wake(&entry->sender);
	}
	else
		database_table->rescan = true;
	database_wake_launcher();
	LWLockRelease(database_table->lock);
}

/* Set the latch of a database's sender. */
void
database_wake_sender(Oid dboid)
{
	DatabaseEntry *entry;

	LWLockAcquire(database_table->lock, LW_SHARED);
	entry = database_find(dboid);
	if (entry)
		worker_slot_wake(&entry->sender);
	LWLockRelease(database_table->lock);
}

QueueStream *
database_claim_stream(Oid serverid, const char *name, uint32 *generation)
{
	QueueStream *stream = queue_claim_stream(firehose_queue, MyDatabaseId, serverid,
											 name, generation);

	if (pg_atomic_read_u32(&stream->sender_procno) == PG_UINT32_MAX)
		database_wake_sender(MyDatabaseId);
	return stream;
}

/* Keep workers out of a database, and ask the present ones to exit. */
bool
database_exclude_workers(Oid dboid)
{
	DatabaseEntry *entry;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	entry = database_find(dboid);
	if (!entry)
		entry = database_claim(dboid);
	if (entry)
	{
		entry->exclusions++;

		worker_slot_give_up_start(&entry->sender);
		worker_slot_request_exit(&entry->sender);
		decoders_exclude(dboid);
	}
	LWLockRelease(database_table->lock);

	return entry != NULL;
}

/*
 * Let workers come back; the last one to release has the launcher look at it.
 */
void
database_readmit_workers(Oid dboid)
{
	DatabaseEntry *entry;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	entry = database_find(dboid);
	if (entry && entry->exclusions > 0 && --entry->exclusions == 0)
	{
		worker_slot_start_now(&entry->sender);
		decoders_start_now(dboid);
		database_free_if_idle(entry);

		/* it may have another name or other properties now */
		database_table->rescan = true;
		database_wake_launcher();
	}
	LWLockRelease(database_table->lock);
}

/* Wait until a database has no worker, or the time is over. */
void
database_await_vacant(Oid dboid, int timeout_ms)
{
	int64		deadline = clock_ms() + timeout_ms;
	uint32		wait_event = WaitEventNamed("FirehoseWorkerExit");

	ConditionVariablePrepareToSleep(&database_table->vacated);
	while (has_workers(dboid))
	{
		int64		left = deadline - clock_ms();

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(&database_table->vacated,
										   (long) left, wait_event);
	}
	ConditionVariableCancelSleep();
}

/* Is there a worker in a database? */
static bool
has_workers(Oid dboid)
{
	DatabaseEntry *entry;
	bool		result;

	LWLockAcquire(database_table->lock, LW_SHARED);
	entry = database_find(dboid);
	result = (entry && entry->sender.state == WORKER_SLOT_TAKEN) ||
		decoders_any_pid(dboid) != 0;
	LWLockRelease(database_table->lock);

	return result;
}

/* Drop the queue, the entry and the pipelines of a database that is gone. */
void
database_forget(Oid dboid)
{
	uint64		discarded = queue_discard_database(firehose_queue, dboid);
	DatabaseEntry *entry;

	decoders_abandon_pipelines(dboid);

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	entry = database_find(dboid);
	if (entry)
	{
		entry->eligible = false;
		worker_slot_request_exit(&entry->sender);
		database_free_if_idle(entry);
	}
	LWLockRelease(database_table->lock);

	if (discarded > 0)
		ereport(LOG,
				(errmsg("firehose: discarded " UINT64_FORMAT " records of the dropped database with OID %u",
						discarded, dboid)));
}

/* The process id of a database's sender, 0: none. */
int
database_sender_pid(Oid dboid)
{
	DatabaseEntry *entry;
	int			pid;

	LWLockAcquire(database_table->lock, LW_SHARED);
	entry = database_find(dboid);
	pid = entry ? entry->sender.pid : 0;
	LWLockRelease(database_table->lock);

	return pid;
}
