/*
 * definition.h
 *		Pipelines as their catalog has them: publications, a format and
 *		streams, with a replication slot of their own.
 *
 * The catalog table firehose_pipelines is written by the functions
 * firehose_create_pipeline and so on (sql.c), and read by the sender of the
 * database, which keeps the shared table in step (pipeline_reconcile), and by
 * a pipeline's decoder (pipeline_read).
 */
#ifndef FIREHOSE_PIPELINE_DEFINITION_H
#define FIREHOSE_PIPELINE_DEFINITION_H

#include "format/event.h"
#include "format/format.h"
#include "nodes/pg_list.h"

/* A table whose changes go to another stream than the pipeline's. */
typedef struct PipelineRoute
{
	char	   *schema;
	char	   *table;
	char	   *stream;
} PipelineRoute;

typedef struct Pipeline
{
	int32		id;
	char	   *name;
	Oid			owner;
	Oid			database;		/* OID of the database it was made in */
	char	   *stream;			/* foreign server's name */
	List	   *publications;	/* of char * */
	List	   *publication_oids;	/* NIL: known by their names alone */
	/* of the routes and of the pipeline; likewise */
	List	   *stream_oids;
	const Format *format;
	ValueOptions values;
	FormatOptions format_options;
	List	   *routes;			/* of PipelineRoute * */
	/* of char *: logical messages to send; NIL: none */
	List	   *message_prefixes;
	/* "any" or "none"; not sent to a server that has no such option */
	char	   *origin;
	char	   *slot_name;
	/* it has existed: if it is missing now it was lost */
	bool		slot_created;
	/* its slot is to be a failover slot; not given: if it makes it */
	bool		failover;
	bool		failover_given;
	bool		enabled;
	bool		detached;		/* came from another database or server: does
								 * not run until it is resumed */
	/* transactions that commit here are not sent */
	XLogRecPtr *skips;
	int			nskips;
	/* of the parts that decide which records changes make */
	uint64		fingerprint;
	bool		durable_puts;	/* it is the one that ships durable puts */
} Pipeline;

/* Does it send a description of each table, too? */
static inline bool
pipeline_describes(const Pipeline *pipeline)
{
	return pipeline->format_options.metadata == METADATA_SCHEMA;
}

/*
 * Read a pipeline, into palloc'd memory; NULL: there is none.  Needs a
 * transaction.
 */
extern PGDLLEXPORT Pipeline *pipeline_read(int32 id);

/*
 * Decoder: the slot exists now.  In a transaction of its own; raises no error.
 * False: the catalog was locked, and the sender will note it later.  So a
 * decoder that finds the slot there, with the right plugin and not
 * invalidated, though slot_created is false, is to use it.
 */
extern PGDLLEXPORT bool pipeline_note_slot_created(int32 id);

/*
 * Sender: bring the shared table in step with this database's catalog, in
 * transactions of its own, and wake the launcher if it has something to do.
 * Called at start and whenever sender_take_recheck says so.  Neither waits nor
 * raises an error; false if some work is left, to be tried again soon.
 */
extern PGDLLEXPORT bool pipeline_reconcile(void);

/* Why a pipeline is paused. */
#define PIPELINE_PAUSED_REASON	"paused by command"
#define PIPELINE_COPIED_REASON \
	"the data directory is a copy of another server's, see the log; firehose_resume_pipeline makes it run here"
#define PIPELINE_DETACHED_REASON \
	"made in another database or on another server; firehose_resume_pipeline makes it run here"

#endif							/* FIREHOSE_PIPELINE_DEFINITION_H */
