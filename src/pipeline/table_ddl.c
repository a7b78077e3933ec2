/*
 * table_ddl.c
 *		firehose_table_ddl(pipeline, dialect): the tables that a pipeline of
 *		format flat fills at its destination, as the statements that create
 *		them there.
 *
 * Runs in backends.  A column's type at the destination follows from what
 * format/value.c makes of its type here under the pipeline's options: one that
 * is changed there has to be changed here.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#include "common/compat.h"
#include "common/srf_row.h"
#include "pipeline/command.h"
#include "pipeline/published.h"

typedef enum DialectKind
{
	DIALECT_ICEBERG,
	DIALECT_ATHENA,
	DIALECT_REDSHIFT
} DialectKind;

typedef struct Dialect
{
	const char *name;
	DialectKind kind;
	const char *create;
	const char *quote;			/* of names, one character */
	const char *text;
	const char *end;			/* %s: the table's name */
} Dialect;

static const Dialect dialects[] = {
	{"iceberg", DIALECT_ICEBERG, "CREATE TABLE", "`", "string",
	"\n)\nLOCATION 's3://BUCKET/%s/'\nTBLPROPERTIES ('table_type' = 'ICEBERG');"},
	{"athena", DIALECT_ATHENA, "CREATE EXTERNAL TABLE", "`", "string",
	"\n)\nROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'\nLOCATION 's3://BUCKET/%s/';"},
	{"redshift", DIALECT_REDSHIFT, "CREATE TABLE", "\"", "varchar(65535)", "\n);"},
};

/* Types that have one of their own in each dialect, in the enum's order. */
static const struct
{
	Oid			typid;
	const char *names[lengthof(dialects)];
}			known_types[] =
{
	{BOOLOID, {"boolean", "boolean", "boolean"}},
	{INT2OID, {"int", "smallint", "smallint"}},
	{INT4OID, {"int", "int", "integer"}},
	{FLOAT4OID, {"float", "float", "real"}},
	{FLOAT8OID, {"double", "double", "double precision"}},
	{DATEOID, {"date", "date", "date"}},
	{UUIDOID, {"string", "string", "char(36)"}},
};

/* The columns that format flat adds, in its order. */
static const struct
{
	const char *name;
	bool		routing;		/* with metadata routing, too */
	bool		number;
}			own_columns[] =
{
	{"_op", true, false},
	{"_db", false, false},
	{"_schema", true, false},
	{"_table", true, false},
	{"_lsn", false, false},
	{"_seq", false, true},
	{"_id", false, false},
	{"_ts", false, true},
};

/* The statement that is being written. */
typedef struct TableDdl
{
	const Dialect *dialect;
	const Pipeline *pipeline;
	StringInfoData text;
	int			ncolumns;
} TableDdl;

PG_FUNCTION_INFO_V1(firehose_table_ddl);

static const char *type_name(const TableDdl *ddl, Oid typid, int32 typmod);

/* Names ------------------------------------------------------------------- */

/* Names are in lower case there, whatever the case here. */
static char *
lower_case(const char *name)
{
	return asc_tolower(name, strlen(name));
}

static char *
quoted(const TableDdl *ddl, const char *name)
{
	const char *quote = ddl->dialect->quote;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, quote);
	for (; *name; name++)
	{
		if (*name == *quote)
			appendStringInfoChar(&text, *name);
		appendStringInfoChar(&text, *name);
	}
	appendStringInfoString(&text, quote);
	return text.data;
}

/* Can a name be written without quotes, inside of a type and a path? */
static bool
is_plain(const char *name)
{
	return *name != '\0' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

/* Types ------------------------------------------------------------------- */

/* A numeric: exact if it has a precision that exists there. */
static const char *
numeric_name(const TableDdl *ddl, int32 typmod)
{
	int			precision = typmod < (int32) VARHDRSZ ? 0 : ((typmod - VARHDRSZ) >> 16) & 0xffff;
	/* eleven bits and a sign */
	int			scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;

	if (ddl->pipeline->values.numerics == NUMERICS_STRING)
		return ddl->dialect->text;
	if (precision < 1 || precision > 38 || scale < 0 || scale > precision)
		return ddl->dialect->kind == DIALECT_REDSHIFT ? "double precision" : "double";
	return psprintf("decimal(%d,%d)", precision, scale);
}

/* A timestamp, which is a number or a text in one of three forms. */
static const char *
timestamp_name(const TableDdl *ddl, Oid typid)
{
	TimestampForm form = ddl->pipeline->values.timestamps;

	switch (ddl->dialect->kind)
	{
		case DIALECT_ICEBERG:
			return form == TIMESTAMPS_EPOCH_US ? "timestamp" :
				form == TIMESTAMPS_EPOCH_MS ? "bigint" : "string";
		case DIALECT_ATHENA:
			return form == TIMESTAMPS_SQL ? "timestamp" : form == TIMESTAMPS_ISO ? "string" : "bigint";
		case DIALECT_REDSHIFT:
			return form == TIMESTAMPS_EPOCH_US ? "bigint" :
				form == TIMESTAMPS_ISO && typid == TIMESTAMPTZOID ? "timestamptz" : "timestamp";
	}
	return NULL;				/* not reached */
}

/* A composite: a struct, unless a field's name cannot be written in one. */
static const char *
composite_name(const TableDdl *ddl, Oid typid)
{
	TupleDesc	tupdesc = lookup_rowtype_tupdesc_copy(typid, -1);
	const char *separator = "struct<";
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);
		char	   *name = lower_case(NameStr(att->attname));

		if (att->attisdropped)
			continue;
		if (!is_plain(name))
			return ddl->dialect->text;
		appendStringInfo(&text, "%s%s:%s", separator, name,
						 type_name(ddl, att->atttypid, att->atttypmod));
		separator = ",";
	}
	if (text.len == 0)
		return ddl->dialect->text;
	appendStringInfoChar(&text, '>');
	return text.data;
}

static const char *
varchar_name(const TableDdl *ddl, int32 typmod)
{
	int			characters = typmod - VARHDRSZ;

	/* it counts bytes there, of which a character has up to four */
	if (ddl->dialect->kind != DIALECT_REDSHIFT || typmod < (int32) VARHDRSZ || characters > 16383)
		return ddl->dialect->text;
	return psprintf("varchar(%d)", characters * 4);
}

static const char *
type_name(const TableDdl *ddl, Oid typid, int32 typmod)
{
	bool		super = ddl->dialect->kind == DIALECT_REDSHIFT;
	Oid			base = getBaseTypeAndTypmod(typid, &typmod);

	for (int i = 0; i < lengthof(known_types); i++)
	{
		if (known_types[i].typid == base)
			return known_types[i].names[ddl->dialect->kind];
	}
	switch (base)
	{
		case INT8OID:
			return ddl->pipeline->values.bigints == BIGINTS_STRING ? ddl->dialect->text : "bigint";
		case NUMERICOID:
			return numeric_name(ddl, typmod);
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return timestamp_name(ddl, base);
		case VARCHAROID:
		case BPCHAROID:
			return varchar_name(ddl, typmod);
		case JSONOID:
		case JSONBOID:
			return super && ddl->pipeline->values.json_columns == JSON_EMBED ? "super" : ddl->dialect->text;
		case INT2VECTOROID:
		case OIDVECTOROID:
			return ddl->dialect->text;	/* arrays here, texts there */
	}
	if (type_is_array(base))
		return super ? "super" : psprintf("array<%s>", type_name(ddl, get_element_type(base), typmod));
	if (get_typtype(base) == TYPTYPE_COMPOSITE)
		return super ? "super" : composite_name(ddl, base);
	return ddl->dialect->text;
}

/* Statements -------------------------------------------------------------- */

static void
add_column(TableDdl *ddl, const char *name, const char *type)
{
	appendStringInfo(&ddl->text, "%s\n  %s %s", ddl->ncolumns++ > 0 ? "," : "",
					 quoted(ddl, lower_case(name)), type);
}

/* The table's name there, as the documented routing of records makes it. */
static char *
destination_table(const char *schema, const char *table)
{
	return lower_case(psprintf("%s_%s", schema, table));
}

static void
begin_table(TableDdl *ddl, const char *name)
{
	initStringInfo(&ddl->text);
	ddl->ncolumns = 0;
	appendStringInfo(&ddl->text, "%s %s (", ddl->dialect->create, quoted(ddl, name));
}

static void
end_table(TableDdl *ddl, const char *name)
{
	FormatMetadata metadata = ddl->pipeline->format_options.metadata;
	const char *path = is_plain(name) ? name : "TABLE";

	for (int i = 0; i < lengthof(own_columns); i++)
	{
		if (metadata == METADATA_FULL || (metadata == METADATA_ROUTING && own_columns[i].routing))
			add_column(ddl, own_columns[i].name,
					   own_columns[i].number ? "bigint" : ddl->dialect->text);
	}
	if (ddl->dialect->kind == DIALECT_REDSHIFT)
		appendStringInfoString(&ddl->text, ddl->dialect->end);
	else
		appendStringInfo(&ddl->text, ddl->dialect->end, path);
}

static const Dialect *
find_dialect(const char *name)
{
	for (int i = 0; i < lengthof(dialects); i++)
	{
		if (strcmp(dialects[i].name, name) == 0)
			return &dialects[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("dialect \"%s\" does not exist", name),
			 errhint("Valid values are: \"iceberg\", \"athena\", \"redshift\".")));
	return NULL;				/* not reached */
}

/* The definition of a pipeline whose format has such tables. */
static Pipeline *
find_pipeline(const char *name)
{
	Relation	rel = pipeline_catalog_open(AccessShareLock);
	PipelineRow *row = pipeline_command_find(rel, name, false);
	Pipeline   *pipeline;

	pipeline_command_refuse_durable(row, "It fills no tables.");
	pipeline = pipeline_from_row(row);
	table_close(rel, AccessShareLock);
	if (pipeline->format != format_find("flat"))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("pipeline \"%s\" does not write rows of tables: its format is \"%s\"",
						name, pipeline->format->name),
				 errhint("Tables are filled by format flat: SELECT firehose_alter_pipeline(%s, format => 'flat');",
						 quote_literal_cstr(name))));
	return pipeline;
}

/* The published columns: schema, table, name, type and modifier of each. */
static void
select_columns(const Pipeline *pipeline)
{
	Oid			types[] = {TEXTARRAYOID};
	Datum	   *names = palloc_array(Datum, list_length(pipeline->publications));
	Datum		args[1];
	ListCell   *cell;

	foreach(cell, pipeline->publications)
		names[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	args[0] = PointerGetDatum(construct_array(names, list_length(pipeline->publications), TEXTOID,
											  -1, false, TYPALIGN_INT));
	if (SPI_execute_with_args("SELECT DISTINCT n.nspname::text, c.relname::text, a.attname::text,"
							  " a.atttypid, a.atttypmod, a.attnum " PUBLISHED_COLUMNS
							  " AND (a.attgenerated = '' OR current_setting('server_version_num')::int >= 180000)"
							  " ORDER BY 1, 2, 6", 1, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "query on catalogs failed");
}

/* Return the statement that was written. */
static void
return_table(TableDdl *ddl, ReturnSetInfo *rsinfo, const char *schema, const char *table)
{
	ResultRow	row = {.ncolumns = 0};

	end_table(ddl, destination_table(schema, table));
	row_text(&row, schema);
	row_text(&row, table);
	row_text(&row, ddl->text.data);
	row_return(&row, rsinfo);
}

Datum
firehose_table_ddl(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TableDdl	ddl = {.dialect = find_dialect(text_to_cstring(PG_GETARG_TEXT_PP(1)))};
	char	   *schema = NULL;
	char	   *table = NULL;
	int			nest_level;

	InitMaterializedSRF(fcinfo, 0);
	ddl.pipeline = find_pipeline(name);
	nest_level = NewGUCNestLevel();
	/* names mean the same, whichever search_path the caller has */
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	select_columns(ddl.pipeline);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		char	   *its_schema = SPI_getvalue(tuple, tupdesc, 1);
		char	   *its_table = SPI_getvalue(tuple, tupdesc, 2);
		bool		isnull;

		if (table == NULL || strcmp(schema, its_schema) != 0 || strcmp(table, its_table) != 0)
		{
			if (table != NULL)
				return_table(&ddl, rsinfo, schema, table);
			schema = its_schema;
			table = its_table;
			begin_table(&ddl, destination_table(schema, table));
		}
		add_column(&ddl, SPI_getvalue(tuple, tupdesc, 3),
				   type_name(&ddl, DatumGetObjectId(SPI_getbinval(tuple, tupdesc, 4, &isnull)),
							 DatumGetInt32(SPI_getbinval(tuple, tupdesc, 5, &isnull))));
	}
	if (table != NULL)
		return_table(&ddl, rsinfo, schema, table);
	SPI_finish();
	AtEOXact_GUC(false, nest_level);
	return (Datum) 0;
}
