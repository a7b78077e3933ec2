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
 * The position that standbys are to have before this goes on, as of the last
 * look; Invalid: none.  First what the stream waits for, then what a copy
 * does.
 */
extern XLogRecPtr standbys_lack(void);

/*
 * Have them wake this process, until standby_gate_cancel_wakeup.  True: they
 * have confirmed something since the last look, so there may be more to do.
 */
extern bool standbys_want_wakeup(void);

/*
 * Nothing goes on before standbys have a position: show that in the
 * pipeline's state, if it lasts.  Returns when to come again (ms); -1: when
 * this process is woken.
 */
extern long standbys_show(PipelineEntry *entry, XLogRecPtr lsn);

/* It goes on.  Returns whether a state was shown, which has to end. */
extern bool standbys_end_show(PipelineEntry *entry);

#endif							/* FIREHOSE_DECODER_STANDBYS_H */
