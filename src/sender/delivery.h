/*
 * delivery.h
 *		The delivery of one stream: which records go into which request, when,
 *		and what follows from the answer.
 *
 * Sender process only; one Delivery for each of the database's streams.
 */
#ifndef FIREHOSE_SENDER_DELIVERY_H
#define FIREHOSE_SENDER_DELIVERY_H

#include "lib/ilist.h"

#include "aws/endpoint.h"
#include "sender/completion.h"
#include "sender/health.h"
#include "sender/identity.h"
#include "sender/ready_list.h"
#include "sender/request.h"
#include "stream/stream.h"

struct Delivery
{
	dlist_node	node;			/* in the sender's list */
	QueueStream *queue_stream;
	/* name, reader and all that a completion needs */
	CompletionTarget target;
	StreamOptions options;
	MemoryContext context;		/* all that belongs to this delivery */
	MemoryContext option_context;	/* strings of options */

	Identity   *identity;		/* who signs; NULL: the role is not allowed */
	bool		authenticating; /* it waits for its first credentials */

	/* where to: resolved from the options, the environment and the profile */
	bool		resolved;
	bool		dropped;		/* its server is gone: all it owes goes to the
								 * dead letters */
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
	int64		suspects_at;	/* us; not before */
	int			suspect_failures;	/* in a row */

	Health		health;			/* pace, state and log */
	bool		started;		/* .health is set up: options are known */
	int64		tokens_at;		/* us; the pace allows the next request */
	Size		in_flight_memory;	/* of .in_flight */
};

extern Delivery *delivery_create(QueueStream *slot, uint32 *outstanding);
extern void delivery_destroy(Delivery *d);

/* The stream's options have changed (NULL: the stream is gone). */
extern void delivery_set_options(Delivery *d, const Stream *stream, int64 now);

/*
 * Credentials or settings have changed: resolve anew, and try a parked stream
 * at once.
 */
extern void delivery_reconsider(Delivery *d, int64 now);

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
 * A request has finished, in whatever way: account for it.  What follows from
 * its response is for the caller to do, who then puts the request back.
 */
extern void delivery_finished(Request *request);

/*
 * Milliseconds until delivery_pump may have something to do, -1: not by time.
 */
extern long delivery_timeout_ms(Delivery *d, int64 now);

/*
 * Ask to be woken by the next put, if that would change anything; false if
 * something has come already.
 */
extern bool delivery_ask_to_be_woken(Delivery *d, int64 now);

/* Everything published before this has met its outcome. */
extern QueuePosition delivery_finished_upto(Delivery *d);

/* Is nothing owed and nothing open, so that a dropped stream's slot may go? */
extern bool delivery_is_idle(Delivery *d);

#endif							/* FIREHOSE_SENDER_DELIVERY_H */
