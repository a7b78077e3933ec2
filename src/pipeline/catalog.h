/*
 * catalog.h
 *		The rows of the catalog table firehose_pipelines: for the files that
 *		read and write them.  All others use definition.h.
 *
 * To change a row, hold ShareRowExclusiveLock on the table to the end of the
 * transaction, so that changes come one after the other; readers hold
 * AccessShareLock.  Workers wait for neither.
 */
#ifndef FIREHOSE_PIPELINE_CATALOG_H
#define FIREHOSE_PIPELINE_CATALOG_H

#include "access/htup.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "pipeline/definition.h"
#include "storage/lockdefs.h"

#define PIPELINE_WRITE_LOCK		ShareRowExclusiveLock

/* The table's columns, in their order. */
typedef enum PipelineColumn
{
	PIPELINE_ID,
	PIPELINE_VERSION,			/* changes with the definition, and with
								 * every command to try again */
	PIPELINE_DATABASE,			/* where it was made or resumed: */
	PIPELINE_SYSTEM_IDENTIFIER, /* OID, and identifier of the server */
	PIPELINE_OWNER,
	PIPELINE_SLOT_CREATED,
	PIPELINE_ENABLED,
	PIPELINE_DURABLE_PUTS,
	PIPELINE_DROPPED,			/* the row is left until the slot is dropped */
	PIPELINE_NAME,				/* null if dropped */
	PIPELINE_STREAM,
	PIPELINE_PUBLICATIONS,
	PIPELINE_FORMAT,
	PIPELINE_TIMESTAMPS,		/* null: the format's default; so are these: */
	PIPELINE_NUMERICS,
	PIPELINE_JSON_COLUMNS,
	PIPELINE_BIGINTS,
	PIPELINE_METADATA,
	PIPELINE_UNCHANGED,
	PIPELINE_ROUTES,
	PIPELINE_MESSAGES,			/* null: none */
	PIPELINE_ORIGIN,
	PIPELINE_SLOT_NAME,			/* null: the default name */
	PIPELINE_SKIP_LSNS,
	PIPELINE_PUBLICATION_OIDS,	/* null, like these: durable puts need none */
	PIPELINE_STREAM_OIDS,		/* of the routes, then of the pipeline */
	PIPELINE_FAILOVER,			/* null: of a slot that it creates, true */
	PIPELINE_HOME,				/* home_number where it was made or resumed;
								 * null: 0 */
	PIPELINE_COLUMNS
} PipelineColumn;

typedef struct PipelineRow
{
	HeapTuple	tuple;			/* as it is in the table; NULL: a new one */
	Datum		values[PIPELINE_COLUMNS];
	bool		nulls[PIPELINE_COLUMNS];
} PipelineRow;

/* Open the table, waiting for the lock; error if it is not there. */
extern Relation pipeline_catalog_open(LOCKMODE lockmode);

/*
 * The same without waiting: NULL if the lock is not to be had, or it is not
 * there.
 */
extern Relation pipeline_catalog_open_at_once(LOCKMODE lockmode);

/* All rows as of now, in palloc'd memory. */
extern List *pipeline_catalog_rows(Relation rel);	/* of PipelineRow * */

extern PipelineRow *pipeline_catalog_find(Relation rel, const char *name);
extern PipelineRow *pipeline_catalog_find_id(Relation rel, int32 id);

/* The pipeline of durable puts, unless it is dropped. */
extern PipelineRow *pipeline_catalog_find_durable(Relation rel);

/*
 * Write a row, new or changed, or delete it.  Later commands see it, and the
 * relcache callbacks of all processes hear of it.
 */
extern void pipeline_catalog_store(Relation rel, PipelineRow *row);
extern void pipeline_catalog_delete(Relation rel, PipelineRow *row);

/* A number for a new pipeline, that no slot's name has either. */
extern int32 pipeline_catalog_new_id(Relation rel);

/* The contents of rows */

static inline int32
pipeline_row_id(const PipelineRow *row)
{
	return DatumGetInt32(row->values[PIPELINE_ID]);
}

/* A text of a row in palloc'd memory; NULL for null. */
extern char *pipeline_row_text(const PipelineRow *row, PipelineColumn column);
extern List *pipeline_row_texts(const PipelineRow *row, PipelineColumn column);
/* The objects remembered by OID; NIL if the OIDs are of another server. */
extern List *pipeline_row_oids(const PipelineRow *row, PipelineColumn column);

extern char *pipeline_row_slot_name(const PipelineRow *row);

/*
 * Does it come from elsewhere: from another database or server, with a dump or
 * a copy of its database?  Then it does not run until it is resumed.
 */
extern bool pipeline_row_is_detached(const PipelineRow *row);

/*
 * Was it made by the server of which this data directory is a copy?  Then it
 * does not run until it is resumed, but all that is its own is here.
 */
extern bool pipeline_row_is_copied(const PipelineRow *row);

/* Make it one of this data directory. */
extern void pipeline_row_set_home(PipelineRow *row);

/*
 * The commits that are left out, without those up to `confirmed`, which are
 * delivered.
 */
extern XLogRecPtr *pipeline_row_skips(const PipelineRow *row, XLogRecPtr confirmed, int *n);

/* The pipeline that a row describes. */
extern Pipeline *pipeline_from_row(const PipelineRow *row);

/*
 * The columns with a fixed set of values: the i-th one, false after the last.
 */
extern bool pipeline_choice(int i, PipelineColumn *column, const char **name,
							const char *const **values);

/*
 * The routes of a row's JSON, of PipelineRoute *; error if it is not of the
 * right form.
 */
extern List *pipeline_parse_routes(Jsonb *routes);

#endif							/* FIREHOSE_PIPELINE_CATALOG_H */
