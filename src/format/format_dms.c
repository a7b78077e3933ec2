/*
 * format_dms.c
 *		The format `dms`: what AWS Database Migration Service writes to Kinesis
 *		as JSON_UNFORMATTED, one object on one line.
 *
 *	{"data":{"id":1,"total":10.50},"before-image":{},
 *	 "metadata":{"timestamp":"2026-11-21T22:34:01.659569Z",
 *	  "record-type":"data","operation":"update",
 *	  "partition-key-type":"schema-table","schema-name":"public",
 *	  "table-name":"orders","transaction-id":2037,"transaction-record-id":12,
 *	  "commit-timestamp":"2026-11-21T22:34:01.659569Z",
 *	  "stream-position":"00000000/1A0000D8.12.00000000/1A000018"}}
 *
 * Sources: "Using Amazon Kinesis Data Streams as a target for AWS DMS" in the
 * DMS user guide, and, for what it does not tell, records that DMS made of
 * PostgreSQL, in the tests of github.com/crate/commons-codec
 * (tests/transform/test_aws_dms.py): the keys, that a delete has null in the
 * columns it does not know, and the definition of a table.
 *
 * A record must not depend on when it is made, because it can be made again.
 * So the time at which DMS makes a message is the commit's here, and
 * prev-transaction-id and prev-transaction-record-id are left out, as they are
 * from the first record of a task.  Values that the WAL left out are not in
 * data.  Logical messages have no record.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"

#include "common/json_write.h"
#include "format/format.h"

static const char *const operations[] = {
	[EVENT_INSERT] = "insert",
	[EVENT_UPDATE] = "update",
	[EVENT_DELETE] = "delete",
	[EVENT_READ] = "load",
	[EVENT_TRUNCATE] = "truncate-table",
	[EVENT_SCHEMA] = "create-table",
};

/* The names that definitions of tables have for types; others are strings. */
static const struct
{
	Oid			typid;
	const char *name;
}			type_names[] =
{
	{INT2OID, "INT16"},
	{INT4OID, "INT32"},
	{INT8OID, "INT64"},
	{FLOAT4OID, "REAL4"},
	{FLOAT8OID, "REAL8"},
	{NUMERICOID, "NUMERIC"},
	{BOOLOID, "BOOLEAN"},
	{BYTEAOID, "BYTES"},
	{DATEOID, "DATE"},
	{TIMESTAMPOID, "TIMESTAMP"},
	{TIMESTAMPTZOID, "TIMESTAMP"},
};

/*
 * Append the row after the change; of a delete, all columns of the one before,
 * null if they are not known.
 */
static void
put_data(StringInfo out, const Event *event)
{
	const EventRelation *relation = event->relation;
	bool		old = event->new_row == NULL;
	int			begin = out->len;
	bool		any = false;

	for (int i = 0; i < relation->ncolumns; i++)
	{
		const EventColumn *column = &relation->columns[i];
		const EventValue *value = old ? event_old_value(event, i) : event_new_value(event, i);

		if (value == NULL && !old)
			continue;
		if (any)
			json_put_char(out, ',');
		any = true;
		json_put(out, column->label, column->label_len);
		if (value == NULL)
			json_put_literal(out, "null");
		else
			event_put_value(out, column, value);
		if (!format_column_written(out, begin, column))
			return;
	}
}

/* Append the type of a column: its name here, and what belongs to it. */
static void
put_type(StringInfo out, const EventColumn *column)
{
	/* a domain's own is -1: its base type has one */
	int32		typmod = Max(column->typmod, column->type->typmod) - VARHDRSZ;
	Oid			typid = column->type->typid;
	const char *name = "STRING";

	for (int i = 0; i < lengthof(type_names); i++)
	{
		if (type_names[i].typid == typid)
			name = type_names[i].name;
	}
	json_put_literal(out, "{\"type\":\"");
	json_put(out, name, strlen(name));
	json_put_literal(out, "\",");
	if (typmod >= 0 && typid == NUMERICOID)
		/* of eleven bits and a sign: numeric_typmod_scale() of core */
		appendStringInfo(out, "\"precision\":%d,\"scale\":%d,", typmod >> 16 & 0xffff,
						 ((typmod & 0x7ff) ^ 1024) - 1024);
	else if (typmod >= 0 && (typid == VARCHAROID || typid == BPCHAROID))
		appendStringInfo(out, "\"length\":%d,", typmod);
	json_put_literal(out, "\"nullable\":");
	format_put_bool(out, column->nullable);
	json_put_char(out, '}');
}

static void
put_definition(StringInfo out, const EventRelation *relation)
{
	bool		any = false;

	json_put_literal(out, "\"table-def\":{\"columns\":{");
	for (int i = 0; i < relation->ncolumns; i++)
	{
		if (i > 0)
			json_put_char(out, ',');
		json_put(out, relation->columns[i].label, relation->columns[i].label_len);
		put_type(out, &relation->columns[i]);
	}
	json_put_char(out, '}');
	for (int i = 0; i < relation->ncolumns; i++)
	{
		if (!relation->columns[i].primary)
			continue;
		if (any)
			json_put_char(out, ',');
		else
			json_put_literal(out, ",\"primary-key\":[");
		any = true;
		/* less the colon */
		json_put(out, relation->columns[i].label, relation->columns[i].label_len - 1);
	}
	if (any)
		json_put_char(out, ']');
	json_put_char(out, '}');
}

/*
 * DMS adds this with IncludeTransactionDetails.  The form of its stream
 * position is not documented; ours sorts, and tells a record from all others.
 */
static void
put_transaction(StringInfo out, const Event *event)
{
	XLogRecPtr	lsn = event->change_lsn != InvalidXLogRecPtr ? event->change_lsn : event->lsn;

	if (TransactionIdIsValid(event->xid))
	{
		json_put_literal(out, ",\"transaction-id\":");
		json_put_uint64(out, event->xid);
	}
	if (event->lsn == InvalidXLogRecPtr)
		return;
	json_put_literal(out, ",\"transaction-record-id\":");
	json_put_uint64(out, event->seq);
	json_put_literal(out, ",\"commit-timestamp\":");
	format_put_time(out, event->ts);
	appendStringInfo(out, ",\"stream-position\":\"%08X/%08X.%u.%08X/%08X\"",
					 LSN_FORMAT_ARGS(event->lsn), event->seq, LSN_FORMAT_ARGS(lsn));
}

static void
put_metadata(StringInfo out, const Event *event, bool control, const FormatOptions *options)
{
	const char *operation = operations[event->op];

	json_put_literal(out, ",\"metadata\":{\"timestamp\":");
	format_put_time(out, event->ts);
	if (control)
		json_put_literal(out, ",\"record-type\":\"control\",\"operation\":\"");
	else
		json_put_literal(out, ",\"record-type\":\"data\",\"operation\":\"");
	json_put(out, operation, strlen(operation));
	if (control)
		json_put_literal(out, "\",\"partition-key-type\":\"task-id\",\"schema-name\":");
	else
		json_put_literal(out, "\",\"partition-key-type\":\"schema-table\",\"schema-name\":");
	json_put(out, event->relation->schema_json, event->relation->schema_json_len);
	json_put_literal(out, ",\"table-name\":");
	json_put(out, event->relation->table_json, event->relation->table_json_len);
	/* a definition is no change, and has no place of its own */
	if (event->op != EVENT_SCHEMA &&
		(options->metadata == METADATA_FULL || options->metadata == METADATA_SCHEMA))
		put_transaction(out, event);
	json_put_char(out, '}');
}

FormatResult
dms_append_event(StringInfo out, const Event *event, int part, const FormatOptions *options)
{
	bool		control = event->op == EVENT_TRUNCATE || event->op == EVENT_SCHEMA;

	if (event->op == EVENT_MESSAGE)
		return FORMAT_NOTHING;
	if (control)
	{
		json_put_literal(out, "{\"control\":{");
		if (event->op == EVENT_SCHEMA)
			put_definition(out, event->relation);
	}
	else
	{
		json_put_literal(out, "{\"data\":{");
		put_data(out, event);
		/* "Using a before image to view original values of CDC rows" */
		if (event->op == EVENT_UPDATE && json_trouble == JSON_NO_TROUBLE)
		{
			json_put_literal(out, "},\"before-image\":{");
			if (event->old_row != NULL)
				(void) format_put_columns(out, event, true, event->old_is_key);
		}
		if (json_trouble != JSON_NO_TROUBLE)
			return format_end(out);
	}
	json_put_char(out, '}');
	put_metadata(out, event, control, options);
	json_put_char(out, '}');
	return format_end(out);
}
