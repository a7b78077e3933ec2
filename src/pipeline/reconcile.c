/*
 * reconcile.c
 *		Keeping the shared table of pipelines in step with the catalog of a
 *		database.  Runs in its sender; pipeline_note_slot_created in decoders.
 *
 * The catalog says which pipelines there are to be, the shared table what
 * launcher and decoders go by.  A pipeline that was dropped leaves a row behind
 * that says so, since its replication slot can be dropped only after the
 * commit, and a crash may come before that.  The order is: row marked, slot of
 * the shared table marked, decoder gone, replication slot dropped and slot of
 * the shared table free (launcher_decoder.c), row deleted.
 *
 * Nothing here waits for a lock of a user's or raises an error: what cannot be
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
#include "wal/replication_slot.h"
#include "workers/database_table.h"
#include "workers/pipeline_table.h"

/* A row, as far as the shared table is concerned. */
typedef struct Wish
{
	int32		id;
	int32		version;
	char	   *name;			/* NULL: dropped */
	char	   *slot_name;
	bool		slot_created;
	bool		durable_puts;
	bool		enabled;
	bool		foreign;
} Wish;

/* What is to be done to a row. */
typedef struct RowChange
{
	int32		id;
	bool		delete;			/* else: its slot exists */
} RowChange;

static MemoryContext context = NULL;	/* of one reconciliation */
static bool crowded = false;	/* warned: more pipelines than slots */

static WriterTrouble read_trouble = {"reading of pipelines"};
static WriterTrouble write_trouble = {"updating of pipelines"};

static bool read_wishes(const void *arg);
static void fulfil_wishes(const List *wishes);
static void fulfil_wish(PipelineSlot *slot, const Wish *wish);
static void drop_others(const List *wishes);
static bool bury(const Wish *wish);
static bool note_slots(const List *wishes);
static bool change_row(int32 id, bool delete);
static bool change_row_work(const void *arg);

bool
pipeline_reconcile(void)
{
	List	   *wishes = NIL;
	List	   *ids = NIL;
	MemoryContext old;
	ListCell   *cell;
	bool		done = true;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "firehose pipelines",
										ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	old = MemoryContextSwitchTo(context);

	if (!writer_transaction(read_wishes, &wishes, "local", &read_trouble))
		done = false;
	else
	{
		fulfil_wishes(wishes);
		foreach(cell, wishes)
		{
			const Wish *wish = lfirst(cell);

			ids = lappend_int(ids, wish->id);
			if (wish->name == NULL && !bury(wish))
				done = false;
		}
		if (!note_slots(wishes))
			done = false;
		pipeline_slot_drop_orphans(MyDatabaseId, ids);
	}

	MemoryContextSwitchTo(old);
	return done;
}

bool
pipeline_note_slot_created(int32 id)
{
	return change_row(id, false);
}

/* In a transaction: read the catalog into *arg, a list of wishes. */
static bool
read_wishes(const void *arg)
{
	List	  **wishes = (List **) unconstify(void *, arg);
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
		Wish	   *wish = palloc(sizeof(Wish));

		wish->id = pipeline_row_id(row);
		wish->version = DatumGetInt32(row->values[PIPELINE_VERSION]);
		wish->name = pipeline_row_text(row, PIPELINE_NAME);
		if (DatumGetBool(row->values[PIPELINE_DROPPED]))
			wish->name = NULL;
		wish->slot_name = pipeline_row_slot_name(row);
		wish->slot_created = DatumGetBool(row->values[PIPELINE_SLOT_CREATED]);
		wish->durable_puts = DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]);
		wish->enabled = DatumGetBool(row->values[PIPELINE_ENABLED]);
		wish->foreign = pipeline_row_is_foreign(row);
		*wishes = lappend(*wishes, wish);
		MemoryContextSwitchTo(old);
	}
	table_close(rel, AccessShareLock);
	return true;
}

/* Bring the shared table in step. */
static void
fulfil_wishes(const List *wishes)
{
	const Wish *left_out = NULL;
	ListCell   *cell;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	drop_others(wishes);
	foreach(cell, wishes)
	{
		const Wish *wish = lfirst(cell);
		PipelineSlot *slot = pipeline_table_find(MyDatabaseId, wish->id);

		if (slot == NULL && wish->name != NULL)
		{
			slot = pipeline_table_claim(MyDatabaseId, wish->id, wish->name,
										wish->slot_name);
			if (slot == NULL)
				left_out = wish;
		}
		if (slot == NULL || slot->dropped)
			continue;
		if (wish->name == NULL)
			pipeline_table_drop(slot);
		else
			fulfil_wish(slot, wish);
	}
	LWLockRelease(pipeline_table->lock);
	table_wake_launcher();
	LWLockRelease(database_table->lock);

	if (left_out != NULL && !crowded)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("firehose sender: there are more pipelines than firehose.max_pipelines (%d)",
						pipeline_table->nslots),
				 errdetail("Pipeline \"%s\" does not run.", left_out->name),
				 errhint("Increase firehose.max_pipelines and restart the server.")));
	crowded = left_out != NULL;
}

/* Make a slot of the shared table what its row says.  Both locks are held. */
static void
fulfil_wish(PipelineSlot *slot, const Wish *wish)
{
	bool		wanted = wish->enabled && !wish->foreign;
	bool		changed = slot->version != wish->version || slot->wanted != wanted;

	if (!changed)
		return;

	slot->version = wish->version;
	slot->durable_puts = wish->durable_puts;
	slot->wanted = wanted;
	slot->given_up = false;
	namestrcpy(&slot->name, wish->name);
	namestrcpy(&slot->slot_name, wish->slot_name);
	if (wanted)
	{
		/* a new definition is worth a new try */
		if (slot->decoder.state != SEAT_TAKEN)
		{
			pg_atomic_write_u32(&slot->state, PIPELINE_STARTING);
			slot->reason[0] = '\0';
		}
		slot->same_error = 0;
		pg_atomic_write_u32(&slot->reread, 1);
		seat_hurry(&slot->decoder);
		seat_wake(&slot->decoder);
	}
	else
	{
		pg_atomic_write_u32(&slot->state, PIPELINE_PAUSED);
		strlcpy(slot->reason, wish->foreign ? PIPELINE_FOREIGN_REASON : PIPELINE_PAUSED_REASON,
				sizeof(slot->reason));
		seat_give_up_start(&slot->decoder);
		seat_ask_exit(&slot->decoder);
	}
}

/* The pipelines of this database that have no row any more are gone. */
static void
drop_others(const List *wishes)
{
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];
		bool		found = false;
		ListCell   *cell;

		if (slot->dboid != MyDatabaseId)
			continue;
		foreach(cell, wishes)
			found |= ((const Wish *) lfirst(cell))->id == slot->id;
		if (!found)
			pipeline_table_drop(slot);
	}
}

/*
 * See to what is left of a dropped pipeline: nothing while the shared table has
 * it, then the replication slot, if the launcher knew nothing of it, then the
 * row.  False: to be looked at again.
 */
static bool
bury(const Wish *wish)
{
	bool		known;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	known = pipeline_table_find(MyDatabaseId, wish->id) != NULL;
	LWLockRelease(pipeline_table->lock);

	/* the launcher will have us look again */
	if (known)
		return true;
	if (!wish->foreign && pipeline_slot_drop(wish->slot_name, MyDatabaseId) == SLOT_BUSY)
		return false;
	return change_row(wish->id, true);
}

/* Note which slots exist now, in case their decoders could not. */
static bool
note_slots(const List *wishes)
{
	bool		done = true;
	ListCell   *cell;

	foreach(cell, wishes)
	{
		const Wish *wish = lfirst(cell);
		SlotInfo	info;

		if (wish->name != NULL && !wish->slot_created && !wish->foreign &&
			pipeline_slot_look(wish->slot_name, &info) &&
			info.database == MyDatabaseId && info.persistent && !info.lost)
			done &= change_row(wish->id, false);
	}
	return done;
}

/* Change a row in a transaction of its own; false: not now. */
static bool
change_row(int32 id, bool delete)
{
	RowChange	change = {id, delete};

	return writer_transaction(change_row_work, &change, "local", &write_trouble);
}

static bool
change_row_work(const void *arg)
{
	const RowChange *change = arg;
	Relation	rel = pipeline_catalog_open_at_once(PIPELINE_WRITE_LOCK);
	PipelineRow *row;

	if (rel == NULL)
		return false;

	row = pipeline_catalog_find_id(rel, change->id);
	if (row != NULL && change->delete)
	{
		if (DatumGetBool(row->values[PIPELINE_DROPPED]))
			pipeline_catalog_delete(rel, row);
	}
	else if (row != NULL && !DatumGetBool(row->values[PIPELINE_SLOT_CREATED]))
	{
		row->values[PIPELINE_SLOT_CREATED] = BoolGetDatum(true);
		pipeline_catalog_store(rel, row);
	}
	table_close(rel, NoLock);
	return true;
}
