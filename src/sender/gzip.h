/*
 * gzip.h
 *		Compress a group of records: one member of a gzip file.
 *
 * The same bytes give the same member, because it has no time stamp, so that
 * what is sent again is what was sent.  Knows no PostgreSQL.
 */
#ifndef FIREHOSE_SENDER_GZIP_H
#define FIREHOSE_SENDER_GZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The memory of the compressor itself (libdeflate, at this level). */
#define GZIP_MEMORY			(1024 * 1024)

/* The most that so many bytes in so many members become. */
static inline size_t
gzip_bound(size_t bytes, int nmembers)
{
	/* a block that does not compress has 5 bytes more, and at least 5,000 */
	return bytes + bytes / 500 + (size_t) nmembers * 64;
}

/* Make the compressor ready; false: no memory. */
extern bool gzip_begin(void);

/* Compress; returns the member's length, 0: it does not fit. */
extern size_t gzip_compress(const char *data, size_t length, char *member, size_t size);

/* Give the compressor's memory back. */
extern void gzip_trim(void);

#endif							/* FIREHOSE_SENDER_GZIP_H */
