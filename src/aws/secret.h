/*-------------------------------------------------------------------------
 *
 * secret.h
 *	  Memory for secrets that live long: it is left out of core dumps, and is
 *	  wiped when it is freed.
 *
 * Each piece has pages of its own, so this is for few of them: keys, and what
 * is derived from keys.  Knows no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_SECRET_H
#define FIREHOSE_AWS_SECRET_H

#include <stddef.h>

/* Zeroed memory; NULL if there is none. */
extern void *secret_alloc(size_t size);

/* Copy a text; NULL if there is no memory. */
extern char *secret_copy(const char *text);

/* Wipe and free; NULL is left alone. */
extern void secret_free(void *secret);

#endif							/* FIREHOSE_AWS_SECRET_H */
