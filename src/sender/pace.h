/*
 * pace.h
 *		How fast a stream is sent: how many records and bytes a request may
 *		have, how many requests may be under way, and when the next may go.
 *
 * One state machine for everything that slows a stream down and speeds it up
 * again.  It is told the result of each request and reads no clock: times are
 * microseconds of a monotonic clock that the caller passes, and random numbers
 * come from a seed, so a test can simulate an hour in a moment.  Knows neither
 * PostgreSQL nor libcurl.
 */
#ifndef FIREHOSE_SENDER_PACE_H
#define FIREHOSE_SENDER_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/retry.h"

/* The limits of the stream's options; a rate of 0 is no limit. */
typedef struct PaceOptions
{
	int			max_records;	/* in a request */
	int64_t		max_bytes;
	int			max_in_flight;
	int64_t		timeout;		/* of a request, us */
	double		records_per_second;
	double		bytes_per_second;
	double		requests_per_second;
	int64_t		largest_record; /* bytes */
	bool		packs;			/* records have rows, and may be made smaller */
} PaceOptions;

/*
 * A request as it was sent; kept by the caller until its result is reported.
 */
typedef struct PaceRequest
{
	int64_t		sent_at;
	int			records;
	int64_t		bytes;
	int			rows;			/* as many as records, unless the caller says more */
} PaceRequest;

typedef enum PaceState
{
	PACE_ACTIVE,
	PACE_THROTTLED,				/* the service asks for less */
	PACE_RETRYING,				/* requests fail */
	PACE_PARKED					/* probed slowly */
} PaceState;

typedef enum PaceTrial
{
	PACE_NO_TRIAL,
	PACE_TRY_MORE,				/* smaller requests */
	PACE_TRY_FEWER				/* larger requests */
} PaceTrial;

typedef struct Pace
{
	PaceOptions options;
	RetryRandom random;

	/* the options' rates */
	TokenBucket records;
	TokenBucket bytes;
	TokenBucket requests;

	/* size and number of requests */
	/* of the options' largest request, 0 < share <= 1 */
	double		share;
	double		window;			/* requests in flight, 1 <= window <= max */
	double		ceiling;		/* share does not grow beyond it before ... */
	int64_t		ceiling_until;
	int64_t		ceiling_hold;	/* how long the last one was kept */
	int64_t		changed_at;		/* of share and window: requests sent before
								 * tell nothing about them */
	int			strikes;		/* waves in a row of which nothing was accepted
								 * because they were too much */
	int64_t		fastest;		/* shortest request since the last strike */

	/* responses to requests of this size and number, lately */
	int			nresponses;
	double		took;			/* sum of theirs, us */
	int64_t		slowest;

	/* a trial of another number of requests, of another size */
	PaceTrial	trial;
	bool		trial_chained;	/* after one that succeeded */
	int			trial_skip;		/* responses to come that do not count */
	double		before_share;
	double		before_window;
	double		before_speed;
	int64_t		trial_began;
	int64_t		trial_at;		/* not before */
	int64_t		trial_hold;		/* between the last two that failed */
	bool		apart;			/* more requests took more */
	bool		shared;			/* they did not */
	int			bisect_left;	/* rows of a request that was too large, to
								 * be tried in smaller requests, one at a time
								 * */

	/* the rate that the service accepts, learnt from its refusals */
	double		rate;			/* volume per second, 0: not limited */
	double		refused_rate;	/* where the last cut came from */
	double		step;			/* share by which the rate grows next */
	int64_t		rate_next;		/* the next request may go */
	bool		rate_binds;		/* it has held a request back in this epoch */
	bool		by_entry;		/* the service takes parts of requests */
	double		mean_volume;	/* of a record */
	double		proven;			/* largest share accepted whole at this rate */
	int			too_large;		/* how often a larger one was refused */
	int			refusals;		/* whole requests in a row */
	bool		guessed;		/* the rate is a guess, and may be far too low */
	int			all_refused;	/* the same, while less and less was sent */
	int64_t		cut_at;
	bool		accepted_since_cut;
	int			cuts;			/* in a row */
	bool		rate_trial;		/* of a higher rate; what it was before: */
	double		before_rate;
	double		before_accepted;	/* per second */
	double		before_refused; /* part */
	double		trial_factor;
	int64_t		rate_trial_at;	/* not before */
	int64_t		rate_trial_hold;	/* between the last two that failed */
	double		first_fraction; /* refused when the rate was first cut */
	/* the most that was accepted per second, lately */
	double		best;
	/* slowing down has not helped: do not before */
	int64_t		futile_until;
	int64_t		futile_hold;

	/* an epoch is a second or more of counting */
	int64_t		epoch_at;
	double		epoch_accepted; /* volume */
	double		epoch_refused;
	int			epoch_answers;
	double		last_goodput;	/* accepted per second in the epoch before */
	bool		refused_lately; /* in this epoch or the one before */

	/* failures */
	uint64_t	failures;		/* waves in a row that came to nothing */
	int64_t		failed_at;
	int64_t		next_attempt;	/* nothing is sent before */
	int64_t		wish_until;		/* nor can this be cut short: the service asked */
	bool		probing;		/* errors go on: one record at a time */
	bool		parked;

	/* records that were refused while others passed */
	int64_t		suspects_at;	/* not tried again before */
	int			suspect_failures;	/* trials in a row that came to nothing */
} Pace;

extern void pace_init(Pace *p, const PaceOptions *options, uint64_t seed, int64_t now);

/* The options have changed; everything learnt about the service is kept. */
extern void pace_set_options(Pace *p, const PaceOptions *options, int64_t now);

/* The limits of the next request; one record is always allowed. */
extern int	pace_max_records(const Pace *p);
extern int64_t pace_max_bytes(const Pace *p);

/* How many requests may be under way. */
extern int	pace_max_in_flight(const Pace *p);

/* Microseconds until a request of this size may go; 0: now. */
extern int64_t pace_delay(Pace *p, int records, int64_t bytes, int64_t now);

/* The same for a request whose size is not known yet: not before this. */
extern int64_t pace_not_before(const Pace *p);

/*
 * A request is sent.  Fills in *request, which is passed when its result is
 * reported.
 */
extern void pace_sent(Pace *p, PaceRequest *request, int records, int64_t bytes,
					  int64_t now);

/*
 * A response with a result for each record: so many were accepted, and so many
 * refused because they were too many or too fast.  Records that failed for
 * other reasons do not affect the pace, unless nothing was accepted
 * (pace_failed). `wish` is the pause that the service asked for (us), or -1.
 */
extern void pace_answered(Pace *p, const PaceRequest *request, int accepted,
						  int64_t accepted_bytes, int throttled, int64_t wish,
						  int64_t now);

/* The whole request was refused, because there were too many or too fast. */
extern void pace_throttled(Pace *p, const PaceRequest *request, int64_t wish, int64_t now);

/* No response within the timeout of a request. */
extern void pace_timed_out(Pace *p, const PaceRequest *request, int64_t now);

/* The request failed for another reason that may pass. */
extern void pace_failed(Pace *p, const PaceRequest *request, int64_t wish, int64_t now);

/* The request is larger than the service accepts. */
extern void pace_too_large(Pace *p, const PaceRequest *request, int64_t now);

/* So many of those rows were the reason, and are sent no more. */
extern void pace_gave_up(Pace *p, int rows);

/*
 * Records were refused while others of their request passed, or alone while
 * nothing else fails: they are tried again after a pause of their own.
 * `again`: those that had been refused before were tried, and none passed.
 */
extern void pace_suspects_refused(Pace *p, bool again, int64_t now);

/* One of those that had been refused before has passed. */
extern void pace_suspects_passed(Pace *p);

/*
 * The stream cannot be sent to: probe it, between once and twice `interval`
 * later.
 */
extern void pace_park(Pace *p, int64_t interval, int64_t now);

/* Something has changed that may let a parked stream continue. */
extern void pace_probe_now(Pace *p, int64_t now);

/* The stream is another one now: end whatever pause it is in. */
extern void pace_try_now(Pace *p, int64_t now);

/*
 * A session waits: end the pause after a failure, unless that is less than
 * `pause` old, the service asked to wait, or asks for less.  False: not yet.
 */
extern bool pace_try_early(Pace *p, int64_t pause, int64_t now);

/* Something else is awaited: send nothing before then. */
extern void pace_hold(Pace *p, int64_t until);

extern PaceState pace_state(const Pace *p);

/*
 * Nothing is left to send: a service that asked for less has got it, and what
 * failed was given up.
 */
extern void pace_idle(Pace *p);

#endif							/* FIREHOSE_SENDER_PACE_H */
