/*
 * chunks_in_flight.c
 *		Chunks that are handed over and not delivered; chunks_in_flight.h says
 *		more.
 *
 * The list in shared memory has an entry for each chunk of the local one.  It
 * lacks the positions that do not fit; the next decoder then goes on from the
 * last one that does.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "decoder/chunks_in_flight.h"
#include "decoder/copy_position.h"

static PipelineEntry *my_entry;
static ChunkInFlight chunks[COPY_CHUNKS];
static int	nchunks;

/* Texts one after another ------------------------------------------------ */

/* How many texts were packed; 0: they do not fit. */
static int
pack(const CopyPosition *position, char *to)
{
	Size		used = 0;

	for (int i = 0; i < position->n; i++)
	{
		Size		size = strlen(position->texts[i]) + 1;

		if (used + size > COPY_CHUNK_TEXTS)
			return 0;
		memcpy(to + used, position->texts[i], size);
		used += size;
	}
	return position->n;
}

static CopyPosition
unpack(MemoryContext context, int n, const char *from)
{
	CopyPosition position = {.n = n};

	position.texts = MemoryContextAlloc(context, Max(n, 1) * sizeof(char *));
	for (int i = 0; i < n; i++)
	{
		position.texts[i] = MemoryContextStrdup(context, from);
		from += strlen(from) + 1;
	}
	return position;
}

/* A number for the order that a copy is read in. */
static uint64
order_of(const CopyRow *copy)
{
	const List *lists[] = {copy->key_columns, copy->key_types};
	uint64		order = 0;

	for (int i = 0; i < lengthof(lists); i++)
	{
		ListCell   *cell;

		order = hash_combine64(order, list_length(lists[i]));
		foreach(cell, lists[i])
			order = hash_combine64(order, hash_bytes_extended(lfirst(cell), strlen(lfirst(cell)), 0));
	}
	return order;
}

/* The list -------------------------------------------------------------- */

void
chunks_in_flight_begin(PipelineEntry *entry, const CopyRow *copy, MemoryContext context)
{
	CopyChunks *shared = &entry->copy_chunks;
	uint64		order = order_of(copy);

	my_entry = entry;
	nchunks = 0;
	if (shared->relid != copy->relid || shared->requested_at != copy->requested_at ||
		shared->order != order)
	{
		shared->n = 0;
		shared->relid = copy->relid;
		shared->requested_at = copy->requested_at;
		shared->order = order;
		return;
	}
	for (; nchunks < shared->n; nchunks++)
	{
		const CopyChunkEntry *left = &shared->entries[nchunks];
		ChunkInFlight *chunk = &chunks[nchunks];

		chunk->until = left->until;
		chunk->advances = left->ntexts > 0;
		chunk->last = unpack(context, left->ntexts, left->texts);
		chunk->rows = left->rows;
		chunk->bytes = left->bytes;
		chunk->end = left->end;
		chunk->hold = left->hold;
	}
}

int
chunks_in_flight_count(void)
{
	return nchunks;
}

bool
chunks_in_flight_full(void)
{
	return nchunks == COPY_CHUNKS;
}

int64
chunks_in_flight_bytes(void)
{
	int64		bytes = 0;

	for (int i = 0; i < nchunks; i++)
		bytes += chunks[i].bytes;
	return bytes;
}

void
chunks_in_flight_follow(MemoryContext context, CopyPosition *next, XLogRecPtr *end)
{
	for (int i = 0; i < nchunks; i++)
	{
		*end = Max(*end, chunks[i].end);
		if (!chunks[i].advances)
			continue;
		copy_position_free(next);
		*next = copy_position_keep(context, &chunks[i].last);
	}
}

void
chunks_in_flight_add(const ChunkInFlight *chunk)
{
	CopyChunks *shared = &my_entry->copy_chunks;
	CopyChunkEntry *entry = &shared->entries[nchunks];

	Assert(nchunks < COPY_CHUNKS && shared->n == nchunks);
	chunks[nchunks] = *chunk;
	entry->until = chunk->until;
	entry->rows = chunk->rows;
	entry->bytes = chunk->bytes;
	entry->end = chunk->end;
	entry->hold = chunk->hold;
	entry->ntexts = chunk->advances ? pack(&chunk->last, entry->texts) : 0;
	shared->n = ++nchunks;
}

bool
chunks_in_flight_delivered(void)
{
	return nchunks > 0 && chunks[0].until <= pg_atomic_read_u64(&my_entry->ring.first);
}

/* Take the oldest one, if it is delivered. */
static bool
take_delivered(ChunkInFlight *chunk)
{
	CopyChunks *shared;

	if (!chunks_in_flight_delivered())
		return false;
	shared = &my_entry->copy_chunks;
	*chunk = chunks[0];
	nchunks--;
	memmove(chunks, chunks + 1, nchunks * sizeof(ChunkInFlight));
	memmove(shared->entries, shared->entries + 1, nchunks * sizeof(CopyChunkEntry));
	shared->n = nchunks;
	return true;
}

bool
chunks_in_flight_settle(CopyRow *copy)
{
	ChunkInFlight chunk;
	int			n = 0;

	for (; take_delivered(&chunk); n++)
	{
		if (chunk.advances)
		{
			copy_position_free(&copy->last);
			copy->last = chunk.last;
		}
		copy->rows += chunk.rows;
		copy->bytes += chunk.bytes;
		copy->chunks++;
		copy->end = Max(copy->end, chunk.end);
	}
	return n > 0;
}

void
chunks_in_flight_forget(PipelineEntry *entry)
{
	nchunks = 0;
	entry->copy_chunks.n = 0;
	entry->copy_chunks.relid = InvalidOid;
}

XLogRecPtr
chunks_in_flight_hold(const PipelineEntry *entry)
{
	const CopyChunks *shared = &entry->copy_chunks;
	XLogRecPtr	first = InvalidXLogRecPtr;

	for (int i = 0; i < shared->n; i++)
		first = copy_earlier(first, shared->entries[i].hold);
	return first;
}
