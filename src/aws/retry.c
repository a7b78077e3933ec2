/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  When to send again, and how much at a time: backoff, token buckets, and
 *	  an adaptive limit on concurrent requests.
 *
 * Called by the sender.  A shipper that owes data uses AWS's delays but never
 * its attempt limit, so counts may become large and nothing may overflow.
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>

#include "aws/retry.h"

#define USECS_PER_SEC	1000000.0

/* Constants of CUBIC, RFC 9438, and AWS's "adaptive" retry mode */
#define CUBIC_BETA		0.7		/* what a throttle leaves of the limit */
#define CUBIC_SCALE		0.4

/* One wave of throttles is one piece of news; quotas are per second */
#define MIN_DECREASE_INTERVAL	INT64_C(1000000)

/* Microseconds by which the first delay is bounded */
static const int64_t retry_scale[] =
{
	[RETRY_TRANSIENT] = 50000,
	[RETRY_THROTTLE] = 1000000,
};

/*
 * Scatter the seed with the finaliser of splitmix64, so that neighbouring
 * process ids do not back off in step.
 */
void
retry_random_seed(RetryRandom *random, uint64_t seed)
{
	uint64_t	z = seed + UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	random->state = z != 0 ? z : 1; /* zero is the one bad state */
}

double
retry_random(RetryRandom *random)
{
	uint64_t	x = random->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random->state = x;
	return (double) ((x * UINT64_C(0x2545f4914f6cdd1d)) >> 11) / 9007199254740992.0;
}

int64_t
retry_delay(RetryRandom *random, RetryKind kind, uint64_t failures)
{
	int64_t		bound = retry_scale[kind];

	for (uint64_t n = 1; n < failures && bound < RETRY_MAX_DELAY; n++)
		bound *= 2;
	if (bound > RETRY_MAX_DELAY)
		bound = RETRY_MAX_DELAY;
	return (int64_t) (retry_random(random) * (double) bound);
}

int64_t
retry_delay_with_request(int64_t delay, int64_t requested)
{
	if (requested < delay)
		return delay;
	return requested - delay > RETRY_AFTER_MAX_EXTRA ?
		delay + RETRY_AFTER_MAX_EXTRA : requested;
}

bool
retry_after_parse(const char *value, int64_t *requested)
{
	int64_t		milliseconds = 0;

	if (*value == '\0')
		return false;
	for (; *value != '\0'; value++)
	{
		if (*value < '0' || *value > '9')
			return false;
		/* Beyond a day it makes no difference, and it must not overflow */
		if (milliseconds < INT64_C(86400000))
			milliseconds = milliseconds * 10 + (*value - '0');
	}
	*requested = milliseconds * 1000;
	return true;
}

/* What the bucket holds now. */
static double
tokens_now(const TokenBucket *bucket, int64_t now)
{
	double		tokens = bucket->tokens;

	if (now > bucket->updated_at)
		tokens += bucket->rate * (double) (now - bucket->updated_at) /
			USECS_PER_SEC;
	return tokens < bucket->burst ? tokens : bucket->burst;
}

/* Bring the account up to date. */
static void
settle(TokenBucket *bucket, int64_t now)
{
	bucket->tokens = tokens_now(bucket, now);
	bucket->updated_at = now;
}

void
token_bucket_init(TokenBucket *bucket, double rate, double max_item,
				  int64_t now)
{
	bucket->rate = rate;
	bucket->burst = rate > max_item ? rate : max_item;
	bucket->tokens = bucket->burst;
	bucket->updated_at = now;
}

void
token_bucket_set_rate(TokenBucket *bucket, double rate, double max_item,
					  int64_t now)
{
	settle(bucket, now);
	bucket->rate = rate;
	bucket->burst = rate > max_item ? rate : max_item;
	settle(bucket, now);
}

int64_t
token_bucket_delay(const TokenBucket *bucket, double amount, int64_t now)
{
	double		missing;

	if (bucket->rate <= 0)
		return 0;

	/* An item larger than the bucket goes when the bucket is full */
	if (amount > bucket->burst)
		amount = bucket->burst;
	missing = amount - tokens_now(bucket, now);
	if (missing <= 0)
		return 0;
	return (int64_t) ceil(missing / bucket->rate * USECS_PER_SEC);
}

void
token_bucket_take(TokenBucket *bucket, double amount, int64_t now)
{
	if (bucket->rate <= 0)
		return;
	settle(bucket, now);
	bucket->tokens -= amount;
}

void
adaptive_limit_init(AdaptiveLimit *limit, int max)
{
	limit->max = max;
	limit->limit = max;
	limit->throttled_at = 0;
	limit->decreased_at = 0;
}

void
adaptive_limit_set_max(AdaptiveLimit *limit, int max)
{
	/* Without a throttle in memory the limit is the maximum */
	if (limit->throttled_at == 0 || limit->limit > max)
		limit->limit = max;
	limit->max = max;
}

int
adaptive_limit_get(const AdaptiveLimit *limit)
{
	return (int) limit->limit;
}

bool
adaptive_limit_throttled(AdaptiveLimit *limit, int64_t sent_at, int64_t now)
{
	if (limit->throttled_at > 0 &&
		(sent_at < limit->decreased_at ||
		 now - limit->decreased_at < MIN_DECREASE_INTERVAL))
		return false;

	limit->throttled_at = limit->limit;
	limit->limit = limit->limit * CUBIC_BETA;
	if (limit->limit < 1)
		limit->limit = 1;
	limit->decreased_at = now;
	return true;
}

/*
 * The curve passes through the decreased limit at the time of the decrease and
 * is flat where the throttle was.  One success raises the limit by one at
 * most, since after a quiet time the curve is far above what was ever tried.
 */
void
adaptive_limit_succeeded(AdaptiveLimit *limit, int64_t now)
{
	double		seconds;
	double		plateau;
	double		curve;

	if (limit->throttled_at == 0 || limit->limit >= limit->max)
		return;

	seconds = (double) (now - limit->decreased_at) / USECS_PER_SEC;
	plateau = cbrt(limit->throttled_at * (1 - CUBIC_BETA) / CUBIC_SCALE);
	curve = CUBIC_SCALE * pow(seconds - plateau, 3) + limit->throttled_at;

	if (curve > limit->limit + 1)
		curve = limit->limit + 1;
	if (curve > limit->max)
		curve = limit->max;
	if (curve > limit->limit)
		limit->limit = curve;
}
