/*
 * siphash.h
 *		SipHash-2-4: a message authentication code of 64 bits under a key of
 *		128, made for short messages (Aumasson and Bernstein, 2012).
 *
 * A pure function that knows no PostgreSQL.
 */
#ifndef FIREHOSE_COMMON_SIPHASH_H
#define FIREHOSE_COMMON_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct SipHashKey
{
	uint64_t	k0;
	uint64_t	k1;
} SipHashKey;

extern uint64_t siphash(const SipHashKey *key, const void *data, size_t length);

#endif							/* FIREHOSE_COMMON_SIPHASH_H */
