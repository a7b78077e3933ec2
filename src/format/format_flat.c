/*
 * format_flat.c
 *		The format `flat`, for tables at the destination (Iceberg, Redshift,
 *		Athena): the row's columns first, then the format's own keys.
 *
 *	{"id":1,"total":10.50,"_op":"update","_db":"app","_schema":"public",
 *	 "_table":"orders","_lsn":"0/1A0000D8","_seq":12,
 *	 "_id":"00000001-000000001A0000D8-0000000c","_ts":1795300441659569}
 *
 * A delete carries the known part of the old row: its key, or all of it.  A
 * change of the key is a delete and an insert, so that the destination finds
 * the row under its old key.  A table knows neither TRUNCATE nor messages.
 */
#include "postgres.h"

#include "common/json_write.h"
#include "format/format.h"

static const char *const own_keys[] =
{"_op", "_db", "_schema", "_table", "_lsn", "_seq", "_id", "_ts"};

static bool lacks_column(const Event *event);
static void put_metadata(StringInfo out, const Event *event, int part, const char *op,
						 FormatMetadata metadata, bool first);

const char *
flat_reserved_name(int i)
{
	return i >= 0 && i < lengthof(own_keys) ? own_keys[i] : NULL;
}

int
flat_count(const Event *event)
{
	return format_key_has_changed(event) ? 2 : 1;
}

FormatResult
flat_append_event(StringInfo out, const Event *event, int part,
				  const FormatOptions *options)
{
	const char *op = "insert";
	bool		is_delete = false;
	int			n;

	switch (event->op)
	{
		case EVENT_TRUNCATE:
		case EVENT_MESSAGE:
		case EVENT_SCHEMA:
			return FORMAT_NOTHING;
		case EVENT_INSERT:
		case EVENT_READ:
			break;
		case EVENT_DELETE:
			is_delete = true;
			break;
		case EVENT_UPDATE:
			if (!format_key_has_changed(event))
				op = "update";
			else
				is_delete = part == 0;
			break;
	}
	if (is_delete)
		op = "delete";
	if (is_delete ? event->old_row == NULL : event->new_row == NULL)
		return FORMAT_NOTHING;
	/* neither part of a changed key without the other */
	if (event->new_row && !options->omit_unchanged && lacks_column(event))
		return FORMAT_UNCHANGED_COLUMN;

	json_put_char(out, '{');
	n = format_put_columns(out, event, is_delete, is_delete && event->old_is_key);
	put_metadata(out, event, part, op, options->metadata, n == 0);
	json_put_char(out, '}');
	return format_end(out);
}

/* Was a value left out of the WAL? */
static bool
lacks_column(const Event *event)
{
	for (int i = 0; i < event->relation->ncolumns; i++)
	{
		if (event_new_value(event, i) == NULL)
			return true;
	}
	return false;
}

/* Append the keys of the format's own that are wanted and known. */
static void
put_metadata(StringInfo out, const Event *event, int part, const char *op,
			 FormatMetadata metadata, bool first)
{
	const EventRelation *relation = event->relation;
	bool		full = metadata == METADATA_FULL;

	if (metadata == METADATA_NONE)
		return;
	if (!first)
		json_put_char(out, ',');
	json_put_literal(out, "\"_op\":\"");
	json_put(out, op, strlen(op));
	json_put_char(out, '"');
	if (full && event->origin)
	{
		json_put_literal(out, ",\"_db\":");
		json_put(out, event->origin->db_json, event->origin->db_json_len);
	}
	json_put_literal(out, ",\"_schema\":");
	json_put(out, relation->schema_json, relation->schema_json_len);
	json_put_literal(out, ",\"_table\":");
	json_put(out, relation->table_json, relation->table_json_len);
	if (!full)
		return;
	if (event->lsn != InvalidXLogRecPtr)
	{
		json_put_literal(out, ",\"_lsn\":");
		format_put_lsn(out, event);
		json_put_literal(out, ",\"_seq\":");
		json_put_uint64(out, event->seq + part);
	}
	if (format_has_id(event))
	{
		json_put_literal(out, ",\"_id\":");
		format_put_id(out, event, part);
	}
	if (event->ts != 0)
	{
		json_put_literal(out, ",\"_ts\":");
		json_put_int64(out, value_unix_microseconds(event->ts));
	}
}
