/*
 * commit_ring.c
 *		Which commits have been delivered; commit_ring.h says how.
 */
#include "postgres.h"

#include "workers/commit_ring.h"

static inline CommitEntry *
entry_at(CommitRing *ring, uint64 number)
{
	return &ring->entries[number & (COMMIT_RING_SIZE - 1)];
}

void
commit_ring_init(CommitRing *ring, XLogRecPtr position)
{
	pg_atomic_init_u64(&ring->first, 0);
	pg_atomic_init_u64(&ring->next, 0);
	ring->finished = position;
	for (int i = 0; i < COMMIT_RING_SIZE; i++)
	{
		pg_atomic_init_u32(&ring->entries[i].outstanding, 0);
		ring->entries[i].upto = InvalidXLogRecPtr;
	}
}

bool
commit_ring_is_full(const CommitRing *ring)
{
	CommitRing *r = unconstify(CommitRing *, ring);

	return pg_atomic_read_u64(&r->next) - pg_atomic_read_u64(&r->first) == COMMIT_RING_SIZE;
}

bool
commit_ring_is_empty(const CommitRing *ring)
{
	return commit_ring_outstanding(ring) == 0;
}

uint64
commit_ring_next(const CommitRing *ring)
{
	return pg_atomic_read_u64(&unconstify(CommitRing *, ring)->next);
}

void
commit_ring_push(CommitRing *ring, XLogRecPtr upto, uint32 n)
{
	uint64		number = pg_atomic_read_u64(&ring->next);
	CommitEntry *entry = entry_at(ring, number);

	Assert(n > 0 && !commit_ring_is_full(ring));
	entry->upto = upto;
	pg_atomic_write_u32(&entry->outstanding, n);
	pg_write_barrier();
	pg_atomic_write_u64(&ring->next, number + 1);
}

XLogRecPtr
commit_ring_advance(CommitRing *ring)
{
	uint64		first = pg_atomic_read_u64(&ring->first);
	uint64		next = pg_atomic_read_u64(&ring->next);

	while (first < next && pg_atomic_read_u32(&entry_at(ring, first)->outstanding) == 0)
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
		sum += pg_atomic_read_u32(&entry_at(r, i)->outstanding);
	return sum;
}

bool
commit_ring_settle(CommitRing *ring, uint64 number)
{
	return pg_atomic_sub_fetch_u32(&entry_at(ring, number)->outstanding, 1) == 0;
}
