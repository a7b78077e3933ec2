/*-------------------------------------------------------------------------
 *
 * json_plain.h
 *	  Go past the plain part of a JSON string.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_JSON_PLAIN_H
#define FIREHOSE_AWS_JSON_PLAIN_H

/*
 * The first byte from p on that is no printable ASCII, a quote or a backslash;
 * or the end.
 */
extern char *json_plain_skip(char *p, char *end);

#endif							/* FIREHOSE_AWS_JSON_PLAIN_H */
