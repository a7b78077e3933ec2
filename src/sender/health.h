/*
 * health.h
 *		The health of a stream: its pace, and its state in the view and in the
 *		log.
 *
 * Sender process only.  The state in the view is that of the pace, and the
 * reason is always the last cause, in words that name the party: AWS, a proxy,
 * the network, or this server.
 */
#ifndef FIREHOSE_SENDER_HEALTH_H
#define FIREHOSE_SENDER_HEALTH_H

#include <time.h>

#include "queue/stream_stats.h"
#include "sender/pace.h"

/* The party that a cause is attributed to. */
typedef enum Party
{
	PARTY_AWS,
	PARTY_PROXY,				/* a host that responds and is not Firehose */
	PARTY_NETWORK,
	PARTY_HERE					/* this server: configuration, resources */
} Party;

/* The reason why a request failed. */
typedef struct Cause
{
	Party		party;
	char		code[STATISTICS_CODE_LEN];
	char		message[STATISTICS_MESSAGE_LEN];
	int64		named;			/* the largest number in AWS's message */
} Cause;

/* Kinds of log lines; each has at most one line a minute. */
typedef enum HealthLine
{
	LINE_RETRYING,
	LINE_PARKED,
	LINE_RESUMED
} HealthLine;

#define HEALTH_LINES	3

typedef struct Health
{
	Pace		pace;
	StreamStatistics *stats;
	const char *name;			/* of the stream */
	PaceState	shown;			/* state that the view was told */
	char		throttle[STATISTICS_MESSAGE_LEN];	/* the last reason of that
													 * state */
	bool		held;			/* it is told another one: health_hold() */
	bool		waiting;		/* it is told that the stream waits for budget */
	bool		troubled;		/* the log was told of trouble */
	char		logged_code[STATISTICS_CODE_LEN];	/* the last it was told */
	int64		line_at[HEALTH_LINES];	/* the next line not before */
	int64		line_pause[HEALTH_LINES];
	int			unlogged[HEALTH_LINES]; /* lines left out since the last */
} Health;

/* Fill in a cause; the message is formatted as by printf. */
extern void cause_set(Cause *cause, Party party, const char *code, const char *format,...)
			pg_attribute_printf(4, 5);

/*
 * The pace was told of trouble: tell the view, and the log if it is news.
 */
extern void health_trouble(Health *h, const Cause *cause, int64 now);

/*
 * The last error of a record or request, when the stream itself is not in
 * trouble.
 */
extern void health_note_error(Health *h, const Cause *cause);

/*
 * Stop sending to the stream, keep its data, and try again with one record
 * after firehose.probe_interval.
 */
extern void health_park(Health *h, const Cause *cause, int64 now);

/* Something was accepted, or nothing is left to send. */
extern void health_refresh(Health *h, int64 now);

/*
 * Show a state that is not the pace's, whatever becomes of what is in flight,
 * until health_show().
 */
extern void health_hold(Health *h, StreamState state, const char *reason);

/*
 * The stream waits for the sender's budget, for this reason; NULL: no more.
 */
extern void health_waits(Health *h, const char *reason);

/*
 * Firehose responded, by a clock that says server_time (0: it does not tell).
 */
extern void health_reached(Health *h, time_t server_time);

/* A request had no response, or one of a host that is not Firehose. */
extern void health_not_reached(Health *h);

/* Show the state anew, after another one was shown. */
extern void health_show(Health *h);

#endif							/* FIREHOSE_SENDER_HEALTH_H */
