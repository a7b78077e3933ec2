/*
 * pace_size.c
 *		How large requests are and how many are under way; a part of pace.c.
 *
 * A timeout cuts both; while nothing is accepted, the cut grows, so that the
 * third time in a row leaves one request of one record.  Both grow back by how
 * long those of one size and number take, up to a part of the timeout, so that
 * a limit once found is not overrun again and again.
 *
 * Where they take that long, it matters how a service works.  One that works
 * on requests side by side takes the more the more there are.  One that shares
 * its time among them takes most in few large ones, because it spends some on
 * each.  A thin line does not care.  No response tells which it is, so it is
 * tried out: first twice as many of half the size, which is the same work for
 * a service that shares its time and so costs no timeout.  If that moves more,
 * twice as many again; otherwise fewer, which may grow.
 */
#include <math.h>

#include "sender/pace_internal.h"

/*
 * Requests grow until they take so much of the timeout: several of them less,
 * because they take longer while their size and number change.
 */
#define GROW_TO				0.7
#define GROW_SEVERAL_TO		0.65

/* They do not for less than this. */
#define LEAST_GROWTH		1.05

/*
 * Below so much of it they grow by a single response, and above by as many as
 * are under way.
 */
#define FAR_BELOW			0.2

/* Their number doubles beside their size as long as this is so far away. */
#define GROW_BOTH			8

/*
 * Requests that take more of the timeout, though smaller ones take less,
 * shrink a little.
 */
#define TOO_LONG			0.85

/* After so many waves times are counted anew: one that was slow is over. */
#define MAX_WAVES			4

/* A trial counts so many responses at least. */
#define TRIAL_RESPONSES		3

/*
 * More requests must move this much more, and fewer, in place of them, as much
 * but for a little.
 */
#define MORE_GAINS			1.1
#define FEWER_LOSE			0.95

/*
 * Fewer requests may be so much larger: where they do not share the service's
 * time, they take that much longer.
 */
#define FEWER_GROW			1.25

/*
 * Fewer cannot move much more where the fastest request took less than this
 * part of what each has of the service.
 */
#define WORTH_FEWER			0.05

/*
 * After a trial that failed there is a pause, so many times as long as the
 * trial was, at least, and twice as long each time.
 */
#define TRIAL_PAUSE			16
#define TRIAL_HOLD			(60 * SECOND)
#define MAX_TRIAL_HOLD		(3600 * SECOND)

/*
 * A size that was refused is tried again after this, the next time after twice
 * that.
 */
#define CEILING_HOLD		(60 * SECOND)
#define MAX_CEILING_HOLD	(3600 * SECOND)

/*
 * The share that a request has in any case: one record, or where records may
 * be made smaller, one row.
 */
double
pace_least_share(const Pace *p)
{
	return 1.0 / (p->options.packs ? (double) p->options.max_bytes : p->options.max_records);
}

static void
count_anew(Pace *p)
{
	p->nresponses = 0;
	p->took = 0;
	p->slowest = 0;
}

void
pace_size_changed(Pace *p, int64_t now)
{
	p->changed_at = now;
	p->trial = PACE_NO_TRIAL;
	count_anew(p);
}

/*
 * Requests of this size, or so many of them, were too much.  Cut both to a
 * quarter; if that does not help either, to an eighth of that; then to one
 * request of one record.  So no record is sent more than three times in vain.
 */
void
pace_strike(Pace *p, const PaceRequest *request, int64_t now)
{
	static const double divisors[] = {4, 8};
	double		divisor = p->strikes < 2 ? divisors[p->strikes] : HUGE_VAL;

	p->share = Min(p->share, share_of(p, request)) / divisor;
	p->share = Max(p->share, pace_least_share(p));
	p->window = Max(1, p->window / divisor);
	p->fastest = INT64_MAX;
	p->apart = p->shared = false;
	pace_size_changed(p, now);
	if (p->strikes < 2)
		p->strikes++;
}

/* Keep requests from growing beyond a size, for longer each time. */
void
pace_set_ceiling(Pace *p, double share, int64_t now)
{
	bool		again = now - p->ceiling_until < p->ceiling_hold;

	p->ceiling_hold = again && p->ceiling_hold > 0 ?
		Min(p->ceiling_hold * 2, MAX_CEILING_HOLD) : CEILING_HOLD;
	p->ceiling_until = now + p->ceiling_hold;
	p->ceiling = Max(share, pace_least_share(p));
}

/* The largest share that requests may grow to now. */
static double
share_limit(const Pace *p, int64_t now)
{
	return now < p->ceiling_until ? p->ceiling : 1;
}

/* Would one more record have been too much for the request? */
static bool
is_share_used(const Pace *p, const PaceRequest *request)
{
	return request->records + 1 > p->share * p->options.max_records ||
		(double) request->bytes + p->mean_volume > p->share * (double) p->options.max_bytes;
}

static void
count_response(Pace *p, int64_t took)
{
	if (p->nresponses >= MAX_WAVES * Max((int) p->window, TRIAL_RESPONSES))
		count_anew(p);
	p->nresponses++;
	p->took += (double) took;
	p->slowest = Max(p->slowest, took);
}

/* Trials ------------------------------------------------------------------ */

/* How much goes through in a time, by the responses counted. */
static double
speed(const Pace *p)
{
	return p->share * (int) p->window / Max(1, p->took / p->nresponses);
}

static void
start_trial(Pace *p, PaceTrial trial, double window, double share, int64_t now)
{
	p->before_share = p->share;
	p->before_window = p->window;
	p->before_speed = speed(p);
	p->share = Max(share, pace_least_share(p));
	p->window = Max(1, window);
	p->trial_began = now;
	p->trial_skip = (int) p->window;
	pace_size_changed(p, now);
	p->trial = trial;
	p->trial_chained = false;
}

/* Twice as many of half the size. */
static void
try_more(Pace *p, int64_t now)
{
	double		window = Min((int) p->window * 2, p->options.max_in_flight);

	start_trial(p, PACE_TRY_MORE, window, p->share * (int) p->window / window, now);
}

/*
 * Fewer and larger ones: half as many where the service seems to share its
 * time, and not as few where that would cost much if it does not.
 */
static void
try_fewer(Pace *p, int64_t now)
{
	int			n = (int) p->window;
	double		longest = (double) p->options.timeout * TOO_LONG / (double) p->slowest;
	double		share = p->share * Max(1, Min(FEWER_GROW, longest));

	start_trial(p, PACE_TRY_FEWER, p->shared && !p->apart ? n / 2 : n * 3 / 4,
				Min(share, share_limit(p, now)), now);
}

/* Start the next trial; false: there is none. */
static bool
try_another(Pace *p, int64_t now)
{
	bool		more = p->window < p->options.max_in_flight;
	bool		fewer = p->window >= 2 && p->share < share_limit(p, now) && (p->shared || !more) &&
		(double) p->fastest * (int) p->window > WORTH_FEWER * p->took / p->nresponses;

	if (p->nresponses < Max((int) p->window, TRIAL_RESPONSES) ||
		(now < p->trial_at && !(fewer && p->shared)))
		return false;
	if (fewer)
		try_fewer(p, now);
	else if (more)
		try_more(p, now);
	return fewer || more;
}

/* The trial has succeeded: the next of its kind may follow. */
static void
keep_trial(Pace *p, int64_t now)
{
	p->apart |= p->trial == PACE_TRY_MORE;
	p->shared = p->trial == PACE_TRY_FEWER;
	p->trial_at = now;
	if (try_another(p, now))
		p->trial_chained = true;
	else
		pace_size_changed(p, now);
}

/*
 * It has not: go back, and do not try again soon.  But after more requests
 * fewer are tried at once; and if more were of use before, those left grow
 * first.
 */
static void
undo_trial(Pace *p, int64_t now)
{
	int64_t		pause = (now - p->trial_began) * TRIAL_PAUSE;
	bool		chained = p->trial_chained && p->trial == PACE_TRY_MORE;

	p->share = p->before_share;
	p->window = Min(p->before_window, p->options.max_in_flight);
	p->shared = p->trial == PACE_TRY_MORE && !chained;
	if (!chained)
	{
		p->trial_hold = Min(Max(p->trial_hold * 2, Max(pause, TRIAL_HOLD)), MAX_TRIAL_HOLD);
		p->trial_at = now + p->trial_hold;
	}
	pace_size_changed(p, now);
}

/* A response of the trial; those of the first wave do not count. */
static void
continue_trial(Pace *p, int64_t took, int64_t now)
{
	double		needed = p->before_speed;

	if (p->trial_skip > 0)
	{
		p->trial_skip--;
		return;
	}
	count_response(p, took);
	if (p->nresponses < Max((int) p->window, TRIAL_RESPONSES))
		return;
	if (p->trial == PACE_TRY_MORE)
		needed *= MORE_GAINS;
	else if (!p->apart)
		needed *= FEWER_LOSE;
	if (speed(p) > needed)
		keep_trial(p, now);
	else
		undo_trial(p, now);
}

/* Growing ----------------------------------------------------------------- */

/* A request took so long that others may not end in time. */
static void
shrink(Pace *p, int64_t now)
{
	if (p->window > 1)
		p->window = Max(1, p->window - 1);
	else
		p->share = Max(p->share * 0.8, pace_least_share(p));
	pace_size_changed(p, now);
}

/* Make requests larger; false if larger ones might not end in time. */
static bool
grow_share(Pace *p, double room, double limit)
{
	if (p->share >= limit || room < LEAST_GROWTH)
		return false;
	p->share = Min(p->share * Min(room, 2), limit);
	return true;
}

/* Allow more requests; false if they might not end in time. */
static bool
grow_window(Pace *p, double room)
{
	if (p->window >= p->options.max_in_flight || room < (p->window + 1) / p->window)
		return false;
	p->window = room >= GROW_BOTH ? p->window * 2 : p->window + 1;
	p->window = Min(p->window, p->options.max_in_flight);
	return true;
}

/*
 * A request was accepted: more and larger ones may follow, if those can be
 * expected to end in time, even where the service shares its time among them.
 * Larger ones come first, and both at once as long as that is safe.
 */
void
pace_grow(Pace *p, const PaceRequest *request, int64_t now)
{
	double		timeout = (double) p->options.timeout;
	int64_t		took = now - request->sent_at;
	double		limit = share_limit(p, now);
	bool		share_used = is_share_used(p, request);
	double		room;
	bool		grown = false;

	p->fastest = Min(p->fastest, took);
	if (request->sent_at < p->changed_at)
		return;
	if (p->trial != PACE_NO_TRIAL)
	{
		continue_trial(p, took, now);
		return;
	}
	count_response(p, took);
	if ((double) took > timeout * TOO_LONG && (double) p->fastest < timeout * TOO_LONG / 2)
	{
		shrink(p, now);
		return;
	}
	if ((double) p->slowest > timeout * FAR_BELOW && p->nresponses < (int) p->window)
		return;
	room = timeout * (p->window < 2 ? GROW_TO : GROW_SEVERAL_TO) / (double) Max(1, p->slowest);
	if (share_used)
		grown = grow_share(p, room, limit);
	if (!grown || room >= GROW_BOTH)
		grown |= grow_window(p, room);
	if (grown)
		pace_size_changed(p, now);
	else if (share_used)
		(void) try_another(p, now);
}
