/*-------------------------------------------------------------------------
 *
 * base64.c
 *	  What a byte of record data costs to encode, against OpenSSL.
 *
 *	  cc -O2 -Isrc bench/programs/base64.c src/aws/base64.c -lcrypto \
 *		  -o /tmp/base64 && /tmp/base64
 *
 * With -DFIREHOSE_NO_SIMD the portable code is measured.  Every size is
 * encoded as a record of its own; the last column cuts it into two pieces at
 * an odd place, as the end of a queue page does.
 *
 *-------------------------------------------------------------------------
 */
#define _POSIX_C_SOURCE 200809L

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "aws/base64.h"

#define MAX_SIZE		65536
#define BYTES_PER_RUN	(64 * 1024 * 1024)
#define RUNS			5

typedef void (*Encode) (char *dst, const unsigned char *src, size_t len);

static void
encode_openssl(char *dst, const unsigned char *src, size_t len)
{
	EVP_EncodeBlock((unsigned char *) dst, src, len);
}

static void
encode_whole(char *dst, const unsigned char *src, size_t len)
{
	Base64State state;

	base64_init(&state);
	base64_finish(&state, base64_update(&state, dst, src, len));
}

static void
encode_cut(char *dst, const unsigned char *src, size_t len)
{
	size_t		cut = len / 2 / 3 * 3 + 1;
	Base64State state;

	base64_init(&state);
	dst = base64_update(&state, dst, src, cut);
	dst = base64_update(&state, dst, src + cut, len - cut);
	base64_finish(&state, dst);
}

/* Nanoseconds per call, the best of some runs. */
static double
measure(Encode encode, char *dst, const unsigned char *src, size_t len)
{
	size_t		calls = BYTES_PER_RUN / len;
	double		best = 0;

	for (int run = 0; run < RUNS; run++)
	{
		struct timespec start;
		struct timespec end;
		double		ns;

		clock_gettime(CLOCK_MONOTONIC, &start);
		for (size_t i = 0; i < calls; i++)
		{
			encode(dst, src, len);
			/* The compiler must believe that the text is used */
			__asm__ volatile("" : : "r"(dst) : "memory");
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		ns = ((end.tv_sec - start.tv_sec) * 1e9 +
			  (end.tv_nsec - start.tv_nsec)) / calls;
		if (run == 0 || ns < best)
			best = ns;
	}
	return best;
}

int
main(void)
{
	static const size_t sizes[] = {10, 30, 100, 300, 1024, 4096, MAX_SIZE};
	unsigned char *src = malloc(MAX_SIZE);
	char	   *dst = malloc(base64_length(MAX_SIZE) + 1);

	for (int i = 0; i < MAX_SIZE; i++)
		src[i] = i * 167 + (i >> 8);
	printf("implementation: %s; ns per record\n%8s %10s %10s %7s %10s\n",
		   base64_implementation(), "bytes", "OpenSSL", "firehose", "ratio",
		   "in two");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		double		openssl = measure(encode_openssl, dst, src, sizes[i]);
		double		whole = measure(encode_whole, dst, src, sizes[i]);
		double		cut = measure(encode_cut, dst, src, sizes[i]);

		printf("%8zu %10.1f %10.1f %6.1fx %10.1f\n", sizes[i], openssl, whole,
			   openssl / whole, cut);
	}
	return 0;
}
