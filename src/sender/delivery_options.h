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
 * Credentials have changed, or with `all` the settings that every stream
 * depends on: if that concerns this stream, resolve anew, have it visited, and
 * try it at once if it is parked.
 */
extern void delivery_reconsider(Delivery *d, bool all, int64 now);

/*
 * Find out where to send, and whether the sender may.  False if the stream is
 * parked with the reason, or waits for credentials.
 */
extern bool delivery_resolve(Delivery *d, int64 now);

#endif							/* FIREHOSE_SENDER_DELIVERY_OPTIONS_H */
