/*-------------------------------------------------------------------------
 *
 * json_fields.h
 *	  Pick some strings and numbers out of a JSON object.
 *
 * Everything that hands out credentials responds with small, flat objects: the
 * metadata service, a container's agent, a credential_process, IAM Identity
 * Center and its cached token.  The text must be one valid JSON text
 * (json_scan.h).
 *
 * Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_JSON_FIELDS_H
#define FIREHOSE_AWS_JSON_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#define JSON_FIELDS_MAX		16

/* One that is wanted; value lies in the buffer, NULL if absent or null. */
typedef struct JsonField
{
	const char *name;
	char	   *value;
} JsonField;

/*
 * Read n fields, at most JSON_FIELDS_MAX, of the object, or of the object that
 * is its member `inside` unless that is NULL.  Of a key that comes twice the
 * last counts.  A number is given as it was written; objects, arrays and
 * booleans count as absent.  The buffer is written to.  False with a message,
 * that quotes nothing, if the text is no JSON object.
 */
extern bool json_fields_read(char *buf, size_t len, const char *inside,
							 JsonField *fields, int n,
							 char *errmsg, size_t errmsg_size);

#endif							/* FIREHOSE_AWS_JSON_FIELDS_H */
