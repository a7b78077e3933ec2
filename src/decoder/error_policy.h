/*
 * error_policy.h
 *		Decide what an error of a decoder means for its pipeline: whether it is
 *		tried again, which state is shown, and what an administrator can do.
 *
 * Decoder process only.  Values that cannot be written are no errors here:
 * they go to the dead letters (change_reader.c).
 */
#ifndef FIREHOSE_DECODER_ERROR_POLICY_H
#define FIREHOSE_DECODER_ERROR_POLICY_H

#include "wal/wal_reader.h"
#include "workers/pipeline_table.h"

/*
 * May the text of an error show a value of a row?  Then it is kept out of
 * views and the log, and error_policy_text has to do.
 */
extern bool error_policy_hides_text(const ErrorData *error, const WalPlace *place);

/* Is an error amid rows one that passes by itself? */
extern bool error_policy_passes(int sqlstate);

/* The text that may be shown of an error, in palloc'd memory. */
extern const char *error_policy_text(const ErrorData *error, const WalPlace *place);

/*
 * Note an error in the table, and decide whether there is to be another try.
 */
extern void error_policy_note(PipelineEntry *entry, const ErrorData *error,
							  const WalPlace *place);

/*
 * The server crashed again and again while this was decoded: it is left alone.
 */
extern void error_policy_brake(PipelineEntry *entry, const WalPlace *place);

#endif							/* FIREHOSE_DECODER_ERROR_POLICY_H */
