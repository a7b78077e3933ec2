/*-------------------------------------------------------------------------
 *
 * test_pace_events.c
 *	  A stream's pace told events one by one.  (Simulated services: test_pace.)
 *
 *-------------------------------------------------------------------------
 */
#include "sender/pace.h"
#include "tap.h"

#define SECOND			INT64_C(1000000)

static PaceOptions
usual_options(void)
{
	PaceOptions options = {
		.max_records = 500,
		.max_bytes = 4000000,
		.max_in_flight = 16,
		.timeout = 30 * SECOND,
		.largest_record = 1024000
	};

	return options;
}

/* Where records have rows, a record that is too large is made smaller. */
static void
test_packed_size_answers(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	PaceRequest r;
	int64_t		most;
	int			calls = 0;

	options.packs = true;
	options.max_records = 1;
	pace_init(&p, &options, 1, 0);
	/* whatever has more than 100 bytes is refused */
	for (most = pace_max_bytes(&p); most > 100 && calls < 40; most = pace_max_bytes(&p))
	{
		pace_sent(&p, &r, 1, most, calls * SECOND);
		r.rows = 1000;
		pace_too_large(&p, &r, ++calls * SECOND);
	}
	ok(most >= 1 && most <= 100, "a request of one record gets as small as need be (%lld bytes)",
	   (long long) most);
	is_int(pace_max_in_flight(&p), 1, "one at a time");
	pace_sent(&p, &r, 1, 100, 50 * SECOND);
	r.rows = 1000;
	pace_answered(&p, &r, 1, 100, 0, -1, 50 * SECOND + 1000);
	is_int(pace_max_in_flight(&p), options.max_in_flight, "until all of its rows have passed");

	pace_init(&p, &options, 1, 0);
	pace_sent(&p, &r, 1, 1000, 0);
	pace_too_large(&p, &r, 1000);
	is_int(pace_max_bytes(&p), options.max_bytes, "one row that is too large makes others no smaller");

	pace_init(&p, &options, 1, 0);
	for (int i = 0; i < 3; i++)
	{
		pace_sent(&p, &r, 1, 1000000, i * 100 * SECOND);
		pace_timed_out(&p, &r, i * 100 * SECOND + options.timeout);
	}
	is_int(pace_max_bytes(&p), 1, "three timeouts leave one row");
}

static void
test_size_answers(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	PaceRequest r;
	int			left = 1000;
	int			calls = 0;

	pace_init(&p, &options, 1, 0);
	/* the first of 1000 is too large: it is found, and the rest is sent */
	while (left > 0 && calls < 100)
	{
		int			n = pace_max_records(&p);

		n = n > left ? left : n;
		pace_sent(&p, &r, n, n * 100, calls * SECOND);
		if (left == 1000 && n > 1)
			pace_too_large(&p, &r, calls * SECOND + 1000);
		else if (left == 1000)
		{
			pace_gave_up(&p, 1);
			left--;
		}
		else
		{
			pace_answered(&p, &r, n, n * 100, 0, -1, calls * SECOND + 1000);
			left -= n;
		}
		calls++;
	}
	ok(calls <= 25, "one record that is too large is found in few requests (%d)", calls);
	is_int(pace_max_records(&p), 500, "and requests are full again");
	is_int(pace_max_in_flight(&p), options.max_in_flight, "as many as before");
}

static void
test_states(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	PaceRequest r[4];

	options.max_in_flight = 4;
	pace_init(&p, &options, 1, 0);
	for (int i = 0; i < 4; i++)
		pace_sent(&p, &r[i], 10, 1000, i + 1);
	for (int i = 0; i < 4; i++)
		pace_failed(&p, &r[i], -1, 1000 + i);
	is_int((int64_t) p.failures, 1, "a wave that fails is one failure");
	is_int(pace_state(&p), PACE_RETRYING, "the stream retries");
	pace_park(&p, 30 * SECOND, 2000);
	is_int(pace_state(&p), PACE_PARKED, "it is parked");
	is_int(pace_max_records(&p), 1, "a probe has one record");
	is_int(pace_max_in_flight(&p), 1, "and is alone");
	ok(pace_delay(&p, 1, 100, 2000) >= 30 * SECOND, "and comes later");
	pace_probe_now(&p, 3000);
	is_int(pace_delay(&p, 1, 100, 3000), 0, "or at once when something has changed");
	pace_park(&p, 30 * SECOND, 3000);
	ok(!pace_try_early(&p, SECOND, SECOND), "who waits does not end a pause that has just begun");
	ok(pace_delay(&p, 1, 100, SECOND) > 0, "which goes on");
	ok(pace_try_early(&p, SECOND, 3000 + SECOND), "but one that is a second old");
	is_int(pace_delay(&p, 1, 100, 3000 + SECOND), 0, "and a probe goes");
	pace_park(&p, 30 * SECOND, 2 * SECOND);
	pace_try_now(&p, 2 * SECOND);
	is_int(pace_delay(&p, 1, 100, 2 * SECOND), 0, "what becomes another stream is tried at once");
	pace_sent(&p, &r[0], 1, 100, 2 * SECOND);
	pace_failed(&p, &r[0], 10 * SECOND, 2 * SECOND);
	ok(!pace_try_early(&p, SECOND, 6 * SECOND), "a pause that the service asks for is kept");
	ok(pace_delay(&p, 1, 100, 6 * SECOND) > 0, "all of it");
	p.next_attempt = p.wish_until = 0;
	pace_sent(&p, &r[0], 1, 100, 13 * SECOND);
	pace_answered(&p, &r[0], 1, 100, 0, -1, 13 * SECOND);
	is_int(pace_state(&p), PACE_ACTIVE, "one that is accepted ends it");
	pace_sent(&p, &r[0], 10, 1000, 14 * SECOND);
	pace_throttled(&p, &r[0], -1, 14 * SECOND);
	is_int(pace_state(&p), PACE_THROTTLED, "a service that asks for less throttles");
	for (int i = 0; i < 100000; i++)
	{
		pace_sent(&p, &r[0], 1, 100, (20 + i) * SECOND);
		pace_failed(&p, &r[0], INT64_C(86400000000), (20 + i) * SECOND);
	}
	ok(p.next_attempt - 100019 * SECOND <= 25 * SECOND, "no pause passes 25 s");

	/* a rate learnt from little does not hold back a large record for hours */
	pace_init(&p, &options, 1, 0);
	pace_sent(&p, &r[0], 2, 900010, SECOND);
	pace_answered(&p, &r[0], 1, 10, 1, -1, SECOND + 1000);
	pace_sent(&p, &r[0], 1, 900000, SECOND + 2000);
	pace_answered(&p, &r[0], 1, 900000, 0, -1, SECOND + 3000);
	ok(pace_delay(&p, 1, 10, SECOND + 3000) <= 10 * SECOND, "no pause of a rate passes 10 s");
	pace_idle(&p);
	is_int(pace_state(&p), PACE_ACTIVE, "and when nothing is left, none is shown");

	/* errors that go on are tried with one record */
	pace_init(&p, &options, 1, 0);
	for (int i = 0; i < 2; i++)
	{
		is_int(pace_max_records(&p), 500, "a full request");
		pace_sent(&p, &r[0], 500, 50000, (i + 1) * SECOND);
		pace_failed(&p, &r[0], -1, (i + 1) * SECOND + 1000);
	}
	is_int(pace_max_records(&p), 1, "after two that failed one record is tried");
	pace_sent(&p, &r[0], 1, 100, 60 * SECOND);
	pace_answered(&p, &r[0], 1, 100, 0, -1, 60 * SECOND + 1000);
	is_int(pace_max_records(&p), 500, "and after it full requests");

	/* a service that refuses at random, whatever the rate */
	pace_init(&p, &options, 1, 0);
	p.futile_until = 100 * SECOND;
	pace_sent(&p, &r[0], 10, 1000, SECOND);
	pace_throttled(&p, &r[0], -1, SECOND);
	ok(p.next_attempt > SECOND, "what is refused whole pauses");
	ok(!pace_try_early(&p, 0, SECOND), "a pause that the service caused is kept, whoever waits");
}

/*
 * A service that takes a second for a full request: told by waves of requests,
 * as many as may be under way and as large as may be.
 */
typedef enum Service
{
	SIDE_BY_SIDE,
	SHARED_TIME
} Service;

static int64_t
wave(Pace *p, Service service, int64_t now)
{
	PaceRequest r[64];
	int			n = pace_max_in_flight(p);
	int			records = pace_max_records(p);
	int64_t		took = SECOND / 10 + SECOND * records / 500;

	if (service == SHARED_TIME)
		took *= n;
	for (int i = 0; i < n; i++)
		pace_sent(p, &r[i], records, records * 100, now);
	for (int i = 0; i < n; i++)
	{
		if (took > p->options.timeout)
			pace_timed_out(p, &r[i], now + p->options.timeout);
		else
			pace_answered(p, &r[i], records, records * 100, 0, -1, now + took);
	}
	return now + (took > p->options.timeout ? p->options.timeout : took) + SECOND / 2;
}

static void
test_number_of_requests(void)
{
	static const char *const names[] = {"side by side", "sharing its time"};

	for (int service = SIDE_BY_SIDE; service <= SHARED_TIME; service++)
	{
		PaceOptions options = usual_options();
		Pace		p;
		int64_t		now = 0;

		options.timeout = SECOND / 2;
		pace_init(&p, &options, 1, 0);
		for (int i = 0; i < 100; i++)
			now = wave(&p, (Service) service, now);
		ok(pace_max_in_flight(&p) == (service == SIDE_BY_SIDE ? 16 : 1),
		   "a slow service that works %s: the number of requests (%d)", names[service],
		   pace_max_in_flight(&p));
		/* 0.6 and 0.7 of the timeout, less what each request takes */
		ok(pace_max_records(&p) >= (service == SIDE_BY_SIDE ? 90 : 110) && pace_max_records(&p) <= 130,
		   "and their size (%d)", pace_max_records(&p));
		/* what it does may change */
		p.trial_at = 0;
		for (int i = 0; i < 100; i++)
			now = wave(&p, service == SIDE_BY_SIDE ? SHARED_TIME : SIDE_BY_SIDE, now);
		is_int(pace_max_in_flight(&p), service == SIDE_BY_SIDE ? 1 : 16,
			   "and when it works otherwise, too");
	}
}

/* For so many seconds a part of each request is refused. */
static int64_t
refuse_part(Pace *p, double part, int seconds, int64_t now)
{
	PaceRequest r;

	for (int64_t end = now + seconds * SECOND; now < end; now += SECOND / 50)
	{
		int			n = pace_max_records(p) < 100 ? pace_max_records(p) : 100;
		int			refused = (int) (n * part);

		now += pace_delay(p, n, n * 100, now);
		pace_sent(p, &r, n, n * 100, now);
		pace_answered(p, &r, n - refused, (n - refused) * 100, refused, -1, now + 1000);
	}
	return now;
}

/* Refusals at random are let be; a quota that comes later is not. */
static void
test_futile_cuts(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	int64_t		now;

	pace_init(&p, &options, 1, 0);
	now = refuse_part(&p, 0.2, 300, 0);
	ok(p.futile_hold > 60 * SECOND, "a rate that does not help is not tried soon again");
	for (int i = 0; i < 1000 && p.rate > 0; i++)
		now = refuse_part(&p, 0.2, 1, now);
	ok(p.rate == 0 && now < p.futile_until, "it is let go");
	now = refuse_part(&p, 0.9, 3, now);
	ok(p.rate > 0, "when most is refused there is one again");

	/* most at first, and then much, however far the rate is cut */
	pace_init(&p, &options, 1, 0);
	now = refuse_part(&p, 0, 2, 0);
	now = refuse_part(&p, 0.9, 1, now);
	ok(p.rate > 0, "a rate is tried");
	(void) refuse_part(&p, 0.3, 20, now);
	ok(p.futile_hold > 0, "but not below a quarter of what has passed");
}

/* What ends a failure, and what does not. */
static void
test_end_of_failures(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	PaceRequest r[3];

	pace_init(&p, &options, 1, 0);
	for (int i = 0; i < 3; i++)
		pace_sent(&p, &r[i], 10, 1000, i + 1);
	pace_failed(&p, &r[0], -1, 1000);
	ok(pace_delay(&p, 10, 1000, 2000) > 0, "a failure is followed by a pause");
	pace_answered(&p, &r[1], 10, 1000, 0, -1, 2000);
	is_int(pace_delay(&p, 10, 1000, 2000), 0, "a first one was chance if others of the wave pass");

	for (int i = 1; i <= 2; i++)
	{
		pace_sent(&p, &r[0], 10, 1000, i * SECOND);
		pace_failed(&p, &r[0], -1, i * SECOND + 1000);
	}
	pace_answered(&p, &r[2], 10, 1000, 0, -1, 2 * SECOND + 2000);
	is_int(pace_state(&p), PACE_RETRYING, "a second one is not ended by what was sent before it");
	pace_idle(&p);
	is_int(pace_state(&p), PACE_ACTIVE, "but when nothing is left to send");

	pace_init(&p, &options, 1, 0);
	pace_sent(&p, &r[0], 10, 1000, 0);
	pace_throttled(&p, &r[0], 3 * SECOND, 1000);
	ok(pace_not_before(&p) >= 3 * SECOND, "a service that asks for less is asked again when it wishes");
}

/* As many records as may be pass at once, in each of these seconds. */
static void
pass_full(Pace *p, int first, int last)
{
	for (int i = first; i <= last; i++)
	{
		PaceRequest r;
		int			n = pace_max_records(p);

		pace_sent(p, &r, n, n * 100, i * SECOND);
		pace_answered(p, &r, n, n * 100, 0, -1, i * SECOND + 1000);
	}
}

/* A cut that helped is not the first of a row. */
static void
test_cuts(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	PaceRequest r;
	int			n;

	pace_init(&p, &options, 1, 0);
	pace_sent(&p, &r, 500, 50000, 0);
	pace_timed_out(&p, &r, options.timeout);
	is_int(pace_max_records(&p), 125, "a timeout leaves a quarter");
	pace_sent(&p, &r, 125, 12500, 100 * SECOND);
	pace_answered(&p, &r, 125, 12500, 0, -1, 129 * SECOND);
	n = pace_max_records(&p);
	pace_sent(&p, &r, n, n * 100, 200 * SECOND);
	pace_timed_out(&p, &r, 200 * SECOND + options.timeout);
	is_int(pace_max_records(&p), n / 4, "and so does the next one if something passed in between");

	pace_init(&p, &options, 1, 0);
	pace_sent(&p, &r, 400, 40000, 0);
	pace_too_large(&p, &r, 1000);
	pass_full(&p, 1, 50);
	is_int(pace_max_records(&p), 200, "a size that was refused is not tried again soon");
	pass_full(&p, 62, 70);
	is_int(pace_max_records(&p), 500, "but after a minute");
	pace_sent(&p, &r, 400, 40000, 71 * SECOND);
	pace_too_large(&p, &r, 71 * SECOND + 1000);
	pass_full(&p, 72, 185);
	is_int(pace_max_records(&p), 200, "refused then, it is not for twice as long");
	pass_full(&p, 193, 200);
	is_int(pace_max_records(&p), 500, "but after that");
	pace_sent(&p, &r, 400, 40000, 400 * SECOND);
	pace_too_large(&p, &r, 400 * SECOND + 1000);
	pass_full(&p, 401, 455);
	is_int(pace_max_records(&p), 200, "refused much later");
	pass_full(&p, 462, 470);
	is_int(pace_max_records(&p), 500, "it is tried again after a minute");
}

/* A request of all the records there may be, which takes so long. */
static void
pass_in(Pace *p, int64_t took, int64_t now)
{
	PaceRequest r;
	int			n = pace_max_records(p);

	pace_sent(p, &r, n, n * 100, now);
	pace_answered(p, &r, n, n * 100, 0, -1, now + took);
}

/*
 * Requests that take almost the timeout, where others were quick: first fewer,
 * then smaller ones.
 */
static void
test_shrinking(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	PaceRequest r;

	options.max_in_flight = 2;
	pace_init(&p, &options, 1, 0);
	pass_in(&p, 26 * SECOND, 0);
	is_int(pace_max_in_flight(&p), 2, "a service that is slow has as many requests as before");
	pass_in(&p, SECOND, 100 * SECOND);
	pass_in(&p, 26 * SECOND, 200 * SECOND);
	is_int(pace_max_in_flight(&p), 1, "one that was quick has fewer");
	is_int(pace_max_records(&p), 500, "which are as large");
	pass_in(&p, 26 * SECOND, 300 * SECOND);
	is_int(pace_max_records(&p), 400, "and then smaller ones");

	options.max_in_flight = 1;
	pace_init(&p, &options, 1, 0);
	pass_in(&p, SECOND, 0);
	pace_sent(&p, &r, 500, 50000, 100 * SECOND);
	pace_timed_out(&p, &r, 100 * SECOND + options.timeout);
	pass_in(&p, 26 * SECOND, 200 * SECOND);
	is_int(pace_max_records(&p), 125, "what was quick before a timeout is forgotten");
}

/* A rate that was learnt and holds nothing back is forgotten. */
static void
test_rate_is_forgotten(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	PaceRequest r;
	int64_t		now;

	pace_init(&p, &options, 1, 0);
	now = refuse_part(&p, 0.5, 2, 0);
	ok(p.rate > 0, "what a service refuses tells a rate");
	for (int i = 0; i < 10 * 90; i++)
	{
		now += SECOND / 10;
		pace_sent(&p, &r, 1, 100, now);
		pace_answered(&p, &r, 1, 100, 0, -1, now + 1000);
	}
	ok(p.rate == 0, "which is forgotten when it has held nothing back for long");
}

/* So many records are sent, and so many accepted a millisecond later. */
static int64_t
refuse_some(Pace *p, int records, int accepted, int64_t now)
{
	PaceRequest r;

	pace_sent(p, &r, records, records * 100, now);
	pace_answered(p, &r, accepted, accepted * 100, records - accepted, -1, now + 1000);
	return now + 2000;
}

/* When it is plain at once that a service refuses for lack of quota. */
static void
test_plain_refusals(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	int64_t		now;

	pace_init(&p, &options, 1, 0);
	now = refuse_some(&p, 10, 10, 0);
	now = refuse_some(&p, 10, 8, now);
	ok(p.rate == 0, "some of a small request that are refused tell no rate");
	(void) refuse_some(&p, 500, 400, now);
	ok(p.rate > 0, "some of a full one do");

	pace_init(&p, &options, 1, 0);
	now = refuse_some(&p, 10, 10, 0);
	now = refuse_some(&p, 500, 460, now);
	ok(p.rate == 0, "as few of it as are tolerated do not");

	pace_init(&p, &options, 1, 0);
	now = refuse_some(&p, 10, 10, 0);
	(void) refuse_some(&p, 30, 2, now);
	ok(p.rate > 0, "most of what was sent do");
}

/* All is refused as for lack of quota, which may be an outage. */
static void
test_all_refused(void)
{
	for (int outage = 0; outage <= 1; outage++)
	{
		PaceOptions options = usual_options();
		Pace		p;
		PaceRequest r;

		pace_init(&p, &options, 1, 0);
		pace_sent(&p, &r, 500, 50000, 0);
		pace_throttled(&p, &r, -1, SECOND);
		ok(p.rate > 0, "when all is refused a rate is guessed");
		pace_sent(&p, &r, 10, 1000, 10 * SECOND);
		if (outage)
			pace_failed(&p, &r, -1, 10 * SECOND + 1000);
		pace_sent(&p, &r, 10, 1000, 20 * SECOND);
		pace_answered(&p, &r, 10, 1000, 0, -1, 20 * SECOND + 1000);
		ok((p.rate == 0) == outage, "%s", outage ? "where requests fail, too, it is none" :
		   "and kept when some is accepted");
		if (outage)
			continue;
		pace_sent(&p, &r, 10, 1000, 30 * SECOND);
		pace_failed(&p, &r, -1, 30 * SECOND + 1000);
		pace_sent(&p, &r, 10, 1000, 40 * SECOND);
		pace_answered(&p, &r, 10, 1000, 0, -1, 40 * SECOND + 1000);
		ok(p.rate > 0, "also beside a failure after that");
	}
}

/*
 * What passes at once when a trial of a higher rate begins was saved up; it is
 * not what a service accepts for long, beside which a cut were of no use.
 */
static void
test_short_trial(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	int64_t		now;

	pace_init(&p, &options, 1, 0);
	now = refuse_part(&p, 0.2, 3, 0);
	for (int i = 0; i < 10000 && !p.rate_trial; i++)
	{
		now += SECOND / 50;
		now += pace_delay(&p, 100, 10000, now);
		now = refuse_some(&p, 100, 95, now);
	}
	ok(p.rate_trial, "beside few refusals a higher rate is tried");
	now = refuse_some(&p, 400, 220, now);
	ok(p.rate > 0 && !p.rate_trial, "which ends at once when too much is refused");
	(void) refuse_part(&p, 0.3, 2, now);
	ok(p.rate > 0, "and is no reason to let the rate go");
}

/* Records that are refused while others pass. */
static void
test_suspects(void)
{
	PaceOptions options = usual_options();
	Pace		p;
	int64_t		at;
	int64_t		longest = 0;

	pace_init(&p, &options, 1, 0);
	pace_suspects_refused(&p, false, SECOND);
	at = p.suspects_at;
	ok(at >= SECOND && at <= SECOND + SECOND / 20, "what is refused is tried again soon");
	for (int i = 0; i < 100; i++)
		pace_suspects_refused(&p, i % 2, SECOND);
	ok(p.suspects_at <= at, "what is refused meanwhile does not put it off");

	for (int i = 0; i < 100; i++)
	{
		int64_t		now = (i + 1) * 100 * SECOND;

		pace_suspects_refused(&p, true, now);
		longest = longest > p.suspects_at - now ? longest : p.suspects_at - now;
	}
	ok(longest > 10 * SECOND && longest <= 20 * SECOND, "what is refused again and again waits longer");
	for (int i = 0; i < 100; i++)
		pace_suspects_refused(&p, true, 20000 * SECOND);
	pace_suspects_refused(&p, false, 20000 * SECOND);
	ok(p.suspects_at <= 20000 * SECOND + SECOND / 20, "but not for what is refused for the first time");
	pace_suspects_passed(&p);
	pace_suspects_refused(&p, true, 30000 * SECOND);
	ok(p.suspects_at <= 30000 * SECOND + SECOND / 20, "and when one has passed, no longer than at first");
	pace_suspects_refused(&p, true, 40000 * SECOND);
	pace_try_now(&p, 40000 * SECOND);
	is_int(p.suspects_at, 40000 * SECOND, "what becomes another stream has them tried at once");
}

int
main(void)
{
	test_shrinking();
	test_plain_refusals();
	test_all_refused();
	test_short_trial();
	test_suspects();
	test_end_of_failures();
	test_cuts();
	test_rate_is_forgotten();
	test_number_of_requests();
	test_size_answers();
	test_packed_size_answers();
	test_states();
	test_futile_cuts();
	return done_testing();
}
