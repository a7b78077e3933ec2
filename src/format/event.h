/*
 * event.h
 *		A change as columns and values, whatever read it: a trigger, which has
 *		Datums, or the WAL decoder, which has text.
 *
 * An Event points at what its reader owns and lives as long as that: one
 * record.  The parts that are the same for every change of a table, names and
 * the plans of its columns, are in an EventRelation.  Formats (format.h) turn
 * an Event into the bytes of a record; they know no queue and no process.
 */
#ifndef FIREHOSE_FORMAT_EVENT_H
#define FIREHOSE_FORMAT_EVENT_H

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "utils/rel.h"

#include "common/json_write.h"
#include "format/value.h"

typedef enum EventOp
{
	EVENT_INSERT,				/* c */
	EVENT_UPDATE,				/* u */
	EVENT_DELETE,				/* d */
	EVENT_READ,					/* r: a snapshot row */
	/* those from here on have no row */
	EVENT_TRUNCATE,				/* t */
	EVENT_MESSAGE,				/* m */
	EVENT_SCHEMA				/* s: a description of the table */
} EventOp;

/* ------------------------------------------------------------------------
 * Relations
 * ------------------------------------------------------------------------
 */

/* How event_relation_get describes a table otherwise than by default. */
#define EVENT_RELATION_ROOT			(1 << 0)	/* a partition as its topmost
												 * table: under its name, and
												 * columns in its order */
#define EVENT_RELATION_BIGINT_STRINGS	(1 << 1)	/* BIGINTS_STRING */
#define EVENT_RELATION_TYPES	(1 << 2)	/* with event_relation_add_types */

typedef struct EventColumn
{
	const char *name;			/* in the database's encoding */
	const char *label;			/* "name": as JSON, in UTF-8 */
	int			label_len;
	Oid			typid;
	int32		typmod;
	/* index in the tuple descriptor; -1: not from tuples */
	int			attno;
	bool		key;			/* in the replica identity or primary key */
	ValueType  *type;			/* how to encode */

	/* event_relation_add_types: NULL and false before */
	const char *type_json;		/* the type's name with its modifier */
	int			type_json_len;
	bool		primary;		/* in the primary key */
	bool		nullable;
} EventColumn;

typedef struct EventRelation
{
	Oid			relid;
	uint32		flags;			/* EVENT_RELATION_* */
	const char *schema;
	const char *table;
	const char *schema_json;	/* as JSON strings, in UTF-8 */
	const char *table_json;
	int			schema_json_len;
	int			table_json_len;
	ValueOptions options;		/* those of the columns' plans */
	const ValueOptions *defaults;	/* event_relation_get: made of these */
	int			ncolumns;
	EventColumn *columns;
	bool		has_key;
	bool		key_is_row;		/* all of it, for want of another */
	/* for a reader of the WAL; NULL: none */
	const char *missing_key;	/* columns of the key that never come */
	const char *reserved_column;	/* has the name of a key of the format's */
	/* VALUE_READS_* of all columns, for value_guard_enter */
	uint32		reads;
	List	   *relids;			/* composite types the plans are made of */
	uint32		told;			/* for a reader that sends descriptions: when it
								 * sent this one; 0: not yet */
	MemoryContext context;		/* all of it, delete it to free */
	/* its entries in the table of watched things */
	struct EventWatch *watches;

	/*
	 * Cleared by an invalidation of the table, of one of those types, or of
	 * its schema: make a new one before the next change.  (A pgoutput reader
	 * is told of changes of the table by a message, but not of types'.)
	 */
	bool		valid;
	dlist_node	node;			/* among the valid or the invalid ones */
	MemoryContextCallback unlink;
} EventRelation;

/*
 * Start the description of a table in a new child context of `parent`; every
 * column is then set once.  For readers whose columns come from elsewhere than
 * an open relation.  Without a schema it is named after the table's own, as of
 * now.  Needs the catalogs (a historic snapshot will do).
 */
extern PGDLLEXPORT EventRelation *event_relation_create(MemoryContext parent, Oid relid,
														const char *schema, const char *table,
														int ncolumns, const ValueOptions *options);
extern PGDLLEXPORT void event_relation_set_column(EventRelation *relation, int i,
												  const char *name, Oid typid, int32 typmod,
												  int attno, bool key);

/*
 * The same from a tuple descriptor; attribute numbers in `key` are offset as
 * in a relation's index bitmaps.
 */
extern PGDLLEXPORT EventRelation *event_relation_from_tupdesc(MemoryContext parent, Oid relid,
															  const char *schema, const char *table,
															  TupleDesc tupdesc, const Bitmapset *key,
															  const ValueOptions *options);

/*
 * Ask the catalogs for the columns' types and the primary key, for formats
 * that tell them, and for those whose values follow a type's modifier.
 */
extern PGDLLEXPORT void event_relation_add_types(EventRelation *relation);

/*
 * A number that changes with what event_relation_add_types has found, the
 * names, and the key.
 */
extern uint64 event_relation_fingerprint(const EventRelation *relation);

/*
 * The description of an open relation with options that are those of
 * `defaults` but for `flags` (EVENT_RELATION_*), from a cache of this process
 * that follows ALTER TABLE and the like.  `defaults` must stay as they are,
 * since the cache knows them by their address.  Valid until the next call.
 */
extern PGDLLEXPORT EventRelation *event_relation_get(Relation rel, uint32 flags,
													 const ValueOptions *defaults);

/*
 * The next description that an invalidation has made void since the last call,
 * NULL: none.  The caller frees it, by deleting its context, and whatever it
 * keeps of its table.
 */
extern EventRelation *event_relation_next_invalid(void);

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */
typedef enum EventValueKind
{
	EVENT_VALUE_NULL,
	EVENT_VALUE_DATUM,
	EVENT_VALUE_TEXT,			/* as value.h describes it */
	EVENT_VALUE_UNCHANGED		/* a TOASTed value that the WAL left out */
} EventValueKind;

typedef struct EventValue
{
	EventValueKind kind;
	int			length;			/* of text */
	union
	{
		Datum		datum;
		const char *text;
	}			v;
} EventValue;

/*
 * The source of events, the same for all events of this process, as JSON
 * strings in UTF-8.
 */
typedef struct EventSource
{
	/* firehose.source, else the system identifier */
	const char *source_json;
	const char *db_json;
	int			source_json_len;
	int			db_json_len;
} EventSource;

typedef struct Event
{
	EventOp		op;
	const EventSource *origin;	/* NULL: absent */
	EventRelation *relation;	/* NULL only for messages */
	const EventValue *new_row;	/* relation->ncolumns values; NULL: none */
	const EventValue *old_row;	/* the same */
	bool		old_is_key;		/* of old_row only key columns count */

	/* identity: either the record id, or epoch, lsn and seq */
	uint64		record_id;		/* 0: absent */
	uint64		epoch;			/* of the WAL that the commit is in */
	XLogRecPtr	lsn;			/* of the commit; Invalid: absent */
	/* of the change's own record; Invalid: absent */
	XLogRecPtr	change_lsn;
	uint32		seq;			/* 1-based place in the transaction */
	TransactionId xid;			/* top-level; Invalid: absent */
	TimestampTz ts;				/* 0: absent */

	/* EVENT_TRUNCATE */
	bool		truncate_known; /* are the next two? */
	bool		cascade;
	bool		restart_identity;

	/* EVENT_MESSAGE; text in the database's encoding */
	const char *prefix;
	const char *content;
	int			content_len;
	bool		transactional;
} Event;

/* firehose.source */
extern void event_define_settings(void);

/* The source of this process's events; needs a transaction the first time. */
extern PGDLLEXPORT const EventSource *event_fill_source(void);

/*
 * Fill values[relation->ncolumns] from a slot whose descriptor the relation
 * was made from.
 */
extern PGDLLEXPORT void event_values_from_slot(const EventRelation *relation,
											   TupleTableSlot *slot, EventValue *values);

/* The same from the attributes of such a row. */
extern void event_values_from_arrays(const EventRelation *relation, const Datum *datums,
									 const bool *nulls, EventValue *values);

/*
 * The known value of column i before the change; NULL: none.  An unchanged
 * column still has it.
 */
static inline const EventValue *
event_old_value(const Event *event, int i)
{
	if (event->old_row == NULL ||
		(event->old_is_key && !event->relation->columns[i].key) ||
		event->old_row[i].kind == EVENT_VALUE_UNCHANGED)
		return NULL;
	return &event->old_row[i];
}

/* The value of column i after the change; NULL: it was left out of the WAL. */
static inline const EventValue *
event_new_value(const Event *event, int i)
{
	if (unlikely(event->new_row[i].kind == EVENT_VALUE_UNCHANGED))
		return event_old_value(event, i);
	return &event->new_row[i];
}

/* Append a value as JSON. */
static inline void
event_put_value(StringInfo out, const EventColumn *column, const EventValue *value)
{
	switch (value->kind)
	{
		case EVENT_VALUE_DATUM:
			value_put_datum(out, column->type, value->v.datum);
			break;
		case EVENT_VALUE_TEXT:
			if (!unlikely(json_is_hopeless(value->length)))
				value_put_text(out, column->type, value->v.text, value->length);
			break;
		case EVENT_VALUE_NULL:
		case EVENT_VALUE_UNCHANGED:
			appendBinaryStringInfo(out, "null", 4);
			break;
	}
}

#endif							/* FIREHOSE_FORMAT_EVENT_H */
