/*
 * database_table.c
 *		The table of databases: where launcher, senders and backends meet.
 *		Its set-up, what backends do with it, and what all three need.
 *
 * A slot belongs to one database, and has the seat of its sender (seat.h).
 *
 * Shared memory and its locking contract: launcher_table.h.  A crash-restart
 * empties the table; a restart of the launcher alone finds it as it was.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "common/compat.h"
#include "queue/queue.h"
#include "workers/database_table.h"
#include "workers/launcher.h"
#include "workers/worker.h"

#define LOCK_NAME			"FirehoseDatabases"
#define MAX_DATABASES		10000	/* a slot's number has 16 bits */

bool		launcher_enabled = true;
DatabaseTable *database_table = NULL;

static int	max_databases = 64;

static bool has_workers(Oid dboid);
static Size table_size(void);

/* Define firehose.enabled and firehose.max_databases. */
void
launcher_define_settings(void)
{
	DefineCustomBoolVariable("firehose.enabled",
							 "Runs the workers that deliver to Amazon Data Firehose.",
							 "What is put meanwhile stays in the queue.",
							 &launcher_enabled,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	/* fixes the size of shared memory: not for a library loaded later */
	if (!process_shared_preload_libraries_in_progress)
		return;

	DefineCustomIntVariable("firehose.max_databases",
							"Number of databases that can have the extension firehose.",
							NULL,
							&max_databases,
							64, 1, MAX_DATABASES,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
}

/* Ask for the table's memory and lock. */
void
launcher_shmem_request(void)
{
	RequestAddinShmemSpace(table_size());
	RequestNamedLWLockTranche(LOCK_NAME, 1);
}

/* Create the table, or find it (EXEC_BACKEND). */
void
launcher_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	database_table = ShmemInitStruct("firehose databases", table_size(), &found);
	if (!found)
	{
		memset(database_table, 0, table_size());
		database_table->lock = &GetNamedLWLockTranche(LOCK_NAME)->lock;
		database_table->launcher_procno = NO_PROC;
		ConditionVariableInit(&database_table->vacated);
		database_table->nslots = max_databases;
		for (int i = 0; i < max_databases; i++)
			worker_slot_init(&database_table->slots[i].sender);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Have the extension looked for in a database, or pg_database read. */
void
launcher_request_check(Oid dboid)
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
launcher_wake_sender(Oid dboid)
{
	DatabaseEntry *entry;

	LWLockAcquire(database_table->lock, LW_SHARED);
	entry = database_find(dboid);
	if (entry)
		worker_slot_wake(&entry->sender);
	LWLockRelease(database_table->lock);
}

/* Keep workers out of a database, and ask those that are there to go. */
bool
launcher_exclude_workers(Oid dboid)
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

/* Let workers come back; the last one to release has the launcher look at it. */
void
launcher_readmit_workers(Oid dboid)
{
	DatabaseEntry *entry;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	entry = database_find(dboid);
	if (entry && entry->exclusions > 0 && --entry->exclusions == 0)
	{
		entry->sender.start_at = 0;
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
launcher_await_vacant(Oid dboid, int timeout_ms)
{
	int64		deadline = worker_clock_ms() + timeout_ms;
	uint32		wait_event = WaitEventNamed("FirehoseWorkerExit");

	ConditionVariablePrepareToSleep(&database_table->vacated);
	while (has_workers(dboid))
	{
		int64		left = deadline - worker_clock_ms();

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

/* Drop the queue, the slot and the pipelines of a database that is gone. */
void
launcher_forget_database(Oid dboid)
{
	uint64		discarded = queue_discard_database(firehose_queue, dboid);
	DatabaseEntry *entry;

	launcher_abandon_pipelines(dboid);

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
launcher_sender_pid(Oid dboid)
{
	DatabaseEntry *entry;
	int			pid;

	LWLockAcquire(database_table->lock, LW_SHARED);
	entry = database_find(dboid);
	pid = entry ? entry->sender.pid : 0;
	LWLockRelease(database_table->lock);

	return pid;
}

/* Find the slot of a database. */
DatabaseEntry *
database_find(Oid dboid)
{
	if (!OidIsValid(dboid))
		return NULL;

	for (int i = 0; i < database_table->nslots; i++)
	{
		if (database_table->slots[i].dboid == dboid)
			return &database_table->slots[i];
	}

	return NULL;
}

/* Give a database a free slot, or that of one known not to have the extension. */
DatabaseEntry *
database_claim(Oid dboid)
{
	DatabaseEntry *entry = NULL;

	for (int i = 0; i < database_table->nslots; i++)
	{
		DatabaseEntry *s = &database_table->slots[i];

		if (!OidIsValid(s->dboid))
		{
			entry = s;
			break;
		}
		if (s->extension == EXTENSION_ABSENT && s->sender.state == WORKER_SLOT_EMPTY &&
			s->exclusions == 0)
			entry = s;
	}

	if (entry)
	{
		entry->dboid = dboid;
		memset(&entry->name, 0, sizeof(entry->name));
		entry->eligible = false;
		entry->extension = EXTENSION_UNKNOWN;
		worker_slot_start_now(&entry->sender);
		pg_atomic_write_u32(&entry->sender.requests, 0);
	}

	return entry;
}

/* Free the slot of a database where no sender is wanted, when nobody is in it. */
void
database_free_if_idle(DatabaseEntry *entry)
{
	if (!entry->eligible && entry->sender.state != WORKER_SLOT_TAKEN && entry->exclusions == 0)
	{
		worker_slot_give_up_start(&entry->sender);
		entry->dboid = InvalidOid;
	}
}

/* Set the launcher's latch. */
void
database_wake_launcher(void)
{
	if (database_table->launcher_procno != NO_PROC)
		SetLatch(&GetPGProcByNumber(database_table->launcher_procno)->procLatch);
}

/* Bytes of the table. */
static Size
table_size(void)
{
	return add_size(offsetof(DatabaseTable, slots),
					mul_size(max_databases, sizeof(DatabaseEntry)));
}
