/*
 * stream_options_sql.c
 *		Options of a stream in SQL: the validator of the foreign-data wrapper,
 *		and the table of options for the view.
 *
 * Runs in backends.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "common/srf_row.h"
#include "stream/destination.h"
#include "stream/option_table.h"
#include "stream/stream_options.h"

PG_FUNCTION_INFO_V1(firehose_fdw_validator);
PG_FUNCTION_INFO_V1(firehose_stream_options);

static const char no_credentials_here[] =
	"Credentials are never kept in SQL; see firehose.credentials_file.";

static void
unknown_option(const char *name, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("unknown option \"%s\" for %s", name, what),
			 errhint("%s", hint)));
}

/* Does an option's name look like one of keys? */
static bool
names_credentials(const char *name)
{
	return strstr(name, "access_key") != NULL || strstr(name, "secret") != NULL ||
		strstr(name, "token") != NULL || strstr(name, "password") != NULL ||
		strstr(name, "credential") != NULL || strcmp(name, "profile") == 0;
}

static char *
option_names(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < stream_option_count; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", stream_option_defs[i].name);
	return names.data;
}

/*
 * Validator of the foreign-data wrapper: are these options valid for the
 * catalog given?  They are already merged, so it cannot tell which role set
 * which.
 */
Datum
firehose_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	ListCell   *lc;
	StreamOptions given = {.delimiter = DELIMITER_DEFAULT};

	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);
		const OptionDef *def = stream_option_find(option->defname);

		if (catalog == UserMappingRelationId)
			unknown_option(option->defname, "a user mapping", no_credentials_here);
		if (catalog != ForeignServerRelationId)
			unknown_option(option->defname,
						   catalog == ForeignTableRelationId ? "a foreign table of firehose" :
						   catalog == AttributeRelationId ? "a column of a foreign table of firehose" :
						   "the foreign-data wrapper firehose",
						   "Options of a stream are set on its server, with CREATE SERVER or ALTER SERVER.");
		if (def == NULL)
			unknown_option(option->defname, "a stream",
						   names_credentials(option->defname) ? no_credentials_here :
						   psprintf("Valid options are: %s.", option_names()));
		stream_option_set(&given, def, defGetString(option));
	}
	destination_check(&given);
	PG_RETURN_VOID();
}

/* firehose_stream_options(): the table of options, one row each. */
Datum
firehose_stream_options(PG_FUNCTION_ARGS)
{
	static const char *const type_names[] = {"string", "integer", "enum", "boolean"};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < stream_option_count; i++)
	{
		const OptionDef *def = &stream_option_defs[i];
		bool		number = def->type == OPTION_INTEGER;
		const char *columns[] = {
			def->name,
			def->type == OPTION_ENUM ? psprintf("enum (%s)", stream_option_enum_names(def->values)) :
			type_names[def->type],
			stream_option_unit(def),
			number ? psprintf("%d", def->min) : NULL,
			number ? psprintf("%d", def->max) : NULL,
			def->has_setting ? psprintf("firehose.%s", def->name) : NULL,
			stream_option_default(def),
			def->description,
		};
		ResultRow	row = {.ncolumns = 0};

		for (int c = 0; c < lengthof(columns); c++)
			row_datum(&row, columns[c] ? CStringGetTextDatum(columns[c]) : (Datum) 0,
					  columns[c] == NULL);
		row_return(&row, rsinfo);
	}
	return (Datum) 0;
}
