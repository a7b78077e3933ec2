/*-------------------------------------------------------------------------
 *
 * json_scan.h
 *	  Strict pull scanner for JSON responses, in place and without allocation.
 *
 * The caller asks for one token after the other.  The whole grammar of RFC
 * 8259 is enforced: what ends with JSON_SCAN_END was one valid JSON text.
 * Everything else is an error: truncation, anything after the value, control
 * characters in strings (NUL among them), invalid escapes, unpaired
 * surrogates, \u0000, invalid UTF-8, more than JSON_SCAN_MAX_DEPTH levels.
 *
 * The buffer is length-delimited and is written to: strings with escapes are
 * decoded where they are.  Strings returned earlier stay valid as long as the
 * buffer does; none of them is NUL-terminated.
 *
 * No recursion, so hostile depth costs neither stack nor time.  Duplicate
 * keys are the business of the caller, who knows which keys matter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_JSON_SCAN_H
#define FIREHOSE_AWS_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One bit per level says whether it is an object or an array. */
#define JSON_SCAN_MAX_DEPTH 64

typedef enum JsonScanToken
{
	JSON_SCAN_ERROR,			/* scan->error says what; sticky */
	JSON_SCAN_END,				/* the text is complete; sticky */
	JSON_SCAN_OBJECT_START,
	JSON_SCAN_OBJECT_END,
	JSON_SCAN_ARRAY_START,
	JSON_SCAN_ARRAY_END,
	JSON_SCAN_KEY,				/* scan->text, decoded; the value follows */
	JSON_SCAN_STRING,			/* scan->text, decoded */
	JSON_SCAN_NUMBER,			/* scan->text, as it was written */
	JSON_SCAN_TRUE,
	JSON_SCAN_FALSE,
	JSON_SCAN_NULL
} JsonScanToken;

typedef struct JsonScan
{
	/* result of the last token */
	char	   *text;			/* of a key, string or number */
	size_t		text_len;
	bool		text_is_plain;	/* a string of printable ASCII; false says little */
	const char *error;			/* static text, NULL while all is well */

	/* private */
	char	   *pos;
	char	   *end;
	uint64_t	objects;		/* bit d-1: is level d an object? */
	int			depth;
	int			expect;			/* tokens that the grammar allows next */
} JsonScan;

/* Begin to scan len bytes at buf. */
extern void json_scan_init(JsonScan *scan, char *buf, size_t len);

/* Return the next token. */
extern JsonScanToken json_scan_next(JsonScan *scan);

/*
 * Having just got first (the first token of a value), go past the end of that
 * value.  A no-op for scalars.  Returns false on an error.
 */
extern bool json_scan_skip(JsonScan *scan, JsonScanToken first);

/*
 * If what comes next is an object whose only member has the name given, which
 * needs no escapes, and for its value a string of printable ASCII without
 * escapes, and there is no white space in it: take it as a whole, and be true
 * with scan->text at the string.  Otherwise nothing was taken.  Does nothing
 * that json_scan_next would not do, but more quickly.
 */
extern bool json_scan_only_member(JsonScan *scan, const char *name, size_t name_len);

/* Is the last key or string equal to this literal? */
#define json_scan_text_is(scan, literal) \
	((scan)->text_len == sizeof(literal) - 1 && \
	 memcmp((scan)->text, (literal), sizeof(literal) - 1) == 0)

#endif							/* FIREHOSE_AWS_JSON_SCAN_H */
