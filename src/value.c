/*
 * value.c
 *		Plans of types and the encoders from Datums.  (From text: value_text.c.)
 *
 * One table says for the types of PostgreSQL's own which class encodes them
 * and which settings their output functions read; arrays, composites, domains,
 * enums and ranges follow from what they are made of; every other type is
 * PostgreSQL's text.  Common types are encoded straight from the Datum and
 * read no setting.  Only where an output function is called that reads some
 * (of a point, a range of timestamps, a type of an extension) the plan says
 * so, and value_guard_enter fixes them, once per record and only when the
 * session's values differ.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/int.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/pg_locale.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "json_write.h"
#include "value.h"

static void put_bool(StringInfo out, ValueType *type, Datum value);
static void put_int2(StringInfo out, ValueType *type, Datum value);
static void put_int4(StringInfo out, ValueType *type, Datum value);
static void put_int8(StringInfo out, ValueType *type, Datum value);
static void put_float4(StringInfo out, ValueType *type, Datum value);
static void put_float8(StringInfo out, ValueType *type, Datum value);
static void put_numeric(StringInfo out, ValueType *type, Datum value);
static void put_date(StringInfo out, ValueType *type, Datum value);
static void put_timestamp(StringInfo out, ValueType *type, Datum value);
static void put_interval(StringInfo out, ValueType *type, Datum value);
static void put_bytea(StringInfo out, ValueType *type, Datum value);
static void put_json(StringInfo out, ValueType *type, Datum value);
static void put_jsonb(StringInfo out, ValueType *type, Datum value);
static void put_text(StringInfo out, ValueType *type, Datum value);
static void put_output(StringInfo out, ValueType *type, Datum value);
static void put_array(StringInfo out, ValueType *type, Datum value);
static void put_composite(StringInfo out, ValueType *type, Datum value);

static const ValueClass class_bool = {put_bool, value_text_bool};
static const ValueClass class_int2 = {put_int2, value_text_bare};
static const ValueClass class_int4 = {put_int4, value_text_bare};
static const ValueClass class_int8 = {put_int8, value_text_bare};
static const ValueClass class_float4 = {put_float4, value_text_float};
static const ValueClass class_float8 = {put_float8, value_text_float};
static const ValueClass class_numeric = {put_numeric, value_text_numeric};
static const ValueClass class_date = {put_date, value_text_string};
static const ValueClass class_timestamp = {put_timestamp, value_text_timestamp};
static const ValueClass class_interval = {put_interval, value_text_string};
static const ValueClass class_bytea = {put_bytea, value_text_bytea};
static const ValueClass class_json = {put_json, value_text_json};
static const ValueClass class_jsonb = {put_jsonb, value_text_json};
static const ValueClass class_text = {put_text, value_text_string};
static const ValueClass class_output = {put_output, value_text_string};
static const ValueClass class_array = {put_array, value_text_array};
static const ValueClass class_composite = {put_composite, value_text_composite};

/*
 * Types that have an encoder of their own, or whose output function reads
 * settings.  Those of PostgreSQL's own that are not listed are class_output
 * and read none.
 */
static const struct KnownType
{
	Oid			typid;
	const ValueClass *class;
	uint32		reads;			/* by the output function */
}			known_types[] =
{
	{BOOLOID, &class_bool, 0},
	{INT2OID, &class_int2, 0},
	{INT4OID, &class_int4, 0},
	{INT8OID, &class_int8, 0},
	{FLOAT4OID, &class_float4, VALUE_READS_FLOAT_DIGITS},
	{FLOAT8OID, &class_float8, VALUE_READS_FLOAT_DIGITS},
	{NUMERICOID, &class_numeric, 0},
	{DATEOID, &class_date, VALUE_READS_DATESTYLE},
	{TIMESTAMPOID, &class_timestamp, VALUE_READS_DATESTYLE},
	{TIMESTAMPTZOID, &class_timestamp, VALUE_READS_DATESTYLE | VALUE_READS_TIMEZONE},
	{INTERVALOID, &class_interval, VALUE_READS_INTERVALSTYLE},
	{BYTEAOID, &class_bytea, VALUE_READS_BYTEA_OUTPUT},
	{JSONOID, &class_json, 0},
	{JSONBOID, &class_jsonb, 0},
	{TEXTOID, &class_text, 0},
	{VARCHAROID, &class_text, 0},
	{BPCHAROID, &class_text, 0},
	{INT2VECTOROID, &class_output, 0},	/* arrays whose text is "1 2 3" */
	{OIDVECTOROID, &class_output, 0},
	{POINTOID, &class_output, VALUE_READS_FLOAT_DIGITS},
	{LSEGOID, &class_output, VALUE_READS_FLOAT_DIGITS},
	{PATHOID, &class_output, VALUE_READS_FLOAT_DIGITS},
	{BOXOID, &class_output, VALUE_READS_FLOAT_DIGITS},
	{POLYGONOID, &class_output, VALUE_READS_FLOAT_DIGITS},
	{LINEOID, &class_output, VALUE_READS_FLOAT_DIGITS},
	{CIRCLEOID, &class_output, VALUE_READS_FLOAT_DIGITS},
	{MONEYOID, &class_output, VALUE_READS_MONETARY},
	{REGPROCOID, &class_output, VALUE_READS_SEARCH_PATH},
	{REGPROCEDUREOID, &class_output, VALUE_READS_SEARCH_PATH},
	{REGOPEROID, &class_output, VALUE_READS_SEARCH_PATH},
	{REGOPERATOROID, &class_output, VALUE_READS_SEARCH_PATH},
	{REGCLASSOID, &class_output, VALUE_READS_SEARCH_PATH},
	{REGTYPEOID, &class_output, VALUE_READS_SEARCH_PATH},
	{REGCOLLATIONOID, &class_output, VALUE_READS_SEARCH_PATH},
	{REGCONFIGOID, &class_output, VALUE_READS_SEARCH_PATH},
	{REGDICTIONARYOID, &class_output, VALUE_READS_SEARCH_PATH},
};

/*
 * What the output function of a type made elsewhere is taken to read.  Not
 * lc_monetary and search_path: fixing them costs too much for what no known
 * extension does.
 */
#define FOREIGN_TYPE_READS \
	(VALUE_READS_ALL & ~(VALUE_READS_MONETARY | VALUE_READS_SEARCH_PATH))

/* The settings behind VALUE_READS_*, their fixed values, and whether the session's is as good. */
static bool datestyle_is_fixed(void);
static bool intervalstyle_is_fixed(void);
static bool timezone_is_fixed(void);
static bool float_digits_is_fixed(void);
static bool bytea_output_is_fixed(void);
static bool monetary_is_fixed(void);
static bool search_path_is_fixed(void);

static const struct GuardedSetting
{
	uint32		flag;
	const char *name;
	const char *value;
	bool		(*is_fixed) (void);
}			guarded_settings[] =
{
	{VALUE_READS_DATESTYLE, "datestyle", "ISO", datestyle_is_fixed},
	{VALUE_READS_INTERVALSTYLE, "intervalstyle", "postgres", intervalstyle_is_fixed},
	{VALUE_READS_TIMEZONE, "timezone", "UTC", timezone_is_fixed},
	{VALUE_READS_FLOAT_DIGITS, "extra_float_digits", "3", float_digits_is_fixed},
	{VALUE_READS_BYTEA_OUTPUT, "bytea_output", "hex", bytea_output_is_fixed},
	{VALUE_READS_MONETARY, "lc_monetary", "C", monetary_is_fixed},
	{VALUE_READS_SEARCH_PATH, "search_path", "", search_path_is_fixed},
};

static const struct KnownType *find_known_type(Oid typid);
static uint32 output_reads(Oid typid);
static void plan_array(ValueType *type, Oid element, List **relids);
static void plan_composite(ValueType *type, List **relids);
static void put_time_string(StringInfo out, const ValueType *type, Timestamp time, bool utc);

/* ------------------------------------------------------------------------
 * Plans
 * ------------------------------------------------------------------------
 */
ValueType *
value_type_create(MemoryContext context, Oid typid, const ValueOptions *options,
				  List **relids)
{
	ValueType  *type = MemoryContextAllocZero(context, sizeof(ValueType));
	const struct KnownType *known;
	Oid			element;

	check_stack_depth();

	type->typid = getBaseType(typid);
	type->options = options;
	type->context = context;

	known = find_known_type(type->typid);
	if (known)
	{
		type->class = known->class;
		type->reads = known->class == &class_output ? known->reads : 0;
	}
	else if (OidIsValid(element = get_element_type(type->typid)))
		plan_array(type, element, relids);
	else if (get_typtype(type->typid) == TYPTYPE_COMPOSITE)
		plan_composite(type, relids);
	else
	{
		type->class = &class_output;
		type->reads = output_reads(type->typid);
	}
	return type;
}

static const struct KnownType *
find_known_type(Oid typid)
{
	for (int i = 0; i < lengthof(known_types); i++)
	{
		if (known_types[i].typid == typid)
			return &known_types[i];
	}
	return NULL;
}

/* Which settings does the output function of a type read? */
static uint32
output_reads(Oid typid)
{
	const struct KnownType *known;

	typid = getBaseType(typid);
	known = find_known_type(typid);
	if (known)
		return known->reads;

	switch (get_typtype(typid))
	{
		case TYPTYPE_ENUM:
			return 0;
		case TYPTYPE_RANGE:
			return output_reads(get_range_subtype(typid));
		case TYPTYPE_MULTIRANGE:
			return output_reads(get_multirange_range(typid));
		case TYPTYPE_BASE:
			if (OidIsValid(get_element_type(typid)))
				return output_reads(get_element_type(typid));
			return typid < FirstNormalObjectId ? 0 : FOREIGN_TYPE_READS;
		default:
			/* a composite inside a range, or a pseudo-type */
			return VALUE_READS_ALL;
	}
}

static void
plan_array(ValueType *type, Oid element, List **relids)
{
	Oid			ioparam;
	Oid			function;

	get_type_io_data(element, IOFunc_output, &type->typlen, &type->typbyval,
					 &type->typalign, &type->typdelim, &ioparam, &function);
	type->class = &class_array;
	type->element = value_type_create(type->context, element, type->options, relids);
	type->reads = type->element->reads;
}

static void
plan_composite(ValueType *type, List **relids)
{
	MemoryContext old = MemoryContextSwitchTo(type->context);
	TupleDesc	tupdesc = lookup_rowtype_tupdesc_copy(type->typid, -1);

	*relids = lappend_oid(*relids, get_typ_typrelid(type->typid));
	type->class = &class_composite;
	type->tupdesc = tupdesc;
	type->fields = palloc0(sizeof(ValueField) * Max(tupdesc->natts, 1));
	MemoryContextSwitchTo(old);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);
		ValueField *field = &type->fields[type->nfields];

		if (att->attisdropped)
			continue;
		field->attno = i;
		field->label = value_make_label(type->context, NameStr(att->attname),
										&field->label_len);
		field->type = value_type_create(type->context, att->atttypid,
										type->options, relids);
		type->reads |= field->type->reads;
		type->nfields++;
	}
}

char *
value_make_label(MemoryContext context, const char *name, int *len)
{
	StringInfoData label;
	MemoryContext old = MemoryContextSwitchTo(context);

	initStringInfo(&label);
	json_put_string(&label, name, strlen(name));
	json_put_char(&label, ':');
	json_terminate(&label);
	MemoryContextSwitchTo(old);

	*len = label.len;
	return label.data;
}

/* ------------------------------------------------------------------------
 * Guarded settings
 * ------------------------------------------------------------------------
 */
static bool
datestyle_is_fixed(void)
{
	return DateStyle == USE_ISO_DATES;
}

static bool
intervalstyle_is_fixed(void)
{
	return IntervalStyle == INTSTYLE_POSTGRES;
}

static bool
timezone_is_fixed(void)
{
	const char *name = pg_get_timezone_name(session_timezone);

	return strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0;
}

static bool
float_digits_is_fixed(void)
{
	/* any positive value means the shortest exact form */
	return extra_float_digits > 0;
}

static bool
bytea_output_is_fixed(void)
{
	return bytea_output == BYTEA_OUTPUT_HEX;
}

static bool
monetary_is_fixed(void)
{
	return strcmp(locale_monetary, "C") == 0;
}

static bool
search_path_is_fixed(void)
{
	return namespace_search_path[0] == '\0';
}

int
value_guard_set(uint32 reads)
{
	int			nestlevel = 0;

	for (int i = 0; i < lengthof(guarded_settings); i++)
	{
		const struct GuardedSetting *setting = &guarded_settings[i];

		if (!(reads & setting->flag) || setting->is_fixed())
			continue;
		if (nestlevel == 0)
			nestlevel = NewGUCNestLevel();
		(void) set_config_option(setting->name, setting->value, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	return nestlevel;
}

void
value_guard_reset(int nestlevel)
{
	AtEOXact_GUC(true, nestlevel);
}

/* ------------------------------------------------------------------------
 * Encoders
 * ------------------------------------------------------------------------
 */
void
value_put_nulled(StringInfo out, const ValueType *type)
{
	json_put_literal(out, "null");
	if (type->options->nulled)
		(*type->options->nulled)++;
}

static void
put_bool(StringInfo out, ValueType *type, Datum value)
{
	if (DatumGetBool(value))
		json_put_literal(out, "true");
	else
		json_put_literal(out, "false");
}

static void
put_int2(StringInfo out, ValueType *type, Datum value)
{
	json_reserve(out, MAXINT8LEN + 1);
	out->len += pg_itoa(DatumGetInt16(value), out->data + out->len);
}

static void
put_int4(StringInfo out, ValueType *type, Datum value)
{
	json_reserve(out, MAXINT8LEN + 1);
	out->len += pg_ltoa(DatumGetInt32(value), out->data + out->len);
}

static void
put_int8(StringInfo out, ValueType *type, Datum value)
{
	json_put_int64(out, DatumGetInt64(value));
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

static void
put_float4(StringInfo out, ValueType *type, Datum value)
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

static void
put_float8(StringInfo out, ValueType *type, Datum value)
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

static void
put_numeric(StringInfo out, ValueType *type, Datum value)
{
	char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out, value));

	value_text_numeric(out, type, digits, strlen(digits));
	pfree(digits);
}

static void
put_date(StringInfo out, ValueType *type, Datum value)
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
	const int64 unix_epoch = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
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

/* Append a finite timestamp as a string.  Before Christ and after 9999 it is what to_json makes of it: " BC" at the end, five digits. */
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
static void
put_timestamp(StringInfo out, ValueType *type, Datum value)
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
	struct pg_tm tm;
	fsec_t		fsec;
	char		buf[MAXDATELEN + 1];

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	EncodeDateTime(&tm, 0, false, 0, NULL, USE_XSD_DATES, buf);
	json_put_char(out, '"');
	json_put(out, buf, strlen(buf));

	/* ".ffffffZ" */
	buf[0] = '.';
	pg_ultostr_zeropad(buf + 1, fsec, 6);
	buf[7] = 'Z';
	buf[8] = '"';
	json_put(out, buf, 9);
}

static void
put_interval(StringInfo out, ValueType *type, Datum value)
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

static void
put_bytea(StringInfo out, ValueType *type, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);

	json_put_char(out, '"');
	value_put_base64(out, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	json_put_char(out, '"');
}

static void
put_json(StringInfo out, ValueType *type, Datum value)
{
	text	   *json = DatumGetTextPP(value);

	value_text_json(out, type, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

static void
put_jsonb(StringInfo out, ValueType *type, Datum value)
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

static void
put_text(StringInfo out, ValueType *type, Datum value)
{
	text	   *string = DatumGetTextPP(value);

	json_put_string(out, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

/* Append the text of the type's output function. */
static void
put_output(StringInfo out, ValueType *type, Datum value)
{
	char	   *string;

	if (unlikely(!OidIsValid(type->output.fn_oid)))
	{
		Oid			function;
		bool		is_varlena;

		getTypeOutputInfo(type->typid, &function, &is_varlena);
		fmgr_info_cxt(function, &type->output, type->context);
	}
	string = OutputFunctionCall(&type->output, value);
	json_put_string(out, string, strlen(string));
	pfree(string);
}

/* Append an array; lower bounds, which JSON has no place for, are lost. */
static void
put_array(StringInfo out, ValueType *type, Datum value)
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
	deconstruct_array(array, type->element->typid, type->typlen, type->typbyval,
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

		/* close the dimensions that this was the last item of, open them again unless that is the end */
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

static void
put_composite(StringInfo out, ValueType *type, Datum value)
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
