/*
 * format_wal2json.c
 *		The format `wal2json`: what the output plugin wal2json writes as its
 *		format version 2, for consumers that know it.
 *
 *	{"action":"U","xid":2037,"timestamp":"2026-11-21 22:34:01.659569+00",
 *	 "lsn":"0/1A0000D8","schema":"public","table":"orders",
 *	 "columns":[{"name":"id","type":"bigint","value":1}, ...],
 *	 "identity":[{"name":"id","type":"bigint","value":1}],
 *	 "pk":[{"name":"id","type":"bigint"}]}
 *
 * xid, timestamp, lsn and pk are what the plugin's options include-xids,
 * include-timestamp, include-lsn and include-pk add; they are left out unless
 * metadata is full.  There are no records of BEGIN and COMMIT.  A row of a
 * copy is an insert.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "common/json_write.h"
#include "format/format.h"

static const char actions[] = {
	[EVENT_INSERT] = 'I',
	[EVENT_UPDATE] = 'U',
	[EVENT_DELETE] = 'D',
	[EVENT_READ] = 'I',
	[EVENT_TRUNCATE] = 'T',
	[EVENT_MESSAGE] = 'M',
};

/* Which columns of a row. */
typedef enum ColumnChoice
{
	COLUMNS_ALL,
	COLUMNS_IDENTITY,
	COLUMNS_PRIMARY				/* without their values */
} ColumnChoice;

/* A point in time as the plugin shows it in UTC. */
static void
put_timestamp(StringInfo out, TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		text[MAXDATELEN + 1];

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	tm.tm_isdst = 0;			/* the zone is known */
	EncodeDateTime(&tm, fsec, true, 0, NULL, USE_ISO_DATES, text);
	json_put_char(out, '"');
	json_put(out, text, strlen(text));
	json_put_char(out, '"');
}

/* The text of a value that is not null. */
static const char *
value_text(const EventColumn *column, const EventValue *value, int *length)
{
	if (value->kind == EVENT_VALUE_DATUM)
	{
		const char *text = value_output(column->type, value->v.datum);

		*length = strlen(text);
		return text;
	}
	*length = value->length;
	return value->v.text;
}

/*
 * Numbers, except those of domains, and booleans are bare; NaN and infinity
 * are null; bytea has no \x; everything else is PostgreSQL's text.
 */
static void
put_value(StringInfo out, const EventColumn *column, const EventValue *value)
{
	const char *text;
	int			length;

	if (value->kind == EVENT_VALUE_NULL)
	{
		json_put_literal(out, "null");
		return;
	}
	text = value_text(column, value, &length);
	if (unlikely(json_is_hopeless(length)))
		return;
	switch (column->typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			if (memchr(text, 'N', length) != NULL || memchr(text, 'I', length) != NULL)
				json_put_literal(out, "null");
			else
				json_put(out, text, length);
			break;
		case BOOLOID:
			if (text[0] == 't')
				json_put_literal(out, "true");
			else
				json_put_literal(out, "false");
			break;
		case BYTEAOID:
			json_put_string(out, text + 2, length - 2);
			break;
		default:
			json_put_string(out, text, length);
	}
}

/*
 * Append `,"name":[{column},...]`.  Values that the WAL left out are not among
 * them.
 */
static void
put_columns(StringInfo out, const char *name, const EventRelation *relation,
			const EventValue *row, ColumnChoice choice)
{
	int			begin = out->len;
	bool		any = false;

	json_put(out, name, strlen(name));
	for (int i = 0; i < relation->ncolumns; i++)
	{
		const EventColumn *column = &relation->columns[i];

		if ((choice == COLUMNS_IDENTITY && !column->key) ||
			(choice == COLUMNS_PRIMARY && !column->primary) ||
			row[i].kind == EVENT_VALUE_UNCHANGED)
			continue;
		if (any)
			json_put_char(out, ',');
		any = true;
		json_put_literal(out, "{\"name\":");
		json_put(out, column->label, column->label_len - 1);
		json_put_literal(out, ",\"type\":");
		json_put(out, column->type_json, column->type_json_len);
		if (choice != COLUMNS_PRIMARY)
		{
			json_put_literal(out, ",\"value\":");
			put_value(out, column, &row[i]);
		}
		json_put_char(out, '}');
		if (!format_column_written(out, begin, column))
			return;
	}
	json_put_char(out, ']');
}

/* Where a change is in the WAL, and whose it is. */
static void
put_source(StringInfo out, const Event *event)
{
	XLogRecPtr	lsn = event->change_lsn != InvalidXLogRecPtr ? event->change_lsn : event->lsn;
	bool		outside = event->op == EVENT_MESSAGE && !event->transactional;

	if (TransactionIdIsValid(event->xid))
	{
		json_put_literal(out, ",\"xid\":");
		json_put_uint64(out, event->xid);
	}
	else if (outside)
		json_put_literal(out, ",\"xid\":null");
	if (event->ts != 0)
	{
		json_put_literal(out, ",\"timestamp\":");
		put_timestamp(out, event->ts);
	}
	else if (outside)
		json_put_literal(out, ",\"timestamp\":null");
	if (lsn != InvalidXLogRecPtr)
		appendStringInfo(out, ",\"lsn\":\"%X/%X\"", LSN_FORMAT_ARGS(lsn));
}

/*
 * The columns that tell the row: of the old row, all of it under REPLICA
 * IDENTITY FULL, or, of an update that has none, of the new one.
 */
static void
put_identity(StringInfo out, const Event *event)
{
	const EventRelation *relation = event->relation;

	if (event->old_row != NULL)
		put_columns(out, ",\"identity\":[", relation, event->old_row,
					event->old_is_key ? COLUMNS_IDENTITY : COLUMNS_ALL);
	else if (event->op == EVENT_UPDATE && relation->has_key)
		put_columns(out, ",\"identity\":[", relation, event->new_row, COLUMNS_IDENTITY);
}

static void
put_message(StringInfo out, const Event *event)
{
	if (event->transactional)
		json_put_literal(out, ",\"transactional\":true,\"prefix\":");
	else
		json_put_literal(out, ",\"transactional\":false,\"prefix\":");
	json_put_string(out, event->prefix, strlen(event->prefix));
	json_put_literal(out, ",\"content\":");
	format_put_content(out, event);
}

FormatResult
wal2json_append_event(StringInfo out, const Event *event, int part,
					  const FormatOptions *options)
{
	const EventRelation *relation = event->relation;

	if (event->op == EVENT_SCHEMA)
		return FORMAT_NOTHING;
	json_put_literal(out, "{\"action\":\"");
	json_put_char(out, actions[event->op]);
	json_put_char(out, '"');
	if (options->metadata == METADATA_FULL)
		put_source(out, event);
	if (event->op == EVENT_MESSAGE)
		put_message(out, event);
	else
	{
		json_put_literal(out, ",\"schema\":");
		json_put(out, relation->schema_json, relation->schema_json_len);
		json_put_literal(out, ",\"table\":");
		json_put(out, relation->table_json, relation->table_json_len);
		if (event->new_row != NULL)
			put_columns(out, ",\"columns\":[", relation, event->new_row, COLUMNS_ALL);
		put_identity(out, event);
		if (options->metadata == METADATA_FULL && event->op != EVENT_TRUNCATE)
			put_columns(out, ",\"pk\":[", relation,
						event->old_row ? event->old_row : event->new_row, COLUMNS_PRIMARY);
	}
	json_put_char(out, '}');
	return format_end(out);
}
