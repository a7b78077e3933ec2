/*
 * value.h
 *		Values of PostgreSQL's types as JSON, the same from a Datum and from
 *		PostgreSQL's text.
 *
 * A ValueType is the plan of one type: found once from the catalogs, then used
 * for every value.  The form of a value depends on the plan's options and on
 * nothing in the session: not on DateStyle, IntervalStyle, TimeZone,
 * extra_float_digits, bytea_output, lc_monetary or search_path.
 *
 * Text given to value_put_text is in the database's encoding (a process that
 * reads pgoutput sets client_encoding to it) and was written under the
 * settings that value_guard_enter(VALUE_READS_ALL) makes: DateStyle ISO,
 * IntervalStyle postgres, TimeZone UTC, extra_float_digits 3, bytea_output
 * hex, lc_monetary C, search_path empty.
 */
#ifndef FIREHOSE_FORMAT_VALUE_H
#define FIREHOSE_FORMAT_VALUE_H

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

typedef enum TimestampForm
{
	TIMESTAMPS_ISO,				/* "2026-11-21T22:34:01.659569Z" */
	TIMESTAMPS_EPOCH_US,		/* 1795300441659569 */
	TIMESTAMPS_EPOCH_MS,		/* 1795300441659 */
	TIMESTAMPS_SQL				/* "2026-11-21 22:34:01.659569", UTC */
} TimestampForm;

typedef enum NumericForm
{
	/* "10.50", exact; NaN as a string, also of floats */
	NUMERICS_STRING,
	NUMERICS_NUMBER,			/* 10.50; NaN and infinity are null */
	NUMERICS_PRECISE			/* VALUES_DEBEZIUM: value_decimal.c */
} NumericForm;

typedef enum JsonForm
{
	JSON_EMBED,					/* {"a": 1} */
	JSON_STRING					/* "{\"a\": 1}" */
} JsonForm;

typedef enum BigintForm
{
	BIGINTS_NUMBER,				/* 1 */
	BIGINTS_STRING				/* "1", for readers whose numbers are doubles */
} BigintForm;

/* The words for it, in the order of the enum; NULL ends them. */
extern const char *const bigint_form_words[];

/* The place of a word in such a list; -1: it is none of them. */
extern int	value_find_word(const char *const *words, const char *word);

/* Which forms the other types have. */
typedef enum ValueDialect
{
	VALUES_JSON,				/* this project's own: value_datum.c */
	VALUES_TEXT,				/* all are the type's output */
	VALUES_DEBEZIUM,			/* value_debezium.c */
	VALUES_DMS					/* value_dms.c */
} ValueDialect;

typedef struct ValueOptions
{
	TimestampForm timestamps;
	NumericForm numerics;
	JsonForm	json_columns;
	BigintForm	bigints;
	ValueDialect dialect;
	uint64	   *nulled;			/* counts values that had to become null: NaN
								 * as a number, infinity as an epoch; or NULL
								 * */
} ValueOptions;

/* Settings that the output function of a type reads. */
#define VALUE_READS_DATESTYLE		(1 << 0)
#define VALUE_READS_INTERVALSTYLE	(1 << 1)
#define VALUE_READS_TIMEZONE		(1 << 2)
#define VALUE_READS_FLOAT_DIGITS	(1 << 3)
#define VALUE_READS_BYTEA_OUTPUT	(1 << 4)
#define VALUE_READS_MONETARY		(1 << 5)
#define VALUE_READS_SEARCH_PATH		(1 << 6)
#define VALUE_READS_QUOTING			(1 << 7)
#define VALUE_READS_ALL				((1 << 8) - 1)

typedef struct ValueType ValueType;

/* How a class of types becomes JSON. */
typedef struct ValueClass
{
	void		(*put_datum) (StringInfo out, ValueType *type, Datum value);
	void		(*put_text) (StringInfo out, ValueType *type, const char *text, int len);
} ValueClass;

/* A field of a composite type. */
typedef struct ValueField
{
	int			attno;			/* index in the tuple descriptor */
	char	   *label;			/* "name": with quotes and colon, in UTF-8 */
	int			label_len;
	ValueType  *type;
} ValueField;

struct ValueType
{
	const ValueClass *class;
	Oid			typid;			/* below domains */
	int32		typmod;			/* -1, but in dialects whose forms follow it */
	/* VALUE_READS_* that putting a Datum needs guarded */
	uint32		reads;
	const ValueOptions *options;
	MemoryContext context;		/* where the plan lives */
	FmgrInfo	output;			/* looked up with the first Datum */

	/* arrays: the elements */
	ValueType  *element;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	char		typdelim;

	/* composites: the fields, without dropped ones */
	TupleDesc	tupdesc;
	int			nfields;
	ValueField *fields;
};

/*
 * Make the plan of a type, and of those it is made of, in `context`;
 * `options` must live as long.  The relations of composite types on the way
 * are appended to *relids: when one of them changes the plan is void.
 */
extern PGDLLEXPORT ValueType *value_type_create(MemoryContext context, Oid typid, int32 typmod,
												const ValueOptions *options, List **relids);

/*
 * The same, shared with all other tables of this process unless a composite
 * type is part of it: then it is made in `context`, and `options` must live as
 * long.
 */
extern ValueType *value_type_get(MemoryContext context, Oid typid, int32 typmod,
								 const ValueOptions *options, List **relids);

/* Does a plan depend on the modifier? */
static inline bool
value_follows_typmod(const ValueOptions *options)
{
	return options->dialect == VALUES_DEBEZIUM;
}

/* Make `"name":` in UTF-8. */
extern PGDLLEXPORT char *value_make_label(MemoryContext context, const char *name, int *len);

/* Append a value that is not null. */
static inline void
value_put_datum(StringInfo out, ValueType *type, Datum value)
{
	type->class->put_datum(out, type, value);
}

static inline void
value_put_text(StringInfo out, ValueType *type, const char *text, int len)
{
	type->class->put_text(out, type, text, len);
}

/* The text of the type's output function, in the database's encoding. */
extern char *value_output(ValueType *type, Datum value);

/* Is it the type of the extension hstore?  Known by its name alone. */
extern bool value_is_hstore(Oid typid);

/* A finite point in time, as events have it, in microseconds since 1970. */
static inline int64
value_unix_microseconds(TimestampTz time)
{
	return time + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/*
 * Append a point in time as "YYYY-MM-DDTHH:MM:SS.ffffffZ", always with six
 * digits, for events.
 */
extern void value_put_time(StringInfo out, TimestampTz time);

/*
 * Give the settings in `reads` their fixed values where the session has
 * others, until value_guard_leave (or the end of the subtransaction).  Returns
 * the argument for value_guard_leave; costs nothing when `reads` is 0.
 */
extern PGDLLEXPORT int value_guard_set(uint32 reads);
extern PGDLLEXPORT void value_guard_reset(int nestlevel);

/*
 * Give the settings their fixed values until the process ends, whatever the
 * database, the role or the server sets: for a process that reads pgoutput.
 * Text stays in the database's encoding.  search_path is left as it is,
 * because the fixed one of every worker shows names in the same way.
 */
extern void value_fix_settings(void);

static inline int
value_guard_enter(uint32 reads)
{
	return unlikely(reads != 0) ? value_guard_set(reads) : 0;
}

static inline void
value_guard_leave(int nestlevel)
{
	if (unlikely(nestlevel != 0))
		value_guard_reset(nestlevel);
}

/* Append bytes as base64, without quotes. */
extern void value_put_base64(StringInfo out, const char *bytes, int len);

#endif							/* FIREHOSE_FORMAT_VALUE_H */
