/*-------------------------------------------------------------------------
 *
 * pace_simulation.c
 *	  Runs a stream's pace against a simulated service; pace_simulation.h says
 *	  what that is like.
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pace_simulation.h"

/* Records that have been in a request that came to nothing. */
#define MAX_RETURNED	(2 * MAX_IN_FLIGHT * MAX_BATCH)

typedef struct Call
{
	bool		used;
	PaceRequest sent;
	double		bytes_left;		/* still to go through the line */
	int64_t		ready_at;		/* worked on until then, -1: still in the line */
	int64_t		ends_at;		/* what the client sees, INT64_MAX: unknown */
	bool		decided;
	bool		accepted;		/* the service's decision about a whole call */
	bool		failed;
	int			naccepted;
	int			nthrottled;
	uint8_t		spared[MAX_BATCH];	/* how often each was sent in vain */
} Call;

typedef struct World
{
	const Scenario *s;
	Outcome    *o;
	Pace		pace;
	RetryRandom random;
	int64_t		now;
	int64_t		line_at;		/* the line was brought up to date */
	double		tokens;
	int64_t		tokens_at;
	int64_t		fresh;			/* records never sent, also those to come */
	int64_t		taken;			/* of those that arrive */
	int64_t		left_since;		/* what is left was left by the last request */
	uint8_t	   *returned;		/* spared counts of those to be sent again */
	int			nreturned;		/* a stack: the next one is the last */
	int			nin_flight;
	Call		calls[MAX_IN_FLIGHT];
} World;

static bool
in_outage(const World *w, int64_t at)
{
	return w->s->outage_for > 0 && at >= w->s->outage_at &&
		at < w->s->outage_at + w->s->outage_for;
}

static double
longer(World *w, double time)
{
	return time * (1 + w->s->noise * retry_random(&w->random));
}

/*
 * What moves in a second; a service that shares its time is a line of that.
 * 0: nothing is in the way.
 */
static double
line_speed(const World *w)
{
	return w->s->workers > 0 ? (double) w->s->workers * SECOND : w->s->line;
}

/* The part of it that each of n requests has: no more than one worker. */
static double
speed_of_each(const World *w, int n)
{
	double		each = line_speed(w) / n;

	return w->s->workers > 0 ? fmin(each, SECOND) : each;
}

/* Decide what the service accepts, when it has the request. */
static void
decide(World *w, Call *call)
{
	const Scenario *s = w->s;
	int			n = call->sent.records;
	double		cost = s->unit == QUOTA_BYTES ? s->record_bytes : 1;
	double		refill = (double) (w->now - w->tokens_at) / SECOND * s->quota;
	int			fits = n;

	call->decided = true;
	w->tokens = fmin(w->tokens + refill, s->quota);
	w->tokens_at = w->now;
	if (s->unit == QUOTA_CALLS)
		fits = w->tokens >= 1 ? n : 0;
	else if (s->unit != QUOTA_NONE)
		fits = (int) fmin(n, w->tokens / cost);
	if (s->by_call && fits < n)
		fits = 0;
	if (s->unit == QUOTA_CALLS)
		w->tokens -= fits > 0 ? 1 : 0;
	else
		w->tokens -= fits * cost;
	call->naccepted = fits;
	call->nthrottled = n - fits;
	if (s->random_refusals > 0)
	{
		int			lost = 0;

		for (int i = 0; i < fits; i++)
			lost += retry_random(&w->random) < s->random_refusals;
		call->naccepted -= lost;
		call->nthrottled += s->refusals_throttle ? lost : 0;
	}
}

/* What the service works on a request, us. */
static double
work(World *w, const Call *call)
{
	const Scenario *s = w->s;

	return longer(w, s->latency + s->per_record * call->sent.records +
				  s->per_byte * (double) call->sent.bytes);
}

/* The line is done with a request: the service works on it. */
static void
arrive(World *w, Call *call)
{
	const Scenario *s = w->s;

	call->ready_at = w->now + (s->workers > 0 ? 0 : (int64_t) work(w, call));
	if (in_outage(w, w->now) || in_outage(w, call->sent.sent_at))
	{
		call->failed = true;
		if (s->outage == OUTAGE_REFUSED)
			call->ready_at = w->now + 1000;
		else if (s->outage == OUTAGE_SILENT)
			call->ready_at = INT64_MAX;
	}
}

/* Bring the line up to date: its speed is shared evenly. */
static void
move_line(World *w)
{
	int			n = 0;
	double		each;

	for (int i = 0; i < MAX_IN_FLIGHT; i++)
		n += w->calls[i].used && w->calls[i].ready_at < 0;
	each = n == 0 ? 0 : speed_of_each(w, n) * (double) (w->now - w->line_at) / SECOND;
	w->line_at = w->now;
	for (int i = 0; i < MAX_IN_FLIGHT; i++)
	{
		Call	   *call = &w->calls[i];

		if (!call->used || call->ready_at >= 0)
			continue;
		call->bytes_left -= each;
		if (call->bytes_left < 1 || line_speed(w) <= 0)
			arrive(w, call);
	}
}

/* When does something happen next? */
static int64_t
next_event(World *w)
{
	int64_t		next = INT64_MAX;
	int			n = 0;
	double		least = HUGE_VAL;

	for (int i = 0; i < MAX_IN_FLIGHT; i++)
	{
		Call	   *call = &w->calls[i];
		int64_t		at;

		if (!call->used)
			continue;
		at = call->sent.sent_at + w->s->options.timeout;
		if (call->ready_at >= 0 && call->ready_at < at)
			at = call->ready_at;
		if (call->ready_at < 0)
		{
			n++;
			least = fmin(least, call->bytes_left);
		}
		if (at < next)
			next = at;
	}
	if (n > 0)
	{
		int64_t		at = w->now + (int64_t) (least / speed_of_each(w, n) * SECOND) + 1;

		if (at < next)
			next = at;
	}
	return next;
}

/* Records that were not accepted are sent again, first. */
static void
give_back(World *w, Call *call, int from, bool spared)
{
	for (int i = call->sent.records; i-- > from;)
	{
		uint8_t		n = call->spared[i];

		if (spared && n < 255)
			n++;
		if (n > w->o->most_spared)
			w->o->most_spared = n;
		w->returned[w->nreturned++] = n;
	}
}

/* The client learns how a request ended. */
static void
end_call(World *w, Call *call)
{
	bool		timed_out = call->ready_at < 0 || call->ready_at > w->now;
	bool		steady = w->now >= w->s->steady_at;
	int			n = call->sent.records;

	call->used = false;
	w->nin_flight--;
	if (!timed_out && !call->failed)
		decide(w, call);
	if (timed_out)
	{
		give_back(w, call, 0, !call->failed);
		w->o->steady_refused += steady ? n : 0;
		w->o->steady_timeouts += steady;
		pace_timed_out(&w->pace, &call->sent, w->now);
		return;
	}
	if (call->failed)
	{
		give_back(w, call, 0, false);
		if (w->s->outage == OUTAGE_THROTTLING)
			pace_throttled(&w->pace, &call->sent, -1, w->now);
		else
			pace_failed(&w->pace, &call->sent, -1, w->now);
		return;
	}
	give_back(w, call, call->naccepted, w->s->random_refusals <= 0);
	w->o->accepted += call->naccepted;
	w->o->steady_accepted += steady ? call->naccepted : 0;
	w->o->steady_refused += steady ? n - call->naccepted : 0;
	w->o->steady_calls += steady && call->naccepted > 0;
	if (call->naccepted == 0 && call->nthrottled == 0)
		pace_failed(&w->pace, &call->sent, -1, w->now);
	else
		pace_answered(&w->pace, &call->sent, call->naccepted,
				  (int64_t) call->naccepted * w->s->record_bytes,
				  call->nthrottled, -1, w->now);
}

/* When the record of a number arrives, counted from 0. */
static int64_t
arrival(const World *w, int64_t number)
{
	return (int64_t) ((double) number * SECOND / w->s->arrivals);
}

/* How many records are there that were never sent? */
static int64_t
fresh_now(const World *w)
{
	int64_t		arrived;

	if (w->s->arrivals <= 0)
		return w->fresh;
	arrived = (int64_t) ((double) w->now * w->s->arrivals / SECOND) + 1 - w->taken;
	return arrived < w->fresh ? arrived : w->fresh;
}

/* So many records that were never sent are sent. */
static void
take_fresh(World *w, int n)
{
	if (n > 0 && w->s->arrivals > 0 && w->now >= w->s->steady_at &&
		w->now - arrival(w, w->taken) > w->o->longest_wait)
		w->o->longest_wait = w->now - arrival(w, w->taken);
	w->fresh -= n;
	w->taken += n;
}

/* Until when does a batch of so many wait for more? */
static int64_t
ripe_at(const World *w, int64_t left)
{
	int64_t		since = w->left_since;

	if (left >= w->s->options.max_records || w->nin_flight == 0 || w->nreturned > 0)
		return 0;
	if (w->s->arrivals > 0 && arrival(w, w->taken) > since)
		since = arrival(w, w->taken);
	return since + w->s->linger;
}

static void
note_recovery(World *w, int n)
{
	int64_t		since = w->now - w->s->outage_at - w->s->outage_for;

	if (w->s->outage_for <= 0 || since < 0)
		return;
	if (w->o->first_again < 0)
		w->o->first_again = since;
	if (w->o->full_again < 0 &&
		(n == w->s->options.max_records ||
		 (int64_t) (n + 1) * w->s->record_bytes > w->s->options.max_bytes))
		w->o->full_again = since;
}

/* Send a request if that may be done now; otherwise tell when. */
static bool
send_one(World *w, int64_t *when)
{
	int64_t		left = w->nreturned + fresh_now(w);
	int64_t		by_bytes = pace_max_bytes(&w->pace) / w->s->record_bytes;
	int			n = pace_max_records(&w->pace);
	Call	   *call = w->calls;
	int64_t		delay;

	*when = INT64_MAX;
	if (w->nin_flight >= pace_max_in_flight(&w->pace))
		return false;
	if (left == 0)
	{
		if (w->fresh > 0)
			*when = arrival(w, w->taken) + 1;
		return false;
	}
	if (w->s->linger > 0 && ripe_at(w, left) > w->now)
	{
		*when = ripe_at(w, left);
		return false;
	}
	if (n > by_bytes)
		n = by_bytes < 1 ? 1 : (int) by_bytes;
	if (n > left)
		n = (int) left;
	delay = pace_delay(&w->pace, n, (int64_t) n * w->s->record_bytes, w->now);
	if (delay > 0)
	{
		*when = w->now + delay;
		return false;
	}
	while (call->used)
		call++;
	memset(call, 0, sizeof(Call));
	call->used = true;
	call->ready_at = -1;
	take_fresh(w, n > w->nreturned ? n - w->nreturned : 0);
	for (int i = 0; i < n && w->nreturned > 0; i++)
		call->spared[i] = w->returned[--w->nreturned];
	w->left_since = w->now;
	w->nin_flight++;
	w->o->sent += n;
	w->o->outage_sent += in_outage(w, w->now) ? n : 0;
	pace_sent(&w->pace, &call->sent, n, (int64_t) n * w->s->record_bytes, w->now);
	call->bytes_left = w->s->workers > 0 ? work(w, call) : (double) n * w->s->record_bytes * 4 / 3;
	if (line_speed(w) <= 0)
		arrive(w, call);
	note_recovery(w, n);
	return true;
}

void
simulate(const Scenario *scenario, uint64_t seed, Outcome *outcome)
{
	World	   *w = calloc(1, sizeof(World));

	memset(outcome, 0, sizeof(Outcome));
	outcome->full_again = outcome->first_again = outcome->done_at = -1;
	w->s = scenario;
	w->o = outcome;
	w->fresh = scenario->records > 0 ? scenario->records : INT64_C(1) << 40;
	w->tokens = scenario->quota;
	w->returned = malloc(MAX_RETURNED);
	retry_random_seed(&w->random, seed);
	pace_init(&w->pace, &scenario->options, seed + 1, 0);
	for (;;)
	{
		int64_t		when;
		int64_t		next;

		while (send_one(w, &when))
			;
		if (scenario->until_full && outcome->full_again >= 0)
			break;
		next = next_event(w);
		if (when < next)
			next = when;
		if (next == INT64_MAX || next >= scenario->length)
			break;
		w->now = next > w->now ? next : w->now;
		move_line(w);
		for (int i = 0; i < MAX_IN_FLIGHT; i++)
		{
			Call	   *call = &w->calls[i];

			if (call->used &&
				((call->ready_at >= 0 && call->ready_at <= w->now) ||
				 call->sent.sent_at + scenario->options.timeout <= w->now))
				end_call(w, call);
		}
		if (w->nin_flight == 0 && w->fresh == 0 && w->nreturned == 0)
		{
			outcome->done_at = w->now;
			break;
		}
	}
	free(w->returned);
	free(w);
}
