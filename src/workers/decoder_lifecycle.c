/*
 * decoder_lifecycle.c
 *		What the launcher has to do with decoders: who is to run, their coming
 *		and going, and the burial of pipelines that are gone.  Runs in the
 *		launcher, in decoders and, where it keeps them out of a database, in
 *		backends.
 *
 * A pipeline that is gone keeps its slot in the table, marked as dropped, until
 * its decoder has left and the launcher has dropped the replication slot.
 *
 * Like a sender, a decoder gives its seat back in an on_shmem_exit callback
 * that it registers before it connects (launcher_sender.c says why).
 *
 * Shared memory and its locking contract: launcher_table.h, pipeline_table.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"

#include "common/compat.h"
#include "wal/replication_slot.h"
#include "workers/database_table.h"
#include "workers/launcher.h"
#include "workers/pipeline_table.h"
#include "workers/worker.h"

#define BURY_AGAIN_MS		5000	/* somebody uses the replication slot */

/* This process's slot, from attaching to the end. */
static PipelineSlot *my_slot = NULL;

static void detach_decoder(int code, Datum arg);
static bool next_dropped(int64 now, int *next, NameData *name, Oid *dboid);
static void release(PipelineSlot *slot);

/*
 * For decoders
 */

/* Claim the slot that the launcher started this process for. */
bool
launcher_attach_decoder(Datum arg, PipelineSlot **slot)
{
	PipelineSlot *s;
	bool		wanted;

	if (table_arg_number(arg) >= pipeline_table->nslots)
		return false;
	s = &pipeline_table->slots[table_arg_number(arg)];

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	wanted = seat_attach(&s->decoder, table_arg_generation(arg));
	if (wanted)
	{
		my_slot = *slot = s;
		on_shmem_exit(detach_decoder, (Datum) 0);
		table_wake_launcher();
	}
	LWLockRelease(database_table->lock);

	return wanted;
}

/* Is this decoder to go? */
bool
launcher_decoder_must_exit(PipelineSlot *slot)
{
	Assert(slot == my_slot);

	return !launcher_enabled ||
		(pg_atomic_read_u32(&slot->decoder.requests) & REQUEST_EXIT) != 0;
}

/* on_shmem_exit: give the seat back. */
static void
detach_decoder(int code, Datum arg)
{
	PipelineSlot *slot = my_slot;
	PipelineState state;

	/* nobody is to wake it any more */
	pg_atomic_write_u32(&slot->wants_settled, 0);
	pipeline_want_commit(slot, false);

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	seat_detach(&slot->decoder, code);

	/* what it said of itself while it ran holds no longer */
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	state = pg_atomic_read_u32(&slot->state);
	if (state == PIPELINE_STREAMING || state == PIPELINE_WAITING)
	{
		pg_atomic_write_u32(&slot->state,
							slot->wanted ? PIPELINE_STARTING : PIPELINE_PAUSED);
		slot->reason[0] = '\0';
	}
	LWLockRelease(pipeline_table->lock);
	table_wake_launcher();
	LWLockRelease(database_table->lock);

	ConditionVariableBroadcast(&database_table->vacated);
}

/*
 * For the launcher, and for who wants a database empty
 */

bool
decoder_is_wanted(const PipelineSlot *slot)
{
	DatabaseSlot *database = table_find(slot->dboid);

	return database != NULL && database->eligible && database->holds == 0 &&
		database->extension == EXTENSION_PRESENT &&
		slot->wanted && !slot->given_up && !slot->dropped;
}

void
decoders_vacate(Oid dboid)
{
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (slot->dboid == dboid)
		{
			seat_give_up_start(&slot->decoder);
			seat_ask_exit(&slot->decoder);
		}
	}
	LWLockRelease(pipeline_table->lock);
}

void
decoders_hurry(Oid dboid)
{
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (!OidIsValid(dboid) || slot->dboid == dboid)
			seat_hurry(&slot->decoder);
	}
	LWLockRelease(pipeline_table->lock);
}

int
decoders_any_pid(Oid dboid)
{
	int			pid = 0;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nslots && pid == 0; i++)
	{
		if (pipeline_table->slots[i].dboid == dboid)
			pid = pipeline_table->slots[i].decoder.pid;
	}
	LWLockRelease(pipeline_table->lock);

	return pid;
}

/* The extension, or all of the database, is gone: so are its pipelines. */
void
launcher_abandon_pipelines(Oid dboid)
{
	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (OidIsValid(dboid) && slot->dboid == dboid)
			pipeline_table_drop(slot);
	}
	LWLockRelease(pipeline_table->lock);
	table_wake_launcher();
	LWLockRelease(database_table->lock);
}

long
decoders_bury(int64 now)
{
	NameData	name;
	Oid			dboid;
	int64		next_try = PG_INT64_MAX;

	for (int i = 0; next_dropped(now, &i, &name, &dboid); i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (pipeline_slot_drop(NameStr(name), dboid) == SLOT_BUSY)
			slot->bury_at = now + BURY_AGAIN_MS;
		else
			release(slot);
	}

	/* only the launcher makes use of bury_at, and nobody else releases */
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (slot->dropped && slot->bury_at > now)
			next_try = Min(next_try, slot->bury_at);
	}
	return next_try == PG_INT64_MAX ? -1 : (long) (next_try - now);
}

/* Find the next slot, from *next on, of a pipeline that is gone and has no decoder any more. */
static bool
next_dropped(int64 now, int *next, NameData *name, Oid *dboid)
{
	bool		found = false;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (; *next < pipeline_table->nslots; (*next)++)
	{
		PipelineSlot *slot = &pipeline_table->slots[*next];

		if (!OidIsValid(slot->dboid) || !slot->dropped || slot->bury_at > now)
			continue;
		seat_give_up_start(&slot->decoder);
		if (slot->decoder.state != SEAT_EMPTY)
			continue;
		*name = slot->slot_name;
		*dboid = slot->dboid;
		found = true;
		break;
	}
	LWLockRelease(pipeline_table->lock);
	LWLockRelease(database_table->lock);

	return found;
}

/* Free the slot of a pipeline that is buried, and have the sender see that there is room. */
static void
release(PipelineSlot *slot)
{
	DatabaseSlot *database;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	database = table_find(slot->dboid);
	pipeline_table_release(slot);
	LWLockRelease(pipeline_table->lock);

	if (database != NULL && database->extension == EXTENSION_PRESENT)
	{
		pg_atomic_fetch_or_u32(&database->sender.requests, REQUEST_RECHECK);
		seat_wake(&database->sender);
	}
	LWLockRelease(database_table->lock);
}
