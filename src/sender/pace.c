/*
 * pace.c
 *		How fast a stream is sent; pace.h says what for.
 *
 * Four things limit a stream, each in its own way.
 *
 * Requests that take too long (a slow service, a thin line) are too large or
 * too many.  A timeout cuts both; as long as nothing passes, the cut grows, so
 * that the third time in a row leaves one request of one record.  Both grow
 * back while requests end well within the timeout, judged by how long the last
 * one took, so that a limit once found is not overrun again and again.
 *
 * A service that refuses for want of quota tells by what it accepts how much
 * that is.  Its rate is learnt in volume, bytes and a little for each record,
 * which is near enough to records and requests while the mix of records does
 * not change much.  The rate is set slightly above what was accepted, and kept
 * while no more than a tenth is refused: the quota is used up, and few records
 * are sent twice.  When cutting the rate three times leaves the same part of
 * the records refused, quota is not the reason, and the rate is let go.
 *
 * Requests that fail are followed by a pause, as AWS's SDKs make it.  All that
 * was under way when one failed is one failure: it tells the same news.
 *
 * A size answer halves the request, and what it left is tried request by
 * request until the record is found that was meant.
 */
#include <math.h>
#include <string.h>

#include "sender/pace.h"

#define SECOND				INT64_C(1000000)

/* What a record weighs beside its bytes: its frame in a request. */
#define RECORD_VOLUME		128

/* A part of the requests that may be refused at the right rate. */
#define REFUSED_TOLERATED	0.10

/* The rate is set so much above what was accepted. */
#define RATE_MARGIN			1.05

/* The first time less: some of what was accepted had been saved up. */
#define FIRST_CUT			0.7

/* A rate that need not be kept to for so long is forgotten. */
#define FORGET_RATE			(60 * SECOND)

/* So many cuts in a row have to help, or none is made for a while. */
#define FUTILE_CUTS			3
#define FUTILE_HOLD			(30 * SECOND)

/* The share of a second's rate that a request may have, if parts are taken. */
#define REQUEST_OF_SECOND	0.5

/* Requests and their number grow while they would take so much of the timeout. */
#define GROW_FAST			0.4
#define GROW_REQUESTS		0.45
#define GROW_WINDOW			0.65

/* Requests that take more of it, though smaller ones take less, shrink a little. */
#define TOO_LONG			0.85

/* A size that was refused is tried again after this, the next time after twice that. */
#define CEILING_HOLD		(60 * SECOND)
#define MAX_CEILING_HOLD	(3600 * SECOND)

/* When to look again for memory or a descriptor. */
#define RESOURCE_PAUSE		(SECOND / 20)

/* A request that uses up the rate of so long is a large part of a quota. */
#define LARGE_PART			(SECOND / 4)

/* The rate grows by so much at first, and fast when it grows by more than that. */
#define FIRST_STEP			0.01
#define CAREFUL_STEP		0.04
#define MAX_STEP			0.6

/* A rate is not judged by fewer answers than this. */
#define EPOCH_ANSWERS		4

/* How far behind its rate a sender may catch up. */
#define RATE_SLACK			(SECOND / 20)

#define Min(a, b)			((a) < (b) ? (a) : (b))
#define Max(a, b)			((a) > (b) ? (a) : (b))

/* Setting up ---------------------------------------------------------------- */

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

/* What may be sent ------------------------------------------------------------ */

/* What records weigh, in the unit of the rate. */
static double
volume(int records, int64_t bytes)
{
	return (double) bytes + (double) records * RECORD_VOLUME;
}

/* How large a request was, as a share of the largest there may be. */
static double
share_of(const Pace *p, const PaceRequest *request)
{
	double		by_records = (double) request->records / p->options.max_records;
	double		by_bytes = (double) request->bytes / (double) p->options.max_bytes;

	return Min(1, Max(by_records, by_bytes));
}

/* The most volume of a request, by the rate. */
static double
max_volume(const Pace *p)
{
	return p->rate > 0 && p->by_entry ? p->rate * REQUEST_OF_SECOND : HUGE_VAL;
}

/* How many records a request may have: a probe carries one. */
int
pace_max_records(const Pace *p)
{
	double		n = p->share * p->options.max_records;

	if (p->parked)
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

/* How many requests may be under way: one, as long as it is not known whether any passes. */
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
	token_bucket_take(&p->requests, 1, now);
	token_bucket_take(&p->records, records, now);
	token_bucket_take(&p->bytes, (double) bytes, now);
	p->mean_volume = p->mean_volume > 0 ? p->mean_volume * 0.75 + mean * 0.25 : mean;
	if (p->rate > 0)
	{
		p->rate_next = Max(p->rate_next, now - RATE_SLACK);
		p->rate_next += (int64_t) (volume(records, bytes) / p->rate * (double) SECOND);
	}
}

/* Size and number of requests -------------------------------------------------- */

/*
 * Requests of this size, or so many of them, were too much.  Cut both to a
 * quarter; if that does not help either, to an eighth of that; then to one
 * request of one record.  So no record is sent more than three times in vain.
 */
static void
strike(Pace *p, const PaceRequest *request, int64_t now)
{
	static const double divisors[] = {4, 8};
	double		divisor = p->strikes < 2 ? divisors[p->strikes] : HUGE_VAL;

	p->share = Min(p->share, share_of(p, request)) / divisor;
	p->share = Max(p->share, 1.0 / p->options.max_records);
	p->window = Max(1, p->window / divisor);
	p->fastest = INT64_MAX;
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
static void
set_ceiling(Pace *p, double share, int64_t now)
{
	bool		again = now - p->ceiling_until < p->ceiling_hold;

	p->ceiling_hold = again && p->ceiling_hold > 0 ?
		Min(p->ceiling_hold * 2, MAX_CEILING_HOLD) : CEILING_HOLD;
	p->ceiling_until = now + p->ceiling_hold;
	p->ceiling = Max(share, 1.0 / p->options.max_records);
}

/* The largest share that requests may grow to now. */
static double
share_limit(const Pace *p, int64_t now)
{
	return now < p->ceiling_until ? p->ceiling : 1;
}

/*
 * A request was accepted: more and larger ones may follow, if those can be
 * expected to end in time.  The smaller of the two grows first, both at
 * once as long as that is safe.
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

	p->fastest = Min(p->fastest, took);
	if (took > timeout * TOO_LONG && p->fastest < timeout * TOO_LONG / 2 &&
		request->sent_at >= p->changed_at)
	{
		if (p->window > 1)
			p->window = Max(1, p->window - 1);
		else
			p->share = Max(p->share * 0.8, 1.0 / p->options.max_records);
		p->changed_at = now;
	}
	if (request->sent_at < p->changed_at || (p->share >= limit && p->window >= max_window))
		return;
	if (p->share < limit && share_used && (share_first || p->window >= max_window))
	{
		if (would_take(took, 0, 2) <= timeout * GROW_FAST)
			p->share *= 2;
		else if (would_take(took, p->fastest, 1.25) <= timeout * GROW_REQUESTS)
			p->share *= 1.25;
		p->share = Min(p->share, limit);
	}
	if (p->window < max_window)
	{
		int64_t		base = Min(p->fastest, took / 4);

		if (would_take(took, 0, 4) <= timeout * GROW_FAST)
			p->window = Min(p->window * 2, max_window);
		else if (would_take(took, base, (p->window + 1) / p->window) <= timeout * GROW_WINDOW)
			p->window = Min(p->window + 1, max_window);
	}
	p->changed_at = now;
}

/* The rate ---------------------------------------------------------------------- */

/* Begin to count anew. */
static void
start_epoch(Pace *p, int64_t now)
{
	p->epoch_at = now;
	p->epoch_accepted = p->epoch_refused = 0;
	p->epoch_answers = 0;
	p->rate_binds = false;
}

/* What the service has accepted per second. */
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
	p->refused_rate = p->rate;
	p->rate = Max(rate, 1);
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

/* Nothing at all passes: less at a time, and after a pause. */
static void
refuse_all(Pace *p, const PaceRequest *request, int64_t now)
{
	strike(p, request, now);
	cut_rate(p, volume(request->records, request->bytes), now);
	p->refused_rate = 0;		/* a guess: the rate may double */
	p->step = MAX_STEP;
	p->rate_next = now + retry_delay(&p->random, RETRY_THROTTLE, p->strikes);
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
			set_ceiling(p, p->proven, now);
		p->changed_at = now;
		p->refused_rate = 0;	/* at the smaller size the rate may be higher */
		p->step = MAX_STEP;
		p->refusals = 0;
		start_epoch(p, now);
	}
	else if (interval >= (double) LARGE_PART)
		p->rate_next = next;
	else
		p->rate_next = Max(p->rate_next, next);
}

/* Some or all of a request was refused for want of quota. */
static void
refused(Pace *p, const PaceRequest *request, int accepted, int64_t now)
{
	p->refused_lately = true;
	if (accepted > 0)
	{
		p->by_entry = true;
		p->refusals = 0;
	}
	if (request->sent_at < p->cut_at)
		return;					/* the news that the last cut came from */
	if (p->rate == 0)
	{
		double		was = goodput(p, now);

		if (now < p->futile_until)
			p->next_attempt = accepted > 0 ? p->next_attempt :
				now + retry_delay(&p->random, RETRY_TRANSIENT, ++p->refusals);
		else if (was <= 0)
			refuse_all(p, request, now);
		else
		{
			p->first_fraction = p->epoch_refused / (p->epoch_refused + p->epoch_accepted);
			p->cuts = 1;
			cut_rate(p, was * FIRST_CUT, now);
			p->refused_rate = was;
		}
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

/* More was refused than at the right rate: go back to what was accepted. */
static void
cut_to_goodput(Pace *p, double fraction, int64_t now)
{
	p->cuts++;
	if (is_futile(p, fraction))
	{
		release_rate(p);
		p->best = 0;
		p->futile_until = now + FUTILE_HOLD;
		start_epoch(p, now);
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
 * and more.
 */
static void
grow_rate(Pace *p, int64_t now)
{
	if (!p->rate_binds)
	{
		if (now - p->cut_at > FORGET_RATE)
			release_rate(p);
	}
	else if (p->rate < p->refused_rate)
		p->rate += Max((p->refused_rate - p->rate) / 4, p->rate * FIRST_STEP);
	else
	{
		p->rate *= 1 + p->step;
		p->step = Min(p->step * 2, MAX_STEP);
	}
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

/* At the end of an epoch, judge the rate. */
static void
judge_rate(Pace *p, const PaceRequest *request, int64_t now)
{
	double		sum = p->epoch_accepted + p->epoch_refused;
	double		fraction;

	bool		searching = p->step > CAREFUL_STEP && p->epoch_refused <= 0;

	if (now - p->epoch_at < epoch_length(p, request) || sum <= 0 ||
		(p->rate > 0 && p->epoch_answers < EPOCH_ANSWERS && !searching))
		return;
	fraction = p->epoch_refused / sum;
	p->best = Max(p->best * 0.99, p->epoch_accepted * (double) SECOND / (double) (now - p->epoch_at));
	p->refused_lately = fraction > 0;
	if (p->rate > 0 && fraction > REFUSED_TOLERATED)
	{
		cut_to_goodput(p, fraction, now);
		return;
	}
	if (p->rate > 0 && fraction == 0)
		grow_rate(p, now);
	if (fraction <= REFUSED_TOLERATED)
		p->cuts = 0;
	p->last_goodput = p->rate > 0 || now - p->epoch_at > 2 * SECOND ? 0 :
		p->epoch_accepted / ((double) (now - p->epoch_at) / (double) SECOND);
	start_epoch(p, now);
}

/* What happens to requests -------------------------------------------------------- */

/* Something was accepted: the stream lives. */
static void
mark_alive(Pace *p, const PaceRequest *request)
{
	p->parked = false;
	if (request->sent_at >= p->failed_at || p->failures == 1)
	{
		p->failures = 0;
		p->next_attempt = 0;
	}
	p->strikes = 0;
	p->accepted_since_cut = true;
}

/* The service asks to wait. */
static void
heed_wish(Pace *p, int64_t wish, int64_t now)
{
	if (wish > 0)
		p->next_attempt = Max(p->next_attempt, now + retry_delay_with_request(0, wish));
}

void
pace_answered(Pace *p, const PaceRequest *request, int accepted,
			  int64_t accepted_bytes, int throttled, int64_t wish, int64_t now)
{
	double		mean = volume(request->records, request->bytes) / request->records;

	/* what was under way when the rate was cut says nothing about it */
	if (request->sent_at >= p->cut_at || p->rate == 0)
	{
		p->epoch_answers++;
		p->epoch_accepted += volume(accepted, accepted_bytes);
		/* tried again soon, a request that is refused again is the same news */
		if (p->refusals == 0 || accepted > 0)
			p->epoch_refused += throttled * mean;
	}
	p->bisect_left = Max(0, p->bisect_left - accepted);
	if (accepted > 0)
		mark_alive(p, request);
	if (throttled > 0)
	{
		heed_wish(p, wish, now);
		refused(p, request, accepted, now);
	}
	else if (accepted > 0)
	{
		p->refusals = 0;
		p->proven = Max(p->proven, share_of(p, request));
	}
	if (accepted * 2 >= request->records)
		grow(p, request, now);
	judge_rate(p, request, now);
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
		delay = retry_delay_with_request(delay, wish);
	p->failed_at = now;
	p->next_attempt = Max(p->next_attempt, now + delay);
}

void
pace_failed(Pace *p, const PaceRequest *request, int64_t wish, int64_t now)
{
	bool		first = request->sent_at >= p->failed_at;

	back_off(p, request, wish, now);
	if (!first)
		return;
	p->window = p->failures > 1 ? 1 : Max(1, p->window / 2);
	p->changed_at = now;
}

void
pace_timed_out(Pace *p, const PaceRequest *request, int64_t now)
{
	if (request->sent_at >= p->changed_at)
		strike(p, request, now);
	back_off(p, request, -1, now);
}

void
pace_too_large(Pace *p, const PaceRequest *request, int64_t now)
{
	double		half = share_of(p, request) / 2;

	if (request->records <= 1)
		return;
	p->bisect_left = Max(p->bisect_left, request->records);
	p->share = Max(Min(p->share, half), 1.0 / p->options.max_records);
	if (request->sent_at >= p->changed_at)
		set_ceiling(p, half, now);
	p->changed_at = now;
}

void
pace_gave_up(Pace *p, int records)
{
	p->bisect_left = Max(0, p->bisect_left - records);
	p->ceiling_until = 0;
	p->ceiling_hold = 0;
}

void
pace_short_of_resources(Pace *p, int64_t now)
{
	p->next_attempt = Max(p->next_attempt, now + RESOURCE_PAUSE);
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
}
