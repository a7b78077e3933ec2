/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  When to send again, and how much at a time: backoff and token buckets.
 *
 * Called by the sender.  The delays are AWS's, but there is no limit of
 * attempts, because data is never given up for lack of success.  So counts may
 * become large, and nothing may overflow.
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>

#include "aws/retry.h"

#define USECS_PER_SEC	1000000.0

/* Credentials; microseconds */
#define REFRESH_AHEAD		INT64_C(300000000)
#define REFRESH_JITTER		60000000
#define REFRESH_LEAST		INT64_C(1000000)
#define FETCH_FIRST_DELAY	INT64_C(1000000)
#define FETCH_LONGEST_DELAY	INT64_C(60000000)

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
retry_refresh_delay(RetryRandom *random, int64_t lifetime)
{
	int64_t		ahead = REFRESH_AHEAD + (int64_t) (retry_random(random) * REFRESH_JITTER);
	int64_t		delay = lifetime - (ahead < lifetime / 2 ? ahead : lifetime / 2);

	return delay > REFRESH_LEAST ? delay : REFRESH_LEAST;
}

int64_t
retry_fetch_delay(RetryRandom *random, int failures)
{
	int64_t		delay = FETCH_FIRST_DELAY;

	for (int n = 0; n < failures && delay < FETCH_LONGEST_DELAY; n++)
		delay *= 2;
	if (delay > FETCH_LONGEST_DELAY)
		delay = FETCH_LONGEST_DELAY;
	return delay / 2 + (int64_t) (retry_random(random) * delay / 2);
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

/* The amount that the bucket holds now. */
static double
tokens_now(const TokenBucket *bucket, int64_t now)
{
	double		tokens = bucket->tokens;

	if (now > bucket->updated_at)
		tokens += bucket->rate * (double) (now - bucket->updated_at) /
			USECS_PER_SEC;
	return tokens < bucket->burst ? tokens : bucket->burst;
}

/* Bring the bucket up to date. */
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
