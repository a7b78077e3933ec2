/*
 * check.h
 *		The checks before a pipeline is created, changed or resumed.
 */
#ifndef FIREHOSE_PIPELINE_CHECK_H
#define FIREHOSE_PIPELINE_CHECK_H

#include "pipeline/catalog.h"

/* Define firehose.pipeline_role. */
extern void pipeline_check_define_settings(void);

/*
 * Error unless the current user may have replication slots made, which retain
 * WAL: superusers, roles with REPLICATION, and members of the role that
 * firehose.pipeline_role names.
 */
extern void pipeline_check_role(void);

/* Can this server decode at all? */
extern void pipeline_check_server(void);

/* 1 to 63 bytes. */
extern void pipeline_check_name(const char *name);

/*
 * Does all that a row names exist, does it fit together, and may the current
 * user have it?  Errors and warnings say what to do.
 */
extern void pipeline_check_row(const PipelineRow *row);

/*
 * Error unless a role may read all that publications publish; of these tables,
 * if there are any.
 */
extern void pipeline_check_select(List *publications, Oid role, const Oid *relids,
								  int nrelids);

/* The tables that publications have, without our own: OIDs. */
extern List *pipeline_published_tables(List *publications);

/* Can a slot of this name be made, or (adopt) taken over? */
extern void pipeline_check_slot(Relation rel, const char *name, bool take_over_slot);

#endif							/* FIREHOSE_PIPELINE_CHECK_H */
