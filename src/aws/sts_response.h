/*-------------------------------------------------------------------------
 *
 * sts_response.h
 *	  Read what AWS's Security Token Service answers.
 *
 * AssumeRole and AssumeRoleWithWebIdentity respond in XML:
 *
 *	  <AssumeRoleResponse><AssumeRoleResult>
 *		<Credentials><AccessKeyId>..., SecretAccessKey, SessionToken,
 *		  Expiration</Credentials>
 *		<AssumedRoleUser><Arn>...
 *	  <ErrorResponse><Error><Code>...<Message>...
 *
 * The parser takes elements, attributes (which it ignores), comments and the
 * five named and all numeric entities.  A document type, a nesting deeper than
 * STS_MAX_DEPTH, or anything that is not well-formed is refused as a whole.
 *
 * The buffer is length-delimited and is written to; the strings lie in it.
 * Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_STS_RESPONSE_H
#define FIREHOSE_AWS_STS_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define STS_MAX_DEPTH	16

/* NULL for what the response does not have. */
typedef struct StsResponse
{
	char	   *access_key_id;
	char	   *secret_access_key;
	char	   *session_token;
	time_t		expiration;		/* 0 = not told */
	char	   *arn;			/* of the session */
	char	   *error_code;
	char	   *error_message;
} StsResponse;

/*
 * Read a response; false with a message, that quotes nothing, if it is none.
 */
extern bool sts_response_parse(char *buf, size_t len, StsResponse *response,
							   char *errmsg, size_t errmsg_size);

#endif							/* FIREHOSE_AWS_STS_RESPONSE_H */
