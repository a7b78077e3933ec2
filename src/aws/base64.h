/*-------------------------------------------------------------------------
 *
 * base64.h
 *	  Streaming base64 encoder for record data.
 *
 * Every byte that leaves the server passes through here, in pieces that end
 * wherever a queue page ends.  A Base64State carries the one or two bytes
 * that do not yet make a group of three from one piece to the next, so that
 * the text is the same however the data was cut.
 *
 * Alphabet of RFC 4648 section 4, with padding and without line breaks, which
 * is what a blob is in AWS JSON.  Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_BASE64_H
#define FIREHOSE_AWS_BASE64_H

#include <stddef.h>
#include <stdint.h>

typedef struct Base64State
{
	uint8_t		carry[3];		/* bytes not encoded yet; [2] is scratch */
	uint8_t		ncarry;			/* how many of them: 0, 1 or 2 */
} Base64State;

/* Exact length of the text for n bytes of data, padding included. */
static inline size_t
base64_length(size_t n)
{
	return n / 3 * 4 + (n % 3 != 0 ? 4 : 0);
}

/* Begin a new text. */
static inline void
base64_init(Base64State *state)
{
	state->ncarry = 0;
}

/*
 * Encode the next len bytes of data to dst and return the place after the
 * last character written.  len may be zero.  All calls of one text together
 * with base64_finish() write exactly base64_length(total) characters and
 * touch nothing behind them; no terminating NUL is written.
 */
extern char *base64_update(Base64State *state, char *dst,
						   const void *src, size_t len);

/*
 * Write the last, padded group if one is pending (0 or 4 characters), return
 * the place after it, and leave the state ready for a new text.
 */
extern char *base64_finish(Base64State *state, char *dst);

/*
 * Name of the implementation that this CPU gets ("avx2", "portable"), for the
 * tests and the benchmark.
 */
extern const char *base64_implementation(void);

#endif							/* FIREHOSE_AWS_BASE64_H */
