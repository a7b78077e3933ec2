/*-------------------------------------------------------------------------
 *
 * test_pace.c
 *	  A stream's pace against simulated services: slow ones, thin lines,
 *	  quotas of every kind, outages from a tenth of a second to an hour, with
 *	  random parameters from fixed seeds.
 *
 * With an argument ("table") it prints the table of bench/README.md.
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>
#include <stdlib.h>

#include "pace_simulation.h"
#include "tap.h"

#define ROUNDS		40

/* of seeds that the constants of the pace were not chosen on */
#define MAX_ROUNDS	100000

/* What a family of scenarios reached at worst. */
typedef struct Worst
{
	double		used;			/* of quota or line, in the steady state */
	double		used_sum;
	int			n;				/* rounds */
	double		all_used[MAX_ROUNDS];
	int			spared;
	int			too_often;		/* rounds with a record sent more than three
								 * times in vain */
	double		refused;		/* of the records sent, in the steady state */
	double		full_again;		/* seconds */
	int64_t		timeouts;		/* in one round, in the steady state */
	int64_t		all_timeouts;	/* in all of them */
	int			unfinished;
} Worst;

static RetryRandom dice;
static bool table = false;

/* other seeds than usual, and how many rounds of them */
static uint64_t other_seeds = 0;
static int	rounds = ROUNDS;

static double
between(double low, double high)
{
	return low + (high - low) * retry_random(&dice);
}

static int
one_of(const int *choices, size_t n)
{
	return choices[(size_t) (retry_random(&dice) * (double) n)];
}

/*
 * A scenario with nothing amiss: 500 records of some size, 1 to 64 in flight.
 */
static Scenario
any_scenario(void)
{
	static const int in_flight[] = {1, 2, 4, 16, 64};
	static const int sizes[] = {5, 100, 1000, 5000, 20000};
	Scenario	s = {0};

	s.options.max_records = 500;
	s.options.max_bytes = 4000000;
	s.options.max_in_flight = one_of(in_flight, lengthof(in_flight));
	s.options.timeout = 30 * SECOND;
	s.options.largest_record = 1024000;
	s.record_bytes = one_of(sizes, lengthof(sizes));
	s.latency = between(1000, 60000);
	s.noise = between(0, 0.3);
	s.length = 180 * SECOND;
	s.steady_at = 60 * SECOND;
	return s;
}

static int
full_batch(const Scenario *s)
{
	int			by_bytes = (int) (s->options.max_bytes / s->record_bytes);

	return by_bytes < s->options.max_records ? by_bytes : s->options.max_records;
}

/* How much of the quota was used from steady_at on. */
static double
quota_used(const Scenario *s, const Outcome *o)
{
	double		units = s->unit == QUOTA_CALLS ? (double) o->steady_calls :
		s->unit == QUOTA_BYTES ? (double) o->steady_accepted * s->record_bytes :
		(double) o->steady_accepted;

	return units / (s->quota * (double) (s->length - s->steady_at) / (double) SECOND);
}

static double
refused_part(const Outcome *o)
{
	return (double) o->steady_refused /
		(double) (o->steady_refused + o->steady_accepted + 1);
}

static void
take_worst(Worst *worst, const Outcome *o, double used)
{
	if (used < worst->used)
		worst->used = used;
	worst->used_sum += used;
	worst->all_used[worst->n++] = used;
	worst->too_often += o->most_spared > 3;
	if (o->most_spared > worst->spared)
		worst->spared = o->most_spared;
	if (refused_part(o) > worst->refused)
		worst->refused = refused_part(o);
	if (o->steady_timeouts > worst->timeouts)
		worst->timeouts = o->steady_timeouts;
	worst->all_timeouts += o->steady_timeouts;
}

static void
ok_few_timeouts(const Worst *worst, int in_one, int in_all)
{
	ok(worst->timeouts <= in_one && worst->all_timeouts <= in_all,
	   "and nothing times out again and again (%d in a round, %d in all)",
	   (int) worst->timeouts, (int) worst->all_timeouts);
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/* The distribution over many rounds. */
static void
print_distribution(const char *name, Worst *worst)
{
	int			below = 0;

	qsort(worst->all_used, (size_t) worst->n, sizeof(double), compare_doubles);
	while (below < worst->n && worst->all_used[below] < 0.9)
		below++;
	printf("| %s | %.0f %% | %.0f %% | %.0f %% | %.0f %% | %.1f %% | %.1f %% | %d |\n", name,
		   worst->all_used[0] * 100, worst->all_used[worst->n / 100] * 100,
		   worst->all_used[worst->n / 10] * 100, worst->all_used[worst->n / 2] * 100,
		   100.0 * below / worst->n, 100.0 * worst->too_often / worst->n, worst->spared);
}

static void
print_row(const char *name, Worst *worst)
{
	if (other_seeds != 0)
		print_distribution(name, worst);
	else if (table)
		printf("| %s | %.0f %% | %.0f %% | %d | %.1f %% |\n", name, worst->used * 100,
			   worst->used_sum / rounds * 100, worst->spared, worst->refused * 100);
}

/* Quotas ------------------------------------------------------------------ */

static void
test_quota(const char *name, QuotaUnit unit, bool by_call)
{
	static Worst worst;

	worst = (Worst) {.used = HUGE_VAL};
	for (int i = 0; i < rounds; i++)
	{
		Scenario	s = any_scenario();
		Outcome		o;
		double		calls = s.options.max_in_flight / (s.latency / SECOND);

		s.unit = unit;
		s.by_call = by_call;
		/*
		 * less than would go through without it, and no less than AWS allows
		 */
		if (unit == QUOTA_CALLS)
			s.quota = between(2, calls / 2 > 50 ? 50 : calls / 2);
		else if (unit == QUOTA_RECORDS)
			s.quota = between(0.5, calls / 2 > 20 ? 20 : calls / 2) * full_batch(&s);
		else
			s.quota = between(0.2, calls / 2 > 20 ? 20 : calls / 2) *
				full_batch(&s) * s.record_bytes;
		simulate(&s, other_seeds + (uint64_t) i * 1000 + 1, &o);
		take_worst(&worst, &o, quota_used(&s, &o));
		if (getenv("PACE_VERBOSE"))
			printf("# %d: %d in flight, %d bytes, quota %.0f (%.2f batches): used %.3f, spared %d, refused %.3f\n",
				   i, s.options.max_in_flight, s.record_bytes, s.quota,
				   s.quota / full_batch(&s) / (unit == QUOTA_BYTES ? s.record_bytes : 1),
				   quota_used(&s, &o), o.most_spared, refused_part(&o));
	}
	print_row(name, &worst);
	if (table)
		return;
	ok(worst.used >= 0.9, "%s: at least 90 %% is used (%.3f)", name, worst.used);
	ok(worst.spared <= 3, "%s: no record is sent more than three times in vain (%d)",
	   name, worst.spared);
	ok(worst.refused <= 0.12, "%s: few records are sent in vain for ever (%.3f)", name,
	   worst.refused);
}

/*
 * The same from ten seconds after an outage on, in which requests fail or are
 * all refused for lack of quota, as AWS does it: that is no rate to learn.
 */
static void
test_quota_after_outage(OutageKind kind, bool by_call, double outage_at)
{
	static Worst worst;

	worst = (Worst) {.used = HUGE_VAL};
	for (int i = 0; i < ROUNDS; i++)
	{
		Scenario	s = any_scenario();
		Outcome		o;

		s.unit = QUOTA_RECORDS;
		s.by_call = by_call;
		s.quota = between(0.4, 4) * full_batch(&s);
		s.outage = kind;
		s.outage_at = (int64_t) (outage_at * SECOND);
		s.outage_for = (int64_t) (between(5, 1000) * SECOND);
		s.steady_at = s.outage_at + s.outage_for + 10 * SECOND;
		s.length = s.steady_at + 60 * SECOND;
		simulate(&s, (uint64_t) i * 1000 + 6, &o);
		take_worst(&worst, &o, quota_used(&s, &o));
	}
	ok((by_call || worst.used >= 0.7) && worst.used_sum / ROUNDS >= (by_call ? 0.75 : 0.95),
	   "after %s at %.0f s a quota by %s is used (%.3f, on average %.3f)",
	   kind == OUTAGE_THROTTLING ? "throttling" : "errors", outage_at,
	   by_call ? "call" : "entry", worst.used, worst.used_sum / ROUNDS);
}

/* Slow services ----------------------------------------------------------- */

/*
 * How many records a slow service can take, per us: requests as large as may
 * be without a timeout, as many as it works on side by side.
 */
static double
best_of_slow(const Scenario *s)
{
	double		most = ((double) s->options.timeout / (1 + s->noise) - s->latency) / s->per_record;
	double		n = fmax(1, fmin(floor(most), full_batch(s)));
	double		took = (s->latency + s->per_record * n) * (1 + s->noise / 2);

	return n / took * (s->workers > 0 && s->workers < s->options.max_in_flight ?
					   s->workers : s->options.max_in_flight);
}

/* Time by record: only small requests end in time. */
static void
test_slow_service(const char *name, int least_workers, int most_workers)
{
	static Worst worst;
	int			stuck = 0;

	worst = (Worst) {.used = HUGE_VAL};
	for (int i = 0; i < rounds; i++)
	{
		Scenario	s = any_scenario();
		Outcome		o;
		double		best;
		double		used;

		s.options.timeout = (int64_t) (between(1, 30) * SECOND);
		s.workers = least_workers == most_workers ? least_workers :
			(int) between(least_workers, most_workers + 1);
		s.latency = between(1000, (double) s.options.timeout / 10);
		s.per_record = between(0.5, 8) * (double) s.options.timeout / full_batch(&s);
		s.length = 900 * SECOND;
		s.steady_at = 300 * SECOND;
		simulate(&s, other_seeds + (uint64_t) i * 1000 + 2, &o);
		best = best_of_slow(&s) * (double) (s.length - s.steady_at);
		used = (double) o.steady_accepted / best;
		take_worst(&worst, &o, used);
		stuck += o.steady_accepted == 0;
		if (getenv("PACE_VERBOSE"))
			printf("# %d: %d in flight, timeout %.1f, full batch takes %.1f: used %.3f, spared %d, timeouts %d\n",
				   i, s.options.max_in_flight, (double) s.options.timeout / SECOND,
				   s.per_record * full_batch(&s) / SECOND,
				   used, o.most_spared, (int) o.steady_timeouts);
	}
	print_row(name, &worst);
	if (table)
		return;
	is_int(stuck, 0, "every slow service gets its records");
	ok(worst.used >= (most_workers > 1 ? 0.75 : 0.9) && worst.used_sum / rounds >= 0.93,
	   "%s: most of what it could take is used (%.3f, on average %.3f)", name, worst.used,
	   worst.used_sum / rounds);
	ok(worst.spared <= 3, "%s: no record is sent more than three times in vain (%d)",
	   name, worst.spared);
	/*
	 * one that shares its time changes with each request that is added, and
	 * how many share it only more requests tell
	 */
	if (most_workers > 1)
		ok_few_timeouts(&worst, 12, 40);
	else
		ok_few_timeouts(&worst, most_workers > 0 ? 3 : 2, most_workers > 0 ? 6 : 2);
}

/* A thin line that all requests share. */
static void
test_line(const char *name)
{
	static Worst worst;

	worst = (Worst) {.used = HUGE_VAL};
	for (int i = 0; i < rounds; i++)
	{
		Scenario	s = any_scenario();
		Outcome		o;
		double		used;
		double		full;

		s.options.timeout = (int64_t) (between(2, 15) * SECOND);
		full = (double) full_batch(&s) * s.record_bytes * 4 / 3;
		/*
		 * so that a full request takes between a tenth of the timeout and four
		 * of them
		 */
		s.line = full / (between(0.1, 4) * (double) s.options.timeout / SECOND);
		s.latency = between(1000, 0.02 * (double) s.options.timeout);
		simulate(&s, other_seeds + (uint64_t) i * 1000 + 3, &o);
		used = (double) o.steady_accepted * s.record_bytes * 4 / 3 /
			(s.line * (double) (s.length - s.steady_at) / (double) SECOND);
		take_worst(&worst, &o, used);
		if (getenv("PACE_VERBOSE"))
			printf("# %d: %d in flight, %d bytes, timeout %.1f, full batch takes %.1f: used %.3f, spared %d, timeouts %d\n",
				   i, s.options.max_in_flight, s.record_bytes, (double) s.options.timeout / SECOND, full / s.line,
				   used, o.most_spared, (int) o.steady_timeouts);
	}
	print_row(name, &worst);
	if (table)
		return;
	ok(worst.used >= 0.9, "%s: at least 90 %% is used (%.3f)", name, worst.used);
	ok(worst.spared <= 3, "%s: no record is sent more than three times in vain (%d)",
	   name, worst.spared);
	ok_few_timeouts(&worst, 2, 2);
}

/* Outages ----------------------------------------------------------------- */

/*
 * How many records an outage may cost beside what was under way and is sent
 * again once: attempts of a record each, with a random pause of at most 20 s
 * between them that grows from 50 ms.
 */
static double
probes_of(double seconds)
{
	return 20 + seconds / 5;
}

static void
test_outages(void)
{
	static const double lengths[] = {0.1, 0.15, 1, 10, 60, 600, 3600};
	static const char *const kinds[] = {"connections refused", "errors", "silence"};

	for (size_t i = 0; i < lengthof(lengths); i++)
	{
		for (int kind = OUTAGE_REFUSED; kind <= OUTAGE_SILENT; kind++)
		{
			double		first = 0;
			double		full = 0;
			bool		recovered = true;
			int64_t		in_vain = 0;

			for (int round = 0; round < ROUNDS; round++)
			{
				Scenario	s = any_scenario();
				Outcome		o;

				s.outage_at = SECOND;
				s.until_full = true;
				s.outage_for = (int64_t) (lengths[i] * SECOND);
				s.outage = (OutageKind) kind;
				s.length = s.outage_at + s.outage_for + 100 * SECOND;
				simulate(&s, (uint64_t) round * 1000 + 4, &o);
				if (o.full_again < 0)
					printf("# run %d: %d in flight, %d bytes: first %d\n", round, s.options.max_in_flight, s.record_bytes, (int) (o.first_again / SECOND));
				recovered = recovered && o.full_again >= 0;
				in_vain = fmax(in_vain, o.outage_sent - probes_of(lengths[i]) -
							   2.0 * s.options.max_in_flight * full_batch(&s));
				first = first > (double) o.first_again ? first : (double) o.first_again;
				full = full > (double) o.full_again ? full : (double) o.full_again;
			}
			first /= SECOND;
			full /= SECOND;
			if (table)
				printf("| %g s of %s | %.1f s | %.1f s |\n", lengths[i], kinds[kind], first, full);
			else
				ok(recovered && full <= 60, "%g s of %s: full requests again within a minute (%.1f s)",
				   lengths[i], kinds[kind], full);
			if (!table)
				ok(in_vain <= 0, "and no more is sent meanwhile than needed (%d records)",
				   (int) in_vain);
			if (!table && lengths[i] <= 0.15 && kind != OUTAGE_SILENT)
				ok(full <= 1, "and soon, however many were under way");
		}
	}
}

/* Twenty streams come back from one outage, but not together. */
static void
test_bursts(void)
{
	int			slots[200] = {0};
	int			most = 0;

	retry_random_seed(&dice, 77);
	for (int stream = 0; stream < 20; stream++)
	{
		Scenario	s = any_scenario();
		Outcome		o;

		s.outage_at = 0;
		s.outage_for = 120 * SECOND;
		s.length = s.outage_for + 100 * SECOND;
		s.until_full = true;
		simulate(&s, (uint64_t) stream + 500, &o);
		slots[o.first_again / (SECOND / 2) % 200]++;
	}
	for (size_t i = 0; i < lengthof(slots); i++)
		most = slots[i] > most ? slots[i] : most;
	ok(most <= 5, "twenty streams do not come back together (%d in half a second)", most);
}

/* How many records can be accepted in a second, at best. */
static double
most_per_second(const Scenario *s)
{
	double		most = 200;

	if (s->per_record > 0)
		most = fmin(most, SECOND / s->per_record);
	if (s->line > 0)
		most = fmin(most, s->line / s->record_bytes * 3 / 4);
	if (s->unit != QUOTA_NONE)
		most = fmin(most, s->quota / (s->unit == QUOTA_BYTES ? s->record_bytes : 1));
	return most * (1 - s->random_refusals);
}

/* Everything arrives, whatever is amiss at once. */
static void
test_all_arrives(void)
{
	int			n = other_seeds != 0 ? rounds : 200;
	int			arrived = 0;

	for (int i = 0; i < n; i++)
	{
		Scenario	s = any_scenario();
		Outcome		o;

		s.options.timeout = (int64_t) (between(1, 30) * SECOND);
		s.per_record = between(0, 2) * (double) s.options.timeout / full_batch(&s);
		s.workers = retry_random(&dice) < 0.5;
		s.line = retry_random(&dice) < 0.5 ? 0 :
			full_batch(&s) * s.record_bytes / (between(0.1, 4) * (double) s.options.timeout / SECOND);
		s.unit = (QuotaUnit) (retry_random(&dice) * 4);
		s.by_call = retry_random(&dice) < 0.5;
		s.quota = s.unit == QUOTA_CALLS ? between(1, 20) :
			between(0.1, 20) * full_batch(&s) * (s.unit == QUOTA_BYTES ? s.record_bytes : 1);
		s.random_refusals = retry_random(&dice) < 0.3 ? between(0, 0.5) : 0;
		s.refusals_throttle = retry_random(&dice) < 0.5;
		s.outage_at = (int64_t) (between(0, 60) * SECOND);
		s.outage_for = (int64_t) (between(0, 60) * SECOND);
		s.outage = (OutageKind) (retry_random(&dice) * 3);
		s.length = 3600 * SECOND;
		s.records = 1 + (int64_t) between(0, 300 * most_per_second(&s));
		simulate(&s, other_seeds + (uint64_t) i * 1000 + 5, &o);
		if (o.done_at >= 0 && o.accepted == s.records)
			arrived++;
		else
			printf("# run %d: %d of %d after an hour: %d in flight, %d bytes, timeout %.1f, %.2f s a record%s, line %.0f, %s quota %.1f%s, %.2f refused at random%s\n",
				   i, (int) o.accepted, (int) s.records, s.options.max_in_flight, s.record_bytes,
				   (double) s.options.timeout / SECOND, s.per_record / SECOND, s.workers > 0 ? ", shared" : "", s.line,
				   s.unit == QUOTA_NONE ? "no" : s.unit == QUOTA_CALLS ? "calls" : s.unit == QUOTA_BYTES ? "bytes" : "records",
				   s.quota, s.by_call ? " by call" : "", s.random_refusals, s.refusals_throttle ? ", throttling" : "");
	}
	if (other_seeds != 0)
		printf("\neverything arrived within an hour in %d of %d rounds\n", arrived, n);
	else
		is_int(arrived, n, "everything arrives, whatever is amiss");
}

/* Refusals that no pace helps against do not slow a stream down for ever. */
static void
test_random_refusals(void)
{
	Scenario	s = any_scenario();
	Outcome		o;
	double		most;

	s.options.max_in_flight = 4;
	s.record_bytes = 100;
	s.latency = 20000;
	s.noise = 0;
	s.random_refusals = 0.3;
	s.refusals_throttle = true;
	s.length = 600 * SECOND;
	simulate(&s, 9, &o);
	most = 4 * 500 * 0.7 / 0.02 * (double) (s.length - s.steady_at) / SECOND;
	ok((double) o.steady_accepted > most * 0.7, "refusals at random are not taken for a quota (%.2f)",
	   (double) o.steady_accepted / most);
}

/* Records that trickle in are sent as they come, if some are refused, too. */
static void
test_trickle(const char *name, bool throttle)
{
	double		least = HUGE_VAL;
	int64_t		longest = 0;

	for (int i = 0; i < ROUNDS; i++)
	{
		Scenario	s = any_scenario();
		Outcome		o;
		double		used;

		s.options.max_in_flight = i % 2 ? 4 : 1;
		s.record_bytes = 100;
		s.latency = pow(10, between(2, 4.7));
		s.arrivals = pow(10, between(1, 3.7));
		s.linger = SECOND / 20;
		s.random_refusals = between(0.02, 0.3);
		s.refusals_throttle = throttle;
		simulate(&s, (uint64_t) i * 1000 + 8, &o);
		used = (double) o.steady_accepted / s.arrivals /
			((double) (s.length - s.steady_at) / (double) SECOND);
		if (getenv("PACE_VERBOSE"))
			printf("# %s %d: %d in flight, %.1f ms, %.0f a second, %.2f refused: used %.3f, longest wait %.2f s\n",
				   name, i, s.options.max_in_flight, s.latency / 1000, s.arrivals,
				   s.random_refusals, used, (double) o.longest_wait / SECOND);
		least = fmin(least, used);
		longest = longest > o.longest_wait ? longest : o.longest_wait;
	}
	ok(least > 0.98 && longest < 5 * SECOND,
	   "a trickle is sent as it comes beside %s at random (%.3f, waits at most %.2f s)", name,
	   least, (double) longest / SECOND);
}

int
main(int argc, char **argv)
{
	table = argc > 1 && strcmp(argv[1], "table") == 0;
	if (argc > 3 && strcmp(argv[1], "seeds") == 0)
	{
		table = true;
		other_seeds = (uint64_t) atoi(argv[2]) * 1000003;
		rounds = atoi(argv[3]) < MAX_ROUNDS ? atoi(argv[3]) : MAX_ROUNDS;
	}
	retry_random_seed(&dice, other_seeds != 0 ? other_seeds : 1);
	if (other_seeds != 0)
		printf("| service | worst | 1st of 100 | 1st of 10 | median | below 90 %% | more than 3 in vain | most |\n"
			   "|---|---|---|---|---|---|---|---|\n");
	else if (table)
		printf("| service | used, worst | used, mean | sent in vain, most | refused |\n"
			   "|---|---|---|---|---|\n");
	test_quota("records, by entry", QUOTA_RECORDS, false);
	test_quota("records, by call", QUOTA_RECORDS, true);
	test_quota("bytes, by entry", QUOTA_BYTES, false);
	test_quota("bytes, by call", QUOTA_BYTES, true);
	test_quota("calls", QUOTA_CALLS, true);
	test_line("one line");
	test_slow_service("time by record, side by side", 0, 0);
	test_slow_service("time by record, shared", 1, 1);
	test_slow_service("time by record, by several", 2, 16);
	if (other_seeds != 0)
	{
		test_all_arrives();
		return 0;
	}
	if (table)
		printf("\n| outage | first request after it | full requests |\n|---|---|---|\n");
	test_outages();
	if (table)
		return 0;
	for (int i = 0; i < 8; i++)
		test_quota_after_outage(i < 4 ? OUTAGE_ERROR : OUTAGE_THROTTLING, i % 2, i / 2 % 2 * 20);
	test_bursts();
	test_all_arrives();
	test_random_refusals();
	test_trickle("failures", false);
	test_trickle("refusals for lack of quota", true);
	return done_testing();
}
