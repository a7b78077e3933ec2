/*
 * copy_rate.h
 *		How fast a decoder reads tables to copy them: firehose.copy_rate.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_DECODER_COPY_RATE_H
#define FIREHOSE_DECODER_COPY_RATE_H

extern void copy_rate_define_settings(void);

/* The most rows of a chunk: so many that ten chunks take a second. */
extern int	copy_rate_rows(void);

/* How long to wait after a chunk of so many rows (ms). */
extern long copy_rate_pause(int rows);

#endif							/* FIREHOSE_DECODER_COPY_RATE_H */
