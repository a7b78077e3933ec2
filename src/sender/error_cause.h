/*
 * error_cause.h
 *		Why records were not accepted, in the words of whoever refused them.
 */
#ifndef FIREHOSE_SENDER_ERROR_CAUSE_H
#define FIREHOSE_SENDER_ERROR_CAUSE_H

#include "aws/response.h"
#include "sender/health.h"
#include "sender/http.h"

/* Why one of a request's entries was not accepted. */
extern void error_cause_of_entry(Cause *cause, const ResponseEntry *entry);

/* Why a response has another status than 200. */
extern void error_cause_of_response(HttpRequest *http, const ErrorReport *report, Cause *cause);

#endif							/* FIREHOSE_SENDER_ERROR_CAUSE_H */
