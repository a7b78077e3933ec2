/*
 * standbys.h
 *		Waiting for the standbys that are to have what is delivered
 *		(standby_gate.h), and showing it.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_DECODER_STANDBYS_H
#define FIREHOSE_DECODER_STANDBYS_H

#include "access/xlogdefs.h"
#include "workers/pipeline_table.h"

/*
 * While the gate is closed: show in the pipeline's state that this waits, and
 * for whom, if it has done so for a while (for a position, or Invalid).
 * Returns when to come again (ms).
 */
extern long standbys_show(PipelineEntry *entry, XLogRecPtr lsn);

/* Some of the WAL was read: begin anew. */
extern void standbys_passed(void);

/* The gate is open.  Returns whether a state was shown, which has to end. */
extern bool standbys_end_show(void);

/*
 * Wait until the standbys have the WAL up to a position.  Ends the process
 * when it is to exit, or to read its definition anew.
 */
extern void standbys_await(PipelineEntry *entry, XLogRecPtr lsn);

#endif							/* FIREHOSE_DECODER_STANDBYS_H */
