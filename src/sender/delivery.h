/*
 * delivery.h
 *		The delivery of one stream: which records go into which request, and
 *		when.  The endpoint and the options are in delivery_options.h, the
 *		choice of records in delivery_groups.h.
 *
 * Sender process only.
 */
#ifndef FIREHOSE_SENDER_DELIVERY_H
#define FIREHOSE_SENDER_DELIVERY_H

#include "sender/delivery_groups.h"
#include "sender/delivery_state.h"

extern Delivery *delivery_create(QueueStream *stream, uint32 *outstanding);
extern void delivery_destroy(Delivery *d);

/* Send what can be sent now. */
extern void delivery_pump(Delivery *d, int64 now);

/*
 * A session waits, or the sender has to exit: let nothing linger, and no
 * refused record wait for its next attempt.
 */
extern void delivery_hurry(Delivery *d);

/*
 * A request has finished, with or without a response: count it.  The caller
 * then handles the response and puts the request back.
 */
extern void delivery_finished(Request *request);

/*
 * When delivery_pump may have something to do, PG_INT64_MAX: not by time.
 */
extern int64 delivery_due_at(Delivery *d, int64 now);

/*
 * Ask to be woken by the next put, or while records linger by one that fills
 * the request, if that would change anything.  Look with delivery_due_at
 * afterwards: something may have come already.
 */
extern void delivery_ask_to_be_woken(Delivery *d, int64 now);

/* Everything published before this has met its outcome. */
extern QueuePosition delivery_finished_upto(Delivery *d);

/* Is nothing pending, so that a dropped stream's entry may be released? */
extern bool delivery_is_idle(Delivery *d);

#endif							/* FIREHOSE_SENDER_DELIVERY_H */
