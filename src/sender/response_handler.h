/*
 * response_handler.h
 *		Handling the response to a request, for its records and for the pace of
 *		its stream.
 */
#ifndef FIREHOSE_SENDER_RESPONSE_HANDLER_H
#define FIREHOSE_SENDER_RESPONSE_HANDLER_H

#include "sender/delivery.h"

/* The request has finished, with a response or without. */
extern void response_handler_take(Delivery *d, Request *request, int64 now);

#endif							/* FIREHOSE_SENDER_RESPONSE_HANDLER_H */
