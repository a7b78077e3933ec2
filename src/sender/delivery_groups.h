/*
 * delivery_groups.h
 *		Which of a stream's records go into the next request, in which groups,
 *		and where they go back to when they were not accepted.
 *
 * Sender process only; a part of delivery.h.
 */
#ifndef FIREHOSE_SENDER_DELIVERY_GROUPS_H
#define FIREHOSE_SENDER_DELIVERY_GROUPS_H

#include "sender/delivery_state.h"

/* The limits of a request by the options, the pace and the learnt ratio. */
extern void delivery_group_limits(const Delivery *d, GroupLimits *limits);

/* The bytes sent of each byte of records. */
static inline double
delivery_ratio(const Delivery *d)
{
	return d->options.compression == COMPRESSION_GZIP ? d->ratio.ratio : 1;
}

/* Are there refused records whose pause is over? */
static inline bool
delivery_suspects_due(const Delivery *d, int64 now)
{
	return d->suspects.count > 0 && now >= d->health.pace.suspects_at;
}

/*
 * Choose as many records as a request may carry now: the first ones of both
 * lists.  Returns how many of the groups are suspects.
 */
extern int	delivery_choose(Delivery *d, int64 now, GroupList *list);

/* How the chosen records become a request. */
extern RequestShape delivery_shape(const Delivery *d, const GroupList *list);

/* Take the chosen records off their lists. */
extern void delivery_take(Delivery *d, const GroupList *list, int nsuspects, Request *request);

/*
 * Take those back that are not in a request's body after all: `taken` groups
 * were to be, request->ngroups are.  Groups that were never sent are no groups
 * then.
 */
extern void delivery_take_back(Delivery *d, Request *request, int taken);

/*
 * Give a group back that was in a request, to be sent before all others, as
 * the same group.
 */
extern void delivery_put_back(Delivery *d, Request *request, int group);
extern void delivery_put_all_back(Delivery *d, Request *request);

/*
 * The same for a request of one group, which was too large or took too long:
 * in two halves, or as records of no group.
 */
extern void delivery_put_halves_back(Delivery *d, Request *request);
extern void delivery_put_records_back(Delivery *d, Request *request);

/*
 * The stream's order is strict from now on, and nothing is in flight: put the
 * records at hand into their order, refused ones, too.
 */
extern void delivery_restore_order(Delivery *d);

/*
 * A group of a request was refused, though not for want of quota, and others
 * were not: try it again later, beside others, in two halves if it has been
 * tried so before.  The first `nsuspects` groups of a request have been.
 */
extern void delivery_suspect(Delivery *d, Request *request, int group);

#endif							/* FIREHOSE_SENDER_DELIVERY_GROUPS_H */
