/*
 * firehose_format_test.c
 *		SQL functions over the formats, value encoders and queue of
 *		firehose.so, which has to be loaded before this.  For tests only.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "format/event.h"
#include "format/format.h"
#include "queue/queue.h"
#include "queue/reader.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(format_event);
PG_FUNCTION_INFO_V1(format_row);
PG_FUNCTION_INFO_V1(queued_records);

/* Is this name in the array? */
static bool
array_has(ArrayType *array, const char *name)
{
	Datum	   *items;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		if (strcmp(TextDatumGetCString(items[i]), name) == 0)
			return true;
	}
	return false;
}

/* Describe the type of a row as if it were a table. */
static EventRelation *
describe(HeapTupleHeader row, ArrayType *key, const ValueOptions *options, bool types)
{
	TupleDesc	tupdesc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row),
												 HeapTupleHeaderGetTypMod(row));
	Bitmapset  *keys = NULL;
	EventRelation *relation;

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);

		if (key && array_has(key, NameStr(att->attname)))
			keys = bms_add_member(keys, att->attnum - FirstLowInvalidHeapAttributeNumber);
	}
	relation = event_relation_from_tupdesc(CurrentMemoryContext,
										   get_typ_typrelid(HeapTupleHeaderGetTypeId(row)),
										   "pub\"lic", "t\303\244ble", tupdesc, keys, options);
	if (types)
	{
		/* as event_relation_get does */
		int			guard = value_guard_enter(VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING);

		event_relation_add_types(relation);
		value_guard_leave(guard);
	}
	ReleaseTupleDesc(tupdesc);
	return relation;
}

/* The values of a row, as Datums or as text. */
static EventValue *
row_values(EventRelation *relation, HeapTupleHeader row, bool as_text, ArrayType *unchanged)
{
	TupleDesc	tupdesc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row),
												 HeapTupleHeaderGetTypMod(row));
	HeapTupleData tuple = {0};
	Datum	   *values = palloc(sizeof(Datum) * tupdesc->natts);
	bool	   *nulls = palloc(sizeof(bool) * tupdesc->natts);
	EventValue *result = palloc0(sizeof(EventValue) * relation->ncolumns);
	int			guard = value_guard_enter(as_text ? VALUE_READS_ALL : 0);

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	tuple.t_data = row;
	heap_deform_tuple(&tuple, tupdesc, values, nulls);
	ReleaseTupleDesc(tupdesc);

	for (int i = 0; i < relation->ncolumns; i++)
	{
		EventColumn *column = &relation->columns[i];
		Oid			function;
		bool		is_varlena;

		if (unchanged && array_has(unchanged, column->name))
			result[i].kind = EVENT_VALUE_UNCHANGED;
		else if (nulls[column->attno])
			result[i].kind = EVENT_VALUE_NULL;
		else if (as_text)
		{
			getTypeOutputInfo(column->typid, &function, &is_varlena);
			result[i].kind = EVENT_VALUE_TEXT;
			result[i].v.text = OidOutputFunctionCall(function, values[column->attno]);
			result[i].length = strlen(result[i].v.text);
		}
		else
		{
			result[i].kind = EVENT_VALUE_DATUM;
			result[i].v.datum = values[column->attno];
		}
	}
	value_guard_leave(guard);
	return result;
}

static Datum
make_bytea(StringInfo out)
{
	return PointerGetDatum(cstring_to_text_with_len(out->data, out->len));
}

Datum
format_row(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	bool		as_text = strcmp(TextDatumGetCString(PG_GETARG_DATUM(1)), "text") == 0;
	ValueOptions options = {PG_GETARG_INT32(2), PG_GETARG_INT32(3), PG_GETARG_INT32(4)};
	EventRelation *relation = describe(row, NULL, &options, false);
	EventValue *values = row_values(relation, row, as_text, NULL);
	StringInfoData out;
	int			guard;

	initStringInfo(&out);
	guard = value_guard_enter(as_text ? 0 : relation->reads);
	json_append_row(&out, relation, values);
	value_guard_leave(guard);
	return make_bytea(&out);
}

/* What every event of a test has: op and identity. */
static void
fill_event(Event *event, char op, const char *identity)
{
	static const char letters[] = "cudrtms";

	event->op = strchr(letters, op) - letters;
	event->ts = 848615641659569;
	event->xid = 2037;
	if (strcmp(identity, "wal") == 0)
	{
		event->epoch = UINT64CONST(0x329AB1D24C07);
		event->lsn = UINT64CONST(0x11A0000D8);
		event->change_lsn = UINT64CONST(0x11A000018);
		event->seq = 12;
		event->truncate_known = true;
		event->cascade = true;
		event->prefix = "p\"q";
		event->content = "a\nb";
		event->content_len = 3;
	}
	else if (strcmp(identity, "trigger") == 0)
		event->record_id = 848615641659569;
	else
	{
		event->ts = 0;
		event->xid = InvalidTransactionId;
	}
}

Datum
format_event(PG_FUNCTION_ARGS)
{
	HeapTupleHeader new_row = PG_ARGISNULL(0) ? NULL : PG_GETARG_HEAPTUPLEHEADER(0);
	HeapTupleHeader old_row = PG_ARGISNULL(1) ? NULL : PG_GETARG_HEAPTUPLEHEADER(1);
	bool		as_text = strcmp(TextDatumGetCString(PG_GETARG_DATUM(3)), "text") == 0;
	const Format *format = format_find(TextDatumGetCString(PG_GETARG_DATUM(8)));
	ValueOptions options = {PG_GETARG_INT32(9), PG_GETARG_INT32(10), PG_GETARG_INT32(11)};
	FormatOptions format_options = {PG_GETARG_INT32(13), PG_GETARG_BOOL(14)};
	bool		fills_schema = format && format_options.metadata == METADATA_SCHEMA;
	FormatResult result;
	Event		event = {0};
	StringInfoData out;
	int			guard;

	if (format == NULL)
		elog(ERROR, "unknown format");
	options.dialect = format->values.dialect;
	fill_event(&event, TextDatumGetCString(PG_GETARG_DATUM(2))[0],
			   TextDatumGetCString(PG_GETARG_DATUM(7)));
	event.old_is_key = PG_GETARG_BOOL(5);
	if (new_row || old_row)
		event.relation = describe(new_row ? new_row : old_row, PG_GETARG_ARRAYTYPE_P(4), &options,
								  format->types || fills_schema);
	if (new_row)
		event.new_row = row_values(event.relation, new_row, as_text, PG_GETARG_ARRAYTYPE_P(6));
	if (old_row)
		event.old_row = row_values(event.relation, old_row, as_text, NULL);

	initStringInfo(&out);
	guard = value_guard_enter(as_text || !event.relation ? 0 : event.relation->reads);
	result = format->append(&out, &event, PG_GETARG_INT32(12), &format_options);
	value_guard_leave(guard);

	if (result != FORMAT_OK)
	{
		resetStringInfo(&out);
		appendStringInfoString(&out, result == FORMAT_NOTHING ? "nothing" : "unchanged column");
	}
	if (PG_GETARG_INT32(12) == 0 && format->count && format->count(&event) > 1)
		appendStringInfo(&out, " (1 of %d)", format->count(&event));
	return make_bytea(&out);
}

/* The slot of a stream of this database; NULL when it has none. */
static QueueStream *
find_stream(Oid serverid)
{
	for (int i = 0; i < firehose_queue->max_streams; i++)
	{
		QueueStream *s = queue_stream(firehose_queue, i);

		if (s->in_use && s->dboid == MyDatabaseId && s->serverid == serverid)
			return s;
	}
	return NULL;
}

/* Copy a record's payload out of its pages. */
static text *
copy_payload(QueueReader *reader, const ClaimedRecord *claimed)
{
	QueuePlace	place = queue_reader_payload(reader, claimed);
	StringInfoData data;

	initStringInfo(&data);
	while (data.len < claimed->length)
	{
		int			n = Min(claimed->length - data.len, QUEUE_PAGE_DATA - place.offset);

		appendBinaryStringInfo(&data, queue_data(firehose_queue, place.page) + place.offset, n);
		place.page = queue_page(firehose_queue, place.page)->next;
		place.offset = 0;
	}
	return cstring_to_text_with_len(data.data, data.len);
}

Datum
queued_records(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ForeignServer *server = GetForeignServerByName(TextDatumGetCString(PG_GETARG_DATUM(0)), false);
	QueueStream *stream = find_stream(server->serverid);
	QueueReader reader;
	ClaimedRecord	claimed;
	uint32	   *outstanding;

	InitMaterializedSRF(fcinfo, 0);
	if (stream == NULL)
		return (Datum) 0;

	/* everything is outstanding, so that this reader frees no page */
	outstanding = palloc(sizeof(uint32) * firehose_queue->npages);
	for (int i = 0; i < firehose_queue->npages; i++)
		outstanding[i] = 1;

	queue_reader_init(&reader, firehose_queue, stream, outstanding);
	while (queue_reader_next(&reader, &claimed))
	{
		Datum		values[2] = {Int64GetDatum(claimed.id)};
		bool		nulls[2] = {false, false};

		values[1] = PointerGetDatum(copy_payload(&reader, &claimed));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
