/*
 * decoder_lifecycle.c
 *		The life of decoders: which are to run, their start and exit, and the
 *		end of pipelines that are gone.  Runs in the launcher, in decoders and,
 *		where it keeps them out of a database, in backends.
 *
 * A pipeline that is gone keeps its entry in the table, marked as dropped,
 * until its decoder has left and the launcher has dropped the replication
 * slot.
 *
 * Like a sender, a decoder gives its worker slot back in an on_shmem_exit
 * callback that it registers before it connects (sender_lifecycle.c says why).
 *
 * Shared memory and its locking contract: database_table.h, pipeline_table.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"

#include "common/compat.h"
#include "wal/replication_slot.h"
#include "workers/crash_mark.h"
#include "workers/database_table.h"
#include "workers/decoder_lifecycle.h"
#include "workers/pipeline_table.h"
#include "workers/worker.h"

#define DROP_RETRY_MS		5000	/* the replication slot is in use */

/* This process's entry, from attaching to the end. */
static PipelineEntry *my_entry = NULL;

static void detach_decoder(int code, Datum arg);
static bool next_dropped(int64 now, int *next, NameData *name, Oid *dboid);
static void release(PipelineEntry *entry);

/*
 * For decoders
 */

/* Claim the entry that the launcher started this process for. */
bool
decoder_attach(Datum arg, PipelineEntry **entry)
{
	PipelineEntry *s;
	bool		should_run;

	if (database_arg_number(arg) >= pipeline_table->nentries)
		return false;
	s = &pipeline_table->entries[database_arg_number(arg)];

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	should_run = worker_slot_attach(&s->decoder, database_arg_generation(arg));
	if (should_run)
	{
		my_entry = *entry = s;
		on_shmem_exit(detach_decoder, (Datum) 0);
		database_wake_launcher();
	}
	LWLockRelease(database_table->lock);

	return should_run;
}

/* Is this decoder to exit? */
bool
decoder_must_exit(PipelineEntry *entry)
{
	Assert(entry == my_entry);

	return !workers_enabled ||
		(pg_atomic_read_u32(&entry->decoder.requests) & REQUEST_EXIT) != 0;
}

/* on_shmem_exit: give the worker slot back. */
static void
detach_decoder(int code, Datum arg)
{
	PipelineEntry *entry = my_entry;
	PipelineState state;

	/* no process is to wake it any more */
	pg_atomic_write_u32(&entry->wants_settled, 0);
	pipeline_want_commit(entry, false);

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	worker_slot_detach(&entry->decoder, code);

	/* the state it showed while it ran holds no longer */
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	state = pg_atomic_read_u32(&entry->state);
	if (state == PIPELINE_STREAMING || state == PIPELINE_WAITING)
	{
		pg_atomic_write_u32(&entry->state,
							entry->should_run ? PIPELINE_STARTING : PIPELINE_PAUSED);
		entry->reason[0] = '\0';
	}
	LWLockRelease(pipeline_table->lock);
	database_wake_launcher();
	LWLockRelease(database_table->lock);

	ConditionVariableBroadcast(&database_table->vacated);
}

/* For the launcher, and for statements that need a database without workers */

bool
decoder_should_run(const PipelineEntry *entry)
{
	DatabaseEntry *database = database_find(entry->dboid);

	return database != NULL && database->eligible && database->exclusions == 0 &&
		database->extension == EXTENSION_PRESENT &&
		entry->should_run && !entry->needs_command && !entry->dropped;
}

void
decoders_exclude(Oid dboid)
{
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (!OidIsValid(dboid) || entry->dboid == dboid)
		{
			worker_slot_give_up_start(&entry->decoder);
			worker_slot_request_exit(&entry->decoder);
		}
	}
	LWLockRelease(pipeline_table->lock);
}

void
decoders_start_now(Oid dboid)
{
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (!OidIsValid(dboid) || entry->dboid == dboid)
			worker_slot_start_now(&entry->decoder);
	}
	LWLockRelease(pipeline_table->lock);
}

int
decoders_any_pid(Oid dboid)
{
	int			pid = 0;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nentries && pid == 0; i++)
	{
		if (pipeline_table->entries[i].dboid == dboid)
			pid = pipeline_table->entries[i].decoder.pid;
	}
	LWLockRelease(pipeline_table->lock);

	return pid;
}

/* The extension, or all of the database, is gone: so are its pipelines. */
void
decoders_abandon_pipelines(Oid dboid)
{
	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (OidIsValid(dboid) && entry->dboid == dboid)
			pipeline_table_drop(entry);
	}
	LWLockRelease(pipeline_table->lock);
	database_wake_launcher();
	LWLockRelease(database_table->lock);
}

long
decoders_drop_orphaned_slots(int64 now)
{
	NameData	name;
	Oid			dboid;
	int64		next_try = PG_INT64_MAX;

	for (int i = 0; next_dropped(now, &i, &name, &dboid); i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (replication_slot_drop(NameStr(name), dboid) == SLOT_BUSY)
			entry->drop_retry_at = now + DROP_RETRY_MS;
		else
			release(entry);
	}

	/*
	 * only the launcher makes use of drop_retry_at, and no other process
	 * releases
	 */
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (entry->dropped && entry->drop_retry_at > now)
			next_try = Min(next_try, entry->drop_retry_at);
	}
	return next_try == PG_INT64_MAX ? -1 : (long) (next_try - now);
}

/*
 * Find the next entry, from *next on, of a pipeline that is gone and has no
 * decoder any more.
 */
static bool
next_dropped(int64 now, int *next, NameData *name, Oid *dboid)
{
	bool		found = false;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (; *next < pipeline_table->nentries; (*next)++)
	{
		PipelineEntry *entry = &pipeline_table->entries[*next];

		if (!OidIsValid(entry->dboid) || !entry->dropped || entry->drop_retry_at > now)
			continue;
		worker_slot_give_up_start(&entry->decoder);
		if (entry->decoder.state != WORKER_SLOT_EMPTY)
			continue;
		*name = entry->slot_name;
		*dboid = entry->dboid;
		found = true;
		break;
	}
	LWLockRelease(pipeline_table->lock);
	LWLockRelease(database_table->lock);

	return found;
}

/*
 * Free the entry of a pipeline whose replication slot is dropped, and have the
 * sender see that there is a free one.
 */
static void
release(PipelineEntry *entry)
{
	DatabaseEntry *database;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	database = database_find(entry->dboid);
	crash_mark_forget(entry->dboid, entry->id);
	pipeline_table_release(entry);
	LWLockRelease(pipeline_table->lock);

	if (database != NULL && database->extension == EXTENSION_PRESENT)
	{
		pg_atomic_fetch_or_u32(&database->sender.requests, REQUEST_RECHECK);
		worker_slot_wake(&database->sender);
	}
	LWLockRelease(database_table->lock);
}
