/*
 * value.c
 *		Plans of types, and the settings that output functions read.  (The
 *		encoders: value_datum.c and value_text.c.)
 *
 * One table says for the types of PostgreSQL's own which class encodes them
 * and which settings their output functions read; arrays, composites, domains,
 * enums and ranges follow from their parts; every other type is PostgreSQL's
 * text.  Common types are encoded straight from the Datum and read no setting.
 * Only where an output function is called that reads some (of a point, a range
 * of timestamps, a type of an extension) the plan says so, and
 * value_guard_enter fixes them, once per record and only when the session's
 * values differ.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_locale.h"
#include "utils/typcache.h"

#include "common/json_write.h"
#include "format/value_class.h"

const char *const bigint_form_words[] = {
	[BIGINTS_NUMBER] = "number",
	[BIGINTS_STRING] = "string",
	NULL
};

static const ValueClass class_bool = {value_datum_bool, value_text_bool};
static const ValueClass class_int2 = {value_datum_int2, value_text_bare};
static const ValueClass class_int4 = {value_datum_int4, value_text_bare};
static const ValueClass class_int8 = {value_datum_int8, value_text_bare};
static const ValueClass class_int8_string = {value_datum_int8_string, value_text_string};
static const ValueClass class_float4 = {value_datum_float4, value_text_float};
static const ValueClass class_float8 = {value_datum_float8, value_text_float};
static const ValueClass class_numeric = {value_datum_numeric, value_text_numeric};
static const ValueClass class_date = {value_datum_date, value_text_string};
static const ValueClass class_timestamp = {value_datum_timestamp, value_text_timestamp};
static const ValueClass class_interval = {value_datum_interval, value_text_string};
static const ValueClass class_bytea = {value_datum_bytea, value_text_bytea};
static const ValueClass class_json = {value_datum_json, value_text_json};
static const ValueClass class_jsonb = {value_datum_jsonb, value_text_json};
static const ValueClass class_text = {value_datum_text, value_text_string};
static const ValueClass class_uuid = {value_datum_uuid, value_text_string};
static const ValueClass class_output = {value_datum_output, value_text_string};
static const ValueClass class_array = {value_datum_array, value_text_array};
static const ValueClass class_composite = {value_datum_composite, value_text_composite};

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
	{UUIDOID, &class_uuid, 0},
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
	{REGPROCOID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGPROCEDUREOID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGOPEROID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGOPERATOROID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGCLASSOID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGTYPEOID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGCOLLATIONOID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGCONFIGOID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGDICTIONARYOID, &class_output, VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING},
	{REGROLEOID, &class_output, VALUE_READS_QUOTING},
	{REGNAMESPACEOID, &class_output, VALUE_READS_QUOTING},
};

/*
 * The settings that the output function of an extension's type is assumed to
 * read. lc_monetary and search_path are not among them, because fixing them is
 * expensive and no known extension reads them.
 */
#define FOREIGN_TYPE_READS \
	(VALUE_READS_ALL & ~(VALUE_READS_MONETARY | VALUE_READS_SEARCH_PATH))

/*
 * The settings behind VALUE_READS_*, their fixed values, and whether the
 * session's is as good.
 */
static bool datestyle_is_fixed(void);
static bool intervalstyle_is_fixed(void);
static bool timezone_is_fixed(void);
static bool float_digits_is_fixed(void);
static bool bytea_output_is_fixed(void);
static bool monetary_is_fixed(void);
static bool search_path_is_fixed(void);
static bool quoting_is_fixed(void);

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
	{VALUE_READS_QUOTING, "quote_all_identifiers", "off", quoting_is_fixed},
};

static const struct KnownType *find_known_type(Oid typid);
/*
 * A plan that tables share: one of a type that no composite type is part of,
 * since such a plan never becomes void.
 */
typedef struct SharedPlan
{
	Oid			typid;			/* hash key, with the next two */
	int32		typmod;
	ValueOptions options;
	ValueType  *type;
} SharedPlan;

#define SHARED_PLAN_KEY_SIZE	offsetof(SharedPlan, type)

static HTAB *shared_plans = NULL;

static bool has_composite(Oid typid);
static uint32 output_reads(Oid typid);
static void plan_array(ValueType *type, Oid element, List **relids);
static void plan_composite(ValueType *type, List **relids);

/* ------------------------------------------------------------------------
 * Plans
 * ------------------------------------------------------------------------
 */

/* The form of a type that this project's own is not asked for; NULL: it is. */
static const ValueClass *
dialect_class(const ValueType *type)
{
	switch (type->options->dialect)
	{
		case VALUES_JSON:
			break;
		case VALUES_TEXT:
			return &class_output;
		case VALUES_DEBEZIUM:
			return value_debezium_class(type);
		case VALUES_DMS:
			return value_dms_class(type);
	}
	return NULL;
}

ValueType *
value_type_create(MemoryContext context, Oid typid, int32 typmod, const ValueOptions *options,
				  List **relids)
{
	ValueType  *type = MemoryContextAllocZero(context, sizeof(ValueType));
	const struct KnownType *known;
	Oid			element;

	check_stack_depth();

	type->typmod = typmod;
	type->typid = getBaseTypeAndTypmod(typid, &type->typmod);
	type->options = options;
	type->context = context;

	type->class = dialect_class(type);
	known = find_known_type(type->typid);
	if (type->class)
		type->reads = output_reads(type->typid);
	else if (known)
	{
		type->class = known->class;
		if (type->class == &class_int8 && options->bigints == BIGINTS_STRING)
			type->class = &class_int8_string;
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

ValueType *
value_type_get(MemoryContext context, Oid typid, int32 typmod, const ValueOptions *options,
			   List **relids)
{
	SharedPlan	key;
	SharedPlan *plan;

	if (!value_follows_typmod(options))
		typmod = -1;
	if (has_composite(typid))
		return value_type_create(context, typid, typmod, options, relids);

	if (shared_plans == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = SHARED_PLAN_KEY_SIZE;
		ctl.entrysize = sizeof(SharedPlan);
		ctl.hcxt = TopMemoryContext;
		shared_plans = hash_create("firehose types", 64, &ctl,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}

	/* padding is part of the key */
	memset(&key, 0, sizeof(key));
	key.typid = typid;
	key.typmod = typmod;
	key.options.timestamps = options->timestamps;
	key.options.numerics = options->numerics;
	key.options.json_columns = options->json_columns;
	key.options.bigints = options->bigints;
	key.options.dialect = options->dialect;
	key.options.nulled = options->nulled;
	plan = hash_search(shared_plans, &key, HASH_FIND, NULL);
	if (plan == NULL)
	{
		ValueType  *type = value_type_create(TopMemoryContext, typid, typmod, options, relids);

		plan = hash_search(shared_plans, &key, HASH_ENTER, NULL);
		plan->type = type;
		/* the entry stays where it is, and outlives the caller's options */
		for (; type != NULL; type = type->element)
			type->options = &plan->options;
	}
	return plan->type;
}

/* Is a type composite, or an array of such? */
static bool
has_composite(Oid typid)
{
	Oid			element;

	typid = getBaseType(typid);
	while (find_known_type(typid) == NULL &&
		   OidIsValid(element = get_element_type(typid)))
		typid = getBaseType(element);
	return get_typtype(typid) == TYPTYPE_COMPOSITE;
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
	/* an array's modifier is that of its elements */
	type->element = value_type_create(type->context, element, type->typmod, type->options, relids);
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
		field->type = value_type_create(type->context, att->atttypid, att->atttypmod,
										type->options, relids);
		type->reads |= field->type->reads;
		type->nfields++;
	}
}

char *
value_make_label(MemoryContext context, const char *name, int *len)
{
	StringInfoData label;
	char	   *copy;

	initStringInfo(&label);
	json_put_string(&label, name, strlen(name));
	json_put_char(&label, ':');
	json_terminate(&label);
	*len = label.len;

	/* a label is kept for long, and a StringInfo has a kilobyte at least */
	copy = MemoryContextStrdup(context, label.data);
	pfree(label.data);
	return copy;
}

int
value_find_word(const char *const *words, const char *word)
{
	for (int i = 0; words[i] != NULL; i++)
	{
		if (strcmp(words[i], word) == 0)
			return i;
	}
	return -1;
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

static bool
quoting_is_fixed(void)
{
	return !quote_all_identifiers;
}

void
value_fix_settings(void)
{
	for (int i = 0; i < lengthof(guarded_settings); i++)
	{
		if (guarded_settings[i].flag != VALUE_READS_SEARCH_PATH)
			SetConfigOption(guarded_settings[i].name, guarded_settings[i].value,
							PGC_SUSET, PGC_S_OVERRIDE);
	}
	SetConfigOption("client_encoding", GetDatabaseEncodingName(), PGC_SUSET, PGC_S_OVERRIDE);
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
