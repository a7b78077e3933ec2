/*
 * database_table.c
 *		The table of databases, where launcher, senders and backends meet: its
 *		set-up, and finding, claiming and freeing an entry.
 *
 * An entry belongs to one database, and has its sender's worker slot.
 *
 * Shared memory and its locking contract: database_table.h.  A crash-restart
 * empties the table; a restart of the launcher alone finds it as it was.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "common/compat.h"
#include "workers/database_table.h"

#define LOCK_NAME			"FirehoseDatabases"
#define MAX_DATABASES		10000	/* an entry's number has 16 bits */

bool		workers_enabled = true;
DatabaseTable *database_table = NULL;

static int	max_databases = 64;

static Size table_size(void);

/* Define firehose.enabled and firehose.max_databases. */
void
database_table_define_settings(void)
{
	DefineCustomBoolVariable("firehose.enabled",
							 "Runs the workers that deliver to Amazon Data Firehose.",
							 "Records that are put meanwhile stay in the queue.",
							 &workers_enabled,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	/* fixes the size of shared memory: not for a library loaded later */
	if (!process_shared_preload_libraries_in_progress)
		return;

	DefineCustomIntVariable("firehose.max_databases",
							"Sets how many databases can have the extension firehose.",
							NULL,
							&max_databases,
							64, 1, MAX_DATABASES,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
}

/* Ask for the table's memory and lock. */
void
database_table_shmem_request(void)
{
	RequestAddinShmemSpace(table_size());
	RequestNamedLWLockTranche(LOCK_NAME, 1);
}

/* Create the table, or find it (EXEC_BACKEND). */
void
database_table_shmem_startup(void)
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
		database_table->nentries = max_databases;
		for (int i = 0; i < max_databases; i++)
			worker_slot_init(&database_table->entries[i].sender);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Find the entry of a database. */
DatabaseEntry *
database_find(Oid dboid)
{
	if (!OidIsValid(dboid))
		return NULL;

	for (int i = 0; i < database_table->nentries; i++)
	{
		if (database_table->entries[i].dboid == dboid)
			return &database_table->entries[i];
	}

	return NULL;
}

/*
 * Give a database a free entry, or that of one known not to have the
 * extension.
 */
DatabaseEntry *
database_claim(Oid dboid)
{
	DatabaseEntry *entry = NULL;

	for (int i = 0; i < database_table->nentries; i++)
	{
		DatabaseEntry *s = &database_table->entries[i];

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

/*
 * Free the entry of a database where no sender is wanted, when none is in it.
 */
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
	return add_size(offsetof(DatabaseTable, entries),
					mul_size(max_databases, sizeof(DatabaseEntry)));
}
