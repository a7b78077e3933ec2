/*-------------------------------------------------------------------------
 *
 * json_scan.c
 *	  Strict pull scanner for JSON responses, in place and without allocation.
 *
 * Called by response.c for every response.  The state between two tokens is
 * one of six expectations, the depth, and one bit per level that tells objects
 * from arrays.  Responses consist mostly of strings, whose plain part
 * json_plain.c goes past; everything else is one byte at a time.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "aws/json_plain.h"
#include "aws/json_scan.h"

/* The tokens that the grammar allows next */
typedef enum Expect
{
	/* at the start, after ':' or ',' in an array */
	EXPECT_VALUE,
	EXPECT_FIRST_VALUE,			/* or ']' */
	EXPECT_KEY,					/* after ',' in an object */
	EXPECT_FIRST_KEY,			/* or '}' */
	EXPECT_COMMA,				/* or the end of the innermost container */
	EXPECT_END					/* nothing but white space */
} Expect;

static JsonScanToken scan_key(JsonScan *scan);
static JsonScanToken scan_value(JsonScan *scan);
static JsonScanToken scan_number(JsonScan *scan);
static JsonScanToken open_container(JsonScan *scan, bool is_object);
static JsonScanToken close_container(JsonScan *scan);
static bool scan_string(JsonScan *scan);
static bool decode_string(JsonScan *scan, char *start, char *src);
static char *decode_escape(JsonScan *scan, char *src, char **dst);
static char *decode_unicode(JsonScan *scan, char *src, char **dst);
static int	utf8_sequence_length(const char *src, const char *end);

void
json_scan_init(JsonScan *scan, char *buf, size_t len)
{
	memset(scan, 0, sizeof(*scan));
	scan->pos = buf;
	scan->end = buf + len;
	scan->expect = EXPECT_VALUE;
}

/* Note an error; every later token is JSON_SCAN_ERROR. */
static JsonScanToken
fail(JsonScan *scan, const char *error)
{
	scan->error = error;
	return JSON_SCAN_ERROR;
}

/* Go past white space; false at the end of the text. */
static inline bool
skip_space(JsonScan *scan)
{
	while (scan->pos < scan->end)
	{
		char		c = *scan->pos;

		if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
			return true;
		scan->pos++;
	}
	return false;
}

static inline bool
in_object(const JsonScan *scan)
{
	return (scan->objects >> (scan->depth - 1)) & 1;
}

/* Set the expectation after a complete value. */
static inline void
value_done(JsonScan *scan)
{
	scan->expect = scan->depth > 0 ? EXPECT_COMMA : EXPECT_END;
}

JsonScanToken
json_scan_next(JsonScan *scan)
{
	if (scan->error != NULL)
		return JSON_SCAN_ERROR;
	if (!skip_space(scan))
	{
		if (scan->expect == EXPECT_END)
			return JSON_SCAN_END;
		return fail(scan, "unexpected end");
	}

	if (scan->expect == EXPECT_COMMA)
	{
		if (*scan->pos == (in_object(scan) ? '}' : ']'))
			return close_container(scan);
		if (*scan->pos != ',')
			return fail(scan, "comma or end of container expected");
		scan->pos++;
		scan->expect = in_object(scan) ? EXPECT_KEY : EXPECT_VALUE;
		if (!skip_space(scan))
			return fail(scan, "unexpected end");
	}

	switch ((Expect) scan->expect)
	{
		case EXPECT_FIRST_KEY:
			if (*scan->pos == '}')
				return close_container(scan);
			return scan_key(scan);
		case EXPECT_KEY:
			return scan_key(scan);
		case EXPECT_FIRST_VALUE:
			if (*scan->pos == ']')
				return close_container(scan);
			return scan_value(scan);
		case EXPECT_VALUE:
			return scan_value(scan);
		case EXPECT_COMMA:		/* replaced above */
		case EXPECT_END:
			break;
	}
	return fail(scan, "something follows the value");
}

bool
json_scan_skip(JsonScan *scan, JsonScanToken first)
{
	int			outside = scan->depth - 1;

	if (first != JSON_SCAN_OBJECT_START && first != JSON_SCAN_ARRAY_START)
		return first != JSON_SCAN_ERROR;

	while (scan->depth > outside)
	{
		if (json_scan_next(scan) == JSON_SCAN_ERROR)
			return false;
	}
	return true;
}

/* A key and the colon behind it. */
static JsonScanToken
scan_key(JsonScan *scan)
{
	if (*scan->pos != '"')
		return fail(scan, "key expected");
	if (!scan_string(scan))
		return JSON_SCAN_ERROR;
	if (!skip_space(scan))
		return fail(scan, "unexpected end");
	if (*scan->pos != ':')
		return fail(scan, "colon expected");
	scan->pos++;
	scan->expect = EXPECT_VALUE;
	return JSON_SCAN_KEY;
}

/* One of the three words. */
static JsonScanToken
scan_word(JsonScan *scan, const char *word, size_t len, JsonScanToken token)
{
	if ((size_t) (scan->end - scan->pos) < len ||
		memcmp(scan->pos, word, len) != 0)
		return fail(scan, "invalid token");
	scan->pos += len;
	value_done(scan);
	return token;
}

/* A scalar, or the beginning of an object or array. */
static JsonScanToken
scan_value(JsonScan *scan)
{
	switch (*scan->pos)
	{
		case '"':
			if (!scan_string(scan))
				return JSON_SCAN_ERROR;
			value_done(scan);
			return JSON_SCAN_STRING;
		case '{':
			return open_container(scan, true);
		case '[':
			return open_container(scan, false);
		case 't':
			return scan_word(scan, "true", 4, JSON_SCAN_TRUE);
		case 'f':
			return scan_word(scan, "false", 5, JSON_SCAN_FALSE);
		case 'n':
			return scan_word(scan, "null", 4, JSON_SCAN_NULL);
		default:
			return scan_number(scan);
	}
}

static JsonScanToken
open_container(JsonScan *scan, bool is_object)
{
	uint64_t	bit;

	if (scan->depth >= JSON_SCAN_MAX_DEPTH)
		return fail(scan, "nested too deeply");

	bit = UINT64_C(1) << scan->depth++;
	scan->objects = is_object ? scan->objects | bit : scan->objects & ~bit;
	scan->expect = is_object ? EXPECT_FIRST_KEY : EXPECT_FIRST_VALUE;
	scan->pos++;
	return is_object ? JSON_SCAN_OBJECT_START : JSON_SCAN_ARRAY_START;
}

static JsonScanToken
close_container(JsonScan *scan)
{
	bool		was_object = in_object(scan);

	scan->pos++;
	scan->depth--;
	value_done(scan);
	return was_object ? JSON_SCAN_OBJECT_END : JSON_SCAN_ARRAY_END;
}

/* Go past digits; false if there is none. */
static bool
skip_digits(JsonScan *scan)
{
	char	   *start = scan->pos;

	while (scan->pos < scan->end && *scan->pos >= '0' && *scan->pos <= '9')
		scan->pos++;
	return scan->pos > start;
}

/* Go past one character if it is c. */
static bool
skip_char(JsonScan *scan, char c)
{
	if (scan->pos >= scan->end || *scan->pos != c)
		return false;
	scan->pos++;
	return true;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static JsonScanToken
scan_number(JsonScan *scan)
{
	char	   *start = scan->pos;

	(void) skip_char(scan, '-');
	if (!skip_char(scan, '0') && !skip_digits(scan))
		return fail(scan, "invalid token");
	if (skip_char(scan, '.') && !skip_digits(scan))
		return fail(scan, "invalid number");
	if (skip_char(scan, 'e') || skip_char(scan, 'E'))
	{
		if (!skip_char(scan, '+'))
			(void) skip_char(scan, '-');
		if (!skip_digits(scan))
			return fail(scan, "invalid number");
	}
	scan->text = start;
	scan->text_len = scan->pos - start;
	value_done(scan);
	return JSON_SCAN_NUMBER;
}

bool
json_scan_only_member(JsonScan *scan, const char *name, size_t name_len)
{
	char	   *p = scan->pos;
	char	   *end = scan->end;
	char	   *text;

	if (scan->error != NULL || scan->depth >= JSON_SCAN_MAX_DEPTH)
		return false;
	if (scan->expect == EXPECT_COMMA && !in_object(scan))
	{
		if (p == end || *p != ',')
			return false;
		p++;
	}
	else if (scan->expect != EXPECT_FIRST_VALUE)
		return false;

	/* {"name":"text"} */
	if ((size_t) (end - p) < name_len + 8 || memcmp(p, "{\"", 2) != 0 ||
		memcmp(p + 2, name, name_len) != 0 || memcmp(p + 2 + name_len, "\":\"", 3) != 0)
		return false;
	text = p + 2 + name_len + 3;
	p = json_plain_skip(text, end);
	if (end - p < 2 || p[0] != '"' || p[1] != '}')
		return false;
	scan->text = text;
	scan->text_len = p - text;
	scan->text_is_plain = true;
	scan->pos = p + 2;
	value_done(scan);
	return true;
}

/* A string, from its opening quote. */
static bool
scan_string(JsonScan *scan)
{
	char	   *start = scan->pos + 1;
	char	   *p = json_plain_skip(start, scan->end);

	if (p < scan->end && *p == '"')
	{
		scan->text = start;
		scan->text_len = p - start;
		scan->text_is_plain = true;
		scan->pos = p + 1;
		return true;
	}
	return decode_string(scan, start, p);
}

/*
 * The rest of a string from its first special byte on: decode escapes and
 * check UTF-8.  Decoded text is never longer than the escape.
 */
static bool
decode_string(JsonScan *scan, char *start, char *src)
{
	char	   *dst = src;

	for (;;)
	{
		char	   *plain;
		int			len;

		if (src >= scan->end)
		{
			fail(scan, "unexpected end");
			return false;
		}
		if (*src == '"')
			break;

		if (*src == '\\')
		{
			src = decode_escape(scan, src, &dst);
			if (src == NULL)
				return false;
			len = 0;
		}
		else if ((unsigned char) *src < 0x20)
		{
			fail(scan, "control character in string");
			return false;
		}
		else
		{
			len = *src == 0x7F ? 1 : utf8_sequence_length(src, scan->end);
			if (len == 0)
			{
				fail(scan, "invalid UTF-8");
				return false;
			}
		}

		/* Move that sequence and the plain text behind it */
		plain = json_plain_skip(src + len, scan->end);
		memmove(dst, src, plain - src);
		dst += plain - src;
		src = plain;
	}
	scan->text = start;
	scan->text_len = dst - start;
	scan->text_is_plain = false;
	scan->pos = src + 1;
	return true;
}

/*
 * Decode the escape at src to *dst.  Returns the place after the escape, or
 * NULL if it is invalid.
 */
static char *
decode_escape(JsonScan *scan, char *src, char **dst)
{
	static const char codes[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	const char *code;

	if (scan->end - src < 2)
	{
		fail(scan, "unexpected end");
		return NULL;
	}
	if (src[1] == 'u')
		return decode_unicode(scan, src, dst);

	code = memchr(codes, src[1], sizeof(codes) - 1);
	if (code == NULL)
	{
		fail(scan, "invalid escape");
		return NULL;
	}
	*(*dst)++ = values[code - codes];
	return src + 2;
}

/* The value of \uXXXX at src, or -1 if it is invalid. */
static int32_t
hex_escape(const char *src, const char *end)
{
	int32_t		value = 0;

	if (end - src < 6 || src[0] != '\\' || src[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		char		c = src[i];

		value <<= 4;
		if (c >= '0' && c <= '9')
			value |= c - '0';
		else if (c >= 'a' && c <= 'f')
			value |= c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			value |= c - 'A' + 10;
		else
			return -1;
	}
	return value;
}

/*
 * Decode a \u escape or a surrogate pair of them to UTF-8.  U+0000 is refused
 * because no text in PostgreSQL can hold it.
 */
static char *
decode_unicode(JsonScan *scan, char *src, char **dst)
{
	int32_t		c = hex_escape(src, scan->end);
	char	   *out = *dst;

	src += 6;
	if (c >= 0xd800 && c <= 0xdbff)
	{
		int32_t		low = hex_escape(src, scan->end);

		if (low < 0xdc00 || low > 0xdfff)
		{
			fail(scan, "unpaired surrogate");
			return NULL;
		}
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		src += 6;
	}
	else if (c <= 0 || (c >= 0xdc00 && c <= 0xdfff))
	{
		fail(scan, "invalid escape");
		return NULL;
	}

	if (c < 0x80)
		*out++ = c;
	else if (c < 0x800)
	{
		*out++ = 0xc0 | c >> 6;
		*out++ = 0x80 | (c & 0x3f);
	}
	else if (c < 0x10000)
	{
		*out++ = 0xe0 | c >> 12;
		*out++ = 0x80 | (c >> 6 & 0x3f);
		*out++ = 0x80 | (c & 0x3f);
	}
	else
	{
		*out++ = 0xf0 | c >> 18;
		*out++ = 0x80 | (c >> 12 & 0x3f);
		*out++ = 0x80 | (c >> 6 & 0x3f);
		*out++ = 0x80 | (c & 0x3f);
	}
	*dst = out;
	return src;
}

/*
 * Length of the valid multibyte UTF-8 sequence at src, 0 if it is not one: no
 * overlong forms, no surrogates, nothing above U+10FFFF (RFC 3629, table in
 * section 4).
 */
static int
utf8_sequence_length(const char *src, const char *end)
{
	const unsigned char *s = (const unsigned char *) src;
	unsigned char low = 0x80;	/* range of the second byte */
	unsigned char high = 0xbf;
	int			len;

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		len = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (end - src < len)
		return 0;

	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;

	if (s[1] < low || s[1] > high)
		return 0;
	for (int i = 2; i < len; i++)
	{
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	}
	return len;
}
