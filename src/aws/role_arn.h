/*-------------------------------------------------------------------------
 *
 * role_arn.h
 *	  Names of roles, and which of them streams may use.
 *
 * Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_ROLE_ARN_H
#define FIREHOSE_AWS_ROLE_ARN_H

#include <stdbool.h>
#include <stddef.h>

#define ROLE_ARN_SIZE		512

/*
 * Is it arn:PARTITION:iam::ACCOUNT:role/PATH/NAME, with an account of twelve
 * digits?  The message does not quote it.
 */
extern bool role_arn_valid(const char *arn, char *errmsg, size_t errmsg_size);

/* Is it an external id: 2 to 1,224 of [A-Za-z0-9_+=,.@:/-]? */
extern bool role_external_id_valid(const char *external_id);

/*
 * Does a list of patterns, separated by commas, allow this role?  "*" matches
 * any number of any characters; an empty list allows none.
 */
extern bool role_arn_allowed(const char *arn, const char *allowed_list);

/*
 * Can each of the patterns match the ARN of a role?  The message quotes the
 * first that cannot.
 */
extern bool role_arn_valid_allowed_list(const char *allowed_list,
										char *errmsg, size_t errmsg_size);

#endif							/* FIREHOSE_AWS_ROLE_ARN_H */
