/*
 * rights.h
 *		Does what a pipeline needs still exist, and may its owner still have
 *		it?
 */
#ifndef FIREHOSE_PIPELINE_RIGHTS_H
#define FIREHOSE_PIPELINE_RIGHTS_H

#include "pipeline/catalog.h"

/*
 * Remember publications and streams, which have been checked, by their OIDs.
 */
extern void pipeline_remember_oids(PipelineRow *row);

/*
 * Decoder, in a transaction with a snapshot: give publications and streams the
 * names they have now, and check the rights of the owner.  Returns why the
 * pipeline cannot go on without a command, or NULL; raises an error for what
 * passes by itself once a privilege is granted again.
 */
extern const char *pipeline_check_rights(Pipeline *pipeline);

/*
 * Has anything been changed that those rights may depend on?  Clears the mark.
 */
extern bool pipeline_rights_changed(void);

/* Refuse the drop of what pipelines need, and follow renames. */
extern void pipeline_install_hooks(void);

#endif							/* FIREHOSE_PIPELINE_RIGHTS_H */
