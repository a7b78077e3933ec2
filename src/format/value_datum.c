/*
 * value_datum.c
 *		The encoders of values from Datums.
 *
 * Integers, floats and booleans bare, NaN and infinities as strings, numeric
 * as an exact string, times in ISO 8601 (UTC with a Z where there is a zone),
 * bytea in base64, json as it is, arrays and composites as JSON's, everything
 * else as PostgreSQL's text.  ValueOptions has the other choices.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/int.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "common/compat.h"
#include "common/json_write.h"
#include "format/value_class.h"

void
value_put_nulled(StringInfo out, const ValueType *type)
{
	json_put_literal(out, "null");
	if (type->options->nulled)
		(*type->options->nulled)++;
}

void
value_datum_bool(StringInfo out, ValueType *type, Datum value)
{
	if (DatumGetBool(value))
		json_put_literal(out, "true");
	else
		json_put_literal(out, "false");
}

void
value_datum_int2(StringInfo out, ValueType *type, Datum value)
{
	json_reserve(out, MAXINT8LEN + 1);
	out->len += pg_itoa(DatumGetInt16(value), out->data + out->len);
}

void
value_datum_int4(StringInfo out, ValueType *type, Datum value)
{
	json_reserve(out, MAXINT8LEN + 1);
	out->len += pg_ltoa(DatumGetInt32(value), out->data + out->len);
}

void
value_datum_int8(StringInfo out, ValueType *type, Datum value)
{
	json_put_int64(out, DatumGetInt64(value));
}

void
value_datum_int8_string(StringInfo out, ValueType *type, Datum value)
{
	json_put_char(out, '"');
	json_put_int64(out, DatumGetInt64(value));
	json_put_char(out, '"');
}

/* Append NaN or an infinity, which JSON's numbers do not have. */
static void
put_not_finite(StringInfo out, ValueType *type, float8 value)
{
	if (type->options->numerics == NUMERICS_NUMBER)
		value_put_nulled(out, type);
	else if (isnan(value))
		json_put_literal(out, "\"NaN\"");
	else if (value > 0)
		json_put_literal(out, "\"Infinity\"");
	else
		json_put_literal(out, "\"-Infinity\"");
}

void
value_datum_float4(StringInfo out, ValueType *type, Datum value)
{
	float4		number = DatumGetFloat4(value);

	if (isnan(number) || isinf(number))
	{
		put_not_finite(out, type, number);
		return;
	}
	json_reserve(out, FLOAT_SHORTEST_DECIMAL_LEN);
	out->len += float_to_shortest_decimal_bufn(number, out->data + out->len);
}

void
value_datum_float8(StringInfo out, ValueType *type, Datum value)
{
	float8		number = DatumGetFloat8(value);

	if (isnan(number) || isinf(number))
	{
		put_not_finite(out, type, number);
		return;
	}
	json_reserve(out, DOUBLE_SHORTEST_DECIMAL_LEN);
	out->len += double_to_shortest_decimal_bufn(number, out->data + out->len);
}

void
value_datum_numeric(StringInfo out, ValueType *type, Datum value)
{
	char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out, value));

	value_text_numeric(out, type, digits, strlen(digits));
	pfree(digits);
}

void
value_datum_date(StringInfo out, ValueType *type, Datum value)
{
	DateADT		date = DatumGetDateADT(value);
	char		buf[MAXDATELEN + 1];

	if (DATE_NOT_FINITE(date))
		EncodeSpecialDate(date, buf);
	else
	{
		struct pg_tm tm;

		j2date(date + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		EncodeDateOnly(&tm, USE_ISO_DATES, buf);
	}
	json_put_char(out, '"');
	json_put(out, buf, strlen(buf));
	json_put_char(out, '"');
}

/* Append a timestamp as an integer since 1970. */
static void
put_epoch(StringInfo out, const ValueType *type, Timestamp time)
{
	const int64 unix_epoch = value_unix_microseconds(0);
	int64		epoch;

	if (TIMESTAMP_NOT_FINITE(time))
	{
		value_put_nulled(out, type);
		return;
	}
	if (type->options->timestamps == TIMESTAMPS_EPOCH_US)
	{
		/* the last centuries of PostgreSQL's time do not fit */
		if (pg_add_s64_overflow(time, unix_epoch, &epoch))
		{
			value_put_nulled(out, type);
			return;
		}
	}
	else
	{
		epoch = time / 1000 - (time % 1000 < 0 ? 1 : 0);
		epoch += unix_epoch / 1000;
	}
	json_put_int64(out, epoch);
}

/*
 * Append a finite timestamp as a string.  Before Christ and after 9999 the
 * form is that of to_json: " BC" at the end, five digits.
 */
static void
put_time_string(StringInfo out, const ValueType *type, Timestamp time, bool utc)
{
	bool		iso = type->options->timestamps == TIMESTAMPS_ISO;
	struct pg_tm tm;
	fsec_t		fsec;
	char	   *start;
	int			len;

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));

	json_reserve(out, MAXDATELEN + 4);
	start = out->data + out->len;
	start[0] = '"';
	EncodeDateTime(&tm, fsec, false, 0, NULL, iso ? USE_XSD_DATES : USE_ISO_DATES, start + 1);
	len = strlen(start);
	if (utc && iso)
	{
		if (tm.tm_year <= 0)
		{
			memcpy(start + len - 3, "Z BC", 4);
			len++;
		}
		else
			start[len++] = 'Z';
	}
	start[len++] = '"';
	out->len += len;
}

/* Append a timestamp, with (typid says) or without time zone. */
void
value_datum_timestamp(StringInfo out, ValueType *type, Datum value)
{
	Timestamp	time = DatumGetTimestamp(value);

	if (type->options->timestamps == TIMESTAMPS_EPOCH_US ||
		type->options->timestamps == TIMESTAMPS_EPOCH_MS)
		put_epoch(out, type, time);
	else if (TIMESTAMP_IS_NOBEGIN(time))
		json_put_literal(out, "\"-infinity\"");
	else if (TIMESTAMP_IS_NOEND(time))
		json_put_literal(out, "\"infinity\"");
	else
		put_time_string(out, type, time, type->typid == TIMESTAMPTZOID);
}

void
value_put_time(StringInfo out, TimestampTz time)
{
	/* all events of a transaction have the same */
	static TimestampTz last_time = 0;
	static char last_text[MAXDATELEN + 16];
	static int	last_len = 0;

	if (time != last_time || last_len == 0)
	{
		struct pg_tm tm;
		fsec_t		fsec;
		char	   *end;

		if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
			elog(ERROR, "timestamp out of range");
		last_text[0] = '"';
		EncodeDateTime(&tm, 0, false, 0, NULL, USE_XSD_DATES, last_text + 1);
		end = last_text + strlen(last_text);
		*end++ = '.';
		end = pg_ultostr_zeropad(end, fsec, 6);
		*end++ = 'Z';
		*end++ = '"';
		last_len = end - last_text;
		last_time = time;
	}
	json_put(out, last_text, last_len);
}

void
value_datum_interval(StringInfo out, ValueType *type, Datum value)
{
	Interval   *interval = DatumGetIntervalP(value);
	struct pg_itm itm;
	char		buf[MAXDATELEN + 1];

	if (INTERVAL_NOT_FINITE(interval))
		strcpy(buf, INTERVAL_IS_NOBEGIN(interval) ? "-infinity" : "infinity");
	else
	{
		interval2itm(*interval, &itm);
		EncodeInterval(&itm, INTSTYLE_POSTGRES, buf);
	}
	json_put_string(out, buf, strlen(buf));
}

void
value_put_base64(StringInfo out, const char *bytes, int len)
{
	json_reserve(out, pg_b64_enc_len(len));
	out->len += pg_b64_encode((const void *) bytes, len, out->data + out->len,
							  pg_b64_enc_len(len));
}

void
value_datum_bytea(StringInfo out, ValueType *type, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);

	json_put_char(out, '"');
	value_put_base64(out, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	json_put_char(out, '"');
}

void
value_datum_json(StringInfo out, ValueType *type, Datum value)
{
	text	   *json = DatumGetTextPP(value);

	value_text_json(out, type, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

void
value_datum_jsonb(StringInfo out, ValueType *type, Datum value)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	char	   *text;

	/* straight into the record where nothing has to be converted or escaped */
	if (type->options->json_columns == JSON_EMBED && GetDatabaseEncoding() == PG_UTF8)
	{
		(void) JsonbToCString(out, &jsonb->root, VARSIZE(jsonb));
		return;
	}
	text = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
	value_text_json(out, type, text, strlen(text));
	pfree(text);
}

void
value_datum_text(StringInfo out, ValueType *type, Datum value)
{
	text	   *string = DatumGetTextPP(value);

	json_put_string(out, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

/* Append a uuid, which is too common as a key for uuid_out. */
void
value_datum_uuid(StringInfo out, ValueType *type, Datum value)
{
	static const char digits[] = "0123456789abcdef";
	pg_uuid_t  *uuid = DatumGetUUIDP(value);
	char		buf[38];
	char	   *to = buf;

	*to++ = '"';
	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[uuid->data[i] >> 4];
		*to++ = digits[uuid->data[i] & 15];
	}
	*to++ = '"';
	json_put(out, buf, to - buf);
}

char *
value_output(ValueType *type, Datum value)
{
	if (unlikely(!OidIsValid(type->output.fn_oid)))
	{
		Oid			function;
		bool		is_varlena;

		getTypeOutputInfo(type->typid, &function, &is_varlena);
		fmgr_info_cxt(function, &type->output, type->context);
	}
	return OutputFunctionCall(&type->output, value);
}

/* Append the text of the type's output function. */
void
value_datum_output(StringInfo out, ValueType *type, Datum value)
{
	char	   *string = value_output(type, value);

	json_put_string(out, string, strlen(string));
	pfree(string);
}

/* Append an array; lower bounds, which JSON has no place for, are lost. */
void
value_datum_array(StringInfo out, ValueType *type, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	int			ndim = ARR_NDIM(array);
	int		   *dims = ARR_DIMS(array);
	int			index[MAXDIM] = {0};
	Datum	   *items;
	bool	   *nulls;
	int			nitems;
	int			dim;

	check_stack_depth();
	/*
	 * the element's own type, which may be a domain over the one that is
	 * encoded
	 */
	deconstruct_array(array, ARR_ELEMTYPE(array), type->typlen, type->typbyval,
					  type->typalign, &items, &nulls, &nitems);
	if (nitems == 0)
	{
		json_put_literal(out, "[]");
		return;
	}

	for (dim = 0; dim < ndim; dim++)
		json_put_char(out, '[');
	for (int i = 0; i < nitems; i++)
	{
		if (nulls[i])
			json_put_literal(out, "null");
		else
			value_put_datum(out, type->element, items[i]);

		/*
		 * close the dimensions that this was the last item of, open them again
		 * unless that is the end
		 */
		for (dim = ndim - 1; dim >= 0 && ++index[dim] == dims[dim]; dim--)
		{
			index[dim] = 0;
			json_put_char(out, ']');
		}
		if (dim < 0)
			break;
		json_put_char(out, ',');
		while (++dim < ndim)
			json_put_char(out, '[');
	}
	pfree(items);
	pfree(nulls);
}

void
value_datum_composite(StringInfo out, ValueType *type, Datum value)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	HeapTupleData tuple = {0};
	Datum	   *values = palloc(sizeof(Datum) * Max(type->tupdesc->natts, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(type->tupdesc->natts, 1));

	check_stack_depth();
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	ItemPointerSetInvalid(&tuple.t_self);
	heap_deform_tuple(&tuple, type->tupdesc, values, nulls);

	json_put_char(out, '{');
	for (int i = 0; i < type->nfields; i++)
	{
		ValueField *field = &type->fields[i];

		if (i > 0)
			json_put_char(out, ',');
		json_put(out, field->label, field->label_len);
		if (nulls[field->attno])
			json_put_literal(out, "null");
		else
			value_put_datum(out, field->type, values[field->attno]);
	}
	json_put_char(out, '}');
	pfree(values);
	pfree(nulls);
}
