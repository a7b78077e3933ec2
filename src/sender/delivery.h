/*
 * delivery.h
 *		The delivery of one stream: which records go into which request, and
 *		when.  The endpoint and the options are in delivery_options.h.
 *
 * Sender process only.
 */
#ifndef FIREHOSE_SENDER_DELIVERY_H
#define FIREHOSE_SENDER_DELIVERY_H

#include "sender/delivery_state.h"

extern Delivery *delivery_create(QueueStream *stream, uint32 *outstanding);
extern void delivery_destroy(Delivery *d);

/* Give a record back that was in a request, to be sent before all others. */
extern void delivery_put_back(Delivery *d, const ClaimedRecord *claimed);
extern void delivery_put_all_back(Delivery *d, Request *request);

/*
 * A record of a request was refused, though not for want of quota, and others
 * were not: try it again later, beside others.  The first `nsuspects` records
 * of a request have been tried so before.
 */
extern void delivery_suspect(Delivery *d, const ClaimedRecord *claimed);
extern void delivery_suspects_refused(Delivery *d, int64 now);
extern void delivery_suspects_passed(Delivery *d);

/* Send what can be sent now. */
extern void delivery_pump(Delivery *d, int64 now);

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
 * Ask to be woken by the next put, if that would change anything.  Look with
 * delivery_due_at afterwards: something may have come already.
 */
extern void delivery_ask_to_be_woken(Delivery *d);

/* Everything published before this has met its outcome. */
extern QueuePosition delivery_finished_upto(Delivery *d);

/* Is nothing pending, so that a dropped stream's entry may be released? */
extern bool delivery_is_idle(Delivery *d);

#endif							/* FIREHOSE_SENDER_DELIVERY_H */
