/*
 * copies.c
 *		The table firehose_copies; copies.h says more.
 *
 * Runs in backends, decoders and (copies_forget) senders.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "common/own_tables.h"
#include "pipeline/check.h"
#include "pipeline/copies.h"
#include "wal/wal_reader.h"

#define COPIES_WRITE_LOCK	ShareRowExclusiveLock

/* The table's columns, in their order. */
enum
{
	COPY_PIPELINE,
	COPY_RELID,
	COPY_PHASE,
	COPY_CONDITION,
	COPY_KEY_COLUMNS,
	COPY_KEY_TYPES,
	COPY_LAST_KEY,
	COPY_ROWS,
	COPY_BYTES,
	COPY_CHUNKS,
	COPY_END_LSN,
	COPY_REQUESTED_AT,
	COPY_STARTED_AT,
	COPY_FINISHED_AT,
	COPY_ERROR,
	COPY_COLUMNS
};

static const Oid column_types[COPY_COLUMNS] = {
	[COPY_PIPELINE] = INT4OID,
	[COPY_RELID] = OIDOID,
	[COPY_PHASE] = TEXTOID,
	[COPY_CONDITION] = TEXTOID,
	[COPY_KEY_COLUMNS] = TEXTARRAYOID,
	[COPY_KEY_TYPES] = TEXTARRAYOID,
	[COPY_LAST_KEY] = TEXTARRAYOID,
	[COPY_ROWS] = INT8OID,
	[COPY_BYTES] = INT8OID,
	[COPY_CHUNKS] = INT8OID,
	[COPY_END_LSN] = LSNOID,
	[COPY_REQUESTED_AT] = TIMESTAMPTZOID,
	[COPY_STARTED_AT] = TIMESTAMPTZOID,
	[COPY_FINISHED_AT] = TIMESTAMPTZOID,
	[COPY_ERROR] = TEXTOID
};

static const char *const phase_names[] = {
	[COPY_WAITING] = "waiting",
	[COPY_READING] = "reading",
	[COPY_DONE] = "done",
	[COPY_FAILED] = "failed",
	[COPY_SKIPPED] = "skipped"
};

typedef struct CopyChange
{
	int32		pipeline;
	const CopyRow *copy;
} CopyChange;

static OwnTableError write_error = {"write the progress of copies"};

static Relation
open_table(LOCKMODE lockmode)
{
	return own_tables_require_table(TABLE_COPIES, lockmode, column_types, COPY_COLUMNS);
}

static Relation
open_table_at_once(LOCKMODE lockmode)
{
	return own_tables_open_table(TABLE_COPIES, lockmode, column_types, COPY_COLUMNS);
}

/* Texts ------------------------------------------------------------------- */

static Datum
text_array(char **texts, int n)
{
	Datum	   *elements = palloc(Max(n, 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(texts[i]);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static char **
array_texts(Datum array, int *n)
{
	Datum	   *elements;
	char	  **texts;

	deconstruct_array(DatumGetArrayTypePCopy(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, NULL, n);
	texts = palloc(Max(*n, 1) * sizeof(char *));
	for (int i = 0; i < *n; i++)
		texts[i] = TextDatumGetCString(elements[i]);
	return texts;
}

static Datum
list_array(const List *list)
{
	char	  **texts = palloc(Max(list_length(list), 1) * sizeof(char *));
	ListCell   *cell;

	foreach(cell, list)
		texts[foreach_current_index(cell)] = lfirst(cell);
	return text_array(texts, list_length(list));
}

static List *
array_list(Datum array)
{
	int			n;
	char	  **texts = array_texts(array, &n);
	List	   *list = NIL;

	for (int i = 0; i < n; i++)
		list = lappend(list, texts[i]);
	return list;
}

/* Rows -------------------------------------------------------------------- */

static CopyRow *
row_of_tuple(HeapTuple tuple, TupleDesc desc)
{
	CopyRow    *copy = palloc0(sizeof(CopyRow));
	Datum		values[COPY_COLUMNS];
	bool		nulls[COPY_COLUMNS];
	char	   *phase;

	heap_deform_tuple(tuple, desc, values, nulls);
	copy->relid = DatumGetObjectId(values[COPY_RELID]);
	phase = TextDatumGetCString(values[COPY_PHASE]);
	for (int i = 0; i < lengthof(phase_names); i++)
	{
		if (strcmp(phase, phase_names[i]) == 0)
			copy->phase = i;
	}
	if (!nulls[COPY_CONDITION])
		copy->condition = TextDatumGetCString(values[COPY_CONDITION]);
	if (!nulls[COPY_KEY_COLUMNS])
		copy->key_columns = array_list(values[COPY_KEY_COLUMNS]);
	if (!nulls[COPY_KEY_TYPES])
		copy->key_types = array_list(values[COPY_KEY_TYPES]);
	if (!nulls[COPY_LAST_KEY])
		copy->last.texts = array_texts(values[COPY_LAST_KEY], &copy->last.n);
	copy->rows = DatumGetInt64(values[COPY_ROWS]);
	copy->bytes = DatumGetInt64(values[COPY_BYTES]);
	copy->chunks = DatumGetInt64(values[COPY_CHUNKS]);
	copy->end = nulls[COPY_END_LSN] ? InvalidXLogRecPtr : DatumGetLSN(values[COPY_END_LSN]);
	copy->requested_at = DatumGetTimestampTz(values[COPY_REQUESTED_AT]);
	if (!nulls[COPY_STARTED_AT])
		copy->started_at = DatumGetTimestampTz(values[COPY_STARTED_AT]);
	if (!nulls[COPY_ERROR])
		copy->error = TextDatumGetCString(values[COPY_ERROR]);
	return copy;
}

static void
insert_row(Relation rel, int32 pipeline, const CopyRow *copy)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	Datum	   *values = slot->tts_values;
	bool	   *nulls = slot->tts_isnull;

	ExecClearTuple(slot);
	memset(nulls, false, COPY_COLUMNS * sizeof(bool));
	values[COPY_PIPELINE] = Int32GetDatum(pipeline);
	values[COPY_RELID] = ObjectIdGetDatum(copy->relid);
	values[COPY_PHASE] = CStringGetTextDatum(phase_names[copy->phase]);
	nulls[COPY_CONDITION] = copy->condition == NULL;
	if (copy->condition)
		values[COPY_CONDITION] = CStringGetTextDatum(copy->condition);
	nulls[COPY_KEY_COLUMNS] = copy->key_columns == NIL;
	values[COPY_KEY_COLUMNS] = list_array(copy->key_columns);
	nulls[COPY_KEY_TYPES] = copy->key_types == NIL;
	values[COPY_KEY_TYPES] = list_array(copy->key_types);
	nulls[COPY_LAST_KEY] = copy->last.n == 0;
	values[COPY_LAST_KEY] = text_array(copy->last.texts, copy->last.n);
	values[COPY_ROWS] = Int64GetDatum(copy->rows);
	values[COPY_BYTES] = Int64GetDatum(copy->bytes);
	values[COPY_CHUNKS] = Int64GetDatum(copy->chunks);
	nulls[COPY_END_LSN] = copy->end == InvalidXLogRecPtr;
	values[COPY_END_LSN] = LSNGetDatum(copy->end);
	values[COPY_REQUESTED_AT] = TimestampTzGetDatum(copy->requested_at);
	nulls[COPY_STARTED_AT] = copy->started_at == 0;
	values[COPY_STARTED_AT] = TimestampTzGetDatum(copy->started_at);
	nulls[COPY_FINISHED_AT] = copy->finished_at == 0;
	values[COPY_FINISHED_AT] = TimestampTzGetDatum(copy->finished_at);
	nulls[COPY_ERROR] = copy->error == NULL;
	if (copy->error)
		values[COPY_ERROR] = CStringGetTextDatum(copy->error);
	ExecStoreVirtualTuple(slot);
	table_tuple_insert(rel, slot, GetCurrentCommandId(true), TABLE_INSERT_NO_LOGICAL, NULL);
	ExecDropSingleTupleTableSlot(slot);
}

/* Rows are few: no index is used, so that none can be missing. */
static SysScanDesc
begin_scan(Relation rel, int32 pipeline, ScanKeyData *key)
{
	ScanKeyInit(key, COPY_PIPELINE + 1, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(pipeline));
	return systable_beginscan(rel, InvalidOid, false, NULL, 1, key);
}

/*
 * Delete the rows of a pipeline: of one table, or all (InvalidOid); of a copy
 * that was asked for at this time, or any (0).
 */
static bool
delete_rows(Relation rel, int32 pipeline, Oid relid, TimestampTz requested_at)
{
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, pipeline, &key);
	HeapTuple	tuple;
	bool		found = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		TupleDesc	desc = RelationGetDescr(rel);
		Oid			of = DatumGetObjectId(heap_getattr(tuple, COPY_RELID + 1, desc, &isnull));
		TimestampTz since = DatumGetTimestampTz(heap_getattr(tuple, COPY_REQUESTED_AT + 1,
															 desc, &isnull));

		if ((OidIsValid(relid) && of != relid) ||
			(requested_at != 0 && since != requested_at))
			continue;
		simple_heap_delete(rel, &tuple->t_self);
		found = true;
	}
	systable_endscan(scan);
	return found;
}

List *
copies_read(int32 pipeline)
{
	Relation	rel = open_table(AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, pipeline, &key);
	HeapTuple	tuple;
	List	   *copies = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		copies = lappend(copies, row_of_tuple(tuple, RelationGetDescr(rel)));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return copies;
}

CopyRow *
copies_choose(const List *copies)
{
	CopyRow    *chosen = linitial(copies);
	ListCell   *cell;

	foreach(cell, copies)
	{
		CopyRow    *copy = lfirst(cell);

		if (chosen->phase == COPY_READING)
			break;
		if (copy->phase == COPY_READING || copy->blocks < chosen->blocks)
			chosen = copy;
	}
	return chosen;
}

/* For commands ------------------------------------------------------------ */

/* A time that no earlier request has. */
static TimestampTz
request_time(int32 pipeline)
{
	TimestampTz time = GetCurrentTimestamp();
	ListCell   *cell;

	foreach(cell, copies_read(pipeline))
		time = Max(time, ((CopyRow *) lfirst(cell))->requested_at + 1);
	return time;
}

void
copies_add(int32 pipeline, CopyRow *copy)
{
	Relation	rel = open_table(COPIES_WRITE_LOCK);

	copy->requested_at = request_time(pipeline);
	(void) delete_rows(rel, pipeline, copy->relid, 0);
	insert_row(rel, pipeline, copy);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

bool
copies_remove(int32 pipeline, Oid relid)
{
	Relation	rel = open_table(COPIES_WRITE_LOCK);
	bool		found = delete_rows(rel, pipeline, relid, 0);

	table_close(rel, NoLock);
	CommandCounterIncrement();
	return found;
}

bool
copies_forget(int32 pipeline)
{
	Relation	rel = open_table_at_once(COPIES_WRITE_LOCK);

	if (rel == NULL)
		return false;
	(void) delete_rows(rel, pipeline, InvalidOid, 0);
	table_close(rel, NoLock);
	return true;
}

void
copies_start_over(int32 pipeline)
{
	ListCell   *cell;

	foreach(cell, copies_read(pipeline))
	{
		CopyRow    *copy = lfirst(cell);
		CopyRow		anew = {.relid = copy->relid,.condition = copy->condition};

		if (copy->phase == COPY_READING)
			copies_add(pipeline, &anew);
	}
}

int
copies_add_published(int32 pipeline, List *publications, bool copy_data)
{
	Relation	rel = open_table(COPIES_WRITE_LOCK);
	List	   *known = copies_read(pipeline);
	List	   *relids = pipeline_published_tables(publications);
	TimestampTz now = request_time(pipeline);
	ListCell   *cell;
	int			n = 0;

	foreach(cell, relids)
	{
		CopyRow		copy = {.relid = lfirst_oid(cell),
		.phase = copy_data ? COPY_WAITING : COPY_SKIPPED,.requested_at = now};
		bool		found = false;

		for (int i = 0; i < list_length(known) && !found; i++)
			found = ((CopyRow *) list_nth(known, i))->relid == copy.relid;
		if (found)
			continue;
		insert_row(rel, pipeline, &copy);
		n++;
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return n;
}

/* For decoders ------------------------------------------------------------ */

List *
copies_read_unfinished(int32 pipeline)
{
	List	   *copies = copies_read(pipeline);
	ListCell   *cell;

	foreach(cell, copies)
	{
		CopyPhase	phase = ((CopyRow *) lfirst(cell))->phase;

		if (phase != COPY_WAITING && phase != COPY_READING)
			copies = foreach_delete_current(copies, cell);
	}
	return copies;
}

static bool
store_work(const void *arg)
{
	const CopyChange *change = arg;
	Relation	rel = open_table_at_once(RowExclusiveLock);

	if (rel == NULL)
		return false;
	if (delete_rows(rel, change->pipeline, change->copy->relid, change->copy->requested_at))
		insert_row(rel, change->pipeline, change->copy);
	table_close(rel, NoLock);
	return true;
}

bool
copies_store(int32 pipeline, const CopyRow *copy)
{
	CopyChange	change = {pipeline, copy};
	bool		decoding = wal_reader_count_as_decoding(false);
	bool		done = own_tables_transaction(store_work, &change, "local", &write_error);

	(void) wal_reader_count_as_decoding(decoding);
	return done;
}
