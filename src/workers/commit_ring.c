/*
 * commit_ring.c
 *		Which commits have been delivered.
 */
#include "postgres.h"

#include "workers/commit_ring.h"

/* The two halves of CommitEntry.outstanding. */
#define GENERATION(outstanding)		((uint32) ((outstanding) >> 32))
#define RECORDS(outstanding)		((uint32) (outstanding))

static inline CommitEntry *
entry_at(CommitRing *ring, uint64 number)
{
	return &ring->entries[number & (COMMIT_RING_SIZE - 1)];
}

static inline uint32
records_of(CommitRing *ring, uint64 number)
{
	return RECORDS(pg_atomic_read_u64(&entry_at(ring, number)->outstanding));
}

void
commit_ring_init(CommitRing *ring, uint32 generation, XLogRecPtr position)
{
	pg_atomic_init_u64(&ring->first, 0);
	pg_atomic_init_u64(&ring->next, 0);
	ring->finished = position;
	for (int i = 0; i < COMMIT_RING_SIZE; i++)
	{
		pg_atomic_init_u64(&ring->entries[i].outstanding, (uint64) generation << 32);
		ring->entries[i].upto = InvalidXLogRecPtr;
	}
}

bool
commit_ring_is_empty(const CommitRing *ring)
{
	return commit_ring_outstanding(ring) == 0;
}

uint64
commit_ring_next(const CommitRing *ring)
{
	CommitRing *r = unconstify(CommitRing *, ring);
	uint64		next = pg_atomic_read_u64(&r->next);

	return next - pg_atomic_read_u64(&r->first) < COMMIT_RING_SIZE ? next : next - 1;
}

/*
 * The last entry may have been finished when more records join it.  That is
 * safe, because only the decoder acts on a finished entry.
 */
void
commit_ring_push(CommitRing *ring, uint64 number, XLogRecPtr upto, uint32 n)
{
	CommitEntry *entry = entry_at(ring, number);

	Assert(n > 0 && number == commit_ring_next(ring));
	if (number == pg_atomic_read_u64(&ring->next))
		entry->upto = upto;
	else
		entry->upto = Max(entry->upto, upto);
	pg_atomic_fetch_add_u64(&entry->outstanding, n);
	pg_write_barrier();
	pg_atomic_write_u64(&ring->next, number + 1);
}

XLogRecPtr
commit_ring_advance(CommitRing *ring)
{
	uint64		first = pg_atomic_read_u64(&ring->first);
	uint64		next = pg_atomic_read_u64(&ring->next);

	while (first < next && records_of(ring, first) == 0)
	{
		ring->finished = Max(ring->finished, entry_at(ring, first)->upto);
		first++;
	}
	pg_atomic_write_u64(&ring->first, first);
	return ring->finished;
}

uint64
commit_ring_outstanding(const CommitRing *ring)
{
	CommitRing *r = unconstify(CommitRing *, ring);
	uint64		next = pg_atomic_read_u64(&r->next);
	uint64		sum = 0;

	for (uint64 i = pg_atomic_read_u64(&r->first); i < next; i++)
		sum += records_of(r, i);
	return sum;
}

bool
commit_ring_settle(CommitRing *ring, uint64 number, uint16 generation)
{
	pg_atomic_uint64 *outstanding = &entry_at(ring, number)->outstanding;
	uint64		old = pg_atomic_read_u64(outstanding);

	do
	{
		if ((uint16) GENERATION(old) != generation || RECORDS(old) == 0)
			return false;
	} while (!pg_atomic_compare_exchange_u64(outstanding, &old, old - 1));
	return RECORDS(old) == 1;
}
