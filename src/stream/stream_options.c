/*
 * stream_options.c
 *		Options of a stream.
 *
 * Runs in backends (CREATE SERVER, the view) and in the sender.
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
#include "utils/guc.h"

#include "aws/endpoint.h"
#include "aws/role_arn.h"
#include "common/compat.h"
#include "common/srf_row.h"
#include "queue/queue.h"
#include "stream/stream_options.h"

typedef enum OptionType
{
	OPTION_STRING,
	OPTION_INTEGER,
	OPTION_ENUM,
	OPTION_BOOLEAN
} OptionType;

/* Returns an error's detail, or NULL if the value is good. */
typedef const char *(*OptionCheck) (const char *value);

typedef struct OptionDef
{
	const char *name;
	OptionType	type;
	size_t		offset;			/* in StreamOptions */
	int			unit;			/* GUC_UNIT_*, for integers */
	int			min;
	int			max;
	int			default_number; /* of integers, enums and booleans */
	const struct config_enum_entry *values; /* for enums */
	OptionCheck check;			/* for strings */
	bool		has_setting;	/* firehose.<name> gives the default */
	const char *description;
} OptionDef;

static const char *check_stream_name(const char *value);
static const char *check_region(const char *value);
static const char *check_endpoint_url(const char *value);
static const char *check_role_arn(const char *value);
static const char *check_external_id(const char *value);

static const struct config_enum_entry delimiter_values[] = {
	{"default", DELIMITER_DEFAULT, false},
	{"newline", DELIMITER_NEWLINE, false},
	{"none", DELIMITER_NONE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry switch_values[] = {
	{"default", SWITCH_DEFAULT, false},
	{"true", SWITCH_ON, false},
	{"false", SWITCH_OFF, false},
	{NULL, 0, false}
};

static const struct config_enum_entry on_full_values[] = {
	{"wait", ON_FULL_WAIT, false},
	{"error", ON_FULL_ERROR, false},
	{"discard", ON_FULL_DISCARD, false},
	{NULL, 0, false}
};

static const struct config_enum_entry status_values[] = {
	{"default", STATUS_DEFAULT, false},
	{"all", STATUS_ALL, false},
	{"failed", STATUS_FAILED, false},
	{"none", STATUS_NONE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry order_values[] = {
	{"first_attempt", ORDER_FIRST, false},
	{"strict", ORDER_STRICT, false},
	{NULL, 0, false}
};

/*
 * Limits of a batch and of a record are Firehose's: at most 500 records and
 * 4 MiB a call, 1,000 KiB a record (API reference, PutRecordBatch).  The
 * default of 4,000,000 bytes keeps a distance to the 4 MiB.
 */
static const OptionDef option_defs[] = {
	{"stream_name", OPTION_STRING, offsetof(StreamOptions, stream_name),
		0, 0, 0, 0, NULL, check_stream_name, false,
	"Name of the Firehose stream; by default the server's name."},
	{"region", OPTION_STRING, offsetof(StreamOptions, region),
		0, 0, 0, 0, NULL, check_region, true,
	"AWS region of the stream; by default the environment's or the profile's."},
	{"endpoint_url", OPTION_STRING, offsetof(StreamOptions, endpoint_url),
		0, 0, 0, 0, NULL, check_endpoint_url, true,
	"URL to send to instead of the region's own endpoint; firehose.allowed_endpoints must allow it."},
	{"role_arn", OPTION_STRING, offsetof(StreamOptions, role_arn),
		0, 0, 0, 0, NULL, check_role_arn, false,
	"IAM role to assume for this stream; firehose.allowed_roles must allow it."},
	{"external_id", OPTION_STRING, offsetof(StreamOptions, external_id),
		0, 0, 0, 0, NULL, check_external_id, false,
	"External id that the role's trust policy asks for."},
	{"use_fips", OPTION_ENUM, offsetof(StreamOptions, use_fips),
		0, 0, 0, SWITCH_DEFAULT, switch_values, NULL, true,
	"Whether to send to the region's FIPS endpoint; by default as the environment or the profile says."},
	{"use_dualstack", OPTION_ENUM, offsetof(StreamOptions, use_dualstack),
		0, 0, 0, SWITCH_DEFAULT, switch_values, NULL, true,
	"Whether to send to the region's endpoint for IPv4 and IPv6; by default as the environment or the profile says."},
	{"delimiter", OPTION_ENUM, offsetof(StreamOptions, delimiter),
		0, 0, 0, DELIMITER_DEFAULT, delimiter_values, NULL, true,
	"What ends a record: one newline, none, or by default a newline for text, json and jsonb and none for bytea."},
	{"on_full", OPTION_ENUM, offsetof(StreamOptions, on_full),
		0, 0, 0, ON_FULL_WAIT, on_full_values, NULL, true,
	"What a put does when the queue is full: wait (at most firehose.queue_timeout), error, or discard."},
	{"max_batch_records", OPTION_INTEGER, offsetof(StreamOptions, max_batch_records),
		0, 1, 500, 500, NULL, NULL, true,
	"Largest number of records in one request."},
	{"max_batch_bytes", OPTION_INTEGER, offsetof(StreamOptions, max_batch_bytes),
		GUC_UNIT_BYTE, QUEUE_MAX_RECORD, 4194304, 4000000, NULL, NULL, true,
	"Largest number of bytes in one request, before base64."},
	{"linger", OPTION_INTEGER, offsetof(StreamOptions, linger),
		GUC_UNIT_MS, 0, 60000, 50, NULL, NULL, true,
	"How long a batch may grow while other requests of the stream are under way."},
	{"max_in_flight", OPTION_INTEGER, offsetof(StreamOptions, max_in_flight),
		0, 1, 64, 4, NULL, NULL, true,
	"Largest number of concurrent requests."},
	{"order", OPTION_ENUM, offsetof(StreamOptions, order),
		0, 0, 0, ORDER_FIRST, order_values, NULL, true,
	"Which order is kept: that of first attempts, or strict, which sends no record before an earlier one is settled, one at a time."},
	{"max_attempts", OPTION_INTEGER, offsetof(StreamOptions, max_attempts),
		0, 0, 65535, 0, NULL, NULL, true,
	"After how many attempts a record that Firehose refuses while others pass goes to the dead letters; 0 sets no limit."},
	{"max_age", OPTION_INTEGER, offsetof(StreamOptions, max_age),
		GUC_UNIT_S, 0, INT_MAX, 0, NULL, NULL, true,
	"At what age a record that Firehose refuses while others pass goes to the dead letters; 0 sets no limit."},
	{"request_timeout", OPTION_INTEGER, offsetof(StreamOptions, request_timeout),
		GUC_UNIT_MS, 100, 600000, 30000, NULL, NULL, true,
	"How long a request may take before it is given up and sent again."},
	{"records_per_second", OPTION_INTEGER, offsetof(StreamOptions, records_per_second),
		0, 0, INT_MAX, 0, NULL, NULL, true,
	"Largest number of records sent in a second; 0 sets no limit."},
	{"bytes_per_second", OPTION_INTEGER, offsetof(StreamOptions, bytes_per_second),
		GUC_UNIT_BYTE, 0, INT_MAX, 0, NULL, NULL, true,
	"Largest number of bytes, before base64, sent in a second; 0 sets no limit."},
	{"requests_per_second", OPTION_INTEGER, offsetof(StreamOptions, requests_per_second),
		0, 0, INT_MAX, 0, NULL, NULL, true,
	"Largest number of requests sent in a second; 0 sets no limit."},
	{"status", OPTION_ENUM, offsetof(StreamOptions, status),
		0, 0, 0, STATUS_DEFAULT, status_values, NULL, true,
	"Which records get a row in firehose_status when they are finished: all, failed, none, or by default all of puts and failed of pipelines."},
	{"enabled", OPTION_BOOLEAN, offsetof(StreamOptions, enabled),
		0, 0, 0, true, NULL, NULL, false,
	"Whether the stream is in use; puts into a disabled stream are errors, and what is queued waits."},
	{"paused", OPTION_BOOLEAN, offsetof(StreamOptions, paused),
		0, 0, 0, false, NULL, NULL, false,
	"Whether sending has a rest: records are taken as ever and wait in the queue."},
};

/* The defaults: variables of the settings firehose.<option>. */
static StreamOptions defaults;
static uint64 defaults_generation = 1;

PG_FUNCTION_INFO_V1(firehose_fdw_validator);
PG_FUNCTION_INFO_V1(firehose_stream_options);

static inline int *
number_in(StreamOptions *options, const OptionDef *def)
{
	return (int *) ((char *) options + def->offset);
}

static inline char **
string_in(StreamOptions *options, const OptionDef *def)
{
	return (char **) ((char *) options + def->offset);
}

/* Settings ---------------------------------------------------------------- */

static void
assign_number(int newval, void *extra)
{
	defaults_generation++;
}

static void
assign_string(const char *newval, void *extra)
{
	defaults_generation++;
}

static bool
check_string_setting(char **newval, OptionCheck check)
{
	const char *wrong = *newval && **newval ? check(*newval) : NULL;

	if (wrong != NULL)
		GUC_check_errdetail("%s", wrong);
	return wrong == NULL;
}

static bool
check_region_setting(char **newval, void **extra, GucSource source)
{
	return check_string_setting(newval, check_region);
}

static bool
check_endpoint_setting(char **newval, void **extra, GucSource source)
{
	return check_string_setting(newval, check_endpoint_url);
}

static void
define_setting(const OptionDef *def)
{
	const char *name = psprintf("firehose.%s", def->name);
	const char *description = psprintf("Default of the stream option \"%s\".", def->name);

	switch (def->type)
	{
		case OPTION_STRING:
			DefineCustomStringVariable(name, description, def->description,
									   string_in(&defaults, def), "", PGC_SIGHUP, 0,
									   def->check == check_region ?
									   check_region_setting : check_endpoint_setting,
									   assign_string, NULL);
			break;
		case OPTION_INTEGER:
			DefineCustomIntVariable(name, description, def->description,
									number_in(&defaults, def), def->default_number,
									def->min, def->max, PGC_SIGHUP, def->unit,
									NULL, assign_number, NULL);
			break;
		case OPTION_ENUM:
			DefineCustomEnumVariable(name, description, def->description,
									 number_in(&defaults, def), def->default_number,
									 def->values, PGC_SIGHUP, 0,
									 NULL, assign_number, NULL);
			break;
		case OPTION_BOOLEAN:
			elog(ERROR, "boolean stream options have no settings");
	}
}

void
stream_options_define_settings(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	for (int i = 0; i < lengthof(option_defs); i++)
	{
		if (option_defs[i].has_setting)
			define_setting(&option_defs[i]);
	}
	MemoryContextSwitchTo(old);
}

uint64
stream_options_generation(void)
{
	return defaults_generation;
}

/* Values ------------------------------------------------------------------ */

static const char *
check_stream_name(const char *value)
{
	size_t		length = strlen(value);

	if (length < 1 || length > 64 ||
		strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != length)
		return "A Firehose stream's name has 1 to 64 characters, each a letter a-z or A-Z, a digit, or one of \"_.-\".";
	return NULL;
}

bool
stream_options_valid_name(const char *name)
{
	return check_stream_name(name) == NULL;
}

static const char *
check_region(const char *value)
{
	if (!endpoint_valid_region(value))
		return "A region's name consists of words of letters a-z and a number, with hyphens between them, as \"eu-west-1\".";
	return NULL;
}

static const char *
check_endpoint_url(const char *value)
{
	Endpoint	endpoint;
	char		wrong[256];

	/* whether it may be used, firehose.allowed_endpoints says when it is */
	if (endpoint_parse_any(value, &endpoint, wrong, sizeof(wrong)))
		return NULL;
	return psprintf("%s.", wrong);
}

static const char *
check_role_arn(const char *value)
{
	char		wrong[256];

	if (role_arn_valid(value, wrong, sizeof(wrong)))
		return NULL;
	return psprintf("%s.", wrong);
}

static const char *
check_external_id(const char *value)
{
	if (role_external_id_valid(value))
		return NULL;
	return "An external id has 2 to 1,224 characters, each a letter, a digit or one of _+=,.@:/-.";
}

static const OptionDef *
find_option(const char *name)
{
	for (int i = 0; i < lengthof(option_defs); i++)
	{
		if (strcmp(option_defs[i].name, name) == 0)
			return &option_defs[i];
	}
	return NULL;
}

/* The names an enum takes, for a hint or the view. */
static char *
enum_names(const struct config_enum_entry *values)
{
	StringInfoData names;

	initStringInfo(&names);
	for (; values->name != NULL; values++)
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", values->name);
	return names.data;
}

static const char *
enum_name(const struct config_enum_entry *values, int value)
{
	while (values->name != NULL && values->val != value)
		values++;
	return values->name;
}

/* A URL is not quoted: it may contain a password, and errors are logged. */
static void
invalid_value(const OptionDef *def, const char *value, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 def->check == check_endpoint_url ?
			 errmsg("invalid value for stream option \"%s\"", def->name) :
			 errmsg("invalid value for stream option \"%s\": \"%s\"", def->name, value),
			 detail ? errdetail_internal("%s", detail) : 0));
}

/* The unit of a number without one, and of the bounds that are shown. */
static const char *
unit_name(const OptionDef *def)
{
	return def->unit == GUC_UNIT_MS ? "ms" : def->unit == GUC_UNIT_S ? "s" :
		def->unit == GUC_UNIT_BYTE ? "B" : NULL;
}

static int
parse_number(const OptionDef *def, const char *value)
{
	int			number;
	const char *hint = NULL;
	const char *unit = unit_name(def);

	if (!parse_int(value, &number, def->unit, &hint) ||
		number < def->min || number > def->max)
		invalid_value(def, value,
					  psprintf("It takes a whole number from %d to %d%s%s.",
							   def->min, def->max, unit ? ", in " : "", unit ? unit : ""));
	return number;
}

static int
parse_enum(const OptionDef *def, const char *value)
{
	for (const struct config_enum_entry *entry = def->values; entry->name; entry++)
	{
		if (pg_strcasecmp(entry->name, value) == 0)
			return entry->val;
	}
	invalid_value(def, value, psprintf("It takes one of: %s.", enum_names(def->values)));
	return 0;					/* not reached */
}

/* Put an option's value in its place; errors if it is not a good one. */
static void
set_option(StreamOptions *options, const OptionDef *def, const char *value)
{
	bool		boolean;
	const char *wrong;

	switch (def->type)
	{
		case OPTION_STRING:
			if ((wrong = def->check(value)) != NULL)
				invalid_value(def, value, wrong);
			if (def->check == check_stream_name)
				strlcpy(options->stream_name, value, sizeof(options->stream_name));
			else
				*string_in(options, def) = pstrdup(value);
			break;
		case OPTION_INTEGER:
			*number_in(options, def) = parse_number(def, value);
			break;
		case OPTION_ENUM:
			*number_in(options, def) = parse_enum(def, value);
			break;
		case OPTION_BOOLEAN:
			if (!parse_bool(value, &boolean))
				invalid_value(def, value, "It takes a boolean.");
			*(bool *) ((char *) options + def->offset) = boolean;
			break;
	}
}

void
stream_options_resolve(List *given, const char *server_name, MemoryContext context,
					   StreamOptions *result)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ListCell   *lc;

	*result = defaults;
	result->enabled = true;
	result->paused = false;
	strlcpy(result->stream_name, server_name, sizeof(result->stream_name));
	result->region = pstrdup(defaults.region ? defaults.region : "");
	result->role_arn = pstrdup("");
	result->external_id = pstrdup("");
	result->endpoint_url = pstrdup(defaults.endpoint_url ? defaults.endpoint_url : "");
	foreach(lc, given)
	{
		DefElem    *option = lfirst(lc);
		const OptionDef *def = find_option(option->defname);

		if (def != NULL)
			set_option(result, def, defGetString(option));
	}
	MemoryContextSwitchTo(old);
}

/* SQL --------------------------------------------------------------------- */

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
	for (int i = 0; i < lengthof(option_defs); i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", option_defs[i].name);
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

	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);
		const OptionDef *def = find_option(option->defname);
		StreamOptions scratch;

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
		set_option(&scratch, def, defGetString(option));
	}
	PG_RETURN_VOID();
}

/* The default of an option as of now, as text. */
static char *
default_text(const OptionDef *def)
{
	switch (def->type)
	{
		case OPTION_STRING:
			return def->has_setting && *string_in(&defaults, def) &&
				**string_in(&defaults, def) ? *string_in(&defaults, def) : NULL;
		case OPTION_INTEGER:
			return psprintf("%d", *number_in(&defaults, def));
		case OPTION_ENUM:
			return pstrdup(enum_name(def->values, *number_in(&defaults, def)));
		case OPTION_BOOLEAN:
			return def->default_number ? "true" : "false";
	}
	return NULL;
}

/* firehose_stream_options(): the table of options, one row each. */
Datum
firehose_stream_options(PG_FUNCTION_ARGS)
{
	static const char *const type_names[] = {"string", "integer", "enum", "boolean"};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < lengthof(option_defs); i++)
	{
		const OptionDef *def = &option_defs[i];
		bool		number = def->type == OPTION_INTEGER;
		const char *columns[] = {
			def->name,
			def->type == OPTION_ENUM ? psprintf("enum (%s)", enum_names(def->values)) :
			type_names[def->type],
			unit_name(def),
			number ? psprintf("%d", def->min) : NULL,
			number ? psprintf("%d", def->max) : NULL,
			def->has_setting ? psprintf("firehose.%s", def->name) : NULL,
			default_text(def),
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
