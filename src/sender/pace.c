/*
 * pace.c
 *		How fast a stream is sent.
 *
 * Four things limit a stream, each in its own way.
 *
 * Requests that take too long (a slow service, a thin line) are too large or
 * too many.  A timeout cuts both; while nothing is accepted, the cut grows, so
 * that the third time in a row leaves one request of one record.  Both grow
 * back while requests end well within the timeout, judged by how long the last
 * one took, so that a limit once found is not overrun again and again.
 *
 * A service that refuses for lack of quota is sent to at a rate: pace_rate.c.
 *
 * Requests that fail are followed by a pause, as AWS's SDKs make it.  All
 * requests under way when one failed count as one failure.  After the second
 * failure one record at a time is tried, so that an outage, however long, has
 * a batch sent only once more than needed.
 *
 * A response that refuses the size halves the request, and the records left
 * are tried request by request until the one that is too large is found.
 */
#include <math.h>
#include <string.h>

#include "sender/pace_internal.h"

/* The share of a second's rate that a request may have, if parts are taken. */
#define REQUEST_OF_SECOND	0.5

/*
 * Requests and their number grow while they would take so much of the timeout.
 */
#define GROW_FAST			0.4
#define GROW_SLOWLY			0.58

/*
 * A trial of twice as many requests of half the size has succeeded if they
 * take less than this part of the time; otherwise the next one comes after a
 * pause, twice as long each time.
 */
#define TRIAL_PART			0.8
#define TRIAL_HOLD			(60 * SECOND)
#define MAX_TRIAL_HOLD		(3600 * SECOND)

/*
 * Requests that take more of it, though smaller ones take less, shrink a
 * little.
 */
#define TOO_LONG			0.85

/*
 * A size that was refused is tried again after this, the next time after twice
 * that.
 */
#define CEILING_HOLD		(60 * SECOND)
#define MAX_CEILING_HOLD	(3600 * SECOND)

/* How far behind its rate a sender may catch up. */
#define RATE_SLACK			(SECOND / 20)

/*
 * No pause of a rate is longer: a single record may be far larger than all
 * that the rate was learnt from.
 */
#define MAX_RATE_PAUSE		(10 * SECOND)

/* Setting up -------------------------------------------------------------- */

/* Begin at full speed. */
void
pace_init(Pace *p, const PaceOptions *options, uint64_t seed, int64_t now)
{
	memset(p, 0, sizeof(Pace));
	p->options = *options;
	retry_random_seed(&p->random, seed);
	token_bucket_init(&p->records, options->records_per_second, options->max_records, now);
	token_bucket_init(&p->bytes, options->bytes_per_second, options->largest_record, now);
	token_bucket_init(&p->requests, options->requests_per_second, 1, now);
	p->share = p->ceiling = 1;
	p->window = options->max_in_flight;
	p->fastest = INT64_MAX;
	p->epoch_at = now;
	p->changed_at = p->cut_at = p->failed_at = INT64_MIN;
}

/* Take new options over; the limits learnt are shares of them. */
void
pace_set_options(Pace *p, const PaceOptions *options, int64_t now)
{
	bool		wide = p->window >= p->options.max_in_flight;

	p->options = *options;
	token_bucket_set_rate(&p->records, options->records_per_second, options->max_records, now);
	token_bucket_set_rate(&p->bytes, options->bytes_per_second, options->largest_record, now);
	token_bucket_set_rate(&p->requests, options->requests_per_second, 1, now);
	if (wide || p->window > options->max_in_flight)
		p->window = options->max_in_flight;
}

/*
 * Limits of the next request
 * --------------------------------------------------------
 */

/* The most volume of a request, by the rate. */
static double
max_volume(const Pace *p)
{
	return p->rate > 0 && (p->by_entry || p->guessed) ? p->rate * REQUEST_OF_SECOND : HUGE_VAL;
}

/* How many records a request may have: an attempt in an outage carries one. */
int
pace_max_records(const Pace *p)
{
	double		n = p->share * p->options.max_records;

	if (p->parked || p->probing)
		return 1;
	if (p->options.records_per_second > 0)
		n = Min(n, p->options.records_per_second);
	if (p->mean_volume > 0)
		n = Min(n, max_volume(p) / p->mean_volume);
	return n < 1 ? 1 : (int) (n + 1e-6);
}

/* How many bytes a request may have. */
int64_t
pace_max_bytes(const Pace *p)
{
	double		n = p->share * (double) p->options.max_bytes;

	if (p->options.bytes_per_second > 0)
		n = Min(n, p->options.bytes_per_second);
	n = Min(n, max_volume(p));
	return n < 1 ? 1 : (int64_t) n;
}

/*
 * How many requests may be under way: one, as long as it is not known whether
 * any passes.
 */
int
pace_max_in_flight(const Pace *p)
{
	if (p->parked || p->bisect_left > 0 || p->failures > 1)
		return 1;
	return (int) p->window;
}

/* When the next request may go, whatever its size. */
int64_t
pace_not_before(const Pace *p)
{
	return p->rate > 0 ? Max(p->next_attempt, p->rate_next) : p->next_attempt;
}

/* How long a request has to wait. */
int64_t
pace_delay(Pace *p, int records, int64_t bytes, int64_t now)
{
	int64_t		delay = Max(0, p->next_attempt - now);
	int64_t		by_option;

	if (p->rate > 0 && p->rate_next > now)
	{
		p->rate_binds = true;
		delay = Max(delay, p->rate_next - now);
	}
	by_option = token_bucket_delay(&p->requests, 1, now);
	delay = Max(delay, by_option);
	by_option = token_bucket_delay(&p->records, records, now);
	delay = Max(delay, by_option);
	by_option = token_bucket_delay(&p->bytes, (double) bytes, now);
	return Max(delay, by_option);
}

/* A request goes: it uses up its part of the rates. */
void
pace_sent(Pace *p, PaceRequest *request, int records, int64_t bytes, int64_t now)
{
	double		mean = volume(records, bytes) / records;

	request->sent_at = now;
	request->records = records;
	request->bytes = bytes;
	request->rows = records;
	token_bucket_take(&p->requests, 1, now);
	token_bucket_take(&p->records, records, now);
	token_bucket_take(&p->bytes, (double) bytes, now);
	p->mean_volume = p->mean_volume > 0 ? p->mean_volume * 0.75 + mean * 0.25 : mean;
	if (p->rate > 0)
	{
		p->rate_next = Max(p->rate_next, now - RATE_SLACK);
		p->rate_next += (int64_t) (volume(records, bytes) / p->rate * (double) SECOND);
		p->rate_next = Min(p->rate_next, now + MAX_RATE_PAUSE);
	}
}

/*
 * The share that a request has in any case: one record, or where records may
 * be made smaller, one row.
 */
static double
least_share(const Pace *p)
{
	return 1.0 / (p->options.packs ? (double) p->options.max_bytes : p->options.max_records);
}

/* Size and number of requests --------------------------------------------- */

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
	p->share = Max(p->share, least_share(p));
	p->window = Max(1, p->window / divisor);
	p->fastest = INT64_MAX;
	p->apart = false;
	p->trial = 0;
	p->changed_at = now;
	if (p->strikes < 2)
		p->strikes++;
}

/*
 * How long would requests take that are larger by this factor?  `base` stands
 * for the time that does not depend on their size.
 */
static double
would_take(int64_t took, int64_t base, double factor)
{
	return (double) base + (double) (took - base) * factor;
}

/* Keep requests from growing beyond a size, for longer each time. */
void
pace_set_ceiling(Pace *p, double share, int64_t now)
{
	bool		again = now - p->ceiling_until < p->ceiling_hold;

	p->ceiling_hold = again && p->ceiling_hold > 0 ?
		Min(p->ceiling_hold * 2, MAX_CEILING_HOLD) : CEILING_HOLD;
	p->ceiling_until = now + p->ceiling_hold;
	p->ceiling = Max(share, least_share(p));
}

/* The largest share that requests may grow to now. */
static double
share_limit(const Pace *p, int64_t now)
{
	return now < p->ceiling_until ? p->ceiling : 1;
}

/*
 * Whether a service works on requests side by side can only be seen with more
 * of them.  Where more of this size might not end in time, and larger ones
 * would not, try twice as many of half the size: for a service that does not,
 * that is the same work.
 */
static void
start_trial(Pace *p, int64_t took, int64_t now)
{
	double		window = Min(p->window * 2, p->options.max_in_flight);

	p->before_took = (double) took;
	p->before_share = p->share;
	p->before_window = p->window;
	p->share = Max(p->share * p->window / window, least_share(p));
	p->window = window;
	p->trial_size = (int) window;
	p->trial = 2 * p->trial_size;
	p->trial_took = 0;
	p->changed_at = now;
}

/* A response of the trial; those of the first wave do not count. */
static void
continue_trial(Pace *p, int64_t took, int64_t now)
{
	if (p->trial <= p->trial_size)
		p->trial_took += (double) took;
	if (--p->trial > 0)
		return;
	p->apart = p->trial_took < p->before_took * TRIAL_PART * p->trial_size;
	if (!p->apart)
	{
		p->share = p->before_share;
		p->window = p->before_window;
		p->trial_hold = Min(Max(p->trial_hold * 2, TRIAL_HOLD), MAX_TRIAL_HOLD);
		p->trial_at = now + p->trial_hold;
	}
	p->changed_at = now;
}

/* Make requests larger; false if larger ones might not end in time. */
static bool
grow_share(Pace *p, int64_t took, double limit)
{
	double		timeout = (double) p->options.timeout;

	if (would_take(took, 0, 2) <= timeout * GROW_FAST)
		p->share *= 2;
	else if (would_take(took, p->fastest, 1.25) <= timeout * GROW_SLOWLY)
		p->share *= 1.25;
	else
		return false;
	p->share = Min(p->share, limit);
	return true;
}

/* Allow more requests; false if they might not end in time. */
static bool
grow_window(Pace *p, int64_t took)
{
	double		timeout = (double) p->options.timeout;
	double		factor = p->apart ? 1 : (p->window + 1) / p->window;

	if (would_take(took, 0, 4) <= timeout * GROW_FAST)
		p->window = Min(p->window * 2, p->options.max_in_flight);
	else if (would_take(took, Min(p->fastest, took / 4), factor) <= timeout * GROW_SLOWLY)
		p->window = Min(p->window + 1, p->options.max_in_flight);
	else
		return false;
	return true;
}

/* A request took so long that others may not end in time. */
static void
shrink(Pace *p, int64_t now)
{
	if (p->window > 1)
		p->window = Max(1, p->window - 1);
	else
		p->share = Max(p->share * 0.8, least_share(p));
	p->changed_at = now;
}

/*
 * A request was accepted: more and larger ones may follow, if those can be
 * expected to end in time.  The smaller of the two grows first, both at once
 * as long as that is safe.
 */
static void
grow(Pace *p, const PaceRequest *request, int64_t now)
{
	double		timeout = (double) p->options.timeout;
	int64_t		took = now - request->sent_at;
	double		max_window = p->options.max_in_flight;
	double		limit = share_limit(p, now);
	bool		share_first = p->share / limit <= p->window / max_window;
	/* would one more record have been too much? */
	bool		share_used = request->records + 1 > p->share * p->options.max_records ||
		(double) request->bytes + p->mean_volume > p->share * (double) p->options.max_bytes;
	bool		grown = false;

	p->fastest = Min(p->fastest, took);
	if (request->sent_at < p->changed_at)
		return;
	if (p->trial > 0)
	{
		continue_trial(p, took, now);
		return;
	}
	if (took > timeout * TOO_LONG && p->fastest < timeout * TOO_LONG / 2)
	{
		shrink(p, now);
		return;
	}
	if (p->share >= limit && p->window >= max_window)
		return;
	if (p->share < limit && share_used && (share_first || p->window >= max_window))
		grown = grow_share(p, took, limit);
	if (p->window < max_window && (!grown || would_take(took, 0, 8) <= timeout * GROW_FAST))
		grown |= grow_window(p, took);
	if (!grown && p->window < max_window && share_used && now >= p->trial_at)
		start_trial(p, took, now);
	else
		p->changed_at = now;
}

/* Results of requests ------------------------------------------------ */

/* Something was accepted: the stream works. */
static void
mark_alive(Pace *p, const PaceRequest *request, int64_t now)
{
	p->parked = false;
	pace_rate_mark_alive(p, now);
	if (request->sent_at >= p->failed_at || p->failures == 1)
	{
		p->failures = 0;
		p->next_attempt = 0;
		p->probing = false;
	}
	p->strikes = 0;
	p->accepted_since_cut = true;
}

/* The service asks to wait. */
static void
heed_wish(Pace *p, int64_t wish, int64_t now)
{
	if (wish <= 0)
		return;
	p->wish_until = now + retry_delay_with_request(0, wish);
	p->next_attempt = Max(p->next_attempt, p->wish_until);
}

/* How many rows do so many records of a request have?  About as many. */
static int
rows_of(const PaceRequest *request, int records)
{
	return (int) ((double) records * request->rows / request->records + 0.999);
}

void
pace_answered(Pace *p, const PaceRequest *request, int accepted,
			  int64_t accepted_bytes, int throttled, int64_t wish, int64_t now)
{
	pace_rate_count(p, request, accepted, accepted_bytes, throttled);
	p->bisect_left = Max(0, p->bisect_left - rows_of(request, accepted));
	if (accepted > 0)
		mark_alive(p, request, now);
	if (throttled > 0)
	{
		heed_wish(p, wish, now);
		pace_rate_refused(p, request, accepted, now);
	}
	else if (accepted > 0)
	{
		p->refusals = 0;
		p->proven = Max(p->proven, share_of(p, request));
	}
	if (accepted * 2 >= request->records)
		grow(p, request, now);
	pace_rate_judge(p, request, now);
}

void
pace_throttled(Pace *p, const PaceRequest *request, int64_t wish, int64_t now)
{
	pace_answered(p, request, 0, 0, request->records, wish, now);
}

/* The next attempt comes after a pause; a wave that failed is one failure. */
static void
back_off(Pace *p, const PaceRequest *request, int64_t wish, int64_t now)
{
	int64_t		delay;

	if (request->sent_at < p->failed_at)
		return;
	delay = retry_delay(&p->random, RETRY_TRANSIENT, ++p->failures);
	if (wish >= 0)
	{
		delay = retry_delay_with_request(delay, wish);
		p->wish_until = now + retry_delay_with_request(0, wish);
	}
	p->failed_at = now;
	p->next_attempt = Max(p->next_attempt, now + delay);
}

void
pace_failed(Pace *p, const PaceRequest *request, int64_t wish, int64_t now)
{
	bool		first = request->sent_at >= p->failed_at;

	back_off(p, request, wish, now);
	pace_rate_mark_failed(p);
	if (!first)
		return;
	p->window = p->failures > 1 ? 1 : Max(1, p->window / 2);
	p->probing = p->failures > 1;
	p->changed_at = now;
}

void
pace_timed_out(Pace *p, const PaceRequest *request, int64_t now)
{
	if (request->sent_at >= p->changed_at)
		pace_strike(p, request, now);
	back_off(p, request, -1, now);
}

void
pace_too_large(Pace *p, const PaceRequest *request, int64_t now)
{
	double		half = share_of(p, request) / 2;

	if (request->rows <= 1)
		return;
	p->bisect_left = Max(p->bisect_left, request->rows);
	p->share = Max(Min(p->share, half), least_share(p));
	if (request->sent_at >= p->changed_at)
		pace_set_ceiling(p, half, now);
	p->changed_at = now;
}

void
pace_gave_up(Pace *p, int rows)
{
	p->bisect_left = Max(0, p->bisect_left - rows);
	p->ceiling_until = 0;
	p->ceiling_hold = 0;
}

void
pace_park(Pace *p, int64_t interval, int64_t now)
{
	p->parked = true;
	p->failed_at = now;
	p->next_attempt = now + interval +
		(int64_t) (retry_random(&p->random) * (double) interval);
}

void
pace_probe_now(Pace *p, int64_t now)
{
	if (p->parked)
		p->next_attempt = now;
}

void
pace_try_now(Pace *p, int64_t now)
{
	p->next_attempt = Min(p->next_attempt, now);
}

bool
pace_try_early(Pace *p, int64_t pause, int64_t now)
{
	if (p->next_attempt <= now)
		return true;
	if (now < p->wish_until || p->refusals > 0 || p->failed_at > now - pause)
		return false;
	p->next_attempt = now;
	return true;
}

void
pace_hold(Pace *p, int64_t until)
{
	p->next_attempt = until;
}

PaceState
pace_state(const Pace *p)
{
	if (p->parked)
		return PACE_PARKED;
	if (p->failures > 0)
		return PACE_RETRYING;
	return p->refused_lately ? PACE_THROTTLED : PACE_ACTIVE;
}

void
pace_idle(Pace *p)
{
	p->refused_lately = false;
	/* what failed was given up, or it would still be there */
	p->failures = 0;
}
