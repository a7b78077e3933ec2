/*
 * budget.h
 *		One budget for all requests of a sender: memory, connections and
 *		descriptors, and how streams share them.
 *
 * Sender process only.  Nothing is started that the budget has no room for, so
 * whatever streams, settings and responses there are, the process stays within
 * firehose.request_memory, firehose.max_connections, and the descriptors that
 * the system lets it have.
 *
 * A quarter of the memory is for connections, kept alive or in use; it bounds
 * their number, too.  The rest is for requests: a request counts with its
 * records, its body, libcurl's buffers, and the response that is expected.
 *
 * A stream that has nothing under way may take what it needs for one request,
 * in the order of asking: it stands in a line.  A further request may take at
 * most half of what is left beside what its stream has already, and none while
 * others stand in line.  So streams whose requests hang leave room for others.
 */
#ifndef FIREHOSE_SENDER_BUDGET_H
#define FIREHOSE_SENDER_BUDGET_H

#include "lib/ilist.h"

/* A stream's part; zeroed at first. */
typedef struct BudgetShare
{
	int			requests;		/* under way */
	Size		memory;			/* that they have */
	bool		in_line;
	dlist_node	node;			/* in the line */
	Size		needed;			/* by the request that waits */
	int64		since;			/* when it began to wait, us */
	bool		shown;			/* the view was told */
} BudgetShare;

/*
 * Settings may have changed: let the process have as many descriptors as its
 * connections may need.
 */
extern void budget_refresh(void);

/* How many connections there may be now, idle ones included. */
extern int	budget_connections(void);

/* The same, and no more than the system lets be open, which may be less. */
extern int	budget_open_connections(void);

/* Bytes that may still be used for requests, and that are in use. */
extern Size budget_free(void);
extern Size budget_used(void);

/*
 * Bytes that responses may have beyond what their requests have set aside,
 * together.
 */
extern Size budget_for_responses(void);

/* So many bytes are used for what all requests share. */
extern void budget_set_aside(Size bytes);

/* The most bytes that the share's next request should have; maybe 0. */
extern Size budget_room(const BudgetShare *share);

/*
 * Take bytes for a request.  False if there is no room: a share that has
 * nothing under way stands in line then, others try again when one of their
 * requests has ended.
 */
extern bool budget_take(BudgetShare *share, Size bytes, int64 now);

/* A request has ended, or could not be started. */
extern void budget_give_back(BudgetShare *share, Size bytes);

/* The share needs nothing any more. */
extern void budget_leave_line(BudgetShare *share);

/*
 * Once in each turn of the sender: have as many requests under way as it can
 * deal with, if those are fewer than there may be.
 */
extern void budget_heed_responses(void);

/* The first in line, if there is room for it now; else NULL. */
extern BudgetShare *budget_first_served(int64 now);

/*
 * The next share in line that waits so long that the view should tell; NULL:
 * none now.
 */
extern BudgetShare *budget_next_to_show(int64 now);

/*
 * The system has refused memory, a descriptor or a port, in words: start
 * nothing for a moment, and then no more than it allowed before.
 */
extern void budget_shortage(const char *what, int64 now);

/* Why there is no room, in words. */
extern const char *budget_reason(void);

/* Milliseconds until there may be room, or something to show; -1: unknown. */
extern long budget_timeout_ms(int64 now);

#endif							/* FIREHOSE_SENDER_BUDGET_H */
