/*
 * format_debezium.c
 *		The format `debezium`: the payload of a change event of Debezium's
 *		PostgreSQL connector, as its JSON converter writes it with
 *		schemas.enable=false.
 *
 *	{"before":null,"after":{"id":1,"total":"10.50"},
 *	 "source":{"version":"1.0","connector":"postgresql","name":"prod-eu",
 *	  "ts_ms":1795300441659,"snapshot":"false","db":"app",
 *	  "sequence":"[\"436207832\",\"436207640\"]","ts_us":1795300441659569,
 *	  "ts_ns":1795300441659569000,"schema":"public","table":"orders",
 *	  "txId":2037,"lsn":436207640,"xmin":null},
 *	 "transaction":{"id":"2037:436207832","total_order":12,
 *	  "data_collection_order":12},
 *	 "op":"c","ts_ms":...,"ts_us":...,"ts_ns":...}
 *
 * Sources, in github.com/debezium/debezium: Envelope.java (the keys, op),
 * AbstractSourceInfoStructMaker.java and PostgresSourceInfoStructMaker.java
 * (source), SourceInfo.java (sequence), RelationalChangeRecordEmitter.java (a
 * changed key is a delete and an insert), PostgresChangeRecordEmitter.java
 * (an unchanged value comes from the old row if that has it),
 * LogicalDecodingMessageMonitor.java (messages), and postgresql.adoc of its
 * documentation (transaction).
 *
 * A record must not depend on when it is made, because it can be made again.
 * So Debezium's time of processing is the commit's here, the first part of
 * sequence is the LSN of the change's own commit, which sorts as that of the
 * commit before would, and data_collection_order is total_order.  xmin is null
 * as with Debezium's default; a row of a copy is one of an incremental
 * snapshot.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"

#include "common/json_write.h"
#include "format/format.h"

/* unavailable.value.placeholder, of RelationalDatabaseConnectorConfig.java */
#define PLACEHOLDER			"__debezium_unavailable_value"
#define PLACEHOLDER_BASE64	"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="
/* UUID.nameUUIDFromBytes of Java: version 3, without a namespace */
#define PLACEHOLDER_UUID	"b68a35a7-17ad-35b3-af2a-ae46edb4545a"

static const char op_letters[] = {
	[EVENT_INSERT] = 'c',
	[EVENT_UPDATE] = 'u',
	[EVENT_DELETE] = 'd',
	[EVENT_READ] = 'r',
	[EVENT_TRUNCATE] = 't',
	[EVENT_MESSAGE] = 'm',
};

/* In arrays of numbers and booleans each byte of it is an element. */
static void
put_placeholder_bytes(StringInfo out, bool booleans)
{
	for (int i = 0; PLACEHOLDER[i] != '\0'; i++)
	{
		json_put_char(out, i == 0 ? '[' : ',');
		if (booleans)
			json_put_literal(out, "true");
		else
			json_put_int64(out, PLACEHOLDER[i]);
	}
	json_put_char(out, ']');
}

static void
put_placeholder_array(StringInfo out, const ValueType *element)
{
	switch (element->typid)
	{
		case NUMERICOID:
			if (element->options->numerics == NUMERICS_STRING)
			{
				json_put_literal(out, "[\"" PLACEHOLDER "\"]");
				break;
			}
			/* FALLTHROUGH */
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
			put_placeholder_bytes(out, false);
			break;
		case BOOLOID:
			put_placeholder_bytes(out, true);
			break;
		case BYTEAOID:
			json_put_literal(out, "[\"" PLACEHOLDER_BASE64 "\"]");
			break;
		case UUIDOID:
			json_put_literal(out, "[\"" PLACEHOLDER_UUID "\"]");
			break;
		default:
			json_put_literal(out, "[\"" PLACEHOLDER "\"]");
	}
}

/*
 * Append the placeholder in the form of a column's type, as
 * UnchangedToastedPlaceholder.java and
 * UnchangedToastedReplicationMessageColumn.java choose it.
 */
static void
put_placeholder(StringInfo out, const ValueType *type)
{
	if (type->element)
		put_placeholder_array(out, type->element);
	else if (type->typid == BYTEAOID)
		json_put_literal(out, "\"" PLACEHOLDER_BASE64 "\"");
	else if (value_is_hstore(type->typid))
		json_put_literal(out, "\"{\\\"" PLACEHOLDER "\\\":\\\"" PLACEHOLDER "\\\"}\"");
	else
		json_put_literal(out, "\"" PLACEHOLDER "\"");
}

/*
 * Append a row, or null.  Of an old row that is only a key the other columns
 * are not known, and left out.
 */
static void
put_row(StringInfo out, const Event *event, bool old, bool wanted)
{
	const EventRelation *relation = event->relation;
	int			begin = out->len;
	bool		any = false;

	if (!wanted)
	{
		json_put_literal(out, "null");
		return;
	}
	json_put_char(out, '{');
	for (int i = 0; i < relation->ncolumns; i++)
	{
		const EventColumn *column = &relation->columns[i];
		const EventValue *value;

		if (old && event->old_is_key && !column->key)
			continue;
		value = old ? event_old_value(event, i) : event_new_value(event, i);
		if (any)
			json_put_char(out, ',');
		any = true;
		json_put(out, column->label, column->label_len);
		if (unlikely(value == NULL))
			put_placeholder(out, column->type);
		else
			event_put_value(out, column, value);
		if (!format_column_written(out, begin, column))
			return;
	}
	json_put_char(out, '}');
}

/* Append the event's time: `"ts_ms":...`, the other two, or all of them. */
static void
put_times(StringInfo out, const Event *event, bool ms, bool others)
{
	/* all events of a transaction have the same */
	static TimestampTz last_time = 0;
	static char last_ms[48];
	static char last_others[96];

	if (unlikely(event->ts == 0 || event->ts != last_time))
	{
		int64		us = value_unix_microseconds(event->ts);

		last_time = event->ts;
		snprintf(last_ms, sizeof(last_ms), ",\"ts_ms\":" INT64_FORMAT,
				 us / 1000 - (us % 1000 < 0 ? 1 : 0));
		snprintf(last_others, sizeof(last_others),
				 ",\"ts_us\":" INT64_FORMAT ",\"ts_ns\":" INT64_FORMAT "000", us, us);
		if (event->ts == 0)
		{
			strcpy(last_ms, ",\"ts_ms\":null");
			strcpy(last_others, ",\"ts_us\":null,\"ts_ns\":null");
		}
	}
	if (ms)
		json_put(out, last_ms, strlen(last_ms));
	if (others)
		json_put(out, last_others, strlen(last_others));
}

/* Append an LSN, inside of the string that sequence is. */
static void
put_sequence_lsn(StringInfo out, XLogRecPtr lsn)
{
	if (lsn == InvalidXLogRecPtr)
	{
		json_put_literal(out, "null");
		return;
	}
	json_put_literal(out, "\\\"");
	json_put_uint64(out, lsn);
	json_put_literal(out, "\\\"");
}

/* The position of a change; of a row of a copy where it was read. */
static XLogRecPtr
change_lsn(const Event *event)
{
	return event->change_lsn != InvalidXLogRecPtr ? event->change_lsn : event->lsn;
}

static void
put_source(StringInfo out, const Event *event)
{
	const EventRelation *relation = event->relation;
	XLogRecPtr	lsn = change_lsn(event);

	json_put_literal(out, "\"source\":{\"version\":\"" FIREHOSE_VERSION
					 "\",\"connector\":\"postgresql\",\"name\":");
	if (event->origin)
		json_put(out, event->origin->source_json, event->origin->source_json_len);
	else
		json_put_literal(out, "\"\"");
	put_times(out, event, true, false);
	json_put_literal(out, ",\"snapshot\":\"");
	if (event->op == EVENT_READ)
		json_put_literal(out, "incremental\",\"db\":");
	else
		json_put_literal(out, "false\",\"db\":");
	if (event->origin)
		json_put(out, event->origin->db_json, event->origin->db_json_len);
	else
		json_put_literal(out, "\"\"");

	json_put_literal(out, ",\"sequence\":\"[");
	put_sequence_lsn(out, event->lsn);
	json_put_char(out, ',');
	put_sequence_lsn(out, lsn);
	json_put_literal(out, "]\"");
	put_times(out, event, false, true);

	json_put_literal(out, ",\"schema\":");
	if (relation)
		json_put(out, relation->schema_json, relation->schema_json_len);
	else
		json_put_literal(out, "\"\"");
	json_put_literal(out, ",\"table\":");
	if (relation)
		json_put(out, relation->table_json, relation->table_json_len);
	else
		json_put_literal(out, "\"\"");

	json_put_literal(out, ",\"txId\":");
	if (TransactionIdIsValid(event->xid))
		json_put_uint64(out, event->xid);
	else
		json_put_literal(out, "null");
	json_put_literal(out, ",\"lsn\":");
	if (lsn != InvalidXLogRecPtr)
		json_put_uint64(out, lsn);
	else
		json_put_literal(out, "null");
	json_put_literal(out, ",\"xmin\":null}");
}

/* Debezium adds this with provide.transaction.metadata. */
static void
put_transaction(StringInfo out, const Event *event, int part, FormatMetadata metadata)
{
	if (metadata != METADATA_FULL || event->lsn == InvalidXLogRecPtr ||
		!TransactionIdIsValid(event->xid))
	{
		json_put_literal(out, ",\"transaction\":null");
		return;
	}
	json_put_literal(out, ",\"transaction\":{\"id\":\"");
	json_put_uint64(out, event->xid);
	json_put_char(out, ':');
	json_put_uint64(out, event->lsn);
	json_put_literal(out, "\",\"total_order\":");
	json_put_uint64(out, event->seq + part);
	json_put_literal(out, ",\"data_collection_order\":");
	json_put_uint64(out, event->seq + part);
	json_put_char(out, '}');
}

/* The bytes as they are in the WAL, in base64. */
static void
put_message(StringInfo out, const Event *event)
{
	json_put_literal(out, ",\"message\":{\"prefix\":");
	json_put_string(out, event->prefix, strlen(event->prefix));
	json_put_literal(out, ",\"content\":\"");
	if (!json_is_hopeless(event->content_len))
		value_put_base64(out, event->content, event->content_len);
	json_put_literal(out, "\"}");
}

/*
 * Did an update change the key that Debezium knows?  It has none for a table
 * whose identity is the whole row.
 */
static bool
key_has_changed(const Event *event)
{
	return event->op == EVENT_UPDATE && !event->relation->key_is_row &&
		format_key_has_changed(event);
}

int
debezium_count(const Event *event)
{
	return key_has_changed(event) ? 2 : 1;
}

static void
put_rows(StringInfo out, const Event *event, EventOp op)
{
	json_put_literal(out, "\"before\":");
	put_row(out, event, true, event->old_row != NULL && op != EVENT_INSERT);
	if (json_trouble != JSON_NO_TROUBLE)
		return;
	json_put_literal(out, ",\"after\":");
	put_row(out, event, false, event->new_row != NULL && op != EVENT_DELETE);
	json_put_char(out, ',');
}

FormatResult
debezium_append_event(StringInfo out, const Event *event, int part,
					  const FormatOptions *options)
{
	EventOp		op = event->op;

	if (op == EVENT_SCHEMA)
		return FORMAT_NOTHING;
	if (key_has_changed(event))
		op = part == 0 ? EVENT_DELETE : EVENT_INSERT;

	json_put_char(out, '{');
	if (op != EVENT_MESSAGE)
		put_rows(out, event, op);
	if (json_trouble != JSON_NO_TROUBLE)
		return format_end(out);
	put_source(out, event);
	put_transaction(out, event, part, options->metadata);
	json_put_literal(out, ",\"op\":\"");
	json_put_char(out, op_letters[op]);
	json_put_char(out, '"');
	put_times(out, event, true, true);
	if (op == EVENT_MESSAGE)
		put_message(out, event);
	json_put_char(out, '}');
	return format_end(out);
}
