/*
 * catalog.c
 *		The rows of the catalog table firehose_pipelines: how they are read and
 *		written, and what they mean.
 *
 * Runs in backends, in the sender and, for pipeline_read, in decoders.  The
 * table is reached as the dead letters are (own_tables.h).  No role has
 * privileges on it, so rows go in and out below the executor, and nothing that
 * a user may have attached to it runs.
 *
 * It must not disturb the subscribers of a FOR ALL TABLES publication, which
 * have no such table: rows are written without logical information, and
 * deletes carry none either, because there is no replica identity.  An update
 * has no such variant, so that a change is a delete and an insert.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "common/compat.h"
#include "common/home.h"
#include "common/own_tables.h"
#include "pipeline/catalog.h"
#include "wal/replication_slot.h"
#include "workers/pipeline_table.h"

static const Oid column_types[PIPELINE_COLUMNS] = {
	[PIPELINE_ID] = INT4OID,
	[PIPELINE_VERSION] = INT4OID,
	[PIPELINE_DATABASE] = OIDOID,
	[PIPELINE_SYSTEM_IDENTIFIER] = INT8OID,
	[PIPELINE_OWNER] = OIDOID,
	[PIPELINE_SLOT_CREATED] = BOOLOID,
	[PIPELINE_ENABLED] = BOOLOID,
	[PIPELINE_DURABLE_PUTS] = BOOLOID,
	[PIPELINE_DROPPED] = BOOLOID,
	[PIPELINE_NAME] = TEXTOID,
	[PIPELINE_STREAM] = TEXTOID,
	[PIPELINE_PUBLICATIONS] = TEXTARRAYOID,
	[PIPELINE_FORMAT] = TEXTOID,
	[PIPELINE_TIMESTAMPS] = TEXTOID,
	[PIPELINE_NUMERICS] = TEXTOID,
	[PIPELINE_JSON_COLUMNS] = TEXTOID,
	[PIPELINE_BIGINTS] = TEXTOID,
	[PIPELINE_METADATA] = TEXTOID,
	[PIPELINE_UNCHANGED] = TEXTOID,
	[PIPELINE_ROUTES] = JSONBOID,
	[PIPELINE_MESSAGES] = TEXTARRAYOID,
	[PIPELINE_ORIGIN] = TEXTOID,
	[PIPELINE_SLOT_NAME] = TEXTOID,
	[PIPELINE_SKIP_LSNS] = PG_LSNARRAYOID,
	[PIPELINE_PUBLICATION_OIDS] = OIDARRAYOID,
	[PIPELINE_STREAM_OIDS] = OIDARRAYOID,
	[PIPELINE_FAILOVER] = BOOLOID,
	[PIPELINE_HOME] = INT8OID
};

/* The values of a choice, in the order of their enum. */
static const char *const timestamps_values[] = {"iso", "epoch_us", "epoch_ms", "sql", NULL};
static const char *const numerics_values[] = {"string", "number", "precise", NULL};
static const char *const json_values[] = {"embed", "string", NULL};
static const char *const metadata_values[] = {"full", "routing", "none", "schema", NULL};
static const char *const unchanged_values[] = {"dead_letter", "omit", NULL};

static const struct
{
	PipelineColumn column;
	const char *name;
	const char *const *values;
}			choices[] =
{
	{PIPELINE_TIMESTAMPS, "timestamps", timestamps_values},
	{PIPELINE_NUMERICS, "numerics", numerics_values},
	{PIPELINE_JSON_COLUMNS, "json_columns", json_values},
	{PIPELINE_BIGINTS, "bigints", bigint_form_words},
	{PIPELINE_METADATA, "metadata", metadata_values},
	{PIPELINE_UNCHANGED, "unchanged", unchanged_values},
};

static uint64 fingerprint(const PipelineRow *row);
static void read_choices(const PipelineRow *row, Pipeline *pipeline);
static PipelineRoute *parse_route(const JsonbValue *key, const JsonbValue *value);

/* The table --------------------------------------------------------------- */

Relation
pipeline_catalog_open(LOCKMODE lockmode)
{
	return own_tables_require_table(TABLE_PIPELINES, lockmode, column_types,
								PIPELINE_COLUMNS);
}

Relation
pipeline_catalog_open_at_once(LOCKMODE lockmode)
{
	return own_tables_open_table(TABLE_PIPELINES, lockmode, column_types,
							 PIPELINE_COLUMNS);
}

/* Rows are few: no index is used, so that none can be missing. */
List *
pipeline_catalog_rows(Relation rel)
{
	List	   *rows = NIL;
	SysScanDesc scan;
	HeapTuple	tuple;

	/* no snapshot given: as of now, whatever the isolation level */
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		PipelineRow *row = palloc(sizeof(PipelineRow));

		row->tuple = heap_copytuple(tuple);
		heap_deform_tuple(row->tuple, RelationGetDescr(rel), row->values, row->nulls);
		rows = lappend(rows, row);
	}
	systable_endscan(scan);
	return rows;
}

PipelineRow *
pipeline_catalog_find(Relation rel, const char *name)
{
	List	   *rows = pipeline_catalog_rows(rel);
	ListCell   *cell;

	foreach(cell, rows)
	{
		PipelineRow *row = lfirst(cell);
		char	   *row_name = pipeline_row_text(row, PIPELINE_NAME);

		if (row_name != NULL && strcmp(row_name, name) == 0)
			return row;
	}
	return NULL;
}

PipelineRow *
pipeline_catalog_find_id(Relation rel, int32 id)
{
	List	   *rows = pipeline_catalog_rows(rel);
	ListCell   *cell;

	foreach(cell, rows)
	{
		if (pipeline_row_id(lfirst(cell)) == id)
			return lfirst(cell);
	}
	return NULL;
}

PipelineRow *
pipeline_catalog_find_durable(Relation rel)
{
	List	   *rows = pipeline_catalog_rows(rel);
	ListCell   *cell;

	foreach(cell, rows)
	{
		PipelineRow *row = lfirst(cell);

		if (DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]) &&
			!DatumGetBool(row->values[PIPELINE_DROPPED]))
			return row;
	}
	return NULL;
}

void
pipeline_catalog_store(Relation rel, PipelineRow *row)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel),
													&TTSOpsHeapTuple);
	OwnIndexes *indexes = own_tables_open_indexes(rel);

	if (row->tuple != NULL)
		simple_heap_delete(rel, &row->tuple->t_self);

	ExecClearTuple(slot);
	memcpy(slot->tts_values, row->values, sizeof(row->values));
	memcpy(slot->tts_isnull, row->nulls, sizeof(row->nulls));
	ExecStoreVirtualTuple(slot);
	table_tuple_insert(rel, slot, GetCurrentCommandId(true),
					   TABLE_INSERT_NO_LOGICAL, NULL);
	own_tables_insert_index_entries(indexes, slot);

	own_tables_close_indexes(indexes);
	ExecDropSingleTupleTableSlot(slot);
	CacheInvalidateRelcache(rel);
	CommandCounterIncrement();
}

void
pipeline_catalog_delete(Relation rel, PipelineRow *row)
{
	simple_heap_delete(rel, &row->tuple->t_self);
	CacheInvalidateRelcache(rel);
	CommandCounterIncrement();
}

/*
 * The sequence may have been set back (DROP and CREATE EXTENSION), and slots
 * of pipelines that had the number before may not have been dropped yet.
 */
int32
pipeline_catalog_new_id(Relation rel)
{
	List	   *sequences = getOwnedSequences(RelationGetRelid(rel));
	int32		id;
	SlotInfo	info;
	bool		used;

	if (list_length(sequences) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has been altered", RelationGetRelationName(rel)),
				 errhint("Drop the extension firehose and create it again.")));

	do
	{
		id = (int32) nextval_internal(linitial_oid(sequences), false);
		LWLockAcquire(pipeline_table->lock, LW_SHARED);
		used = pipeline_table_find(MyDatabaseId, id) != NULL;
		LWLockRelease(pipeline_table->lock);
	} while (used ||
			 replication_slot_look(replication_slot_default_name(MyDatabaseId, id), &info) ||
			 pipeline_catalog_find_id(rel, id) != NULL);

	return id;
}

/* Rows -------------------------------------------------------------------- */

char *
pipeline_row_text(const PipelineRow *row, PipelineColumn column)
{
	return row->nulls[column] ? NULL : TextDatumGetCString(row->values[column]);
}

List *
pipeline_row_texts(const PipelineRow *row, PipelineColumn column)
{
	List	   *list = NIL;
	Datum	   *elements;
	int			n;

	if (row->nulls[column])
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(row->values[column]),
					  TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
		list = lappend(list, TextDatumGetCString(elements[i]));
	return list;
}

List *
pipeline_row_oids(const PipelineRow *row, PipelineColumn column)
{
	List	   *list = NIL;
	Datum	   *elements;
	int			n;

	if (row->nulls[column] ||
		(uint64) DatumGetInt64(row->values[PIPELINE_SYSTEM_IDENTIFIER]) != GetSystemIdentifier())
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(row->values[column]), OIDOID, sizeof(Oid),
					  true, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
		list = lappend_oid(list, DatumGetObjectId(elements[i]));
	return list;
}

char *
pipeline_row_slot_name(const PipelineRow *row)
{
	char	   *name = pipeline_row_text(row, PIPELINE_SLOT_NAME);

	if (name != NULL)
		return name;
	return replication_slot_default_name(DatumGetObjectId(row->values[PIPELINE_DATABASE]),
									  pipeline_row_id(row));
}

XLogRecPtr *
pipeline_row_skips(const PipelineRow *row, XLogRecPtr confirmed, int *n)
{
	XLogRecPtr *skips;
	Datum	   *elements;
	int			nelements;

	*n = 0;
	if (row->nulls[PIPELINE_SKIP_LSNS])
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(row->values[PIPELINE_SKIP_LSNS]), LSNOID,
					  sizeof(XLogRecPtr), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, NULL, &nelements);
	skips = palloc(Max(nelements, 1) * sizeof(XLogRecPtr));
	for (int i = 0; i < nelements; i++)
	{
		if (DatumGetLSN(elements[i]) >= confirmed)
			skips[(*n)++] = DatumGetLSN(elements[i]);
	}
	return skips;
}

/*
 * A database's OID alone would not do: those of the first databases are the
 * same on every server.  An upgrade with pg_upgrade makes a new server, but
 * from 17 on takes the slots along, and then there is no need to ask.
 */
bool
pipeline_row_is_detached(const PipelineRow *row)
{
	SlotInfo	info;

	if (DatumGetObjectId(row->values[PIPELINE_DATABASE]) != MyDatabaseId)
		return true;
	if ((uint64) DatumGetInt64(row->values[PIPELINE_SYSTEM_IDENTIFIER]) == GetSystemIdentifier())
		return false;
	return !DatumGetBool(row->values[PIPELINE_SLOT_CREATED]) ||
		!replication_slot_look(pipeline_row_slot_name(row), &info) ||
		info.database != MyDatabaseId;
}

/*
 * Only in a server that was recognised as a copy.  Another one may find the
 * number of a copy in its rows: a standby that is older than the number gets
 * them from its primary.
 */
bool
pipeline_row_is_copied(const PipelineRow *row)
{
	int64		home = row->nulls[PIPELINE_HOME] ? 0 : DatumGetInt64(row->values[PIPELINE_HOME]);

	return (uint64) DatumGetInt64(row->values[PIPELINE_SYSTEM_IDENTIFIER]) == GetSystemIdentifier() &&
		home_number() != 0 && home != home_number();
}

void
pipeline_row_set_home(PipelineRow *row)
{
	row->values[PIPELINE_HOME] = Int64GetDatum(home_number());
	row->nulls[PIPELINE_HOME] = home_number() == 0;
}

Pipeline *
pipeline_from_row(const PipelineRow *row)
{
	Pipeline   *pipeline = palloc0(sizeof(Pipeline));
	char	   *format = pipeline_row_text(row, PIPELINE_FORMAT);

	pipeline->id = pipeline_row_id(row);
	pipeline->name = pipeline_row_text(row, PIPELINE_NAME);
	pipeline->owner = DatumGetObjectId(row->values[PIPELINE_OWNER]);
	pipeline->database = DatumGetObjectId(row->values[PIPELINE_DATABASE]);
	pipeline->stream = pipeline_row_text(row, PIPELINE_STREAM);
	pipeline->publications = pipeline_row_texts(row, PIPELINE_PUBLICATIONS);
	pipeline->publication_oids = pipeline_row_oids(row, PIPELINE_PUBLICATION_OIDS);
	pipeline->stream_oids = pipeline_row_oids(row, PIPELINE_STREAM_OIDS);
	pipeline->failover_given = !row->nulls[PIPELINE_FAILOVER];
	pipeline->failover = row->nulls[PIPELINE_FAILOVER] || DatumGetBool(row->values[PIPELINE_FAILOVER]);
	pipeline->routes = pipeline_parse_routes(DatumGetJsonbP(row->values[PIPELINE_ROUTES]));
	pipeline->message_prefixes = pipeline_row_texts(row, PIPELINE_MESSAGES);
	pipeline->origin = pipeline_row_text(row, PIPELINE_ORIGIN);
	pipeline->slot_name = pipeline_row_slot_name(row);
	pipeline->slot_created = DatumGetBool(row->values[PIPELINE_SLOT_CREATED]);
	pipeline->enabled = DatumGetBool(row->values[PIPELINE_ENABLED]);
	pipeline->detached = pipeline_row_is_detached(row);
	pipeline->durable_puts = DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]);
	pipeline->skips = pipeline_row_skips(row, InvalidXLogRecPtr, &pipeline->nskips);

	pipeline->format = format_find(format);
	if (pipeline->format == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" of pipeline \"%s\" does not exist",
						format, pipeline->name)));
	pipeline->values = pipeline->format->values;
	pipeline->fingerprint = fingerprint(row);
	read_choices(row, pipeline);
	return pipeline;
}

/* A number that changes with the streams, publications and form of records. */
static uint64
fingerprint(const PipelineRow *row)
{
	uint64		hash = 0;

	for (int i = PIPELINE_STREAM; i <= PIPELINE_ORIGIN; i++)
	{
		if (row->nulls[i])
			hash = hash_bytes_uint32_extended(i, hash);
		else
		{
			struct varlena *value = PG_DETOAST_DATUM_PACKED(row->values[i]);

			hash = DatumGetUInt64(hash_any_extended((unsigned char *) VARDATA_ANY(value),
													VARSIZE_ANY_EXHDR(value), hash));
		}
	}
	return hash;
}

/*
 * Take over the options that were chosen; the others keep the format's
 * defaults.
 */
static void
read_choices(const PipelineRow *row, Pipeline *pipeline)
{
	for (int i = 0; i < lengthof(choices); i++)
	{
		char	   *chosen = pipeline_row_text(row, choices[i].column);
		int			value;

		if (chosen == NULL)
			continue;
		value = value_find_word(choices[i].values, chosen);
		if (value < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for %s of pipeline \"%s\": \"%s\"",
							choices[i].name, pipeline->name, chosen)));

		switch (choices[i].column)
		{
			case PIPELINE_TIMESTAMPS:
				pipeline->values.timestamps = value;
				break;
			case PIPELINE_NUMERICS:
				pipeline->values.numerics = value;
				break;
			case PIPELINE_JSON_COLUMNS:
				pipeline->values.json_columns = value;
				break;
			case PIPELINE_BIGINTS:
				pipeline->values.bigints = value;
				break;
			case PIPELINE_METADATA:
				pipeline->format_options.metadata = value;
				break;
			case PIPELINE_UNCHANGED:
				pipeline->format_options.omit_unchanged = value;
				break;
			default:
				elog(ERROR, "unexpected column %d", choices[i].column);
		}
	}
}

bool
pipeline_choice(int i, PipelineColumn *column, const char **name,
				const char *const **values)
{
	if (i >= lengthof(choices))
		return false;
	*column = choices[i].column;
	*name = choices[i].name;
	*values = choices[i].values;
	return true;
}

List *
pipeline_parse_routes(Jsonb *routes)
{
	List	   *list = NIL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(routes))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("routes must be a JSON object"),
				 errhint("Write them as {\"schema.table\": \"stream\"}.")));

	it = JsonbIteratorInit(&routes->root);
	(void) JsonbIteratorNext(&it, &key, true);	/* the object's beginning */
	while ((token = JsonbIteratorNext(&it, &key, true)) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		list = lappend(list, parse_route(&key, &value));
	}
	return list;
}

static PipelineRoute *
parse_route(const JsonbValue *key, const JsonbValue *value)
{
	PipelineRoute *route = palloc(sizeof(PipelineRoute));
	text	   *table = cstring_to_text_with_len(key->val.string.val, key->val.string.len);
	List	   *names = textToQualifiedNameList(table);

	if (list_length(names) != 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("table \"%s\" of a route is not qualified by a schema",
						text_to_cstring(table)),
				 errhint("Write routes as {\"schema.table\": \"stream\"}.")));
	route->schema = strVal(linitial(names));
	route->table = strVal(lsecond(names));

	if (value->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("route of table \"%s\" is not the name of a stream",
						text_to_cstring(table)),
				 errhint("Write routes as {\"schema.table\": \"stream\"}.")));
	route->stream = pnstrdup(value->val.string.val, value->val.string.len);
	return route;
}

/* For decoders ------------------------------------------------------------ */

Pipeline *
pipeline_read(int32 id)
{
	Pipeline   *pipeline = NULL;
	Relation	rel;
	PipelineRow *row;

	PushActiveSnapshot(GetTransactionSnapshot());
	rel = pipeline_catalog_open(AccessShareLock);
	row = pipeline_catalog_find_id(rel, id);
	if (row != NULL && !DatumGetBool(row->values[PIPELINE_DROPPED]))
		pipeline = pipeline_from_row(row);
	table_close(rel, AccessShareLock);
	PopActiveSnapshot();
	return pipeline;
}
