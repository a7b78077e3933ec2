/*
 * value_decimal.c
 *		Exact decimals as Kafka Connect's logical type Decimal has them, for
 *		Debezium's decimal.handling.mode precise.
 *
 * A number is an integer, of as many bytes as it needs, that is divided by ten
 * to the power of a scale, which the schema tells: Decimal.java of
 * github.com/apache/kafka, whose bytes are those of Java's
 * BigInteger.toByteArray.  A column without a scale of its own has one in each
 * value: VariableScaleDecimal.java of github.com/debezium/debezium.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "common/json_write.h"
#include "format/value_class.h"

/* So many digits are taken at a time: the most that fit into 32 bits. */
#define CHUNK_DIGITS	9

/* An integer that grows, the lowest word first. */
typedef struct BigNumber
{
	uint32	   *words;
	int			nwords;
} BigNumber;

/* Multiply by `factor`, and add. */
static void
multiply_add(BigNumber *number, uint32 factor, uint32 addend)
{
	uint64		carry = addend;

	for (int i = 0; i < number->nwords; i++)
	{
		carry += (uint64) number->words[i] * factor;
		number->words[i] = (uint32) carry;
		carry >>= 32;
	}
	if (carry != 0)
		number->words[number->nwords++] = (uint32) carry;
}

/* Append it, or its negative, as base64 of the fewest bytes that have it. */
static void
put_bytes(StringInfo out, const BigNumber *number, bool negative)
{
	int			size = number->nwords * 4 + 1;	/* with one for the sign */
	unsigned char *bytes = palloc(size);
	int			carry = negative ? 1 : 0;
	int			first = 0;

	for (int i = 0; i < size; i++)
	{
		int			byte = i / 4 < number->nwords ? number->words[i / 4] >> (i % 4 * 8) & 0xFF : 0;

		if (negative)
		{
			carry += byte ^ 0xFF;
			byte = carry & 0xFF;
			carry >>= 8;
		}
		bytes[size - 1 - i] = byte;
	}
	/* a byte that only repeats the sign of the next one */
	while (first < size - 1 &&
		   ((bytes[first] == 0 && bytes[first + 1] < 0x80) ||
			(bytes[first] == 0xFF && bytes[first + 1] >= 0x80)))
		first++;
	json_put_char(out, '"');
	value_put_base64(out, (const char *) bytes + first, size - first);
	json_put_char(out, '"');
	pfree(bytes);
}

/*
 * Append a number times ten to the power of `scale`; false, without having
 * appended anything: that is no integer.
 */
static bool
put_unscaled(StringInfo out, const char *text, int len, int scale)
{
	bool		negative = len > 0 && text[0] == '-';
	const char *point = memchr(text, '.', len);
	int			ndigits = (point ? point - text : len) + scale - (negative ? 1 : 0);
	BigNumber	number = {palloc(sizeof(uint32) * (Max(ndigits, 0) / CHUNK_DIGITS + 2))};
	bool		exact = true;
	uint32		chunk = 0;
	uint32		power = 1;

	for (int i = negative ? 1 : 0; i < len || ndigits > 0; i++)
	{
		int			digit = i < len ? text[i] - '0' : 0;

		if (i < len && text[i] == '.')
			continue;
		if (ndigits-- <= 0)
		{
			exact &= digit == 0;
			continue;
		}
		chunk = chunk * 10 + digit;
		power *= 10;
		if (power == 1000000000 || ndigits == 0)
		{
			multiply_add(&number, power, chunk);
			chunk = 0;
			power = 1;
		}
	}
	if (exact)
		put_bytes(out, &number, negative);
	pfree(number.words);
	return exact;
}

void
value_put_decimal(StringInfo out, const ValueType *type, const char *text, int len, int scale)
{
	if (!put_unscaled(out, text, len, scale))
		value_put_nulled(out, type);
}

void
value_put_variable_decimal(StringInfo out, const char *text, int len)
{
	const char *point = memchr(text, '.', len);
	int			scale;

	while (point && text[len - 1] == '0')
		len--;
	scale = point ? text + len - (point + 1) : 0;
	json_put_literal(out, "{\"scale\":");
	json_put_int64(out, scale);
	json_put_literal(out, ",\"value\":");
	(void) put_unscaled(out, text, len, scale);
	json_put_char(out, '}');
}
