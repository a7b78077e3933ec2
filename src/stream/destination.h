/*
 * destination.h
 *		Where Firehose delivers a stream to (option `destination`), and which
 *		options and formats fit: one table, destination.c.
 */
#ifndef FIREHOSE_STREAM_DESTINATION_H
#define FIREHOSE_STREAM_DESTINATION_H

#include "format/value.h"
#include "stream/option_values.h"
#include "utils/guc.h"

typedef enum StreamDestination
{
	DESTINATION_ANY,			/* not said: everything fits */
	DESTINATION_S3,
	DESTINATION_S3_PARTITIONED, /* dynamic partitioning */
	DESTINATION_S3_CONVERTED,	/* to Parquet or ORC */
	DESTINATION_ICEBERG,
	DESTINATION_REDSHIFT,
	DESTINATION_OPENSEARCH,
	DESTINATION_SPLUNK,
	DESTINATION_HTTP
} StreamDestination;

/* The values of the option. */
extern const struct config_enum_entry destination_values[];

/*
 * Firehose takes a record apart ("de-aggregation") into at most 500; with more
 * the call succeeds, and the record silently stays in one piece.
 */
#define DESTINATION_MAX_PARTS	500

/* How many records may share a Firehose record, where `most` is no limit. */
static inline int
destination_max_parts(int destination, int most)
{
	return destination == DESTINATION_S3_PARTITIONED ? DESTINATION_MAX_PARTS : most;
}

/* Error, with what to write instead, if options contradict each other. */
extern void destination_check(const StreamOptions *given);

/* The meaning of the delimiter "default" with these options. */
extern int	destination_delimiter(const StreamOptions *options);

/*
 * Error unless records of this format, with values of these forms (NULL: not
 * known), fit where a stream goes to.  "row" is for the rows alone that
 * firehose_trigger can put.
 */
extern void destination_check_format(const StreamOptions *options, const char *stream,
									 const char *format, const ValueOptions *values);

#endif							/* FIREHOSE_STREAM_DESTINATION_H */
