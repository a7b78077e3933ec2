/*-------------------------------------------------------------------------
 *
 * error_class.h
 *	  The class of an error in a response of Firehose.
 *
 * One table (error_class.c) maps status, code and message to a class; the
 * class alone decides what the sender does.  Knows no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_ERROR_CLASS_H
#define FIREHOSE_AWS_ERROR_CLASS_H

#include <stddef.h>

/*
 * "Park" below means: keep the data, stop sending to this stream, show why in
 * a view, probe every 30 to 60 s, and resume without a person.
 */
typedef enum ErrorClass
{
	/* 200: the entries of the response tell the outcome of each record. */
	ERROR_CLASS_NONE,

	/* Resend after a backoff of RETRY_TRANSIENT, for as long as it takes. */
	ERROR_CLASS_TRANSIENT,

	/*
	 * Resend after a backoff of RETRY_THROTTLE and tell the stream's pace
	 * (sender/pace.h).  Normal while catching up: AWS raises the quota of a
	 * throttled stream by itself.
	 */
	ERROR_CLASS_THROTTLE,

	/*
	 * Set the clock offset from the Date header of the response and retry at
	 * once, once; if the error is the same, park.
	 */
	ERROR_CLASS_CLOCK_SKEW,

	/*
	 * Refresh the credentials (at most once in 30 s) and retry; if the error
	 * is the same, park.
	 */
	ERROR_CLASS_CREDENTIALS,

	/*
	 * The same treatment, shown under a name of its own: the keys are valid
	 * but lack a permission.  A refresh helps when the role behind them was
	 * changed.
	 */
	ERROR_CLASS_ACCESS_DENIED,

	/* Park: something about the stream has to change on AWS's side. */
	ERROR_CLASS_PARK,

	/*
	 * Halve the batch and send both halves; a record that is too large alone
	 * goes to the dead letters.
	 */
	ERROR_CLASS_TOO_LARGE,

	/*
	 * The service does not understand the request.  Park and report loudly;
	 * never drop.
	 */
	ERROR_CLASS_OUR_BUG,

	/*
	 * The endpoint points elsewhere.  Never followed, because that would carry
	 * the data to an address that is not configured; park.
	 */
	ERROR_CLASS_REDIRECT,

	/*
	 * The response is not Firehose's.  Nothing is acknowledged; resend as if
	 * transient, and count it.  This is also the class of a 200 whose body
	 * response_parse_put_batch() does not believe.
	 */
	ERROR_CLASS_MALFORMED_REPLY
} ErrorClass;

/*
 * Classify a whole response.  code and message are as in ErrorReport
 * (response.h): length-delimited, empty if unknown, never NULL.
 */
extern ErrorClass classify_response(int http_status,
								 const char *code, size_t code_len,
								 const char *message, size_t message_len);

/*
 * Classify the ErrorCode of one entry in a 200: ERROR_CLASS_THROTTLE or
 * ERROR_CLASS_TRANSIENT.  Either way exactly that record is sent again; the
 * class only chooses the backoff.
 */
extern ErrorClass classify_entry(const char *code, size_t code_len);

/* A lower-case name for views and logs: "transient", "access denied", ... */
extern const char *error_class_name(ErrorClass class);

#endif							/* FIREHOSE_AWS_ERROR_CLASS_H */
