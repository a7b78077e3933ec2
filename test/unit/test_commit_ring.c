/*-------------------------------------------------------------------------
 *
 * test_commit_ring.c
 *	  The confirmed position never passes a record that is not settled, and
 *	  reaches everything in the end: random orders of completion, failures,
 *	  restarts of decoder and sender, and crashes, from fixed seeds.
 *
 * The model around the ring does what decoder.c, outbox.c, change_reader.c and
 * the sender do with it: a decoder reads commits in order and hands batches
 * over, in the middle of a commit, too; it may end at any time, and the next
 * one continues from shared memory.  A sender takes records in any order,
 * fails some, and may end as well.  After a crash only what was saved of the
 * confirmed position is left.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <pthread.h>

#include "workers/commit_ring.h"
/* the C library's own for tap.h */
#undef lengthof
#undef printf
#undef vprintf
#undef snprintf
#include "tap.h"

#define COMMITS			3000
#define MAX_CHANGES		40
#define QUEUE_SIZE		200000
#define GENERATION		0x12345

/* Assert is always on here. */
#if PG_VERSION_NUM >= 160000
void
ExceptionalCondition(const char *condition, const char *file, int line)
#else
void
ExceptionalCondition(const char *condition, const char *type, const char *file, int line)
#endif
{
	printf("Bail out! %s:%d: %s\n", file, line, condition);
	abort();
}

/* Random numbers: the same on every machine. */
typedef struct Random
{
	uint64_t	state;
} Random;

static uint32_t
below(Random *r, uint32_t n)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return (r->state >> 16) % n;
}

/* One chance in n. */
static bool
once_in(Random *r, uint32_t n)
{
	return below(r, n) == 0;
}

/* The WAL: commit i begins at LSN (i + 1) * 16 and ends 8 further. */
static int	changes[COMMITS];

#define COMMIT_LSN(i)	((XLogRecPtr) ((i) + 1) * 16)
#define COMMIT_END(i)	(COMMIT_LSN(i) + 8)

typedef struct Item
{
	int			commit;
	int			seq;			/* 1-based */
	uint64		entry;
	bool		in_flight;
} Item;

typedef struct Model
{
	Random		random;
	int			crash_chance;	/* one step in so many; 0: never */
	int			restart_chance;
	int			patience;		/* sender steps for a step of the decoder */

	/* the destination */
	int			delivered[COMMITS][MAX_CHANGES + 1];

	/* on disk */
	XLogRecPtr	saved;

	/* in shared memory */
	CommitRing	ring;
	XLogRecPtr	queued_upto;
	XLogRecPtr	part_lsn;
	int			part_seq;
	XLogRecPtr	confirmed;
	Item		queue[QUEUE_SIZE];	/* what is not settled */
	int			nqueue;

	/* the decoder's own */
	int			next_commit;
	int			next_seq;		/* of next_commit, 1-based */
	int			done_seq;
	Item		batch[1024];
	int			nbatch;
	XLogRecPtr	commits_upto;
	XLogRecPtr	out_part_lsn;
	int			out_part_seq;

	/* what went wrong */
	int			passed;			/* positions that passed an unsettled record */
	int			miscounted;
	int			fullest;
	int			joined;			/* batches that joined the last entry */
	int			crashes;
	int			restarts;
} Model;

/*
 * A position is about to be confirmed: everything before it must be settled.
 */
static void
check_position(Model *m, XLogRecPtr upto)
{
	for (int i = 0; i < COMMITS && COMMIT_END(i) <= upto; i++)
	{
		for (int seq = 1; seq <= changes[i]; seq++)
			m->passed += m->delivered[i][seq] == 0;
	}
}

static void
check_outstanding(Model *m)
{
	m->miscounted += commit_ring_outstanding(&m->ring) != (uint64) m->nqueue;
	m->miscounted += commit_ring_is_empty(&m->ring) != (m->nqueue == 0);
	m->fullest = Max(m->fullest, m->nqueue);
}

/* A decoder begins: as start() in decoder.c, and begin_transaction. */
static void
start_decoder(Model *m)
{
	XLogRecPtr	start = Max(m->queued_upto, m->confirmed);

	m->nbatch = 0;
	m->commits_upto = m->queued_upto;
	m->out_part_lsn = m->part_lsn;
	m->out_part_seq = m->part_seq;
	for (m->next_commit = 0; m->next_commit < COMMITS; m->next_commit++)
	{
		if (COMMIT_LSN(m->next_commit) >= start)
			break;
	}
	m->next_seq = 1;
}

static void
crash(Model *m)
{
	m->crashes++;
	commit_ring_init(&m->ring, GENERATION, InvalidXLogRecPtr);
	m->queued_upto = m->part_lsn = InvalidXLogRecPtr;
	m->part_seq = 0;
	m->confirmed = m->saved;
	m->nqueue = 0;
	start_decoder(m);
}

/* The sender takes something, or hears of something's outcome. */
static void
sender_step(Model *m)
{
	int			i;
	Item	   *item;

	if (m->nqueue == 0)
		return;
	/* mostly the oldest, as a sender does; sometimes any */
	i = once_in(&m->random, 4) ? below(&m->random, m->nqueue) :
		below(&m->random, Min(m->nqueue, 8));
	item = &m->queue[i];
	if (!item->in_flight)
	{
		item->in_flight = true;
		return;
	}
	item->in_flight = false;
	if (once_in(&m->random, 5))
		return;					/* it failed, and will be sent again */
	m->delivered[item->commit][item->seq]++;
	if (once_in(&m->random, 20))
		return;					/* it arrived, and the response was lost */
	(void) commit_ring_settle(&m->ring, item->entry, (uint16) GENERATION);
	memmove(item, item + 1, (m->nqueue - i - 1) * sizeof(Item));
	m->nqueue--;
}

static void
restart_sender(Model *m)
{
	m->restarts++;
	for (int i = 0; i < m->nqueue; i++)
	{
		if (m->queue[i].in_flight && once_in(&m->random, 2))
			m->delivered[m->queue[i].commit][m->queue[i].seq]++;
		m->queue[i].in_flight = false;
	}
}

/* As change_batch_flush. */
static void
flush(Model *m)
{
	if (m->nbatch > 0)
	{
		uint64		entry = commit_ring_next(&m->ring);

		for (int i = 0; i < m->nbatch; i++)
			m->batch[i].entry = entry;
		m->joined += m->nqueue > 0 && m->queue[m->nqueue - 1].entry == entry;
		commit_ring_push(&m->ring, entry, m->commits_upto, m->nbatch);
	}
	if (m->commits_upto != InvalidXLogRecPtr)
		m->queued_upto = m->commits_upto;
	m->part_lsn = m->out_part_lsn;
	m->part_seq = m->out_part_seq;
	memcpy(m->queue + m->nqueue, m->batch, m->nbatch * sizeof(Item));
	m->nqueue += m->nbatch;
	m->nbatch = 0;
}

/* Read one change or the end of a commit. */
static void
decode_step(Model *m)
{
	int			commit = m->next_commit;

	if (commit == COMMITS)
		return;
	if (m->next_seq == 1)
		m->done_seq = m->part_lsn == COMMIT_LSN(commit) ? m->part_seq : 0;
	if (m->next_seq <= changes[commit])
	{
		int			seq = m->next_seq++;

		if (seq > m->done_seq)
		{
			Item	   *item = &m->batch[m->nbatch++];

			item->commit = commit;
			item->seq = seq;
			item->in_flight = false;
		}
		m->out_part_lsn = COMMIT_LSN(commit);
		m->out_part_seq = seq;
		if (m->nbatch >= 10 || once_in(&m->random, 30))
			flush(m);
		return;
	}
	if (changes[commit] > 0)	/* pgoutput does not speak of empty ones */
	{
		m->commits_upto = COMMIT_END(commit);
		m->out_part_lsn = InvalidXLogRecPtr;
		m->out_part_seq = 0;
	}
	m->next_commit++;
	m->next_seq = 1;
}

/* As confirm() in decoder.c. */
static void
confirm(Model *m)
{
	XLogRecPtr	upto = commit_ring_advance(&m->ring);

	if (commit_ring_is_empty(&m->ring) && m->nbatch == 0 && m->next_seq == 1 &&
		m->next_commit > 0)
		upto = Max(upto, COMMIT_END(m->next_commit - 1));
	if (upto > m->confirmed)
	{
		check_position(m, upto);
		m->confirmed = upto;
	}
	if (once_in(&m->random, 10))
		m->saved = m->confirmed;
}

static void
step(Model *m)
{
	for (int i = below(&m->random, m->patience + 1); i > 0; i--)
		sender_step(m);
	for (int i = below(&m->random, 8); i > 0; i--)
		decode_step(m);
	if (m->next_seq == 1 && once_in(&m->random, 3))
	{
		flush(m);
		confirm(m);
	}
	check_outstanding(m);
	if (m->restart_chance && once_in(&m->random, m->restart_chance))
	{
		m->restarts++;
		start_decoder(m);
	}
	if (m->restart_chance && once_in(&m->random, m->restart_chance))
		restart_sender(m);
	if (m->crash_chance && once_in(&m->random, m->crash_chance))
		crash(m);
}

static bool
is_finished(Model *m)
{
	return m->next_commit == COMMITS && m->nbatch == 0 && m->nqueue == 0 &&
		m->confirmed == COMMIT_END(COMMITS - 1);
}

static void
test_model(uint64_t seed, int restart_chance, int crash_chance, int patience)
{
	Model	   *m = calloc(1, sizeof(Model));
	long		steps;
	int			missing = 0;

	m->random.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	m->restart_chance = restart_chance;
	m->crash_chance = crash_chance;
	m->patience = patience;
	for (int i = 0; i < COMMITS; i++)
		changes[i] = once_in(&m->random, 3) ? 0 :
			once_in(&m->random, 20) ? MAX_CHANGES : (int) below(&m->random, 4);
	commit_ring_init(&m->ring, GENERATION, InvalidXLogRecPtr);
	start_decoder(m);

	for (steps = 0; steps < 2000000 && !is_finished(m); steps++)
		step(m);
	for (int i = 0; i < COMMITS; i++)
	{
		for (int seq = 1; seq <= changes[i]; seq++)
			missing += m->delivered[i][seq] == 0;
	}

	printf("# seed %d: %ld steps, %d restarts, %d crashes, at most %d outstanding, %d joined\n",
		   (int) seed, steps, m->restarts, m->crashes, m->fullest, m->joined);
	is_int(m->passed, 0, "the position passes nothing unsettled");
	is_int(m->miscounted, 0, "the ring counts what is outstanding");
	is_int(missing, 0, "everything is delivered");
	is_int(m->confirmed, COMMIT_END(COMMITS - 1), "and confirmed");
	free(m);
}

/*
 * Two processes at once, as threads: an entry that the decoder sees as
 * finished was settled before.
 */
#define ENTRIES		200000

static CommitRing shared_ring;
static uint32_t entry_records[ENTRIES];
static pg_atomic_uint32 entry_settled[ENTRIES];

static void *
settle_all(void *arg)
{
	Random		random = {4711};
	uint64		low = 0;

	/* one record of a random entry among the oldest that are there */
	while (low < ENTRIES)
	{
		uint64		next = commit_ring_next(&shared_ring);
		uint64		number;

		if (low == next)
			continue;
		pg_read_barrier();
		number = low + below(&random, Min(next - low, 32));
		if (pg_atomic_read_u32(&entry_settled[number]) < entry_records[number])
		{
			pg_atomic_fetch_add_u32(&entry_settled[number], 1);
			(void) commit_ring_settle(&shared_ring, number, (uint16) GENERATION);
		}
		while (low < next &&
			   pg_atomic_read_u32(&entry_settled[low]) == entry_records[low])
			low++;
	}
	return NULL;
}

static void
test_two_processes(void)
{
	Random		random = {42};
	pthread_t	sender;
	uint64		pushed = 0;
	uint64		finished = 0;
	int			wrong = 0;

	commit_ring_init(&shared_ring, GENERATION, 0);
	for (int i = 0; i < ENTRIES; i++)
	{
		entry_records[i] = 1 + below(&random, 5);
		pg_atomic_init_u32(&entry_settled[i], 0);
	}
	if (pthread_create(&sender, NULL, settle_all, NULL) != 0)
	{
		ok(false, "cannot make a thread");
		return;
	}
	while (finished < ENTRIES)
	{
		uint64		upto;

		/* entry number n has position n + 1 */
		while (pushed < ENTRIES && commit_ring_next(&shared_ring) == pushed &&
			   !once_in(&random, 16))
		{
			commit_ring_push(&shared_ring, pushed, pushed + 1, entry_records[pushed]);
			pushed++;
		}
		upto = commit_ring_advance(&shared_ring);
		for (; finished < upto; finished++)
			wrong += pg_atomic_read_u32(&entry_settled[finished]) != entry_records[finished];
	}
	pthread_join(sender, NULL);
	is_int(wrong, 0, "two processes: what is finished was settled");
	ok(commit_ring_is_empty(&shared_ring), "two processes: nothing is left");
}

static void
test_details(void)
{
	static CommitRing ring;

	commit_ring_init(&ring, GENERATION, 77);
	is_int(commit_ring_advance(&ring), 77, "an empty ring is finished up to its start");
	commit_ring_push(&ring, commit_ring_next(&ring), 100, 2);
	commit_ring_push(&ring, commit_ring_next(&ring), 90, 1);
	ok(!commit_ring_settle(&ring, 0, (uint16) (GENERATION + 1)) && commit_ring_outstanding(&ring) == 3,
	   "a record of another pipeline settles nothing");
	ok(!commit_ring_settle(&ring, 0, (uint16) GENERATION), "one of two settled");
	ok(commit_ring_settle(&ring, 1, (uint16) GENERATION), "the only one settled");
	is_int(commit_ring_advance(&ring), 77, "the second waits for the first");
	ok(commit_ring_settle(&ring, 0, (uint16) GENERATION), "two of two settled");
	is_int(commit_ring_advance(&ring), 100, "a position does not go back");
	ok(commit_ring_is_empty(&ring), "and nothing is outstanding");
	ok(!commit_ring_settle(&ring, 0, (uint16) GENERATION) && commit_ring_is_empty(&ring),
	   "nothing is settled twice");

	for (uint64 i = 0; i < COMMIT_RING_SIZE; i++)
	{
		if (commit_ring_next(&ring) != 2 + i)
			ok(false, "full too early");
		commit_ring_push(&ring, commit_ring_next(&ring), 200 + i, 1);
	}
	for (uint64 i = 0; i < 3; i++)
	{
		if (commit_ring_next(&ring) != COMMIT_RING_SIZE + 1)
			ok(false, "not the last one");
		commit_ring_push(&ring, commit_ring_next(&ring), 5000 + i, 1);
	}
	is_int(commit_ring_outstanding(&ring), COMMIT_RING_SIZE + 3,
		   "what is pushed to a full ring joins the last entry");
	for (uint64 i = 0; i < COMMIT_RING_SIZE; i++)
		(void) commit_ring_settle(&ring, 2 + i, (uint16) GENERATION);
	is_int(commit_ring_advance(&ring), 200 + COMMIT_RING_SIZE - 2, "which is not finished by one of four");
	for (uint64 i = 0; i < 3; i++)
		(void) commit_ring_settle(&ring, COMMIT_RING_SIZE + 1, (uint16) GENERATION);
	is_int(commit_ring_advance(&ring), 5002, "but by all of them");
	is_int(commit_ring_next(&ring), COMMIT_RING_SIZE + 2, "and then there are new entries");
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_details();
	for (uint64_t seed = 1; seed <= 6; seed++)
	{
		test_model(seed, 0, 0, 6);	/* nothing but failures */
		test_model(seed + 100, 50, 0, 7);	/* restarts */
		test_model(seed + 200, 100, 300, 8);	/* and crashes */
	}
	test_model(301, 2000, 0, 2);	/* a sender so slow that the ring is full */
	test_two_processes();
	return done_testing();
}
