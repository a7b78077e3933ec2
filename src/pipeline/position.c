/*
 * position.c
 *		How far pipelines have got, durably; position.h says what for.
 *
 * Runs in decoders, and where commands and the sender remove rows.  The table
 * is reached as the extension's other tables are (own_tables.h): rows go in
 * and out below the executor, without logical information.
 *
 * A row is written anew when its pipeline starts for the first time or meets a
 * start of the server.  Its confirmed position advances in place, every few
 * seconds, as core does it with counters in the catalogs: there is no dead row
 * to be vacuumed, and no commit.  A commit would wake the database's decoders,
 * which would confirm again, and would make pg_upgrade refuse their slots.
 * Only the pipeline's decoder does so, and it holds a lock on the table that
 * excludes every process that moves rows.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"

#include "common/compat.h"
#include "common/own_tables.h"
#include "pipeline/position.h"
#include "wal/run_epoch.h"
#include "wal/wal_reader.h"

/* The table's columns, in their order. */
enum
{
	POSITION_PIPELINE,
	POSITION_SYSTEM_IDENTIFIER,
	POSITION_TIMELINE,
	POSITION_CONFIRMED_LSN,
	POSITION_EPOCHS_FROM,
	POSITION_EPOCHS,
	POSITION_COLUMNS
};

static const Oid column_types[POSITION_COLUMNS] = {
	[POSITION_PIPELINE] = INT4OID,
	[POSITION_SYSTEM_IDENTIFIER] = INT8OID,
	[POSITION_TIMELINE] = INT8OID,
	[POSITION_CONFIRMED_LSN] = LSNOID,
	[POSITION_EPOCHS_FROM] = PG_LSNARRAYOID,
	[POSITION_EPOCHS] = INT8ARRAYOID
};

/* The part of a row at a fixed place: the columns before the arrays. */
typedef struct FixedColumns
{
	int32		pipeline;
	int64		system_identifier;
	int64		timeline;
	XLogRecPtr	confirmed_lsn;
} FixedColumns;

/* The work on a row, for own_tables_transaction. */
typedef struct PositionChange
{
	int32		id;
	const PipelinePosition *position;	/* to be stored, or */
	XLogRecPtr	confirmed;		/* to be advanced to */
} PositionChange;

static OwnTableError write_error = {"updating of pipelines' positions"};

static Relation open_table(LOCKMODE lockmode);
static Relation open_table_at_once(LOCKMODE lockmode);
static SysScanDesc begin_scan(Relation rel, int32 id, ScanKeyData *key);
static int	read_epochs(const Datum *values, Epoch **epochs, bool *all_valid);
static void insert_row(Relation rel, int32 id, const PipelinePosition *position);
static bool delete_row(Relation rel, int32 id);
static bool do_change(WriterWork work, const PositionChange *change);
static bool store_work(const void *arg);
static bool advance_work(const void *arg);

static Relation
open_table(LOCKMODE lockmode)
{
	return own_tables_require_table(TABLE_POSITIONS, lockmode, column_types,
									POSITION_COLUMNS);
}

static Relation
open_table_at_once(LOCKMODE lockmode)
{
	return own_tables_open_table(TABLE_POSITIONS, lockmode, column_types,
								 POSITION_COLUMNS);
}

/* Rows are few: no index is used, so that none can be missing. */
static SysScanDesc
begin_scan(Relation rel, int32 id, ScanKeyData *key)
{
	ScanKeyInit(key, POSITION_PIPELINE + 1, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(id));
	return systable_beginscan(rel, InvalidOid, false, NULL, 1, key);
}

bool
pipeline_position_read(int32 id, PipelinePosition *position)
{
	Relation	rel = open_table(AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, id, &key);
	HeapTuple	tuple = systable_getnext(scan);
	Datum		values[POSITION_COLUMNS];
	bool		nulls[POSITION_COLUMNS];
	bool		all_valid;

	if (HeapTupleIsValid(tuple))
	{
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		position->system = (uint64) DatumGetInt64(values[POSITION_SYSTEM_IDENTIFIER]);
		position->timeline = (TimeLineID) DatumGetInt64(values[POSITION_TIMELINE]);
		position->confirmed = DatumGetLSN(values[POSITION_CONFIRMED_LSN]);
		position->nepochs = read_epochs(values, &position->epochs, &all_valid);
		/* the position's may be missing now: progress_start looks it up */
		if (!all_valid && position->system == GetSystemIdentifier())
			position->system = 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* The two arrays as one, up to the first number that no epoch can have. */
static int
read_epochs(const Datum *values, Epoch **epochs, bool *all_valid)
{
	Datum	   *from;
	Datum	   *numbers;
	int			n;
	int			nnumbers;
	int			valid = 0;

	deconstruct_array(DatumGetArrayTypePCopy(values[POSITION_EPOCHS_FROM]), LSNOID,
					  sizeof(XLogRecPtr), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &from, NULL, &n);
	deconstruct_array(DatumGetArrayTypePCopy(values[POSITION_EPOCHS]), INT8OID,
					  sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &numbers, NULL, &nnumbers);
	n = Min(n, nnumbers);
	*epochs = palloc(Max(n, 1) * sizeof(Epoch));
	for (; valid < n && EPOCH_IS_VALID((uint64) DatumGetInt64(numbers[valid])); valid++)
	{
		(*epochs)[valid].from = DatumGetLSN(from[valid]);
		(*epochs)[valid].number = (uint64) DatumGetInt64(numbers[valid]);
	}
	*all_valid = valid == n;
	return valid;
}

static void
insert_row(Relation rel, int32 id, const PipelinePosition *position)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	Datum	   *from = palloc(Max(position->nepochs, 1) * sizeof(Datum));
	Datum	   *numbers = palloc(Max(position->nepochs, 1) * sizeof(Datum));

	for (int i = 0; i < position->nepochs; i++)
	{
		from[i] = LSNGetDatum(position->epochs[i].from);
		numbers[i] = Int64GetDatum((int64) position->epochs[i].number);
	}

	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, POSITION_COLUMNS * sizeof(bool));
	slot->tts_values[POSITION_PIPELINE] = Int32GetDatum(id);
	slot->tts_values[POSITION_SYSTEM_IDENTIFIER] = Int64GetDatum((int64) position->system);
	slot->tts_values[POSITION_TIMELINE] = Int64GetDatum((int64) position->timeline);
	slot->tts_values[POSITION_CONFIRMED_LSN] = LSNGetDatum(position->confirmed);
	slot->tts_values[POSITION_EPOCHS_FROM] =
		PointerGetDatum(construct_array(from, position->nepochs, LSNOID, sizeof(XLogRecPtr),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	slot->tts_values[POSITION_EPOCHS] =
		PointerGetDatum(construct_array(numbers, position->nepochs, INT8OID, sizeof(int64),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	ExecStoreVirtualTuple(slot);
	table_tuple_insert(rel, slot, GetCurrentCommandId(true), TABLE_INSERT_NO_LOGICAL, NULL);
	ExecDropSingleTupleTableSlot(slot);
}

/* Without a replica identity a delete carries no logical information. */
static bool
delete_row(Relation rel, int32 id)
{
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, id, &key);
	HeapTuple	tuple;
	bool		found = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		simple_heap_delete(rel, &tuple->t_self);
		found = true;
	}
	systable_endscan(scan);
	return found;
}

/* For decoders ------------------------------------------------------------ */

/*
 * Change a row in a transaction of its own.  VACUUM ignores the snapshot of a
 * process that decodes, and may remove rows that it sees.  So a transaction
 * that reads tables must not be run as such a process.
 */
static bool
do_change(WriterWork work, const PositionChange *change)
{
	bool		decoding = wal_reader_count_as_decoding(false);
	bool		done = own_tables_transaction(work, change, "local", &write_error);

	(void) wal_reader_count_as_decoding(decoding);
	return done;
}

void
pipeline_position_store(int32 id, const PipelinePosition *position)
{
	PositionChange change = {.id = id, .position = position};

	if (!do_change(store_work, &change))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not note the position of the pipeline"),
				 errhint("Is table firehose_positions locked?")));
}

static bool
store_work(const void *arg)
{
	const PositionChange *change = arg;
	Relation	rel = open_table_at_once(RowExclusiveLock);

	if (rel == NULL)
		return false;
	(void) delete_row(rel, change->id);
	insert_row(rel, change->id, change->position);
	table_close(rel, NoLock);
	return true;
}

bool
pipeline_position_advance(int32 id, XLogRecPtr confirmed)
{
	PositionChange change = {.id = id, .confirmed = confirmed};

	return do_change(advance_work, &change);
}

static bool
advance_work(const void *arg)
{
	const PositionChange *change = arg;
	Relation	rel = open_table_at_once(RowExclusiveLock);
	ScanKeyData key;
	HeapTuple	tuple;
	FixedColumns *columns;
	void	   *state;

	if (rel == NULL)
		return false;
	ScanKeyInit(&key, POSITION_PIPELINE + 1, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(change->id));
	overwrite_row_begin(rel, InvalidOid, false, NULL, 1, &key, &tuple, &state);
	if (!HeapTupleIsValid(tuple))
	{
		table_close(rel, RowExclusiveLock);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the position of pipeline %d is not in table \"%s\" any more",
						change->id, RelationGetRelationName(rel))));
	}
	columns = (FixedColumns *) GETSTRUCT(tuple);
	columns->timeline = GetWALInsertionTimeLine();
	columns->confirmed_lsn = change->confirmed;
	overwrite_row_finish(state, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);

	/* nothing here has an xid whose commit would flush */
	XLogFlush(XactLastRecEnd);
	return true;
}

/* For commands and the sender --------------------------------------------- */

void
pipeline_position_set(int32 id, XLogRecPtr confirmed)
{
	Relation	rel = open_table(RowExclusiveLock);
	PipelinePosition position = {.epochs = palloc(sizeof(Epoch))};
	bool		known = pipeline_position_read(id, &position);
	XLogRecPtr	since;
	uint64		number = run_epoch_current(&since);

	/*
	 * The epochs stay, for others to be above them.  That of the new position
	 * is known now; later the WAL that says it may not be there.
	 */
	position.system = 0;
	position.confirmed = confirmed;
	if (number != 0 && confirmed >= since)
	{
		(void) pipeline_position_add_epoch(&position, confirmed, number);
		position.epochs[position.nepochs - 1].from = confirmed;
	}
	(void) delete_row(rel, id);
	if (known || confirmed != InvalidXLogRecPtr)
		insert_row(rel, id, &position);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

bool
pipeline_position_forget(int32 id)
{
	Relation	rel = open_table_at_once(RowExclusiveLock);

	if (rel == NULL)
		return false;
	(void) delete_row(rel, id);
	table_close(rel, NoLock);
	return true;
}

/* Epochs ------------------------------------------------------------------ */

/*
 * An epoch of the WAL as this pipeline has it.  What is below the second
 * stays, so that one that was lifted already is recognised.  There may be no
 * second above the last.
 */
static uint64
lift(const PipelinePosition *position, uint64 number)
{
	uint64		last = position->nepochs > 0 ? position->epochs[position->nepochs - 1].number : 0;

	if (number > last)
		return number;
	if (EPOCH_LOW(number) == EPOCH_LOW(last))
		return last;
	return Min(EPOCH_SECOND(last) + 1, EPOCH_MAX_SECOND) << EPOCH_LOW_BITS | EPOCH_LOW(number);
}

bool
pipeline_position_add_epoch(PipelinePosition *position, XLogRecPtr from, uint64 number)
{
	Epoch	   *epochs = position->epochs;
	int			n = position->nepochs;
	int			useless = 0;

	number = lift(position, number);
	if (n > 0 && epochs[n - 1].number == number)
		return false;
	while (useless < n - 1 && epochs[useless + 1].from <= position->confirmed)
		useless++;
	n -= useless;
	memmove(epochs, epochs + useless, n * sizeof(Epoch));
	epochs = repalloc(epochs, (n + 1) * sizeof(Epoch));
	epochs[n].from = from;
	epochs[n].number = number;
	position->epochs = epochs;
	position->nepochs = n + 1;
	return true;
}
