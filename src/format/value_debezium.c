/*
 * value_debezium.c
 *		Values as Debezium's PostgreSQL connector gives them to its JSON
 *		converter, where that differs from value_datum.c.
 *
 * The source of each form is PostgresValueConverter.java of
 * github.com/debezium/debezium and what it calls (named below), with the
 * connector's defaults: time.precision.mode adaptive, interval.handling.mode
 * numeric, hstore.handling.mode json, binary.handling.mode bytes, which the
 * converter writes in base64.  decimal.handling.mode is a choice; its default
 * here is string, since the bytes of precise need the schema to be read.
 *
 * Types that Debezium leaves out unless include.unknown.datatypes is set,
 * composites and geometric ones except points, have the form of value_datum.c
 * here, so that nothing is lost.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/geo_decls.h"
#include "utils/json.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "common/json_write.h"
#include "format/value_class.h"

/* PGStatement.java of pgjdbc, which Debezium takes for microseconds */
#define POSITIVE_INFINITY_US	INT64CONST(9223372036825200000)
#define NEGATIVE_INFINITY_US	INT64CONST(-9223372036832400000)

/* MicroDuration.java: a month has 365.25 / 12 days */
#define SECONDS_PER_MONTH		INT64CONST(2629800)

/* Through the type's input function to its encoder from Datums. */
static void
put_input(StringInfo out, ValueType *type, const char *text, int len, PGFunction input)
{
	char	   *string = pnstrdup(text, len);

	value_put_datum(out, type, DirectFunctionCall3(input, CStringGetDatum(string),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
	pfree(string);
}

/* Through the type's output function to its encoder from text. */
static void
put_output(StringInfo out, ValueType *type, Datum value)
{
	char	   *text = value_output(type, value);

	value_put_text(out, type, text, strlen(text));
	pfree(text);
}

/* ------------------------------------------------------------------------
 * Times
 * ------------------------------------------------------------------------
 */

/*
 * Are times in milliseconds, not in microseconds?  TemporalPrecisionMode.java:
 * in mode connect always, else up to three digits behind the second.
 */
static bool
in_milliseconds(const ValueType *type)
{
	return type->options->timestamps == TIMESTAMPS_EPOCH_MS ||
		(type->typmod >= 0 && type->typmod <= 3);
}

/* Append microseconds in the unit of a type. */
static void
put_microseconds(StringInfo out, const ValueType *type, int64 us)
{
	if (in_milliseconds(type))
		us = us / 1000 - (us % 1000 < 0 ? 1 : 0);
	json_put_int64(out, us);
}

/* Date.java: days since 1970; an infinity has none. */
static void
put_date(StringInfo out, ValueType *type, Datum value)
{
	DateADT		date = DatumGetDateADT(value);

	if (DATE_NOT_FINITE(date))
		value_put_nulled(out, type);
	else
		json_put_int64(out, (int64) date + POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);
}

static void
put_date_text(StringInfo out, ValueType *type, const char *text, int len)
{
	put_input(out, type, text, len, date_in);
}

/* Time.java, MicroTime.java: since midnight. */
static void
put_time(StringInfo out, ValueType *type, Datum value)
{
	put_microseconds(out, type, DatumGetTimeADT(value));
}

static void
put_time_text(StringInfo out, ValueType *type, const char *text, int len)
{
	put_input(out, type, text, len, time_in);
}

/* Timestamp.java, MicroTimestamp.java: since 1970, as if it were in UTC. */
static void
put_timestamp(StringInfo out, ValueType *type, Datum value)
{
	Timestamp	time = DatumGetTimestamp(value);
	int64		us;

	if (TIMESTAMP_IS_NOBEGIN(time))
		us = NEGATIVE_INFINITY_US;
	else if (TIMESTAMP_IS_NOEND(time))
		us = POSITIVE_INFINITY_US;
	else if (pg_add_s64_overflow(time, value_unix_microseconds(0), &us))
	{
		/* the last centuries of PostgreSQL's time do not fit */
		value_put_nulled(out, type);
		return;
	}
	put_microseconds(out, type, us);
}

static void
put_timestamp_text(StringInfo out, ValueType *type, const char *text, int len)
{
	put_input(out, type, text, len, timestamp_in);
}

/* How many digits has a type behind the second? */
static int
fraction_digits(const ValueType *type)
{
	return type->typmod >= 0 && type->typmod < MAX_TIMESTAMP_PRECISION ?
		type->typmod : MAX_TIMESTAMP_PRECISION;
}

/*
 * ZonedTimestamp.java: ISO 8601 in UTC, with as many digits behind the second
 * as the type has.  Years beyond four digits have a sign, and the year before
 * 1 is 0, as in Java.
 */
static void
put_timestamptz(StringInfo out, ValueType *type, Datum value)
{
	TimestampTz time = DatumGetTimestampTz(value);
	int			digits = fraction_digits(type);
	struct pg_tm tm;
	fsec_t		fsec;
	char		text[MAXDATELEN + 1];

	if (TIMESTAMP_NOT_FINITE(time))
	{
		json_put_string(out, TIMESTAMP_IS_NOEND(time) ? "infinity" : "-infinity",
						TIMESTAMP_IS_NOEND(time) ? 8 : 9);
		return;
	}
	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	json_put_char(out, '"');
	if (tm.tm_year > 9999)
		json_put_char(out, '+');
	else if (tm.tm_year < 0)
		json_put_char(out, '-');
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d", abs(tm.tm_year), tm.tm_mon,
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	json_put(out, text, strlen(text));
	snprintf(text, sizeof(text), ".%06d", (int) fsec);
	if (digits > 0)
		json_put(out, text, digits + 1);
	json_put_literal(out, "Z\"");
}

/*
 * Rewrite "2026-11-21 22:34:01.659569+00", as most are; false: it is of
 * another form.
 */
static bool
rewrite_timestamptz(StringInfo out, const ValueType *type, const char *text, int len)
{
	const int	seconds_end = strlen("2026-11-21 22:34:01");
	int			digits = fraction_digits(type);
	int			given = len - seconds_end - (int) strlen("+00");

	if (given < 0 || text[4] != '-' || text[10] != ' ' ||
		memcmp(text + len - 3, "+00", 3) != 0 ||
		(given > 0 && (text[seconds_end] != '.' || given - 1 > digits)))
		return false;
	json_put_char(out, '"');
	json_put(out, text, 10);
	json_put_char(out, 'T');
	json_put(out, text + 11, seconds_end - 11);
	if (digits > 0)
	{
		json_put_char(out, '.');
		if (given > 0)
			json_put(out, text + seconds_end + 1, given - 1);
		json_put(out, "000000", digits - Max(given - 1, 0));
	}
	json_put_literal(out, "Z\"");
	return true;
}

static void
put_timestamptz_text(StringInfo out, ValueType *type, const char *text, int len)
{
	if (rewrite_timestamptz(out, type, text, len))
		return;
	put_input(out, type, text, len, timestamptz_in);
}

/*
 * ZonedTime.java: ISO 8601 in UTC, without zeros at the end of the fraction.
 */
static void
put_timetz(StringInfo out, ValueType *type, Datum value)
{
	const TimeTzADT *timetz = DatumGetTimeTzADTP(value);
	int64		us = timetz->time + timetz->zone * USECS_PER_SEC;
	char		text[MAXDATELEN + 1];
	int			len;

	/* the end of a day in UTC stays one */
	if (us != USECS_PER_DAY)
		us = (us % USECS_PER_DAY + USECS_PER_DAY) % USECS_PER_DAY;
	len = snprintf(text, sizeof(text), "%02d:%02d:%02d.%06d", (int) (us / USECS_PER_HOUR),
				   (int) (us / USECS_PER_MINUTE % 60), (int) (us / USECS_PER_SEC % 60),
				   (int) (us % USECS_PER_SEC));
	while (text[len - 1] == '0' && len > 8)
		len--;
	if (text[len - 1] == '.')
		len--;
	json_put_char(out, '"');
	json_put(out, text, len);
	json_put_literal(out, "Z\"");
}

static void
put_timetz_text(StringInfo out, ValueType *type, const char *text, int len)
{
	put_input(out, type, text, len, timetz_in);
}

/* MicroDuration.java: microseconds; those that do not fit are null. */
static void
put_interval(StringInfo out, ValueType *type, Datum value)
{
	const Interval *interval = DatumGetIntervalP(value);
	int64		seconds = interval->month * SECONDS_PER_MONTH + (int64) interval->day * SECS_PER_DAY;
	int64		us;

	if (INTERVAL_NOT_FINITE(interval) || pg_mul_s64_overflow(seconds, USECS_PER_SEC, &us) ||
		pg_add_s64_overflow(us, interval->time, &us))
		value_put_nulled(out, type);
	else
		json_put_int64(out, us);
}

static void
put_interval_text(StringInfo out, ValueType *type, const char *text, int len)
{
	put_input(out, type, text, len, interval_in);
}

/* ------------------------------------------------------------------------
 * Numbers and bits
 * ------------------------------------------------------------------------
 */

/*
 * Decimal.java, VariableScaleDecimal.java.  Debezium stops at what is no
 * number; it is null here.
 */
static void
put_precise(StringInfo out, ValueType *type, const char *text, int len, bool finite)
{
	if (!finite)
		value_put_nulled(out, type);
	else if (type->typmod < (int32) VARHDRSZ)
		value_put_variable_decimal(out, text, len);
	else
		/* of eleven bits and a sign: numeric_typmod_scale() of core */
		value_put_decimal(out, type, text, len,
						  (((type->typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024);
}

/* SpecialValueDecimal.java has names of its own for what is no number. */
static void
put_numeric_text(StringInfo out, ValueType *type, const char *text, int len)
{
	bool		finite = len > 0 && text[0] != 'N' && text[0] != 'I' &&
		!(len > 1 && text[1] == 'I');

	if (type->options->numerics == NUMERICS_PRECISE)
		put_precise(out, type, text, len, finite);
	else if (type->options->numerics == NUMERICS_NUMBER || finite)
		value_text_numeric(out, type, text, len);
	else if (text[0] == 'N')
		json_put_literal(out, "\"NAN\"");
	else if (text[0] == 'I')
		json_put_literal(out, "\"POSITIVE_INFINITY\"");
	else
		json_put_literal(out, "\"NEGATIVE_INFINITY\"");
}

/*
 * Money is a decimal: "-$1,000.50", as lc_monetary C writes it.  It has two
 * digits behind the point: money.fraction.digits.
 */
static void
put_money_text(StringInfo out, ValueType *type, const char *text, int len)
{
	char		number[64];
	int			n = 0;

	for (int i = 0; i < len && n < sizeof(number); i++)
	{
		if (text[i] == '-' || text[i] == '.' || (text[i] >= '0' && text[i] <= '9'))
			number[n++] = text[i];
	}
	if (type->options->numerics == NUMERICS_PRECISE)
		value_put_decimal(out, type, number, n, 2);
	else
		value_text_numeric(out, type, number, n);
}

/*
 * A single bit is a boolean.  More are bytes, the last bit being the first's
 * lowest one, without zeros at the end.
 */
static void
put_bits_text(StringInfo out, ValueType *type, const char *text, int len)
{
	char	   *bytes;
	int			nbytes = 0;

	if (type->typmod == 1)
	{
		value_text_bool(out, type, len > 0 && text[0] == '1' ? "t" : "f", 1);
		return;
	}
	bytes = palloc0(len / 8 + 1);
	for (int i = 0; i < len; i++)
	{
		if (text[len - 1 - i] == '0')
			continue;
		bytes[i / 8] |= 1 << (i % 8);
		nbytes = i / 8 + 1;
	}
	json_put_char(out, '"');
	value_put_base64(out, bytes, nbytes);
	json_put_char(out, '"');
	pfree(bytes);
}

/* ------------------------------------------------------------------------
 * Points, hstore
 * ------------------------------------------------------------------------
 */

/* Append a coordinate; JSON's numbers have neither NaN nor infinity. */
static void
put_coordinate(StringInfo out, float8 value)
{
	if (isnan(value))
		json_put_literal(out, "\"NaN\"");
	else if (isinf(value))
		json_put_string(out, value > 0 ? "Infinity" : "-Infinity", value > 0 ? 8 : 9);
	else
		value_datum_float8(out, NULL, Float8GetDatum(value));
}

/* Append a number's bytes, the lowest first. */
static char *
append_little_endian(char *to, uint64 number, int n)
{
	for (int i = 0; i < n; i++, number >>= 8)
		*to++ = (char) (number & 0xFF);
	return to;
}

/* Point.java: the coordinates, and again as well-known binary. */
static void
put_point(StringInfo out, ValueType *type, Datum value)
{
	const Point *point = DatumGetPointP(value);
	char		wkb[1 + 4 + 8 + 8];
	char	   *to = wkb;

	*to++ = 1;					/* the lowest byte first */
	to = append_little_endian(to, 1, 4);	/* a point */
	to = append_little_endian(to, (uint64) DatumGetInt64(Float8GetDatum(point->x)), 8);
	(void) append_little_endian(to, (uint64) DatumGetInt64(Float8GetDatum(point->y)), 8);

	json_put_literal(out, "{\"x\":");
	put_coordinate(out, point->x);
	json_put_literal(out, ",\"y\":");
	put_coordinate(out, point->y);
	json_put_literal(out, ",\"wkb\":\"");
	value_put_base64(out, wkb, sizeof(wkb));
	json_put_literal(out, "\",\"srid\":null}");
}

static void
put_point_text(StringInfo out, ValueType *type, const char *text, int len)
{
	put_input(out, type, text, len, point_in);
}

/* Read a quoted string of an hstore, from its quote; returns what follows. */
static const char *
read_quoted(const char *at, const char *end, StringInfo string)
{
	resetStringInfo(string);
	for (at++; at < end && *at != '"'; at++)
	{
		if (*at == '\\' && at + 1 < end)
			at++;
		appendStringInfoCharMacro(string, *at);
	}
	return at + 1;
}

/*
 * `"key"=>"value", "key"=>NULL` as a string that has JSON:
 * {"key":"value","key":null}
 */
static void
put_hstore_text(StringInfo out, ValueType *type, const char *text, int len)
{
	const char *end = text + len;
	const char *at = text;
	StringInfoData json;
	StringInfoData string;

	initStringInfo(&json);
	initStringInfo(&string);
	appendStringInfoChar(&json, '{');
	while (at < end && *at == '"')
	{
		if (json.len > 1)
			appendStringInfoChar(&json, ',');
		at = read_quoted(at, end, &string);
		escape_json(&json, string.data);
		appendStringInfoChar(&json, ':');
		at += strlen("=>");
		if (at < end && *at == '"')
		{
			at = read_quoted(at, end, &string);
			escape_json(&json, string.data);
		}
		else
		{
			appendStringInfoString(&json, "null");
			at += strlen("NULL");
		}
		at += strlen(", ");
	}
	appendStringInfoChar(&json, '}');
	json_put_string(out, json.data, json.len);
	pfree(json.data);
	pfree(string.data);
}

/* ------------------------------------------------------------------------
 * The choice
 * ------------------------------------------------------------------------
 */
static const struct
{
	Oid			typid;
	ValueClass	class;
}			debezium_types[] =
{
	{DATEOID, {put_date, put_date_text}},
	{TIMEOID, {put_time, put_time_text}},
	{TIMETZOID, {put_timetz, put_timetz_text}},
	{TIMESTAMPOID, {put_timestamp, put_timestamp_text}},
	{TIMESTAMPTZOID, {put_timestamptz, put_timestamptz_text}},
	{INTERVALOID, {put_interval, put_interval_text}},
	{NUMERICOID, {put_output, put_numeric_text}},
	{MONEYOID, {put_output, put_money_text}},
	{BITOID, {put_output, put_bits_text}},
	{VARBITOID, {put_output, put_bits_text}},
	{OIDOID, {put_output, value_text_bare}},
	{POINTOID, {put_point, put_point_text}},
};

bool
value_is_hstore(Oid typid)
{
	HeapTuple	tuple;
	bool		result = false;

	if (typid < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_type form = (Form_pg_type) GETSTRUCT(tuple);

		result = form->typtype == TYPTYPE_BASE && strcmp(NameStr(form->typname), "hstore") == 0;
		ReleaseSysCache(tuple);
	}
	return result;
}

const ValueClass *
value_debezium_class(const ValueType *type)
{
	static const ValueClass class_hstore = {put_output, put_hstore_text};

	for (int i = 0; i < lengthof(debezium_types); i++)
	{
		if (debezium_types[i].typid == type->typid)
			return &debezium_types[i].class;
	}
	return value_is_hstore(type->typid) ? &class_hstore : NULL;
}
