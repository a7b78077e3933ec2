/*-------------------------------------------------------------------------
 *
 * response.h
 *	  Read the outcome of each record from a response of Firehose.
 *
 * The one rule: a record is acknowledged only by an entry with a non-empty
 * RecordId and no ErrorCode, in a response that is complete, well-formed and
 * has as many entries as the request had records.  From anything else nothing
 * is concluded, and the records are sent again.
 *
 * Texts in the results point into the body, which is decoded in place and
 * must live as long as they are used.  They are valid UTF-8 without NUL and
 * are not NUL-terminated.  Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_RESPONSE_H
#define FIREHOSE_AWS_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Can the body of a 200 be believed, and if not, why? */
typedef enum ResponseResult
{
	RESPONSE_OK,				/* look at the entries */
	RESPONSE_EMPTY,				/* nothing but white space */
	RESPONSE_MALFORMED,			/* not JSON: truncated, garbage, too deep */
	RESPONSE_WRONG_TYPE,		/* a known key has a value of another type */
	RESPONSE_DUPLICATE_KEY,		/* a known key twice in one object */
	RESPONSE_NO_ENTRIES,		/* RequestResponses is missing */
	RESPONSE_LENGTH_MISMATCH	/* RequestResponses is too short or too long */
} ResponseResult;

/*
 * The outcome of one record.  A text that is absent (or null in JSON) is NULL
 * with length 0; an empty one is not NULL.
 */
typedef struct ResponseEntry
{
	const char *record_id;
	const char *error_code;
	const char *error_message;
	uint32_t	record_id_len;
	uint32_t	error_code_len;
	uint32_t	error_message_len;
	bool		record_id_is_ascii; /* and printable; false says little */
	bool		acknowledged;	/* Firehose took it */
	bool		mismatch;		/* not acknowledged, and no sound ErrorCode
								 * either: both or neither, or an empty one */
} ResponseEntry;

typedef struct ResponseSummary
{
	int			nentries;		/* entries in the response, even if too many */
	int			nacknowledged;
	int			nfailed;		/* not acknowledged, mismatches included */
	int			nmismatched;
	int64_t		failed_put_count;	/* as the response has it; -1 if missing or
									 * no integer */
	bool		failed_put_count_wrong; /* it is not nfailed; only counted */
	bool		encrypted;		/* false if missing */
	const char *error;			/* static detail for RESPONSE_MALFORMED,
								 * otherwise NULL */
} ResponseSummary;

/* The code and message of a response that is not a 200. */
typedef struct ErrorReport
{
	const char *code;			/* "ResourceNotFoundException"; never NULL */
	const char *message;		/* never NULL */
	size_t		code_len;		/* 0 if the response does not tell */
	size_t		message_len;
} ErrorReport;

/*
 * Read the body of a 200 to PutRecordBatch.  entries has room for nrecords,
 * the number of records in the request, and is in the order of the request.
 * Unless the result is RESPONSE_OK, all entries are blank, none acknowledged.
 */
extern ResponseResult response_parse_put_batch(char *body, size_t len,
											   int nrecords,
											   ResponseEntry *entries,
											   ResponseSummary *summary);

/* The same for PutRecord, whose response is one entry. */
extern ResponseResult response_parse_put(char *body, size_t len,
										 ResponseEntry *entry,
										 ResponseSummary *summary);

/*
 * A static text for logs and views, such as "response is not valid JSON".
 */
extern const char *response_result_message(ResponseResult result);

/*
 * Read the body of any other response.  error_type is the value of the header
 * x-amzn-ErrorType, or NULL; the report may point into it.  Never fails: XML,
 * HTML, garbage or nothing at all give an empty code, and the status decides.
 */
extern void response_parse_error(char *body, size_t len,
								 const char *error_type,
								 ErrorReport *report);

#endif							/* FIREHOSE_AWS_RESPONSE_H */
