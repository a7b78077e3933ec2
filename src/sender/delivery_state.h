/*
 * delivery_state.h
 *		The state of the delivery of one stream, on which delivery.h and
 *		delivery_options.h work.
 *
 * Sender process only; one Delivery for each of the database's streams.
 */
#ifndef FIREHOSE_SENDER_DELIVERY_STATE_H
#define FIREHOSE_SENDER_DELIVERY_STATE_H

#include "lib/ilist.h"

#include "aws/endpoint.h"
#include "sender/budget.h"
#include "sender/completion.h"
#include "sender/group.h"
#include "sender/health.h"
#include "sender/identity.h"
#include "sender/ready_list.h"
#include "sender/request.h"
#include "sender/turn.h"
#include "stream/stream.h"

struct Delivery
{
	dlist_node	node;			/* in the sender's list */
	Turn		turn;
	dlist_node	pending_node;	/* in the list of those that have something left */
	bool		pending;		/* it is there */
	QueueStream *queue_stream;
	/* name, reader and the other fields that a completion needs */
	CompletionTarget target;
	StreamOptions options;
	MemoryContext context;		/* all that belongs to this delivery */
	MemoryContext option_context;	/* strings of options */

	Identity   *identity;		/* who signs; NULL: the role is not allowed */
	uint64		identity_generation;	/* of its credentials, when last looked at */
	bool		authenticating; /* it waits for its first credentials */

	/*
	 * the endpoint, resolved from the options, the environment and the profile
	 */
	bool		resolved;
	bool		dropped;		/* its foreign server is gone: its records go
								 * to the dead letters */
	char		region[64];
	Endpoint	endpoint;

	/* handed out by the reader, not in a request */
	ReadyList	ready;
	int64		ready_since;	/* when .ready began to fill, for linger */
	dlist_head	in_flight;		/* Requests */
	int			nin_flight;

	/*
	 * Records that were refused while others of their request were accepted:
	 * retried beside the others, after a pause of their own.
	 */
	ReadyList	suspects;
	GroupRatio	ratio;			/* of gzip */
	bool		hurried;		/* until the queue is read up, nothing lingers */
	bool		came_back;		/* some of .ready was in a request before */
	bool		unordered;		/* order is strict now and was not before */

	Health		health;			/* pace, state and log */
	bool		started;		/* .health is set up: options are known */
	uint64		seen_flushes;	/* of those that queue_stream counts */
	int64		tokens_at;		/* us; the pace allows the next request */
	BudgetShare budget;			/* of .in_flight */
	bool		asked;			/* for budget, in this visit */
	bool		crowded;		/* no room for more until a request ends */
};

/* May anything be sent? */
static inline bool
delivery_sends(const Delivery *d)
{
	return d->options.enabled && !d->options.paused;
}

#endif							/* FIREHOSE_SENDER_DELIVERY_STATE_H */
