/*
 * progress.h
 *		How far this decoder's pipeline has got: where to start, which WAL its
 *		slot may release, and which epoch a commit has (pipeline/position.h).
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_DECODER_PROGRESS_H
#define FIREHOSE_DECODER_PROGRESS_H

#include "access/xlogdefs.h"
#include "pipeline/definition.h"
#include "workers/pipeline_table.h"

/*
 * Compare the slot, which exists, with what was noted.  NULL: all is well, and
 * *start says where decoding begins; otherwise what is wrong with the slot.
 * Before the slot is acquired.
 */
extern const char *progress_start(const Pipeline *pipeline, PipelineEntry *entry,
								  XLogRecPtr *start);

/* The position that was noted last; Invalid: none. */
extern XLogRecPtr progress_noted(const Pipeline *pipeline);

/* A start of the server in the WAL (WalReader.on_server_start). */
extern void progress_on_server_start(XLogRecPtr lsn);

/* The epoch of a commit. */
extern uint64 progress_epoch(XLogRecPtr lsn);

/*
 * Note how far all is delivered and let the slot release WAL, if a note is
 * due, or at once if `now`.
 */
extern void progress_note(bool now);

/* Milliseconds until a note is due; -1: nothing is to be noted. */
extern long progress_due(void);

#endif							/* FIREHOSE_DECODER_PROGRESS_H */
