/*
 * pipeline.h
 *		Pipelines as their catalog has them: publications, a format and
 *		streams, with a replication slot of their own.
 *
 * The catalog table firehose_pipelines is written by the functions
 * firehose_create_pipeline and so on (pipeline_sql.c), and read by the sender
 * of the database, which keeps the shared table in step
 * (pipeline_reconcile), and by a pipeline's decoder (pipeline_read).
 */
#ifndef FIREHOSE_PIPELINE_H
#define FIREHOSE_PIPELINE_H

#include "event.h"
#include "format.h"
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
	const Format *format;
	ValueOptions values;
	FormatOptions format_options;
	List	   *routes;			/* of PipelineRoute * */
	List	   *message_prefixes;	/* of char *: logical messages to send; NIL: none */
	char	   *origin;			/* "any" or "none"; not sent to a server that has no such option */
	char	   *slot_name;
	bool		slot_created;	/* it has existed: if it is missing now it was lost */
	bool		enabled;
	XLogRecPtr	skip_lsn;		/* the transaction that commits here is not sent */
	bool		durable_puts;	/* it is the one that ships durable puts */
} Pipeline;

/* Read a pipeline, into palloc'd memory; NULL: there is none.  Needs a transaction. */
extern PGDLLEXPORT Pipeline *pipeline_read(int32 id);

/* The slot exists now.  In a transaction of its own. */
extern PGDLLEXPORT void pipeline_note_slot_created(int32 id);

/*
 * Sender: bring the shared table in step with this database's catalog, in a
 * transaction of its own, and wake the launcher if it has something to do.
 * Called at start and whenever launcher_take_recheck says so.
 */
extern PGDLLEXPORT void pipeline_reconcile(void);

#endif							/* FIREHOSE_PIPELINE_H */
