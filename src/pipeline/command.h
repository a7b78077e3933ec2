/*
 * command.h
 *		The common parts of the SQL functions that change pipelines (sql.c).
 */
#ifndef FIREHOSE_PIPELINE_COMMAND_H
#define FIREHOSE_PIPELINE_COMMAND_H

#include "fmgr.h"

#include "pipeline/catalog.h"

/* Begin: check that it may run; returns the pipeline's name, argument 0. */
extern char *pipeline_command_begin(FunctionCallInfo fcinfo, const char *function);

/*
 * Open the catalog to change a pipeline.  Privileges are checked before the
 * lock is taken that others would wait for.  NULL: there is no such pipeline.
 */
extern Relation pipeline_command_open(const char *name, bool missing_ok);

/* Find a pipeline that the user may change; error if there is none. */
extern PipelineRow *pipeline_command_find(Relation rel, const char *name, bool missing_ok);

/* Error if it is the one of durable puts. */
extern void pipeline_command_refuse_durable(const PipelineRow *row, const char *hint);

/*
 * End: write the row, and have it seen when this has committed.
 */
extern void pipeline_command_end(Relation rel, PipelineRow *row);

#endif							/* FIREHOSE_PIPELINE_COMMAND_H */
