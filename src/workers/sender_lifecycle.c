/*
 * sender_lifecycle.c
 *		The life of a sender, as the launcher arranges it: its start, the look
 *		for the extension, the request to exit, its exit.  Runs in senders.
 *
 * A sender gives its entry back in an on_shmem_exit callback that it registers
 * before it connects, which therefore runs after it has left the array of
 * processes: once its worker slot is empty, CountOtherDBBackends counts it no
 * more, and DROP DATABASE does not even sleep once.
 *
 * Shared memory and its locking contract: database_table.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"

#include "common/compat.h"
#include "common/extension_version.h"
#include "common/names.h"
#include "queue/queue.h"
#include "wal/replication_slot.h"
#include "workers/database_table.h"
#include "workers/decoder_lifecycle.h"
#include "workers/sender_lifecycle.h"
#include "workers/worker.h"


/* This process's entry, from attaching to the end. */
static DatabaseEntry *my_entry = NULL;

static bool owes_records(Oid dboid);
static bool discard_orphans(Oid dboid);
static void detach_sender(int code, Datum arg);

/* Claim the entry that the launcher started this process for. */
bool
sender_attach(Datum arg, Oid *dboid)
{
	DatabaseEntry *entry;
	bool		should_run;

	if (database_arg_number(arg) >= database_table->nentries)
		return false;
	entry = &database_table->entries[database_arg_number(arg)];

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	should_run = worker_slot_attach(&entry->sender, database_arg_generation(arg));
	if (should_run)
	{
		my_entry = entry;
		*dboid = entry->dboid;
		on_shmem_exit(detach_sender, (Datum) 0);
		database_wake_launcher();
	}
	LWLockRelease(database_table->lock);

	return should_run;
}

/* Look whether the extension is here, and tell the launcher. */
bool
sender_check_extension(Oid dboid)
{
	bool		present;

	Assert(my_entry && my_entry->dboid == dboid);

	StartTransactionCommand();
	present = OidIsValid(get_extension_oid(FIREHOSE_NAME, true));
	if (!present && owes_records(dboid))
		present = !discard_orphans(dboid);
	extension_version_report();
	CommitTransactionCommand();

	/* their replication slots would hold back WAL for ever */
	if (!present)
	{
		decoders_abandon_pipelines(dboid);
		replication_slot_drop_orphans(dboid, NIL);
	}

	/* asked to look again meanwhile?  detach_sender sees to that */
	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	my_entry->extension = present ? EXTENSION_PRESENT : EXTENSION_ABSENT;
	database_wake_launcher();
	LWLockRelease(database_table->lock);

	return present;
}

/* Take the request to look for the extension. */
bool
sender_take_recheck(Oid dboid)
{
	Assert(my_entry && my_entry->dboid == dboid);

	/* the common case is to find nothing, and costs no locked instruction */
	if ((pg_atomic_read_u32(&my_entry->sender.requests) & REQUEST_RECHECK) == 0)
		return false;
	pg_atomic_fetch_and_u32(&my_entry->sender.requests, ~REQUEST_RECHECK);
	return true;
}

/* Is this sender to exit? */
bool
sender_must_exit(Oid dboid)
{
	Assert(my_entry && my_entry->dboid == dboid);

	return !workers_enabled ||
		(pg_atomic_read_u32(&my_entry->sender.requests) & REQUEST_EXIT) != 0;
}

/* Has the queue a stream of this database? */
static bool
owes_records(Oid dboid)
{
	bool		found = false;

	LWLockAcquire(firehose_queue->table_lock, LW_SHARED);
	for (int i = 0; i < firehose_queue->max_streams && !found; i++)
	{
		QueueStream *s = queue_stream(firehose_queue, i);

		found = s->in_use && s->dboid == dboid;
	}
	LWLockRelease(firehose_queue->table_lock);

	return found;
}

/*
 * Discard the queue's records of a database without the extension: neither its
 * streams nor a table for dead letters are left.  Returns whether the
 * extension is really not there.
 *
 * Another transaction may be creating the extension at this moment, and a
 * stream, and put a record.  Until it commits it holds a lock on pg_extension
 * that conflicts with the one taken here (ddl_hooks.c), and once it has
 * committed the extension is visible.  If the lock is not available, the queue
 * is kept for the next look.
 */
static bool
discard_orphans(Oid dboid)
{
	bool		absent;
	uint64		discarded;

	if (!ConditionalLockRelationOid(ExtensionRelationId, ShareLock))
		return true;

	absent = !OidIsValid(get_extension_oid(FIREHOSE_NAME, true));
	if (absent)
	{
		discarded = queue_discard_database(firehose_queue, dboid);
		if (discarded > 0)
			ereport(LOG,
					(errmsg("firehose sender: discarded " UINT64_FORMAT " records, because the extension was dropped from database \"%s\"",
							discarded, NameStr(my_entry->name))));
	}

	return absent;
}

/*
 * on_shmem_exit: give the entry back and set when the next sender may start.
 */
static void
detach_sender(int code, Datum arg)
{
	DatabaseEntry *entry = my_entry;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	worker_slot_detach(&entry->sender, code);

	/* asked to look again after it had looked for the last time */
	if (pg_atomic_read_u32(&entry->sender.requests) & REQUEST_RECHECK)
	{
		entry->extension = EXTENSION_UNKNOWN;
		entry->sender.start_at = 0;
	}
	database_free_if_idle(entry);
	database_wake_launcher();
	LWLockRelease(database_table->lock);

	ConditionVariableBroadcast(&database_table->vacated);
}
