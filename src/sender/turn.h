/*
 * turn.h
 *		Which deliveries have something to do in this turn of the sender's
 *		loop, and when others will have.
 *
 * Sender process only.  A delivery is visited when something was published to
 * its stream, one of its requests has ended, its time has come, or its options
 * have changed; the others cost a turn nothing, however many they are.
 */
#ifndef FIREHOSE_SENDER_TURN_H
#define FIREHOSE_SENDER_TURN_H

#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "queue/layout.h"

typedef struct Delivery Delivery;

/* A delivery's part; zeroed at first. */
typedef struct Turn
{
	Delivery   *delivery;
	dlist_node	node;			/* among those to be visited */
	bool		marked;			/* it is */
	pairingheap_node timer;
	bool		timed;			/* .timer is in the heap */
	int64		at;				/* when, us */
} Turn;

extern void turn_init(Queue *q);

/* Take a delivery in, and have it visited; let it go. */
extern void turn_add(Turn *turn, Delivery *delivery, QueueStream *stream);
extern void turn_remove(Turn *turn, QueueStream *stream);

/* The delivery of a queue's stream, NULL if there is none. */
extern Delivery *turn_delivery_of(QueueStream *stream);

/* Have a delivery visited, now or at a time (PG_INT64_MAX: not by time). */
extern void turn_mark(Turn *turn);
extern void turn_set_timer(Turn *turn, int64 at);

/* Mark those that have news or whose time has come. */
extern void turn_collect(int64 now);

/* How many are marked, and the next of them, which is marked no longer. */
extern int	turn_count(void);
extern Delivery *turn_next(void);

/* Milliseconds until one is to be visited, -1: not by time. */
extern long turn_timeout_ms(int64 now);

#endif							/* FIREHOSE_SENDER_TURN_H */
