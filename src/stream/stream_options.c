/*
 * stream_options.c
 *		Options of a stream.
 *
 * Runs in backends (CREATE SERVER, the view) and in the sender.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "aws/endpoint.h"
#include "aws/role_arn.h"
#include "queue/queue.h"
#include "stream/destination.h"
#include "stream/option_table.h"
#include "stream/stream_options.h"

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

static const struct config_enum_entry compression_values[] = {
	{"none", COMPRESSION_NONE, false},
	{"gzip", COMPRESSION_GZIP, false},
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
const OptionDef stream_option_defs[] = {
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
	"What ends a record: one newline, none, or by default what pack and destination need, else a newline for text, json and jsonb and none for bytea."},
	{"on_full", OPTION_ENUM, offsetof(StreamOptions, on_full),
		0, 0, 0, ON_FULL_WAIT, on_full_values, NULL, true,
	"What a put does when the queue is full: wait (at most firehose.queue_timeout), error, or discard."},
	{"max_batch_records", OPTION_INTEGER, offsetof(StreamOptions, max_batch_records),
		0, 1, 500, 500, NULL, NULL, true,
	"Largest number of Firehose records in one request."},
	{"max_batch_bytes", OPTION_INTEGER, offsetof(StreamOptions, max_batch_bytes),
		GUC_UNIT_BYTE, QUEUE_MAX_RECORD, 4194304, 4000000, NULL, NULL, true,
	"Largest number of bytes in one request, before compression and base64."},
	{"linger", OPTION_INTEGER, offsetof(StreamOptions, linger),
		GUC_UNIT_MS, 0, 60000, 50, NULL, NULL, true,
	"How long a batch may grow while other requests of the stream are under way."},
	{"pack", OPTION_BOOLEAN, offsetof(StreamOptions, pack),
		0, 0, 0, false, NULL, NULL, false,
	"Whether records are joined into larger Firehose records, which cost less."},
	{"pack_linger", OPTION_INTEGER, offsetof(StreamOptions, pack_linger),
		GUC_UNIT_MS, 0, 3600000, 0, NULL, NULL, false,
	"How long a record may wait for others to be packed with, even if nothing is under way."},
	{"compression", OPTION_ENUM, offsetof(StreamOptions, compression),
		0, 0, 0, COMPRESSION_NONE, compression_values, NULL, false,
	"How Firehose records are compressed: none or gzip."},
	{"destination", OPTION_ENUM, offsetof(StreamOptions, destination),
		0, 0, 0, DESTINATION_ANY, destination_values, NULL, false,
	"Where Firehose delivers to, so that options and formats that do not fit are errors."},
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
	"Largest number of Firehose records sent in a second; 0 sets no limit."},
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
	"Whether sending is paused; puts go on, and their records wait in the queue."},
};

const int	stream_option_count = lengthof(stream_option_defs);

/* The defaults: variables of the settings firehose.<option>. */
static StreamOptions defaults;
static uint64 defaults_generation = 1;

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

	for (int i = 0; i < lengthof(stream_option_defs); i++)
	{
		if (stream_option_defs[i].has_setting)
			define_setting(&stream_option_defs[i]);
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

const OptionDef *
stream_option_find(const char *name)
{
	for (int i = 0; i < lengthof(stream_option_defs); i++)
	{
		if (strcmp(stream_option_defs[i].name, name) == 0)
			return &stream_option_defs[i];
	}
	return NULL;
}

/* The names an enum takes, for a hint or the view. */
char *
stream_option_enum_names(const struct config_enum_entry *values)
{
	StringInfoData names;

	initStringInfo(&names);
	for (; values->name != NULL; values++)
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", values->name);
	return names.data;
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
const char *
stream_option_unit(const OptionDef *def)
{
	return def->unit == GUC_UNIT_MS ? "ms" : def->unit == GUC_UNIT_S ? "s" :
		def->unit == GUC_UNIT_BYTE ? "B" : NULL;
}

static int
parse_number(const OptionDef *def, const char *value)
{
	int			number;
	const char *hint = NULL;
	const char *unit = stream_option_unit(def);

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
	invalid_value(def, value, psprintf("It takes one of: %s.", stream_option_enum_names(def->values)));
	return 0;					/* not reached */
}

/* Put an option's value in its place; errors if it is not a good one. */
void
stream_option_set(StreamOptions *options, const OptionDef *def, const char *value)
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
	bool		delimited = false;
	int			delimiter;

	*result = defaults;
	result->enabled = true;
	result->paused = false;
	result->pack = false;
	strlcpy(result->stream_name, server_name, sizeof(result->stream_name));
	result->region = pstrdup(defaults.region ? defaults.region : "");
	result->role_arn = pstrdup("");
	result->external_id = pstrdup("");
	result->endpoint_url = pstrdup(defaults.endpoint_url ? defaults.endpoint_url : "");
	foreach(lc, given)
	{
		DefElem    *option = lfirst(lc);
		const OptionDef *def = stream_option_find(option->defname);

		if (def == NULL)
			continue;
		stream_option_set(result, def, defGetString(option));
		delimited |= def->offset == offsetof(StreamOptions, delimiter) &&
			result->delimiter != DELIMITER_DEFAULT;
	}
	/* where it matters, the destination knows better than a setting */
	delimiter = destination_delimiter(result);
	if (!delimited && delimiter != DELIMITER_DEFAULT)
		result->delimiter = delimiter;
	MemoryContextSwitchTo(old);
}

static const char *
enum_name(const struct config_enum_entry *values, int value)
{
	while (values->name != NULL && values->val != value)
		values++;
	return values->name;
}

/* The default of an option as of now, as text. */
char *
stream_option_default(const OptionDef *def)
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
