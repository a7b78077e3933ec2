/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  When to send again, and how much at a time: backoff and token buckets.
 *
 * Everything here is plain arithmetic on state that the caller owns.  Time is
 * a monotonic clock in microseconds that the caller reads, and randomness is
 * a generator that the caller seeds, so tests are deterministic and a jump of
 * the wall clock changes nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_RETRY_H
#define FIREHOSE_AWS_RETRY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Backoff, as AWS's "standard" retry mode does it since 2026:
 * rnd(0,1) * min(scale * 2^(n-1), 20 s).
 */
typedef enum RetryKind
{
	RETRY_TRANSIENT,			/* scale 50 ms */
	RETRY_THROTTLE				/* scale 1 s */
} RetryKind;

#define RETRY_MAX_DELAY			INT64_C(20000000)	/* 20 s */
#define RETRY_AFTER_MAX_EXTRA	INT64_C(5000000)	/* 5 s */

/* xorshift64*; any number is a good seed */
typedef struct RetryRandom
{
	uint64_t	state;
} RetryRandom;

extern void retry_random_seed(RetryRandom *random, uint64_t seed);

/* A number in [0, 1). */
extern double retry_random(RetryRandom *random);

/*
 * Delay in microseconds before attempt number failures + 1, having failed
 * failures (>= 1) times in a row.  Any count is fine, however large.
 */
extern int64_t retry_delay(RetryRandom *random, RetryKind kind,
						   uint64_t failures);

/*
 * Adjust a delay to the pause that the service asked for, as far as it lies
 * within [delay, delay + RETRY_AFTER_MAX_EXTRA]. `wish` is in microseconds.
 */
extern int64_t retry_delay_with_request(int64_t delay, int64_t requested);

/*
 * Read the value of a header x-amz-retry-after, which is in milliseconds,
 * into microseconds.  False if it is no plain number.
 */
extern bool retry_after_parse(const char *value, int64_t *requested);

/*
 * When to fetch credentials that live for `lifetime` microseconds again: so
 * long after they were fetched.  Five minutes before they expire, as all SDKs
 * do, and up to one minute more, so that the senders of many servers do not
 * come at once; of short lives half, and never within a second.
 */
extern int64_t retry_refresh_delay(RetryRandom *random, int64_t lifetime);

/*
 * When to fetch credentials again after `failures` (>= 0) more failures than
 * one in a row: after 1 s, doubled each time up to a minute, half of it
 * jittered.
 */
extern int64_t retry_fetch_delay(RetryRandom *random, int failures);

/*
 * A token bucket for records, requests or bytes per second.  It holds one
 * second's worth, but at least one item of the largest size.  Taking may leave
 * a debt that later items wait for, so that an item larger than the bucket
 * still passes.
 */
typedef struct TokenBucket
{
	double		rate;			/* tokens per second; 0 = no limit */
	double		burst;			/* most that it holds */
	double		tokens;			/* what it held at updated_at; may be < 0 */
	int64_t		updated_at;
} TokenBucket;

/* Begin with a full bucket. */
extern void token_bucket_init(TokenBucket *bucket, double rate,
							  double max_item, int64_t now);

/* Change the limits in use; the amount taken so far stays taken. */
extern void token_bucket_set_rate(TokenBucket *bucket, double rate,
								  double max_item, int64_t now);

/* Microseconds until amount may be taken; 0 if it may be now. */
extern int64_t token_bucket_delay(const TokenBucket *bucket, double amount,
								  int64_t now);

/* Take amount, whatever token_bucket_delay() says. */
extern void token_bucket_take(TokenBucket *bucket, double amount,
							  int64_t now);

#endif							/* FIREHOSE_AWS_RETRY_H */
