/*-------------------------------------------------------------------------
 *
 * base64.c
 *	  Streaming base64 encoder for record data.
 *
 * Called by the sender for every record it puts into a request body; next to
 * SHA-256 this is most of the cost of a byte.  Many groups of three bytes go
 * through encode_groups, of which there are two: AVX2, chosen at run time so
 * that one package serves every CPU, and a portable one that looks up twelve
 * bits at a time.  Records are often small, so a few groups are encoded on the
 * spot, and the AVX2 one ends with a vector that overlaps the one before, not
 * in a loop.
 *
 * The vector arithmetic is that of W. Mula and D. Lemire, "Faster Base64
 * Encoding and Decoding Using AVX2 Instructions" (ACM TWEB 2018).
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "aws/base64.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(FIREHOSE_NO_SIMD)
#define BASE64_USE_AVX2
#include <immintrin.h>
#endif

/*
 * From this many groups on it pays to call the implementation for this CPU,
 * which may count on having them.
 */
#define MANY_GROUPS		8

/* Encodes ngroups groups of three bytes, returns the place after the text. */
typedef char *(*EncodeGroups) (char *dst, const uint8_t *src, size_t ngroups);

static char *encode_groups_choose(char *dst, const uint8_t *src,
								  size_t ngroups);

/* Points to the chooser until the first call. */
static EncodeGroups encode_groups = encode_groups_choose;

static const char alphabet[65] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/*
 * Encode one group by the small table, which is always in the cache.
 */
static inline char *
encode_group(char *dst, const uint8_t *src)
{
	dst[0] = alphabet[src[0] >> 2];
	dst[1] = alphabet[(src[0] & 0x03) << 4 | src[1] >> 4];
	dst[2] = alphabet[(src[1] & 0x0f) << 2 | src[2] >> 6];
	dst[3] = alphabet[src[2] & 0x3f];
	return dst + 4;
}

/*
 * Encode the next piece: complete a group begun earlier, encode the whole
 * groups in place, keep what is left for the next call.
 */
char *
base64_update(Base64State *state, char *dst, const void *src, size_t len)
{
	const uint8_t *in = src;

	if (state->ncarry > 0)
	{
		while (state->ncarry < 3)
		{
			if (len == 0)
				return dst;
			state->carry[state->ncarry++] = *in++;
			len--;
		}
		dst = encode_group(dst, state->carry);
		state->ncarry = 0;
	}

	if (len >= MANY_GROUPS * 3)
	{
		size_t		ngroups = len / 3;

		dst = encode_groups(dst, in, ngroups);
		in += ngroups * 3;
		len -= ngroups * 3;
	}
	for (; len >= 3; in += 3, len -= 3)
		dst = encode_group(dst, in);

	state->ncarry = len;
	if (len > 0)
		state->carry[0] = in[0];
	if (len > 1)
		state->carry[1] = in[1];
	return dst;
}

/*
 * Encode the last one or two bytes with padding.
 */
char *
base64_finish(Base64State *state, char *dst)
{
	int			ncarry = state->ncarry;

	if (ncarry == 0)
		return dst;

	if (ncarry == 1)
		state->carry[1] = 0;
	state->carry[2] = 0;
	dst = encode_group(dst, state->carry);
	dst[-1] = '=';
	if (ncarry == 1)
		dst[-2] = '=';
	state->ncarry = 0;
	return dst;
}

/*
 * Two characters for every twelve bits, laid out as in memory.  Built when
 * the portable code is chosen rather than spelled out: 8 kB of a process that
 * has only one thread using it.
 */
static char pairs[4096][2];

static void
build_pairs(void)
{
	for (int i = 0; i < 4096; i++)
	{
		pairs[i][0] = alphabet[i >> 6];
		pairs[i][1] = alphabet[i & 0x3f];
	}
}

/* The first six of eight bytes as one number; compilers make it two moves. */
static inline uint64_t
load_two_groups(const uint8_t *src)
{
	return ((uint64_t) src[0] << 56 | (uint64_t) src[1] << 48 |
			(uint64_t) src[2] << 40 | (uint64_t) src[3] << 32 |
			(uint64_t) src[4] << 24 | (uint64_t) src[5] << 16 |
			(uint64_t) src[6] << 8 | (uint64_t) src[7]) >> 16;
}

/*
 * Two groups at a time while eight bytes can be read, then one.
 */
static char *
encode_groups_portable(char *dst, const uint8_t *src, size_t ngroups)
{
	for (; ngroups >= 3; ngroups -= 2, src += 6, dst += 8)
	{
		uint64_t	bits = load_two_groups(src);

		memcpy(dst, pairs[bits >> 36], 2);
		memcpy(dst + 2, pairs[bits >> 24 & 0xfff], 2);
		memcpy(dst + 4, pairs[bits >> 12 & 0xfff], 2);
		memcpy(dst + 6, pairs[bits & 0xfff], 2);
	}
	for (; ngroups > 0; ngroups--, src += 3)
		dst = encode_group(dst, src);
	return dst;
}

#ifdef BASE64_USE_AVX2

/*
 * Encode exactly 24 bytes, reading no other, to exactly 32 characters.
 */
__attribute__((target("avx2")))
static inline void
encode_vector_avx2(char *dst, const uint8_t *src)
{
	/*
	 * Bytes 0 to 15 go to the lower lane and bytes 8 to 23 to the upper, so
	 * the upper lane's twelve begin at its byte 4.  Each group abc becomes
	 * the two 16-bit numbers that contain its sextets: bytes b a and c b.
	 */
	const __m256i spread = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4,
											7, 6, 8, 7, 10, 9, 11, 10,
											5, 4, 6, 5, 8, 7, 9, 8,
											11, 10, 12, 11, 14, 13, 15, 14);

	/* Offset from sextet to character, for each of 13 ranges of sextets */
	const __m256i offsets = _mm256_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52,
											 '0' - 52, '0' - 52, '0' - 52, '0' - 52,
											 '0' - 52, '0' - 52, '0' - 52, '+' - 62,
											 '/' - 63, 'A', 0, 0,
											 'a' - 26, '0' - 52, '0' - 52, '0' - 52,
											 '0' - 52, '0' - 52, '0' - 52, '0' - 52,
											 '0' - 52, '0' - 52, '0' - 52, '+' - 62,
											 '/' - 63, 'A', 0, 0);
	__m128i		first = _mm_loadu_si128((const __m128i *) src);
	__m128i		second = _mm_loadu_si128((const __m128i *) (src + 8));
	__m256i		in,
				high,
				low,
				sextets,
				range,
				upper;

	in = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
	in = _mm256_shuffle_epi8(in, spread);

	/* Move each sextet to a byte of its own; multiplying is shifting */
	high = _mm256_mulhi_epu16(_mm256_and_si256(in, _mm256_set1_epi32(0x0fc0fc00)),
							  _mm256_set1_epi32(0x04000040));
	low = _mm256_mullo_epi16(_mm256_and_si256(in, _mm256_set1_epi32(0x003f03f0)),
							 _mm256_set1_epi32(0x01000010));
	sextets = _mm256_or_si256(high, low);

	/* 0..25 -> 13, 26..51 -> 0, 52..61 -> 1..10, 62 -> 11, 63 -> 12 */
	range = _mm256_subs_epu8(sextets, _mm256_set1_epi8(51));
	upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), sextets);
	range = _mm256_or_si256(range,
							_mm256_and_si256(upper, _mm256_set1_epi8(13)));
	_mm256_storeu_si256((__m256i *) dst,
						_mm256_add_epi8(sextets,
										_mm256_shuffle_epi8(offsets, range)));
}

/*
 * Vector by vector; the rest, if any, in a last vector together with as much
 * before it as is needed to fill it.
 */
__attribute__((target("avx2")))
static char *
encode_groups_avx2(char *dst, const uint8_t *src, size_t ngroups)
{
	const uint8_t *end = src + ngroups * 3;
	char	   *dst_end = dst + ngroups * 4;

	for (; end - src >= 24; src += 24, dst += 32)
		encode_vector_avx2(dst, src);
	if (src < end)
		encode_vector_avx2(dst_end - 32, end - 24);
	return dst_end;
}

#endif							/* BASE64_USE_AVX2 */

/*
 * Choose the implementation on the first call.
 */
static char *
encode_groups_choose(char *dst, const uint8_t *src, size_t ngroups)
{
#ifdef BASE64_USE_AVX2
	if (__builtin_cpu_supports("avx2"))
		encode_groups = encode_groups_avx2;
	else
#endif
	{
		build_pairs();
		encode_groups = encode_groups_portable;
	}
	return encode_groups(dst, src, ngroups);
}

const char *
base64_implementation(void)
{
#ifdef BASE64_USE_AVX2
	if (__builtin_cpu_supports("avx2"))
		return "avx2";
#endif
	return "portable";
}
