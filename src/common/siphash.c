/*
 * siphash.c
 *		SipHash-2-4; siphash.h says what for.
 *
 * Words are read in the byte order of the machine, because tags are made and
 * checked on one machine.  Only a little-endian machine agrees with the
 * published vectors.
 */
#include <string.h>

#include "common/siphash.h"

#define ROTL(x, b)	(((x) << (b)) | ((x) >> (64 - (b))))

#define SIPROUND \
	do { \
		v0 += v1; v1 = ROTL(v1, 13); v1 ^= v0; v0 = ROTL(v0, 32); \
		v2 += v3; v3 = ROTL(v3, 16); v3 ^= v2; \
		v0 += v3; v3 = ROTL(v3, 21); v3 ^= v0; \
		v2 += v1; v1 = ROTL(v1, 17); v1 ^= v2; v2 = ROTL(v2, 32); \
	} while (0)

uint64_t
siphash(const SipHashKey *key, const void *data, size_t length)
{
	const unsigned char *at = data;
	const unsigned char *end = at + (length & ~(size_t) 7);
	uint64_t	v0 = key->k0 ^ UINT64_C(0x736f6d6570736575);
	uint64_t	v1 = key->k1 ^ UINT64_C(0x646f72616e646f6d);
	uint64_t	v2 = key->k0 ^ UINT64_C(0x6c7967656e657261);
	uint64_t	v3 = key->k1 ^ UINT64_C(0x7465646279746573);
	uint64_t	word;

	for (; at < end; at += sizeof(word))
	{
		memcpy(&word, at, sizeof(word));
		v3 ^= word;
		SIPROUND;
		SIPROUND;
		v0 ^= word;
	}

	/* the rest, with the length in the highest byte */
	word = (uint64_t) length << 56;
	for (int i = 0; i < (int) (length & 7); i++)
		word |= (uint64_t) at[i] << (8 * i);
	v3 ^= word;
	SIPROUND;
	SIPROUND;
	v0 ^= word;

	v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		SIPROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}
