/*
 * copy_rate.h
 *		How fast a decoder reads tables to copy them: firehose.copy_rate, and
 *		what the stream of changes leaves.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_DECODER_COPY_RATE_H
#define FIREHOSE_DECODER_COPY_RATE_H

#include "decoder/change_batch.h"

extern void copy_rate_define_settings(void);

/* The most rows of a chunk: so many that ten chunks take a second. */
extern int	copy_rate_rows(void);

/* How long to wait after a chunk of so many rows (ms). */
extern long copy_rate_pause(int rows);

/*
 * Is so little on its way that a chunk may be read?  If not, this can change
 * whenever an entry of the commit ring is delivered.
 */
extern bool copy_rate_has_turn(const ChangeBatch *batch);

#endif							/* FIREHOSE_DECODER_COPY_RATE_H */
