/*
 * response_handler.h
 *		What follows from the answer to a request, for its records and for the
 *		pace of its stream.
 */
#ifndef FIREHOSE_SENDER_RESPONSE_HANDLER_H
#define FIREHOSE_SENDER_RESPONSE_HANDLER_H

#include "sender/delivery.h"

/* The request has finished, with a response or without. */
extern void response_handler_take(Delivery *d, Request *request, int64 now);

/*
 * Stop sending to the stream, keep its data, and try again with one record
 * after firehose.probe_interval.
 */
extern void response_handler_park(Delivery *d, int64 now, const char *code, const char *message);

/* Send nothing for a while; wish is what the service asked for (us), or -1. */
extern void response_handler_back_off(Delivery *d, int64 now, RetryKind kind, int64 requested,
							const char *code, const char *message);

#endif							/* FIREHOSE_SENDER_RESPONSE_HANDLER_H */
