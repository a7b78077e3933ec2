/*
 * format_json.c
 *		The format `json`: one object per event, keys in a fixed order.
 *
 *	{"v":1,"op":"u","source":"prod-eu","db":"app","schema":"public",
 *	 "table":"orders","id":"329AB1D24C07-000000001A0000D8-0000000c",
 *	 "lsn":"0/1A0000D8","seq":12,"xid":2037,
 *	 "ts":"2026-11-21T22:34:01.659569Z","key":{"id":1},
 *	 "after":{"id":1,"total":"10.50"},"before":{"id":1},"unchanged":["big"]}
 *
 * Parts that the reader of the change does not know have no key. `key` names
 * the row as it is after the change, or was before its delete; `before` has
 * the row's former key.
 */
#include "postgres.h"

#include "access/transam.h"

#include "common/json_write.h"
#include "format/format.h"

static const char op_letters[] = {
	[EVENT_INSERT] = 'c',
	[EVENT_UPDATE] = 'u',
	[EVENT_DELETE] = 'd',
	[EVENT_READ] = 'r',
	[EVENT_TRUNCATE] = 't',
	[EVENT_MESSAGE] = 'm',
	[EVENT_SCHEMA] = 's',
};

static void put_head(StringInfo out, const Event *event);
static void put_identity(StringInfo out, const Event *event);
static void put_rowless(StringInfo out, const Event *event);
static void put_image(StringInfo out, const Event *event, bool old, bool key_only);
static void put_unchanged(StringInfo out, const Event *event);
static void put_truncate(StringInfo out, const Event *event);
static void put_message(StringInfo out, const Event *event);
static void put_schema(StringInfo out, const EventRelation *relation);

FormatResult
json_append_event(StringInfo out, const Event *event, int part,
				  const FormatOptions *options)
{
	put_head(out, event);
	put_identity(out, event);

	if (unlikely(event->op >= EVENT_TRUNCATE))
		put_rowless(out, event);
	else
	{
		if (event->relation->has_key)
		{
			json_put_literal(out, ",\"key\":");
			put_image(out, event, event->new_row == NULL, true);
		}
		if (event->new_row)
		{
			json_put_literal(out, ",\"after\":");
			put_image(out, event, false, false);
		}
		if (event->old_row)
		{
			json_put_literal(out, ",\"before\":");
			put_image(out, event, true, event->old_is_key);
		}
		if (event->new_row)
			put_unchanged(out, event);
	}
	json_put_char(out, '}');
	return format_end(out);
}

void
json_append_row(StringInfo out, EventRelation *relation, const EventValue *row)
{
	const Event event = {.relation = relation, .new_row = row};

	put_image(out, &event, false, false);
	json_terminate(out);
}

/* Write the operation, and where it happened. */
static void
put_head(StringInfo out, const Event *event)
{
	json_put_literal(out, "{\"v\":1,\"op\":\"");
	json_put_char(out, op_letters[event->op]);
	json_put_char(out, '"');
	if (event->origin)
	{
		json_put_literal(out, ",\"source\":");
		json_put(out, event->origin->source_json, event->origin->source_json_len);
		json_put_literal(out, ",\"db\":");
		json_put(out, event->origin->db_json, event->origin->db_json_len);
	}
	if (event->relation)
	{
		json_put_literal(out, ",\"schema\":");
		json_put(out, event->relation->schema_json, event->relation->schema_json_len);
		json_put_literal(out, ",\"table\":");
		json_put(out, event->relation->table_json, event->relation->table_json_len);
	}
}

/* Write which change it is, and when it was made. */
static void
put_identity(StringInfo out, const Event *event)
{
	if (format_has_id(event))
	{
		json_put_literal(out, ",\"id\":");
		if (unlikely(event->op == EVENT_SCHEMA))
			format_put_schema_id(out, event);
		else
			format_put_id(out, event, 0);
	}
	if (event->lsn != InvalidXLogRecPtr)
	{
		json_put_literal(out, ",\"lsn\":");
		format_put_lsn(out, event);
		json_put_literal(out, ",\"seq\":");
		json_put_uint64(out, event->seq);
	}
	if (TransactionIdIsValid(event->xid))
	{
		json_put_literal(out, ",\"xid\":");
		json_put_uint64(out, event->xid);
	}
	if (event->ts != 0)
	{
		json_put_literal(out, ",\"ts\":");
		value_put_time(out, event->ts);
	}
}

/* Write what an event has that is not of a row. */
static void
put_rowless(StringInfo out, const Event *event)
{
	if (event->op == EVENT_MESSAGE)
		put_message(out, event);
	else if (event->op == EVENT_TRUNCATE)
		put_truncate(out, event);
	else
		put_schema(out, event->relation);
}

/* The row before or after the change, or its key, as an object. */
static void
put_image(StringInfo out, const Event *event, bool old, bool key_only)
{
	json_put_char(out, '{');
	(void) format_put_columns(out, event, old, key_only);
	json_put_char(out, '}');
}

/*
 * The names of columns that are in neither image because the WAL left them
 * out.
 */
static void
put_unchanged(StringInfo out, const Event *event)
{
	const EventRelation *relation = event->relation;
	bool		any = false;

	for (int i = 0; i < relation->ncolumns; i++)
	{
		const EventColumn *column = &relation->columns[i];

		if (likely(event_new_value(event, i) != NULL))
			continue;
		if (any)
			json_put_char(out, ',');
		else
			json_put_literal(out, ",\"unchanged\":[");
		any = true;
		/* less the colon */
		json_put(out, column->label, column->label_len - 1);
	}
	if (any)
		json_put_char(out, ']');
}

static void
put_truncate(StringInfo out, const Event *event)
{
	if (!event->truncate_known)
		return;
	json_put_literal(out, ",\"truncate\":{\"cascade\":");
	format_put_bool(out, event->cascade);
	json_put_literal(out, ",\"restart_identity\":");
	format_put_bool(out, event->restart_identity);
	json_put_char(out, '}');
}

static void
put_message(StringInfo out, const Event *event)
{
	json_put_literal(out, ",\"message\":{\"prefix\":");
	json_put_string(out, event->prefix, strlen(event->prefix));
	json_put_literal(out, ",\"content\":");
	format_put_content(out, event);
	json_put_literal(out, ",\"transactional\":");
	format_put_bool(out, event->transactional);
	json_put_char(out, '}');
}

/* The columns as they are from the next event on. */
static void
put_schema(StringInfo out, const EventRelation *relation)
{
	json_put_literal(out, ",\"columns\":[");
	for (int i = 0; i < relation->ncolumns; i++)
	{
		const EventColumn *column = &relation->columns[i];

		if (i > 0)
			json_put_char(out, ',');
		json_put_literal(out, "{\"name\":");
		json_put(out, column->label, column->label_len - 1);
		json_put_literal(out, ",\"type\":");
		json_put(out, column->type_json, column->type_json_len);
		json_put_literal(out, ",\"typmod\":");
		json_put_int64(out, column->typmod);
		json_put_literal(out, ",\"nullable\":");
		format_put_bool(out, column->nullable);
		json_put_literal(out, ",\"key\":");
		format_put_bool(out, column->key);
		json_put_literal(out, ",\"primary\":");
		format_put_bool(out, column->primary);
		json_put_char(out, '}');
	}
	json_put_char(out, ']');
}
