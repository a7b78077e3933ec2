/*
 * json_write.h
 *		Bytes of JSON into a StringInfo: the few primitives that every format
 *		and every value encoder is made of, inline because they run per value.
 *
 * A StringInfo that is being written is not terminated after these calls; the
 * function that completes a record does that (json_terminate).
 */
#ifndef FIREHOSE_COMMON_JSON_WRITE_H
#define FIREHOSE_COMMON_JSON_WRITE_H

#include "lib/stringinfo.h"

/* Make room for n more bytes and a terminator. */
static inline void
json_reserve(StringInfo out, int n)
{
	if (unlikely(out->maxlen - out->len <= n))
		enlargeStringInfo(out, n);
}

/*
 * A decoder must not stop at an error about a value, because everything behind
 * that value would wait.  After json_tolerate(), which needs a transaction,
 * such errors are only noted, and the bytes written for such a value mean
 * nothing.  The writer of a record clears json_trouble before and looks at it
 * afterwards.
 */
typedef enum JsonTrouble
{
	JSON_NO_TROUBLE,
	/* larger than any record can be: not written */
	JSON_TOO_LARGE,
	JSON_NOT_TEXT				/* it has no equivalent in UTF-8 */
} JsonTrouble;

extern JsonTrouble json_trouble;
extern int	json_max_bytes;		/* of a record; no bound unless tolerated */

extern void json_tolerate(int max_bytes);

/*
 * Is a value of so many bytes of text hopelessly large?  JSON takes a quarter
 * of PostgreSQL's text at least (of an array of bytea, in hexadecimal).
 */
static inline bool
json_is_hopeless(Size text_length)
{
	if (likely(text_length / 4 <= (Size) json_max_bytes))
		return false;
	json_trouble = JSON_TOO_LARGE;
	return true;
}

/* Append n bytes as they are. */
static inline void
json_put(StringInfo out, const char *bytes, int n)
{
	json_reserve(out, n);
	memcpy(out->data + out->len, bytes, n);
	out->len += n;
}

/* Append one byte. */
static inline void
json_put_char(StringInfo out, char c)
{
	json_reserve(out, 1);
	out->data[out->len++] = c;
}

/* Append a string literal. */
#define json_put_literal(out, literal) \
	json_put(out, "" literal "", sizeof(literal) - 1)

static inline void
json_terminate(StringInfo out)
{
	json_reserve(out, 0);
	out->data[out->len] = '\0';
}

/*
 * Append text that is in the database's encoding: as a JSON string with its
 * quotes, or as UTF-8 and nothing else (for JSON that is embedded), line
 * breaks replaced by blanks.
 */
extern void json_put_string(StringInfo out, const char *text, int len);
extern void json_put_embedded(StringInfo out, const char *text, int len);

/* Append integers in decimal. */
extern void json_put_int64(StringInfo out, int64 value);
extern void json_put_uint64(StringInfo out, uint64 value);

#endif							/* FIREHOSE_COMMON_JSON_WRITE_H */
