/*-------------------------------------------------------------------------
 *
 * timestamp.h
 *	  Times as AWS's services write them: 2026-11-27T02:20:15Z.
 *
 * Fractions of a second are cut off; "Z", "+hh:mm" and "+hhmm" give the zone,
 * and a time without one is UTC, as the AWS CLI reads it.
 *
 * Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_TIMESTAMP_H
#define FIREHOSE_AWS_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* Read a time; false if the text is anything else, or before 1970. */
extern bool timestamp_parse(const char *text, size_t len, time_t *result);

#endif							/* FIREHOSE_AWS_TIMESTAMP_H */
