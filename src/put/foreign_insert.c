/*
 * foreign_insert.c
 *		Rows inserted into a foreign table of a stream, as records.
 *
 * Runs in backends, under the executor and COPY.  A row becomes the JSON
 * object of its columns that triggers with 'row' send, or, with the table's
 * option column, the bytes of that one column.  It is put as a transactional
 * put is.  USAGE on the stream is asked of the role that INSERT is asked of:
 * the owner of a view, where the row comes through one.
 *
 * PostgreSQL leaves the constraints of a foreign table to whatever is behind
 * it.  Nothing is, so they are checked here, as those of a table are.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "common/compat.h"
#include "format/format.h"
#include "put/foreign_table.h"
#include "put/put.h"
#include "put/put_value.h"
#include "queue/ids.h"

/* Rows that are put at once. */
#define BATCH_ROWS		64

/* Rows of a batch are put when they have this many bytes. */
#define BATCH_BYTES		(256 * 1024)

/* Lives in the query's memory, in ri_FdwState. */
typedef struct ForeignInsert
{
	Oid			serverid;
	int			column;			/* index of the one to send; -1: the row */
	PutType		type;
	EventValue *values;			/* room for a row; NULL until the first */
	int			max_values;
	StringInfoData bytes;		/* of the rows that are to be put */
	int			n;
	int			starts[BATCH_ROWS + 1]; /* of each row in bytes */
} ForeignInsert;

/* ------------------------------------------------------------------------
 * Begin
 * ------------------------------------------------------------------------
 */

/* How a column of this type is sent; an error if it cannot be. */
static PutType
column_type(Relation rel, Form_pg_attribute att)
{
	switch (getBaseType(att->atttypid))
	{
		case TEXTOID:
		case VARCHAROID:
			return PUT_TEXT;
		case BYTEAOID:
			return PUT_BYTEA;
		case JSONOID:
			return PUT_JSON;
		case JSONBOID:
			return PUT_JSONB;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			 errmsg("column \"%s\" of foreign table \"%s\" cannot be sent as a record: it has type %s",
					NameStr(att->attname), RelationGetRelationName(rel),
					format_type_be(att->atttypid)),
			 errhint("Make it text, varchar, json, jsonb or bytea, or drop the table's option column to send rows as JSON.")));
	return PUT_TEXT;			/* not reached */
}

/* Find the column that the table's options say to send. */
static void
find_column(ForeignInsert *insert, Relation rel, const char *name)
{
	TupleDesc	tupdesc = RelationGetDescr(rel);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);

		if (att->attisdropped || att->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL ||
			namestrcmp(&att->attname, name) != 0)
			continue;
		insert->column = i;
		insert->type = column_type(rel, att);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("foreign table \"%s\" has no column \"%s\" to send",
					RelationGetRelationName(rel), name),
			 errhint("Name one of its columns that is stored: ALTER FOREIGN TABLE %s OPTIONS (SET column '...');",
					 quote_identifier(RelationGetRelationName(rel)))));
}

/* The stream of a foreign table; an error if its server is none. */
static Stream *
find_stream(Oid serverid)
{
	Stream	   *stream = stream_get_by_id(serverid);

	if (stream == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("foreign server \"%s\" is not a stream",
						GetForeignServer(serverid)->servername),
				 errhint("Streams are the servers of the foreign-data wrapper firehose.")));
	return stream;
}

void
foreign_insert_begin(ResultRelInfo *target, EState *estate)
{
	Relation	rel = target->ri_RelationDesc;
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	ForeignTable *table = GetForeignTable(RelationGetRelid(rel));
	ForeignInsert *insert = palloc0(sizeof(ForeignInsert));
	ListCell   *lc;

	put_check_allowed("INSERT into a foreign table of firehose");
	insert->serverid = table->serverid;
	insert->column = -1;
	insert->type = PUT_ROW;
	stream_check_usage(find_stream(table->serverid), ResultRelCheckAsUser(target, estate));
	foreach(lc, table->options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, FOREIGN_TABLE_COLUMN) == 0)
			find_column(insert, rel, defGetString(option));
	}
	initStringInfo(&insert->bytes);
	target->ri_FdwState = insert;
	MemoryContextSwitchTo(old);
}

/*
 * One where each row has to be put before the next one is looked at: because
 * of RETURNING, a view's WITH CHECK OPTION, or triggers; or where rows are
 * discarded one by one.  Called without a state for EXPLAIN.
 */
int
foreign_insert_batch_size(ResultRelInfo *target)
{
	ForeignInsert *insert = target->ri_FdwState;
	TriggerDesc *triggers = target->ri_TrigDesc;

	if (insert == NULL || target->ri_projectReturning != NULL ||
		target->ri_WithCheckOptions != NIL ||
		(triggers && (triggers->trig_insert_before_row || triggers->trig_insert_after_row)) ||
		find_stream(insert->serverid)->options.on_full == ON_FULL_DISCARD)
		return 1;
	return BATCH_ROWS;
}

/* ------------------------------------------------------------------------
 * Rows
 * ------------------------------------------------------------------------
 */

/* Check what a table's row would be checked for. */
static void
check_constraints(EState *estate, ResultRelInfo *target, TupleTableSlot *slot)
{
	Relation	rel = target->ri_RelationDesc;
	TriggerDesc *triggers = target->ri_TrigDesc;

	if (rel->rd_att->constr)
		ExecConstraints(target, slot, estate);

	/* a row that was routed here belongs here, unless a trigger changed it */
	if (rel->rd_rel->relispartition &&
		(target->ri_RootResultRelInfo == NULL ||
		 (triggers && triggers->trig_insert_before_row)))
		(void) ExecPartitionCheck(target, slot, estate, true);
}

/* Append a row as JSON. */
static void
append_row(ForeignInsert *insert, Relation rel, TupleTableSlot *slot)
{
	EventRelation *relation = event_relation_get(rel, 0, &format_get(0)->values);
	int			guard;

	if (unlikely(relation->ncolumns > insert->max_values || insert->values == NULL))
	{
		insert->max_values = Max(relation->ncolumns, 1);
		insert->values = MemoryContextAlloc(GetMemoryChunkContext(insert),
											sizeof(EventValue) * insert->max_values);
	}
	event_values_from_slot(relation, slot, insert->values);
	guard = value_guard_enter(relation->reads);
	json_append_row(&insert->bytes, relation, insert->values);
	value_guard_leave(guard);
}

/* Append the column that is to be sent. */
static void
append_column(ForeignInsert *insert, Relation rel, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, insert->column + 1, &isnull);
	RecordBytes bytes;

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in column \"%s\" of foreign table \"%s\" cannot be sent",
						NameStr(TupleDescAttr(RelationGetDescr(rel), insert->column)->attname),
						RelationGetRelationName(rel)),
				 errhint("The table's option column makes this column the record: give it a value.")));
	bytes = put_value_bytes(value, insert->type);
	appendBinaryStringInfo(&insert->bytes, bytes.data, bytes.length);
}

/* Put the rows that are in insert->bytes.  False: they are discarded. */
static bool
put_rows(ForeignInsert *insert)
{
	Stream	   *stream = find_stream(insert->serverid);
	int			n = insert->n;
	RecordBytes records[BATCH_ROWS];

	for (int i = 0; i < n; i++)
	{
		records[i].data = insert->bytes.data + insert->starts[i];
		records[i].length = insert->starts[i + 1] - insert->starts[i];
	}
	insert->n = 0;
	return put_records(stream, queue_next_ids(firehose_queue, n), records, n,
					   put_value_shape(stream, insert->type), true);
}

int
foreign_insert_rows(EState *estate, ResultRelInfo *target, TupleTableSlot **slots, int n)
{
	ForeignInsert *insert = target->ri_FdwState;
	Relation	rel = target->ri_RelationDesc;
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	bool		put = true;

	insert->n = 0;
	resetStringInfo(&insert->bytes);
	for (int i = 0; i < n && put; i++)
	{
		check_constraints(estate, target, slots[i]);
		if (insert->column < 0)
			append_row(insert, rel, slots[i]);
		else
			append_column(insert, rel, slots[i]);
		insert->starts[++insert->n] = insert->bytes.len;
		if (i + 1 == n || insert->n == BATCH_ROWS || insert->bytes.len >= BATCH_BYTES)
		{
			put = put_rows(insert);
			resetStringInfo(&insert->bytes);
		}
	}
	MemoryContextSwitchTo(old);
	return put ? n : 0;
}
