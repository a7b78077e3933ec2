/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  Run a fuzz target under libFuzzer, or alone as a test like the others.
 *
 * A target defines fuzz_samples and fuzz_tokens, includes this file, and then
 * defines LLVMFuzzerTestOneInput().  With USE_LIBFUZZER ("make fuzz") that is
 * all.  Otherwise main() is here: it feeds mutated samples to the target, the
 * same ones in every run, as many as its argument says.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_FUZZ_H
#define FIREHOSE_FUZZ_H

#include <stdlib.h>

#include "tap.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of a header; its violation aborts. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "violated: %s\n", #condition); \
			abort(); \
		} \
	} while (0)

#ifdef USE_LIBFUZZER

/* libFuzzer finds its own; keep the compiler from missing their use. */
static inline void
fuzz_ignore_tables(void)
{
	(void) fuzz_samples;
	(void) fuzz_tokens;
}

#else

#define FUZZ_ROUNDS		500000
#define FUZZ_MAX_LEN	1024

static uint64_t fuzz_state = UINT64_C(0x853c49e6748fea9b);

/* A number below n. */
static size_t
fuzz_pick(size_t n)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return (fuzz_state >> 16) % n;
}

/* Make room for n bytes at pos if there is room in the buffer. */
static bool
fuzz_open_gap(char *buf, size_t *len, size_t pos, size_t n)
{
	if (*len + n > FUZZ_MAX_LEN)
		return false;
	memmove(buf + pos + n, buf + pos, *len - pos);
	*len += n;
	return true;
}

/* Change one thing. */
static void
fuzz_mutate(char *buf, size_t *len)
{
	const char *token = fuzz_tokens[fuzz_pick(lengthof(fuzz_tokens))];
	size_t		pos = fuzz_pick(*len + 1);
	size_t		n = fuzz_pick(*len - pos + 1);

	switch (fuzz_pick(5))
	{
		case 0:					/* another byte */
			if (pos < *len)
				buf[pos] = fuzz_pick(256);
			break;
		case 1:					/* cut the end off */
			*len = pos;
			break;
		case 2:					/* take something out */
			memmove(buf + pos, buf + pos + n, *len - pos - n);
			*len -= n;
			break;
		case 3:					/* repeat something */
			(void) fuzz_open_gap(buf, len, pos, n);
			break;
		default:				/* put something in */
			if (fuzz_open_gap(buf, len, pos, strlen(token)))
				memcpy(buf + pos, token, strlen(token));
			break;
	}
}

int
main(int argc, char **argv)
{
	long		rounds = argc > 1 ? atol(argv[1]) : FUZZ_ROUNDS;
	char		buf[FUZZ_MAX_LEN];

	for (long i = 0; i < rounds; i++)
	{
		const char *sample = fuzz_samples[i % lengthof(fuzz_samples)];
		size_t		len = strlen(sample);

		memcpy(buf, sample, len);
		for (size_t n = fuzz_pick(6); n > 0; n--)
			fuzz_mutate(buf, &len);
		(void) LLVMFuzzerTestOneInput((const uint8_t *) buf, len);
	}
	ok(true, "%ld mutated inputs", rounds);
	return done_testing();
}

#endif							/* USE_LIBFUZZER */

#endif							/* FIREHOSE_FUZZ_H */
