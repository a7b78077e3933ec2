/*
 * delivery_options.h
 *		Apply a stream's options to its delivery: the pace, the identity that
 *		signs, and the endpoint.
 *
 * Sender process only.
 */
#ifndef FIREHOSE_SENDER_DELIVERY_OPTIONS_H
#define FIREHOSE_SENDER_DELIVERY_OPTIONS_H

#include "sender/delivery_state.h"

/* The stream's options have changed (NULL: the stream is gone). */
extern void delivery_set_options(Delivery *d, const Stream *stream, int64 now);

/*
 * Credentials or settings have changed: resolve anew, and try a parked stream
 * at once.
 */
extern void delivery_reconsider(Delivery *d, int64 now);

/*
 * Find out where to send, and whether the sender may.  False if the stream is
 * parked with the reason, or waits for credentials.
 */
extern bool delivery_resolve(Delivery *d, int64 now);

#endif							/* FIREHOSE_SENDER_DELIVERY_OPTIONS_H */
