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
 * In a transaction: is there no such reason for the pipeline as it is defined
 * now?  What a decoder has read may have been altered since then.
 */
extern bool pipeline_is_well_now(int32 id);

/*
 * Decoder, before the first check: from now on note what is changed.
 */
extern void pipeline_watch_rights(void);

/*
 * In a transaction: has anything been changed since the last call, or the
 * last check, that those rights may depend on?
 */
extern bool pipeline_rights_changed(void);

/*
 * Refuse the drop of publications and streams that pipelines need, and follow
 * renames.
 */
extern void pipeline_install_hooks(void);

#endif							/* FIREHOSE_PIPELINE_RIGHTS_H */
