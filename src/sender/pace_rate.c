/*
 * pace_rate.c
 *		The rate that a service accepts, learnt from its refusals; a part of
 *		pace.c.
 *
 * A service that refuses for lack of quota shows by the records it accepts how
 * large the quota is.  Its rate is learnt in volume, bytes and a little for
 * each record, which is near enough to records and requests while the mix of
 * records does not change much.  The rate is set slightly above what was
 * accepted, and kept while no more than a tenth is refused: the quota is used
 * up, and few records are sent twice.
 *
 * A service may also refuse some of the records whatever the rate.  When
 * cutting the rate three times leaves the same part of the records refused,
 * quota is not the reason, and the rate is let go.  A part that is tolerated
 * is what the right rate of a quota looks like, too.  So a higher rate is
 * tried now and then: if more is accepted, it was not.
 */
#include <math.h>

#include "sender/pace_internal.h"

/* A part of the requests that may be refused at the right rate. */
#define REFUSED_TOLERATED	0.10

/* The rate is set so much above what was accepted. */
#define RATE_MARGIN			1.05

/* The first time less: some of what was accepted had been saved up. */
#define FIRST_CUT			0.7

/*
 * No quota is smaller: AWS grants 1 MiB a second at least.  A rate below this
 * was learnt from something else, or from a moment in which little was sent.
 */
#define LEAST_RATE			8192

/* A rate that need not be kept to for so long is forgotten. */
#define FORGET_RATE			(60 * SECOND)

/* So many cuts in a row have to help, or none is made for a while. */
#define FUTILE_CUTS			3
#define FUTILE_HOLD			(30 * SECOND)
#define MAX_FUTILE_HOLD		(3600 * SECOND)

/*
 * A trial of a higher rate goes so much higher, more after one that succeeded;
 * half of that must be accepted.  After one that failed there is a pause,
 * twice as long each time.
 */
#define TRIAL_FACTOR		1.25
#define MAX_TRIAL_FACTOR	2
#define RATE_TRIAL_HOLD		(30 * SECOND)
#define MAX_RATE_TRIAL_HOLD (3600 * SECOND)

/* A request that uses up the rate of so long is a large part of a quota. */
#define LARGE_PART			(SECOND / 4)

/*
 * The rate grows by so much at first, and fast when it grows by more than
 * that.
 */
#define FIRST_STEP			0.01
#define CAREFUL_STEP		0.04
#define MAX_STEP			0.6

/*
 * Behind three refusals in a row a request has one record, which every quota
 * accepts.  If that is refused, too, quota is not the reason.
 */
#define QUOTA_REFUSALS		3

/*
 * Of a request so small all may be refused by chance; not so often in a row,
 * though.
 */
#define FEW_RECORDS			2
#define CHANCE_REFUSALS		3

/* A request with so much of what it may have is full. */
#define FULL_REQUEST		0.9

/* Fewer records than this tell nothing. */
#define PLAIN_RECORDS		10

/* A rate is not judged by fewer responses than this. */
#define EPOCH_ANSWERS		4

/* Nor is a trial by fewer records. */
#define TRIAL_RECORDS		100

/* Begin to count anew. */
static void
start_epoch(Pace *p, int64_t now)
{
	p->epoch_at = now;
	p->epoch_accepted = p->epoch_refused = 0;
	p->epoch_answers = 0;
	p->rate_binds = false;
}

/* The volume that the service has accepted per second. */
static double
goodput(const Pace *p, int64_t now)
{
	double		seconds = (double) Max(now - p->epoch_at, SECOND) / (double) SECOND;

	return Max(p->epoch_accepted / seconds, p->last_goodput);
}

/* Send no faster than this from now on. */
static void
cut_rate(Pace *p, double rate, int64_t now)
{
	p->rate_trial = false;
	p->refused_rate = p->rate;
	p->rate = Max(rate, LEAST_RATE);
	p->guessed = false;
	p->step = FIRST_STEP;
	p->cut_at = now;
	p->accepted_since_cut = false;
	p->rate_next = Max(p->rate_next, now);
	p->last_goodput = 0;
	start_epoch(p, now);
}

/* Send at any rate again. */
static void
release_rate(Pace *p)
{
	p->rate = 0;
	p->rate_trial = false;
	p->rate_trial_hold = 0;
	p->guessed = false;
	p->rate_next = 0;
	p->by_entry = false;
	p->proven = 0;
	p->too_large = 0;
	p->cuts = 0;
}

/* The rate has grown fast, and that was too much. */
static void
undo_growth(Pace *p, int64_t now)
{
	double		was = p->rate / (1 + p->step);

	cut_rate(p, was, now);
	p->accepted_since_cut = true;
}

/*
 * The trial has failed: go back to the rate before, let a quota make up for
 * what was refused, and do not try again soon.
 */
static void
end_rate_trial(Pace *p, int64_t now)
{
	double		pause = Min(p->epoch_refused / p->before_rate * (double) SECOND, (double) SECOND);

	p->rate_trial_hold = Min(Max(p->rate_trial_hold * 2, RATE_TRIAL_HOLD), MAX_RATE_TRIAL_HOLD);
	p->rate_trial_at = now + p->rate_trial_hold;
	cut_rate(p, p->before_rate, now);
	p->accepted_since_cut = true;
	p->rate_next = now + (int64_t) pause;
}

/* Nothing at all passes: less at a time, and after a pause. */
static void
refuse_all(Pace *p, const PaceRequest *request, int64_t now)
{
	if (p->all_refused <= QUOTA_REFUSALS)
		p->all_refused++;
	pace_strike(p, request, now);
	cut_rate(p, volume(request->records, request->bytes), now);
	p->refused_rate = 0;		/* a guess: the rate may double */
	p->guessed = true;
	p->step = MAX_STEP;
	p->rate_next = now + retry_delay(&p->random, RETRY_THROTTLE, p->strikes);
}

/* A request failed for another reason: so that is why all was refused. */
void
pace_rate_mark_failed(Pace *p)
{
	if (p->all_refused > 0)
		p->all_refused = QUOTA_REFUSALS + 1;
}

/*
 * In an outage services ask for less, too, but there was no quota to learn.
 * When it is over requests grow from one record, and the first that is refused
 * tells the rate.
 */
void
pace_rate_mark_alive(Pace *p, int64_t now)
{
	if (p->all_refused > QUOTA_REFUSALS)
	{
		release_rate(p);
		p->refused_lately = false;
		start_epoch(p, now);
	}
	p->all_refused = 0;
}

/* Has no request so large passed since the rate is limited? */
static bool
size_unproven(const Pace *p, const PaceRequest *request)
{
	return p->proven > 0 && !p->by_entry && share_of(p, request) > p->proven * 1.1;
}

/*
 * Another request of the right rate was refused whole.  A large one may lack a
 * part of its quota only, so it is tried again after a part of the time, a
 * growing one.  If no request so large has passed yet, the size is the reason.
 */
static void
refused_again(Pace *p, const PaceRequest *request, int64_t now)
{
	double		interval = volume(request->records, request->bytes) / p->rate * (double) SECOND;
	int64_t		next = now + (int64_t) (interval * ldexp(0.25, Min(p->refusals, 6)));

	p->refusals++;
	if (size_unproven(p, request))
	{
		p->share = p->proven;
		if (p->too_large++ > 0)
			pace_set_ceiling(p, p->proven, now);
		pace_size_changed(p, now);
		/* at the smaller size the rate may be higher */
		p->rate_trial = false;
		p->refused_rate = 0;
		p->step = MAX_STEP;
		p->refusals = 0;
		start_epoch(p, now);
	}
	else if (interval >= (double) LARGE_PART)
		p->rate_next = next;
	else
		p->rate_next = Max(p->rate_next, next);
}

/*
 * Is it plain, before the epoch's end, that too much is refused?  Of requests
 * that are not full there is little to be refused meanwhile, so it must be
 * most of it.
 */
static bool
is_plain(const Pace *p, const PaceRequest *request, int accepted)
{
	double		sum = p->epoch_refused + p->epoch_accepted;

	if (share_of(p, request) > p->share * FULL_REQUEST)
		return request->records - accepted > request->records * REFUSED_TOLERATED;
	return p->epoch_refused > sum / 2 && sum > PLAIN_RECORDS * p->mean_volume;
}

/* There is no rate yet: begin with what was accepted, or less. */
static void
first_cut(Pace *p, int64_t now)
{
	double		was = goodput(p, now);

	p->first_fraction = p->epoch_refused / (p->epoch_refused + p->epoch_accepted);
	p->cuts = 1;
	cut_rate(p, was * FIRST_CUT, now);
	p->refused_rate = was;
}

/* Some or all of a request was refused for lack of quota. */
void
pace_rate_refused(Pace *p, const PaceRequest *request, int accepted, int64_t now)
{
	bool		by_chance = accepted == 0 && request->records <= FEW_RECORDS &&
		p->refusals < CHANCE_REFUSALS && p->all_refused == 0;

	p->refused_lately = true;
	if (accepted > 0)
	{
		p->by_entry = true;
		p->refusals = 0;
	}
	if (request->sent_at < p->cut_at)
		return;					/* the refusals that the last cut came from */
	if (p->rate_trial && accepted == 0 && request->records > FEW_RECORDS)
		end_rate_trial(p, now);
	else if (by_chance)
		p->next_attempt = now + retry_delay(&p->random, RETRY_TRANSIENT, ++p->refusals);
	else if (p->rate == 0 && now < p->futile_until)
		p->next_attempt = accepted > 0 ? p->next_attempt :
			now + retry_delay(&p->random, RETRY_TRANSIENT, ++p->refusals);
	else if (p->rate == 0 && goodput(p, now) <= 0)
		refuse_all(p, request, now);
	else if (p->rate == 0)
	{
		if (accepted == 0 || is_plain(p, request, accepted))
			first_cut(p, now);
	}
	else if (accepted == 0 && !p->accepted_since_cut)
		refuse_all(p, request, now);
	else if (p->step > CAREFUL_STEP && !size_unproven(p, request))
		undo_growth(p, now);
	else if (accepted == 0)
		refused_again(p, request, now);
}

/*
 * Has slowing down helped?  Not if as much is refused as at first, after some
 * cuts in a row, or much at a quarter of the rate that was accepted before.
 */
static bool
is_futile(const Pace *p, double fraction)
{
	if (p->rate < p->best / 4 && fraction > 0.25)
		return true;
	return p->by_entry && p->cuts > FUTILE_CUTS && fraction > p->first_fraction * 0.5;
}

/* Do not slow down for a while, for longer each time. */
static void
let_refuse(Pace *p, int64_t now)
{
	bool		again = p->futile_hold > 0 && now - p->futile_until < FUTILE_HOLD;

	release_rate(p);
	p->best = 0;
	p->futile_hold = again ? Min(p->futile_hold * 2, MAX_FUTILE_HOLD) : FUTILE_HOLD;
	p->futile_until = now + p->futile_hold;
	start_epoch(p, now);
}

/* More was refused than at the right rate: go back to the accepted rate. */
static void
cut_to_goodput(Pace *p, double fraction, int64_t now)
{
	p->cuts++;
	if (is_futile(p, fraction))
	{
		let_refuse(p, now);
	}
	else if (p->epoch_accepted > 0)
	{
		cut_rate(p, goodput(p, now) * RATE_MARGIN, now);
		p->accepted_since_cut = true;
	}
	else
		cut_rate(p, p->rate / 2, now);
}

/*
 * Nothing was refused.  If the rate has held anything back, it grows: towards
 * where it was refused by a quarter of what is missing, beyond that by more
 * and more.  One that a request was not held back for, because that would have
 * been too long, is at least what was accepted.
 */
static void
grow_rate(Pace *p, int64_t now)
{
	double		seconds = (double) (now - p->epoch_at) / (double) SECOND;

	if (!p->rate_binds)
	{
		if (now - p->cut_at > FORGET_RATE)
			release_rate(p);
	}
	else if (p->epoch_accepted > p->rate * seconds * 2)
		p->rate = p->epoch_accepted / seconds;
	else if (p->rate < p->refused_rate)
		p->rate += Max((p->refused_rate - p->rate) / 4, p->rate * FIRST_STEP);
	else
	{
		p->rate *= 1 + p->step;
		p->step = Min(p->step * 2, MAX_STEP);
	}
}

/*
 * The part that may be refused at the higher rate: half of what a quota would.
 */
static double
trial_limit(const Pace *p)
{
	double		by_quota = 1 - (1 - p->before_refused) / p->trial_factor;

	return (p->before_refused + by_quota) / 2;
}

/* Try a higher rate. */
static void
start_rate_trial(Pace *p, double accepted, double fraction)
{
	p->rate_trial = true;
	p->before_rate = p->rate;
	p->before_accepted = accepted;
	p->before_refused = fraction;
	p->rate *= p->trial_factor;
	p->step = FIRST_STEP;
}

/*
 * As few records were refused as are tolerated, but some, so that the rate
 * does not grow: unless it is time to try a higher one, or the one that was
 * tried is good.
 */
static void
try_higher_rate(Pace *p, double fraction, int64_t now)
{
	double		accepted = p->epoch_accepted * (double) SECOND / (double) (now - p->epoch_at);
	double		gain = (p->trial_factor - 1) / 2;

	if (!p->rate_trial)
	{
		p->trial_factor = TRIAL_FACTOR;
		if (p->rate_binds && now >= p->rate_trial_at)
			start_rate_trial(p, accepted, fraction);
	}
	else if (fraction < trial_limit(p) &&
			 (p->by_entry || !p->rate_binds || accepted > p->before_accepted * (1 + gain)))
	{
		p->rate_trial_hold = 0;
		p->trial_factor = Min(1 + (p->trial_factor - 1) * 2, MAX_TRIAL_FACTOR);
		p->rate_trial = false;
		if (p->rate_binds)
			start_rate_trial(p, accepted, fraction);
	}
	else
		end_rate_trial(p, now);
}

/* How long an epoch lasts: some requests should end in it. */
static int64_t
epoch_length(const Pace *p, const PaceRequest *request)
{
	double		interval;

	if (p->rate <= 0)
		return SECOND;
	interval = volume(request->records, request->bytes) / p->rate * (double) SECOND;
	return (int64_t) Max((double) SECOND, Min(interval * (p->step < 1 ? 4 : 1),
											  10.0 * (double) SECOND));
}

/* Count what was accepted and refused. */
void
pace_rate_count(Pace *p, const PaceRequest *request, int accepted,
				int64_t accepted_bytes, int throttled)
{
	double		mean = volume(request->records, request->bytes) / request->records;

	/* what was under way when the rate was cut says nothing about it */
	if (request->sent_at < p->cut_at && p->rate > 0)
		return;
	p->epoch_answers++;
	p->epoch_accepted += volume(accepted, accepted_bytes);
	/* tried again soon, a request that is refused again tells nothing new */
	if (p->refusals == 0 || accepted > 0)
		p->epoch_refused += throttled * mean;
}

/*
 * Is the epoch over?  Few responses are enough where the rate is far too low.
 */
static bool
is_time_to_judge(const Pace *p, const PaceRequest *request, int64_t now)
{
	double		sum = p->epoch_accepted + p->epoch_refused;
	bool		searching = p->step > CAREFUL_STEP && p->epoch_refused <= 0;

	/* a trial need not go on when too much is refused */
	if (p->rate_trial && sum > TRIAL_RECORDS * p->mean_volume &&
		p->epoch_refused > sum * trial_limit(p))
		return true;
	return now - p->epoch_at >= epoch_length(p, request) && sum > 0 &&
		(p->rate <= 0 || p->epoch_answers >= EPOCH_ANSWERS || searching);
}

/* At the end of an epoch, judge the rate. */
void
pace_rate_judge(Pace *p, const PaceRequest *request, int64_t now)
{
	double		sum = p->epoch_accepted + p->epoch_refused;
	double		seconds = (double) Max(now - p->epoch_at, SECOND) / (double) SECOND;
	double		fraction;

	if (!is_time_to_judge(p, request, now))
		return;
	fraction = p->epoch_refused / sum;
	/* what passes at once when a short trial begins was saved up */
	p->best = Max(p->best * 0.99, p->epoch_accepted / seconds);
	p->refused_lately = fraction > 0;
	/* far more than what no pace spared: now there is a quota */
	if (fraction > Max(0.5, 2 * p->first_fraction))
		p->futile_until = Min(p->futile_until, now);
	if (p->rate > 0 && (p->rate_trial || (fraction > 0 && fraction <= REFUSED_TOLERATED)))
		try_higher_rate(p, fraction, now);
	else if (fraction > REFUSED_TOLERATED && (p->rate > 0 || now >= p->futile_until))
	{
		if (p->rate > 0)
			cut_to_goodput(p, fraction, now);
		else if (p->epoch_accepted > 0)
			first_cut(p, now);
		return;
	}
	else if (p->rate > 0)
		grow_rate(p, now);
	if (fraction <= REFUSED_TOLERATED)
		p->cuts = 0;
	p->last_goodput = p->rate > 0 || now - p->epoch_at > 2 * SECOND ? 0 :
		p->epoch_accepted / seconds;
	start_epoch(p, now);
}
