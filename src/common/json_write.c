/*
 * json_write.c
 *		Text as JSON: escaping, and the way from the database's encoding to
 *		UTF-8.
 *
 * Text is looked at eight bytes at a time for the rare ones that JSON wants
 * escaped, and copied in the same pass.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "common/json_write.h"

#define ALL_BYTES(c)	(UINT64CONST(0x0101010101010101) * (uint64) (c))
#define HIGH_BITS		ALL_BYTES(0x80)

static const char hex_digits[] = "0123456789abcdef";

JsonTrouble json_trouble = JSON_NO_TROUBLE;
int			json_max_bytes = MaxAllocSize;
static bool tolerant = false;
static FmgrInfo conversion;		/* to UTF-8, for use outside of transactions */

static void put_escaped(StringInfo out, const char *s, int len);
static const char *to_utf8(const char *text, int *len);

/* Looking a conversion up needs the catalogs; using it does not. */
void
json_tolerate(int max_bytes)
{
	Oid			function = InvalidOid;

	tolerant = true;
	json_max_bytes = max_bytes;
	if (GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII)
		function = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);
	conversion.fn_oid = InvalidOid;
	if (OidIsValid(function))
		fmgr_info_cxt(function, &conversion, TopMemoryContext);
}

/* Append text as a JSON string. */
void
json_put_string(StringInfo out, const char *text, int len)
{
	const char *utf8 = to_utf8(text, &len);

	json_put_char(out, '"');
	put_escaped(out, utf8, len);
	json_put_char(out, '"');

	if (utf8 != text)
		pfree(unconstify(char *, utf8));
}

/*
 * Append JSON as it is, on one line: outside strings a line break is only
 * white space, inside there is none.
 */
void
json_put_embedded(StringInfo out, const char *text, int len)
{
	const char *utf8 = to_utf8(text, &len);
	char	   *copy;
	char	   *end;

	json_put(out, utf8, len);
	copy = out->data + out->len - len;
	end = out->data + out->len;
	while ((copy = memchr(copy, '\n', end - copy)) != NULL)
		*copy++ = ' ';
	copy = end - len;
	while ((copy = memchr(copy, '\r', end - copy)) != NULL)
		*copy++ = ' ';

	if (utf8 != text)
		pfree(unconstify(char *, utf8));
}

void
json_put_int64(StringInfo out, int64 value)
{
	json_reserve(out, MAXINT8LEN + 1);
	out->len += pg_lltoa(value, out->data + out->len);
}

void
json_put_uint64(StringInfo out, uint64 value)
{
	json_reserve(out, MAXINT8LEN + 1);
	out->len += pg_ulltoa_n(value, out->data + out->len);
}

/*
 * Mark, by its high bit, the first byte in memory order that is a control
 * character, a quote or a backslash; 0 when there is none.  (Marks after the
 * first may be false: a borrow has run into them.)
 */
static inline uint64
find_special(uint64 word)
{
#ifdef WORDS_BIGENDIAN
	word = pg_bswap64(word);
#endif
	return ((word - ALL_BYTES(' ')) |
			((word ^ ALL_BYTES('"')) - ALL_BYTES(1)) |
			((word ^ ALL_BYTES('\\')) - ALL_BYTES(1))) & ~word & HIGH_BITS;
}

static inline bool
is_special(unsigned char c)
{
	return c < ' ' || c == '"' || c == '\\';
}

/* Append the escape of one special byte. */
static void
put_escape(StringInfo out, unsigned char c)
{
	char		escape[6] = {'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};
	static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (const char *p = short_forms; *p; p += 2)
	{
		if ((unsigned char) p[0] == c)
		{
			escape[1] = p[1];
			json_put(out, escape, 2);
			return;
		}
	}
	json_put(out, escape, 6);
}

/* Append UTF-8 with what JSON wants escaped. */
static void
put_escaped(StringInfo out, const char *s, int len)
{
	const char *end = s + len;

	while (s < end)
	{
		char	   *to;

		json_reserve(out, end - s);
		to = out->data + out->len;

		while (end - s >= (int) sizeof(uint64))
		{
			uint64		word;
			uint64		special;

			memcpy(&word, s, sizeof(word));
			memcpy(to, &word, sizeof(word));
			special = find_special(word);
			if (special != 0)
			{
				int			clean = pg_rightmost_one_pos64(special) / 8;

				s += clean;
				to += clean;
				goto escape;
			}
			s += sizeof(word);
			to += sizeof(word);
		}
		while (s < end && !is_special(*s))
			*to++ = *s++;

escape:
		out->len = to - out->data;
		if (s < end)
			put_escape(out, *s++);
	}
}

/* Does the text have bytes outside ASCII? */
static bool
has_high_bit(const char *s, int len)
{
	const char *end = s + len;
	uint64		all = 0;

	for (; end - s >= (int) sizeof(uint64); s += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, s, sizeof(word));
		all |= word;
	}
	for (; s < end; s++)
		all |= (unsigned char) *s;
	return (all & HIGH_BITS) != 0;
}

/*
 * As pg_server_to_any, but to note what cannot be converted; returns "" then.
 */
static const char *
convert_or_note(const char *text, int *len)
{
	char	   *utf8;

	if (GetDatabaseEncoding() == PG_SQL_ASCII || GetDatabaseEncoding() == PG_UTF8)
	{
		if (pg_encoding_verifymbstr(PG_UTF8, text, *len) == *len)
			return text;
	}
	else if (OidIsValid(conversion.fn_oid))
	{
		utf8 = palloc((Size) *len * MAX_CONVERSION_GROWTH + 1);
		if (DatumGetInt32(FunctionCall6(&conversion,
										Int32GetDatum(GetDatabaseEncoding()),
										Int32GetDatum(PG_UTF8),
										CStringGetDatum(text), CStringGetDatum(utf8),
										Int32GetDatum(*len), BoolGetDatum(true))) == *len)
		{
			*len = strlen(utf8);
			return utf8;
		}
		pfree(utf8);
	}
	json_trouble = JSON_NOT_TEXT;
	*len = 0;
	return text;
}

/*
 * The text itself, or a copy converted to UTF-8 when its encoding and its
 * bytes ask for it.  A database in UTF-8 can hold other bytes as well, for
 * instance by a cast from bytea without a function.
 */
static const char *
to_utf8(const char *text, int *len)
{
	const char *utf8;

	if (likely(!has_high_bit(text, *len)))
		return text;
	if (tolerant)
		return convert_or_note(text, len);
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		pg_verify_mbstr(PG_UTF8, text, *len, false);
		return text;
	}

	/* in SQL_ASCII this only verifies: what is not UTF-8 is an error */
	utf8 = pg_server_to_any(text, *len, PG_UTF8);
	if (utf8 != text)
		*len = strlen(utf8);
	return utf8;
}
