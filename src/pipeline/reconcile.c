/*
 * reconcile.c
 *		Keeping the shared table of pipelines in step with the catalog of a
 *		database.  Runs in its sender; pipeline_note_slot_created in decoders.
 *
 * The catalog has the pipelines that are to run; launcher and decoders read
 * the shared table.  A pipeline that was dropped leaves a row behind that says
 * so, since its replication slot can be dropped only after the commit, and a
 * crash may come before that.  The order is: row marked, entry of the shared
 * table marked, decoder gone, replication slot dropped and entry of the shared
 * table free (decoder_lifecycle.c), row deleted.
 *
 * No function waits for a user's lock or raises an error: work that cannot be
 * done now is done a little later.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "common/own_tables.h"
#include "pipeline/catalog.h"
#include "pipeline/copies.h"
#include "pipeline/position.h"
#include "wal/replication_slot.h"
#include "workers/database_table.h"
#include "workers/pipeline_table.h"

/* The part of a row that the shared table needs. */
typedef struct DesiredPipeline
{
	int32		id;
	int32		version;
	char	   *name;			/* NULL: dropped */
	char	   *slot_name;
	bool		slot_created;
	bool		durable_puts;
	bool		enabled;
	bool		detached;
	bool		copied;
} DesiredPipeline;

/* The work on a row. */
typedef struct RowChange
{
	int32		id;
	bool		delete;			/* else: its slot exists */
} RowChange;

static MemoryContext context = NULL;	/* of one reconciliation */
static bool warned_full = false;	/* warned: more pipelines than entries */

static OwnTableError read_trouble = {"read pipelines"};
static OwnTableError write_trouble = {"update pipelines"};

static bool read_desired(const void *arg);
static void apply_all_desired(const List *desired_list);
static void apply_desired(PipelineEntry *entry, const DesiredPipeline *desired);
static void drop_others(const List *desired_list);
static bool finish_drop(const DesiredPipeline *desired);
static bool note_slots(const List *desired_list);
static bool change_row(int32 id, bool delete);
static bool change_row_work(const void *arg);

bool
pipeline_reconcile(void)
{
	List	   *desired_list = NIL;
	List	   *ids = NIL;
	MemoryContext old;
	ListCell   *cell;
	bool		done = true;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "firehose pipelines",
										ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	old = MemoryContextSwitchTo(context);

	if (!own_tables_transaction(read_desired, &desired_list, "local", &read_trouble))
		done = false;
	else
	{
		apply_all_desired(desired_list);
		foreach(cell, desired_list)
		{
			const DesiredPipeline *desired = lfirst(cell);

			ids = lappend_int(ids, desired->id);
			if (desired->name == NULL && !finish_drop(desired))
				done = false;
		}
		if (!note_slots(desired_list))
			done = false;
		replication_slot_drop_orphans(MyDatabaseId, ids);
	}

	MemoryContextSwitchTo(old);
	return done;
}

bool
pipeline_note_slot_created(int32 id)
{
	return change_row(id, false);
}

/* In a transaction: read the catalog into *arg, a list of desired_list. */
static bool
read_desired(const void *arg)
{
	List	  **desired_list = (List **) unconstify(void *, arg);
	Relation	rel = pipeline_catalog_open_at_once(AccessShareLock);
	List	   *rows;
	ListCell   *cell;

	if (rel == NULL)
		return false;

	rows = pipeline_catalog_rows(rel);
	foreach(cell, rows)
	{
		PipelineRow *row = lfirst(cell);
		MemoryContext old = MemoryContextSwitchTo(context);
		DesiredPipeline	   *desired = palloc(sizeof(DesiredPipeline));

		desired->id = pipeline_row_id(row);
		desired->version = DatumGetInt32(row->values[PIPELINE_VERSION]);
		desired->name = pipeline_row_text(row, PIPELINE_NAME);
		if (DatumGetBool(row->values[PIPELINE_DROPPED]))
			desired->name = NULL;
		desired->slot_name = pipeline_row_slot_name(row);
		desired->slot_created = DatumGetBool(row->values[PIPELINE_SLOT_CREATED]);
		desired->durable_puts = DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]);
		desired->enabled = DatumGetBool(row->values[PIPELINE_ENABLED]);
		desired->detached = pipeline_row_is_detached(row);
		desired->copied = pipeline_row_is_copied(row);
		*desired_list = lappend(*desired_list, desired);
		MemoryContextSwitchTo(old);
	}
	table_close(rel, AccessShareLock);
	return true;
}

/* Bring the shared table in step. */
static void
apply_all_desired(const List *desired_list)
{
	const DesiredPipeline *left_out = NULL;
	ListCell   *cell;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	drop_others(desired_list);
	foreach(cell, desired_list)
	{
		const DesiredPipeline *desired = lfirst(cell);
		PipelineEntry *entry = pipeline_table_find(MyDatabaseId, desired->id);

		if (entry == NULL && desired->name != NULL)
		{
			entry = pipeline_table_claim(MyDatabaseId, desired->id, desired->name,
										 desired->slot_name);
			if (entry == NULL)
				left_out = desired;
		}
		if (entry == NULL || entry->dropped)
			continue;
		if (desired->name == NULL)
			pipeline_table_drop(entry);
		else
			apply_desired(entry, desired);
	}
	LWLockRelease(pipeline_table->lock);
	database_wake_launcher();
	LWLockRelease(database_table->lock);

	if (left_out != NULL && !warned_full)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("firehose sender: there are more pipelines than firehose.max_pipelines (%d)",
						pipeline_table->nentries),
				 errdetail("Pipeline \"%s\" does not run.", left_out->name),
				 errhint("Increase firehose.max_pipelines and restart the server.")));
	warned_full = left_out != NULL;
}

/*
 * Bring an entry of the shared table in step with its row.  Both locks are
 * held.
 */
static void
apply_desired(PipelineEntry *entry, const DesiredPipeline *desired)
{
	bool		should_run = desired->enabled && !desired->detached && !desired->copied;
	bool		changed = entry->version != desired->version || entry->should_run != should_run;

	if (!changed)
		return;

	entry->version = desired->version;
	entry->durable_puts = desired->durable_puts;
	entry->should_run = should_run;
	entry->needs_command = false;
	namestrcpy(&entry->name, desired->name);
	namestrcpy(&entry->slot_name, desired->slot_name);
	if (should_run)
	{
		/* a new definition is worth a new try */
		if (entry->decoder.state != WORKER_SLOT_TAKEN)
		{
			pg_atomic_write_u32(&entry->state, PIPELINE_STARTING);
			entry->reason[0] = '\0';
		}
		entry->same_error = 0;
		pg_atomic_write_u32(&entry->reread, 1);
		worker_slot_start_now(&entry->decoder);
		worker_slot_wake(&entry->decoder);
	}
	else
	{
		pg_atomic_write_u32(&entry->state, PIPELINE_PAUSED);
		strlcpy(entry->reason, desired->detached ? PIPELINE_DETACHED_REASON :
				desired->copied ? PIPELINE_COPIED_REASON : PIPELINE_PAUSED_REASON,
				sizeof(entry->reason));
		worker_slot_give_up_start(&entry->decoder);
		worker_slot_request_exit(&entry->decoder);
	}
}

/* The pipelines of this database that have no row any more are gone. */
static void
drop_others(const List *desired_list)
{
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];
		bool		found = false;
		ListCell   *cell;

		if (entry->dboid != MyDatabaseId)
			continue;
		foreach(cell, desired_list)
			found |= ((const DesiredPipeline *) lfirst(cell))->id == entry->id;
		if (!found)
			pipeline_table_drop(entry);
	}
}

/*
 * Finish the drop of a pipeline.  Do nothing while the shared table has it,
 * then drop the replication slot, if the launcher did not know of it, then the
 * row.  False: to be looked at again.
 */
static bool
finish_drop(const DesiredPipeline *desired)
{
	bool		known;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	known = pipeline_table_find(MyDatabaseId, desired->id) != NULL;
	LWLockRelease(pipeline_table->lock);

	/* the launcher asks this sender to look again */
	if (known)
		return true;
	if (!desired->detached && replication_slot_drop(desired->slot_name, MyDatabaseId) == SLOT_BUSY)
		return false;
	return change_row(desired->id, true);
}

/* Note which slots exist now, in case their decoders could not. */
static bool
note_slots(const List *desired_list)
{
	bool		done = true;
	ListCell   *cell;

	foreach(cell, desired_list)
	{
		const DesiredPipeline *desired = lfirst(cell);
		SlotInfo	info;

		if (desired->name != NULL && !desired->slot_created && !desired->detached &&
			replication_slot_look(desired->slot_name, &info) &&
			info.database == MyDatabaseId && info.persistent && !info.lost)
			done &= change_row(desired->id, false);
	}
	return done;
}

/* Change a row in a transaction of its own; false: not now. */
static bool
change_row(int32 id, bool delete)
{
	RowChange	change = {id, delete};

	return own_tables_transaction(change_row_work, &change, "local", &write_trouble);
}

/* A row goes together with the position of its pipeline. */
static bool
delete_row(Relation rel, PipelineRow *row)
{
	if (!pipeline_position_forget(pipeline_row_id(row)) || !copies_forget(pipeline_row_id(row)))
		return false;
	pipeline_catalog_delete(rel, row);
	return true;
}

static bool
change_row_work(const void *arg)
{
	const RowChange *change = arg;
	Relation	rel = pipeline_catalog_open_at_once(PIPELINE_WRITE_LOCK);
	PipelineRow *row;
	bool		done = true;

	if (rel == NULL)
		return false;

	row = pipeline_catalog_find_id(rel, change->id);
	if (row != NULL && change->delete)
	{
		if (DatumGetBool(row->values[PIPELINE_DROPPED]))
			done = delete_row(rel, row);
	}
	else if (row != NULL && !DatumGetBool(row->values[PIPELINE_SLOT_CREATED]))
	{
		row->values[PIPELINE_SLOT_CREATED] = BoolGetDatum(true);
		pipeline_catalog_store(rel, row);
	}
	table_close(rel, NoLock);
	return done;
}
