/*-------------------------------------------------------------------------
 *
 * pace_simulation.h
 *	  A service and a network that a stream's pace is tried against, in
 *	  simulated time.
 *
 * A request goes through a line of a given speed that all requests share, is
 * worked on for a + b * records + c * bytes, by the service as a whole or each
 * on its own, and is then accepted as far as the quota goes.  Whatever takes
 * longer than the timeout counts as not answered, though the service may have
 * accepted it.  In an outage connections are refused, or nothing answers, or
 * every request ends with an error.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_PACE_SIMULATION_H
#define FIREHOSE_PACE_SIMULATION_H

#include "sender/pace.h"

#define SECOND			INT64_C(1000000)
#define MAX_IN_FLIGHT	64
#define MAX_BATCH		500

typedef enum OutageKind
{
	OUTAGE_REFUSED,				/* an error after a millisecond */
	OUTAGE_ERROR,				/* an error after the usual time */
	OUTAGE_SILENT,				/* no answer */
	OUTAGE_THROTTLING			/* all is refused for lack of quota */
} OutageKind;

typedef enum QuotaUnit
{
	QUOTA_NONE,
	QUOTA_RECORDS,
	QUOTA_CALLS,
	QUOTA_BYTES
} QuotaUnit;

/* All that is different from run to run. */
typedef struct Scenario
{
	PaceOptions options;
	int			record_bytes;
	int64_t		records;		/* to send; 0: there are always more */
	double		arrivals;		/* a second; 0: all are there at first */
	int64_t		linger;			/* a batch that is not full waits so long for
								 * more while others are under way, us */
	double		latency;		/* a: us of a request */
	double		per_record;		/* b: us */
	double		per_byte;		/* c: us */
	int			workers;		/* that share their time among requests; 0: each
								 * request has one of its own */
	double		noise;			/* times are up to this much longer */
	double		line;			/* bytes per second, shared; 0: no limit */
	QuotaUnit	unit;
	double		quota;			/* per second, a second's worth may be saved up */
	bool		by_call;		/* whole requests are refused */
	double		random_refusals;	/* a part of the entries, for no reason */
	bool		refusals_throttle;	/* they say so */
	int64_t		outage_at;		/* us */
	int64_t		outage_for;
	OutageKind	outage;
	bool		until_full;		/* the run ends when it is over */
	int64_t		length;			/* of the run, us */
	int64_t		steady_at;		/* from here on the steady state is counted */
} Scenario;

/* What came of it. */
typedef struct Outcome
{
	int64_t		sent;			/* records, each time they were sent */
	int64_t		accepted;
	int64_t		steady_accepted;	/* records, from steady_at on */
	int64_t		steady_calls;
	int64_t		longest_wait;	/* of a record that arrives, until it is first
								 * sent, us; from steady_at on */
	int64_t		steady_refused; /* records that were refused or timed out */
	int64_t		steady_timeouts;	/* requests */
	int			most_spared;	/* the most that a record was sent in vain
								 * because it was too much or too fast */
	int64_t		full_again;		/* first full request after the outage, us after
								 * its end; -1: none */
	int64_t		first_again;	/* first request after it */
	int64_t		outage_sent;	/* records, from its beginning to its end */
	int64_t		done_at;		/* everything was accepted; -1 */
} Outcome;

extern void simulate(const Scenario *scenario, uint64_t seed, Outcome *outcome);

#endif							/* FIREHOSE_PACE_SIMULATION_H */
