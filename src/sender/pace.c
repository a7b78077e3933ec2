/*
 * pace.c
 *		How fast a stream is sent.
 *
 * Four things limit a stream, each in its own way.
 *
 * Requests that take too long (a slow service, a thin line) are too large or
 * too many: pace_size.c.
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
		pace_grow(p, request, now);
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
	pace_size_changed(p, now);
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
	p->share = Max(Min(p->share, half), pace_least_share(p));
	if (request->sent_at >= p->changed_at)
		pace_set_ceiling(p, half, now);
	pace_size_changed(p, now);
}

void
pace_gave_up(Pace *p, int rows)
{
	p->bisect_left = Max(0, p->bisect_left - rows);
	p->ceiling_until = 0;
	p->ceiling_hold = 0;
}

/*
 * Those that were refused again wait longer each time.  One that was refused
 * for the first time does not wait for them, and has them tried with it: in a
 * bad hour of the service there are some in each response, which must not put
 * off all that were refused before.
 */
void
pace_suspects_refused(Pace *p, bool again, int64_t now)
{
	int64_t		at;

	if (again)
		p->suspect_failures++;
	at = now + retry_delay(&p->random, RETRY_TRANSIENT, again ? p->suspect_failures : 1);
	p->suspects_at = p->suspects_at > now ? Min(p->suspects_at, at) : at;
}

void
pace_suspects_passed(Pace *p)
{
	p->suspect_failures = 0;
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
	p->suspects_at = Min(p->suspects_at, now);
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
