/*-------------------------------------------------------------------------
 *
 * test_retry.c
 *	  Delays have AWS's bounds for any number of failures, buckets keep their
 *	  rate exactly.
 *
 *-------------------------------------------------------------------------
 */
#include "aws/retry.h"
#include "tap.h"

#define SECOND INT64_C(1000000)

static void
test_random(void)
{
	RetryRandom a;
	RetryRandom b;
	double		sum = 0;
	bool		in_range = true;
	bool		same = true;

	retry_random_seed(&a, 42);
	retry_random_seed(&b, 42);
	for (int i = 0; i < 100000; i++)
	{
		double		x = retry_random(&a);

		sum += x;
		in_range = in_range && x >= 0 && x < 1;
		same = same && x == retry_random(&b);
	}
	ok(in_range, "random numbers are in [0, 1)");
	ok(same, "and the same for the same seed");
	ok(sum > 49500 && sum < 50500, "and evenly spread");

	retry_random_seed(&a, 1);
	retry_random_seed(&b, 2);
	ok(retry_random(&a) != retry_random(&b), "neighbouring seeds differ");
	retry_random_seed(&a, UINT64_C(0x61c8864680b583eb));
	ok(a.state != 0, "no seed gives the bad state");
}

typedef struct DelayCase
{
	RetryKind	kind;
	uint64_t	failures;
	int64_t		bound;
} DelayCase;

static const DelayCase delay_cases[] = {
	{RETRY_TRANSIENT, 1, 50000},
	{RETRY_TRANSIENT, 2, 100000},
	{RETRY_TRANSIENT, 9, 12800000},
	{RETRY_TRANSIENT, 10, 20000000},
	{RETRY_TRANSIENT, 64, 20000000},
	{RETRY_TRANSIENT, UINT64_MAX, 20000000},
	{RETRY_THROTTLE, 1, 1000000},
	{RETRY_THROTTLE, 2, 2000000},
	{RETRY_THROTTLE, 5, 16000000},
	{RETRY_THROTTLE, 6, 20000000},
	{RETRY_THROTTLE, UINT64_MAX, 20000000},
};

static void
test_delays(void)
{
	RetryRandom random;
	int64_t		requested = -1;

	retry_random_seed(&random, 7);
	for (size_t i = 0; i < lengthof(delay_cases); i++)
	{
		const DelayCase *c = &delay_cases[i];
		int64_t		longest = 0;
		int64_t		shortest = INT64_MAX;

		for (int n = 0; n < 2000; n++)
		{
			int64_t		delay = retry_delay(&random, c->kind, c->failures);

			longest = delay > longest ? delay : longest;
			shortest = delay < shortest ? delay : shortest;
		}
		ok(shortest >= 0 && shortest < c->bound / 50 &&
		   longest < c->bound && longest > c->bound / 50 * 49,
		   "delay after %llu failures", (unsigned long long) c->failures);
	}

	is_int(retry_delay_with_request(1000, 0), 1000, "a wish for less");
	is_int(retry_delay_with_request(1000, 2000), 2000, "a wish within reason");
	is_int(retry_delay_with_request(1000, 5001000), 5001000, "just within");
	is_int(retry_delay_with_request(1000, INT64_MAX), 5001000, "beyond reason");
	is_int(retry_delay_with_request(1000, INT64_MIN), 1000, "a negative wish");

	ok(retry_after_parse("1500", &requested) && requested == 1500000, "retry-after");
	ok(retry_after_parse("0", &requested) && requested == 0, "retry-after of 0");
	ok(retry_after_parse("99999999999999999999999999", &requested) && requested > 0,
	   "retry-after that is too large for a number");
	ok(!retry_after_parse("", &requested), "empty retry-after");
	ok(!retry_after_parse("-1", &requested), "negative retry-after");
	ok(!retry_after_parse("1.5", &requested), "fractional retry-after");
	ok(!retry_after_parse("Fri, 31 Dec 1999 23:59:59 GMT", &requested),
	   "retry-after that is a date");
}

static void
test_bucket(void)
{
	TokenBucket bucket;
	int64_t		now = 5 * SECOND;
	int64_t		start = now;
	int64_t		taken = 0;

	token_bucket_init(&bucket, 1000, 100, now);
	is_int(token_bucket_delay(&bucket, 1000, now), 0, "a second's worth at once");
	token_bucket_take(&bucket, 1000, now);
	is_int(token_bucket_delay(&bucket, 1, now), 1000, "then at the rate");
	is_int(token_bucket_delay(&bucket, 500, now), SECOND / 2, "half a second");
	is_int(token_bucket_delay(&bucket, 500, now + SECOND / 2), 0, "later");
	is_int(token_bucket_delay(&bucket, 1000, now + 100 * SECOND), 0, "full");
	token_bucket_take(&bucket, 1000, now + 100 * SECOND);
	is_int(token_bucket_delay(&bucket, 1, now + 100 * SECOND), 1000,
		   "and no more than full");
	is_int(token_bucket_delay(&bucket, 1, now), 1000,
		   "a clock that goes back changes nothing");

	/* One that is larger than the bucket */
	token_bucket_init(&bucket, 1000, 100, now);
	is_int(token_bucket_delay(&bucket, 3000, now), 0, "larger than the bucket");
	token_bucket_take(&bucket, 3000, now);
	is_int(token_bucket_delay(&bucket, 1000, now), 3 * SECOND, "leaves a debt");

	/* A rate below the size of an item */
	token_bucket_init(&bucket, 10, 100, now);
	is_int(token_bucket_delay(&bucket, 100, now), 0, "one item always fits");
	token_bucket_take(&bucket, 100, now);
	is_int(token_bucket_delay(&bucket, 100, now), 10 * SECOND, "at the rate");

	/* For a minute, obeying the delays */
	token_bucket_init(&bucket, 1048576, 4000000, now);
	while (now < start + 60 * SECOND)
	{
		int64_t		delay = token_bucket_delay(&bucket, 777777, now);

		now += delay;
		is_int(token_bucket_delay(&bucket, 777777, now), 0,
			   "the delay told is enough");
		token_bucket_take(&bucket, 777777, now);
		taken += 777777;
	}
	ok(taken >= 60 * 1048576 && taken <= 61 * 1048576 + 4000000,
	   "the rate is kept and used up");

	token_bucket_init(&bucket, 0, 100, now);
	token_bucket_take(&bucket, 1e18, now);
	is_int(token_bucket_delay(&bucket, 1e18, now), 0, "no limit");
	token_bucket_set_rate(&bucket, 100, 1, now);
	is_int(token_bucket_delay(&bucket, 100, now), 0, "a limit from now on");
	token_bucket_take(&bucket, 200, now);
	token_bucket_set_rate(&bucket, 1000, 1, now);
	is_int(token_bucket_delay(&bucket, 900, now), SECOND,
		   "a new rate, the same debt");
}

/* Bounds of many draws, and whether they spread over these. */
static void
draw(int64_t (*delay) (RetryRandom *random, int64_t argument), int64_t argument,
	 int64_t low, int64_t high, const char *name)
{
	RetryRandom random;
	int64_t		least = INT64_MAX;
	int64_t		most = INT64_MIN;

	retry_random_seed(&random, 7);
	for (int i = 0; i < 10000; i++)
	{
		int64_t		drawn = delay(&random, argument);

		least = drawn < least ? drawn : least;
		most = drawn > most ? drawn : most;
	}
	ok(least >= low && most <= high, "%s", name);
	ok(most - least >= (high - low) / 100 * 99, "and all of that");
}

static int64_t
fetch_delay(RetryRandom *random, int64_t failures)
{
	return retry_fetch_delay(random, (int) failures);
}

static void
test_credentials(void)
{
	draw(retry_refresh_delay, 21600 * SECOND, 21240 * SECOND, 21300 * SECOND,
		 "keys of six hours are fetched five to six minutes before they expire");
	draw(retry_refresh_delay, 900 * SECOND, 540 * SECOND, 600 * SECOND, "so are those of a quarter");
	draw(retry_refresh_delay, 660 * SECOND, 330 * SECOND, 360 * SECOND, "but not before half of their life");
	draw(retry_refresh_delay, 600 * SECOND, 300 * SECOND, 300 * SECOND, "ten minutes: after five");
	draw(retry_refresh_delay, 4 * SECOND, 2 * SECOND, 2 * SECOND, "four seconds: after two");
	draw(retry_refresh_delay, SECOND, SECOND, SECOND, "never within a second");
	draw(retry_refresh_delay, 1, SECOND, SECOND, "however short they live");
	draw(fetch_delay, 0, SECOND / 2, SECOND, "a second after a failure, or half of it");
	draw(fetch_delay, 1, SECOND, 2 * SECOND, "twice after another");
	draw(fetch_delay, 5, 16 * SECOND, 32 * SECOND, "and so on");
	draw(fetch_delay, 6, 30 * SECOND, 60 * SECOND, "up to a minute");
	draw(fetch_delay, INT32_MAX, 30 * SECOND, 60 * SECOND, "however often it fails");
}

int
main(void)
{
	test_random();
	test_credentials();
	test_delays();
	test_bucket();
	return done_testing();
}
