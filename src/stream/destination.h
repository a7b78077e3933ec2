/*
 * destination.h
 *		Where Firehose delivers a stream to (option `destination`), and which
 *		options and formats fit: one table, destination.c.
 */
#ifndef FIREHOSE_STREAM_DESTINATION_H
#define FIREHOSE_STREAM_DESTINATION_H

#include "format/value.h"
#include "nodes/parsenodes.h"
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

/* Does Firehose take each line of a record for one of its own there? */
static inline bool
destination_splits(int destination)
{
	return destination == DESTINATION_S3_PARTITIONED;
}

/* How many records may share a Firehose record, where `most` is no limit. */
static inline int
destination_max_parts(int destination, int most)
{
	return destination_splits(destination) ? DESTINATION_MAX_PARTS : most;
}

/* A destination as it is written. */
extern const char *destination_name(int destination);

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

/*
 * The stream whose destination a statement sets, CREATE SERVER or ALTER
 * SERVER: what feeds it has to be checked anew.  Palloc'd; NULL: none.
 */
extern char *destination_set_by(const Node *statement);

#endif							/* FIREHOSE_STREAM_DESTINATION_H */
