/*-------------------------------------------------------------------------
 *
 * json_plain.c
 *	  Go past the plain part of a JSON string.
 *
 * Called for every string of every response.  A RecordId has 220 characters
 * and nothing special, so they are looked at 16 at a time, or 32 where the CPU
 * can, which is found out at run time so that one package serves every CPU.
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "aws/json_plain.h"

#if defined(__SSE2__) && defined(__GNUC__) && !defined(FIREHOSE_NO_SIMD)
#define JSON_SCAN_USE_SSE2
#include <emmintrin.h>
#if defined(__x86_64__)
#define JSON_SCAN_USE_AVX2
#include <immintrin.h>
#endif
#endif

/* Does a byte end the plain part of a string? */
static inline bool
is_special(char c)
{
	return c == '"' || c == '\\' || (unsigned char) c < 0x20 ||
		(unsigned char) c >= 0x7F;
}

#ifdef JSON_SCAN_USE_SSE2

/* Go past 16 plain bytes at a time, and then to the special one if found. */
static inline char *
skip_plain_chunks(char *p, char *end)
{
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i backslash = _mm_set1_epi8('\\');
	const __m128i space = _mm_set1_epi8(' ');
	const __m128i del = _mm_set1_epi8(0x7F);

	for (; end - p >= 16; p += 16)
	{
		__m128i		bytes = _mm_loadu_si128((const __m128i *) p);
		__m128i		special;
		int			mask;

		/* Signed: bytes from 0x80 are negative, so they are caught as well */
		special = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote),
											_mm_cmpeq_epi8(bytes, backslash)),
							   _mm_or_si128(_mm_cmplt_epi8(bytes, space),
											_mm_cmpeq_epi8(bytes, del)));
		mask = _mm_movemask_epi8(special);
		if (mask != 0)
			return p + __builtin_ctz(mask);
	}
	return p;
}

#else

/* Go past 8 plain bytes at a time, and no further if one is special. */
static inline char *
skip_plain_chunks(char *p, char *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	const uint64_t tops = ones * 0x80;

	for (; end - p >= 8; p += 8)
	{
		uint64_t	bytes;
		uint64_t	quotes;
		uint64_t	backslashes;
		uint64_t	dels;
		uint64_t	special;

		/*
		 * The top bit of a byte of (x - n) is set if x < n, provided that no
		 * byte has its own top bit set, which is a special byte anyway.
		 */
		memcpy(&bytes, p, 8);
		quotes = bytes ^ (ones * '"');
		backslashes = bytes ^ (ones * '\\');
		dels = bytes ^ (ones * 0x7F);
		special = bytes | (bytes - ones * 0x20) |
			(quotes - ones) | (backslashes - ones) | (dels - ones);
		if ((special & tops) != 0)
			break;
	}
	return p;
}

#endif

#ifdef JSON_SCAN_USE_AVX2

/* The same 32 bytes at a time; the mask has a bit for each special one. */
__attribute__((target("avx2")))
static inline unsigned int
special_of_32(const char *p)
{
	__m256i		bytes = _mm256_loadu_si256((const __m256i *) p);
	__m256i		special;

	special = _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')),
											  _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'))),
							  _mm256_or_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(' '), bytes),
											  _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7F))));
	return (unsigned int) _mm256_movemask_epi8(special);
}

__attribute__((target("avx2")))
static char *
skip_plain_avx2(char *p, char *end)
{
	for (; end - p >= 32; p += 32)
	{
		unsigned int mask = special_of_32(p);

		if (mask != 0)
			return p + __builtin_ctz(mask);
	}
	return skip_plain_chunks(p, end);
}

static char *
skip_plain_sse2(char *p, char *end)
{
	return skip_plain_chunks(p, end);
}

static char *skip_plain_choose(char *p, char *end);

/* Points to the chooser until the first call. */
static char *(*skip_long_plain) (char *p, char *end) = skip_plain_choose;

static char *
skip_plain_choose(char *p, char *end)
{
	skip_long_plain = __builtin_cpu_supports("avx2") ? skip_plain_avx2 : skip_plain_sse2;
	return skip_long_plain(p, end);
}

#else
#define skip_long_plain(p, end) skip_plain_chunks(p, end)
#endif

char *
json_plain_skip(char *p, char *end)
{
	p = skip_long_plain(p, end);
	while (p < end && !is_special(*p))
		p++;
	return p;
}
