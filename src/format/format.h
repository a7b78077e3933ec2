/*
 * format.h
 *		The formats of records made from events: one row in a table and one
 *		file (format_NAME.c) each.
 */
#ifndef FIREHOSE_FORMAT_H
#define FIREHOSE_FORMAT_H

#include "format/event.h"

typedef enum FormatResult
{
	FORMAT_OK,
	/* this format has no record for such an event */
	FORMAT_NOTHING,
	FORMAT_UNCHANGED_COLUMN,	/* a column was left out of the WAL that the
								 * format cannot do without */
	/* json_trouble says what is wrong with format_trouble_column's value */
	FORMAT_TROUBLE
} FormatResult;

/* The options of a pipeline's format, besides the ValueOptions. */
typedef enum FormatMetadata
{
	METADATA_FULL,
	METADATA_ROUTING,			/* flat: _op, _schema, _table */
	METADATA_NONE,
	METADATA_SCHEMA				/* full, and descriptions of tables */
} FormatMetadata;

typedef struct FormatOptions
{
	FormatMetadata metadata;	/* which of its own keys a format adds */
	bool		omit_unchanged; /* flat: leave unchanged columns out */
} FormatOptions;

typedef struct Format
{
	const char *name;
	ValueOptions values;		/* defaults */
	bool		types;			/* needs event_relation_add_types */
	bool		schema;			/* has a record of EVENT_SCHEMA */
	bool		triggers;		/* is one of triggers, too */
	int			timestamps;		/* forms it has: bits by TimestampForm; 0: all */

	/*
	 * How many records does an event make?  NULL: one.  A reader that numbers
	 * changes advances seq by as many.
	 */
	int			(*count) (const Event *event);

	/*
	 * Append record `part` (0 to count - 1) of an event, terminated and
	 * without a delimiter.  After another result than FORMAT_OK the bytes
	 * appended mean nothing.
	 */
	FormatResult (*append) (StringInfo out, const Event *event, int part,
							const FormatOptions *options);
} Format;

/* Find a format by name; NULL when there is none. */
extern PGDLLEXPORT const Format *format_find(const char *name);

/* The i-th format; NULL after the last. */
extern const Format *format_get(int i);

/* Shared by formats */

static inline bool
format_has_id(const Event *event)
{
	return event->lsn != InvalidXLogRecPtr || event->record_id != 0;
}

/*
 * Append the id of record `part` of an event as a JSON string: epoch, LSN
 * of the commit and seq in hexadecimal, or, of an event that did not come from
 * the WAL, the record id in sixteen decimal digits.  Either sorts as text.
 */
extern void format_put_id(StringInfo out, const Event *event, int part);

/*
 * Append the id of the description of a table that is sent before an event: it
 * sorts between the event's and all earlier ones.
 */
extern void format_put_schema_id(StringInfo out, const Event *event);

/* Append the LSN of the commit as a JSON string. */
extern void format_put_lsn(StringInfo out, const Event *event);

/*
 * Append `"column":value,...`: of the row after the change, or of its known
 * values before it; all columns or those of the key.  Columns without a known
 * value are left out.  Returns how many there were.
 */
extern int	format_put_columns(StringInfo out, const Event *event, bool old, bool key_only);

/*
 * Append a logical message's content as a JSON string.  Content that is no
 * text (it may have been given as bytea) is written in base64, followed by
 * `,"encoding":"base64"`.
 */
extern void format_put_content(StringInfo out, const Event *event);

/* Do the keys of an update's rows differ, as far as both are known? */
extern bool format_keys_differ(const Event *event);

/*
 * Did an update change the row's key?  Then some formats make two records of
 * it, a delete and an insert.
 */
static inline bool
format_key_has_changed(const Event *event)
{
	return event->op == EVENT_UPDATE && event->old_row != NULL && event->new_row != NULL &&
		format_keys_differ(event);
}

/* Append a point in time in ISO 8601 as a JSON string; 0: null. */
extern void format_put_time(StringInfo out, TimestampTz time);

/* Append true or false. */
static inline void
format_put_bool(StringInfo out, bool value)
{
	if (value)
		json_put_literal(out, "true");
	else
		json_put_literal(out, "false");
}

/* The column at which json_trouble arose; NULL: none. */
extern const EventColumn *format_trouble_column;

/*
 * Has a column been written that began there?  If not, it is that column, and
 * the record is to end.
 */
static inline bool
format_column_written(StringInfo out, int begin, const EventColumn *column)
{
	if (unlikely(out->len - begin > json_max_bytes))
		json_trouble = JSON_TOO_LARGE;
	if (likely(json_trouble == JSON_NO_TROUBLE))
		return true;
	format_trouble_column = column;
	return false;
}

/* End a record: terminate it. */
static inline FormatResult
format_end(StringInfo out)
{
	json_terminate(out);
	return likely(json_trouble == JSON_NO_TROUBLE) ? FORMAT_OK : FORMAT_TROUBLE;
}

/* format_json.c */
extern FormatResult json_append_event(StringInfo out, const Event *event, int part,
									  const FormatOptions *options);

/* Append a row as a JSON object of its columns; terminated. */
extern PGDLLEXPORT void json_append_row(StringInfo out, EventRelation *relation,
										const EventValue *row);

/* format_flat.c */
extern int	flat_count(const Event *event);
extern FormatResult flat_append_event(StringInfo out, const Event *event, int part,
									  const FormatOptions *options);

/* The i-th of these names; NULL after the last. */
extern const char *flat_reserved_name(int i);

/* format_wal2json.c */
extern FormatResult wal2json_append_event(StringInfo out, const Event *event, int part,
										  const FormatOptions *options);

/* format_debezium.c */
extern int	debezium_count(const Event *event);
extern FormatResult debezium_append_event(StringInfo out, const Event *event, int part,
										  const FormatOptions *options);

/* format_dms.c */
extern FormatResult dms_append_event(StringInfo out, const Event *event, int part,
									 const FormatOptions *options);

#endif							/* FIREHOSE_FORMAT_H */
