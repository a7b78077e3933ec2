/*
 * rights.h
 *		Do the publications and streams of a pipeline still exist, and may its
 *		owner still use them?
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
 * pipeline cannot continue without a command, or NULL.  Raises an error for a
 * missing privilege, which passes once it is granted again.
 */
extern const char *pipeline_check_rights(Pipeline *pipeline);

/*
 * Has anything been changed that those rights may depend on?  Clears the mark.
 */
extern bool pipeline_rights_changed(void);

/*
 * Refuse the drop of publications and streams that pipelines need, and follow
 * renames.
 */
extern void pipeline_install_hooks(void);

#endif							/* FIREHOSE_PIPELINE_RIGHTS_H */
