/*
 * destination.c
 *		Where Firehose delivers a stream to, and which options and formats fit.
 *
 * Runs in backends (CREATE SERVER, pipelines, triggers) and wherever options
 * are resolved.  Firehose accepts a record that its destination cannot take,
 * and fails later, in a log of its own: so it is an error here, at once.
 */
#include "postgres.h"

#include "stream/destination.h"

typedef struct DestinationDef
{
	const char *name;
	const char *words;			/* for errors */
	const char *no_pack;		/* why records cannot be packed; NULL: they can */
	const char *no_gzip;		/* why they cannot be compressed */
	const char *no_newline;		/* why they cannot be delimited by one */
	const char *no_none;		/* why they must be delimited */
	const char *formats;		/* blank-separated, blanks at both ends; NULL: any */
	const char *example;		/* a format to write instead */
	int			timestamps;		/* bits by TimestampForm; 0: any */
	const char *timestamps_example;
	bool		numbers;		/* numerics must be numbers */
} DestinationDef;

#define ONE_OBJECT		"Firehose takes exactly one JSON object in each record there."
#define NOT_UNPACKED	"Firehose looks into the records there, and does not decompress them."
#define LINES			"Firehose, or what reads its objects, finds the records by their newlines there."

static const DestinationDef destinations[] = {
	[DESTINATION_ANY] = {"any", "any destination"},
	[DESTINATION_S3] = {"s3", "S3"},
	[DESTINATION_S3_PARTITIONED] = {"s3_partitioned", "S3 with dynamic partitioning",
		.no_gzip = NOT_UNPACKED, .no_none = LINES, .formats = " flat json debezium dms row ", .example = "flat"},
	[DESTINATION_S3_CONVERTED] = {"s3_converted", "S3 with conversion to Parquet or ORC",
		.no_gzip = NOT_UNPACKED, .formats = " flat row ", .example = "flat",
		.timestamps = 1 << TIMESTAMPS_SQL, .timestamps_example = "sql", .numbers = true},
	[DESTINATION_ICEBERG] = {"iceberg", "an Iceberg table",
		.no_pack = ONE_OBJECT, .no_gzip = NOT_UNPACKED, .no_newline = ONE_OBJECT,
		.formats = " flat row ", .example = "flat"},
	[DESTINATION_REDSHIFT] = {"redshift", "Redshift",
		.no_none = LINES, .formats = " flat row ", .example = "flat",
		.timestamps = 1 << TIMESTAMPS_ISO | 1 << TIMESTAMPS_EPOCH_MS, .timestamps_example = "iso"},
	[DESTINATION_OPENSEARCH] = {"opensearch", "OpenSearch",
		.no_pack = "Each Firehose record becomes one document there.",
		.no_gzip = NOT_UNPACKED,
		.no_newline = "Each Firehose record becomes one document there.",
		.formats = " flat row ", .example = "flat"},
	[DESTINATION_SPLUNK] = {"splunk", "Splunk",
		.no_gzip = "Splunk's collector takes events as text."},
	[DESTINATION_HTTP] = {"http", "an HTTP endpoint",
		.no_gzip = "Firehose compresses its own requests to an endpoint, which expects text in the records."},
};

const struct config_enum_entry destination_values[] = {
	{"any", DESTINATION_ANY, false},
	{"s3", DESTINATION_S3, false},
	{"s3_partitioned", DESTINATION_S3_PARTITIONED, false},
	{"s3_converted", DESTINATION_S3_CONVERTED, false},
	{"iceberg", DESTINATION_ICEBERG, false},
	{"redshift", DESTINATION_REDSHIFT, false},
	{"opensearch", DESTINATION_OPENSEARCH, false},
	{"splunk", DESTINATION_SPLUNK, false},
	{"http", DESTINATION_HTTP, false},
	{NULL, 0, false}
};

const char *
destination_name(int destination)
{
	return destinations[destination].name;
}

static void
contradiction(const char *option, const char *value, const DestinationDef *to, const char *why,
			  const char *instead)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("stream option \"%s\" cannot be \"%s\" for destination \"%s\"",
					option, value, to->name),
			 errdetail("%s", why),
			 errhint("Write %s, or another destination.", instead)));
}

void
destination_check(const StreamOptions *given)
{
	const DestinationDef *to = &destinations[given->destination];

	if (given->pack && to->no_pack)
		contradiction("pack", "true", to, to->no_pack, "pack 'false'");
	if (given->compression == COMPRESSION_GZIP && to->no_gzip)
		contradiction("compression", "gzip", to, to->no_gzip, "compression 'none'");
	if (given->delimiter == DELIMITER_NEWLINE && to->no_newline)
		contradiction("delimiter", "newline", to, to->no_newline, "delimiter 'none'");
	if (given->delimiter == DELIMITER_NONE && to->no_none)
		contradiction("delimiter", "none", to, to->no_none, "delimiter 'newline'");
	if (given->pack && given->delimiter == DELIMITER_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("stream option \"pack\" cannot be \"true\" where \"delimiter\" is \"none\""),
				 errdetail("Nothing would tell where a record ends in the Firehose record that it shares."),
				 errhint("Write delimiter 'newline', or pack 'false'.")));
	if (given->pack_linger > 0 && !given->pack)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("stream option \"pack_linger\" has no effect where \"pack\" is \"false\""),
				 errdetail("Records that are sent one by one have nothing to wait for."),
				 errhint("Write pack 'true' as well, or leave pack_linger out.")));
}

int
destination_delimiter(const StreamOptions *options)
{
	if (destinations[options->destination].no_newline)
		return DELIMITER_NONE;
	if (options->pack || destinations[options->destination].no_none)
		return DELIMITER_NEWLINE;
	return DELIMITER_DEFAULT;
}

/* Values of this form cannot be read there. */
static void
unfit_values(const char *stream, const DestinationDef *to, const char *what, const char *instead)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s do not fit stream \"%s\", whose destination is \"%s\"",
					what, stream, to->name),
			 errhint("Use %s => '%s', or a stream with another destination.", what, instead)));
}

void
destination_check_format(const StreamOptions *options, const char *stream, const char *format,
						 const ValueOptions *values)
{
	const DestinationDef *to = &destinations[options->destination];

	if (to->formats != NULL && strstr(to->formats, psprintf(" %s ", format)) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" does not fit stream \"%s\", whose destination is \"%s\"",
						format, stream, to->name),
				 errdetail("Firehose delivers to %s, which takes records of the format \"%s\".",
						   to->words, to->example),
				 errhint("Use the format \"%s\" (in a trigger the word 'row'), or a stream with another destination.",
						 to->example)));
	if (values == NULL)
		return;
	if (to->timestamps != 0 && (to->timestamps & 1 << values->timestamps) == 0)
		unfit_values(stream, to, "timestamps", to->timestamps_example);
	if (to->numbers && values->numerics != NUMERICS_NUMBER)
		unfit_values(stream, to, "numerics", "number");
}

char *
destination_set_by(const Node *statement)
{
	List	   *options = NIL;
	const char *name = NULL;
	ListCell   *cell;

	if (IsA(statement, CreateForeignServerStmt))
	{
		name = ((const CreateForeignServerStmt *) statement)->servername;
		options = ((const CreateForeignServerStmt *) statement)->options;
	}
	else if (IsA(statement, AlterForeignServerStmt))
	{
		name = ((const AlterForeignServerStmt *) statement)->servername;
		options = ((const AlterForeignServerStmt *) statement)->options;
	}
	foreach(cell, options)
	{
		if (strcmp(lfirst_node(DefElem, cell)->defname, "destination") == 0)
			return pstrdup(name);
	}
	return NULL;
}
