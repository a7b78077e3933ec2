/*
 * producers.c
 *		Transactions that put records, roll back to savepoints, and end.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "queue/ids.h"
#include "simulation.h"

/*
 * A length for a record that will begin at `position`: small, large, or such
 * that what follows it meets the end of a page.
 */
static uint32
choose_length(QueuePosition position)
{
	switch (below(8))
	{
		case 0:
			return 0;
		case 1:
			return below(4 * QUEUE_PAGE_DATA);
		case 2:
			return QUEUE_PAGE_DATA - below(100);
		case 3:
		case 4:
			{
				uint64		end = position + sizeof(QueueRecord) + 8 * below(8);
				uint32		to_boundary = QUEUE_PAGE_DATA - end % QUEUE_PAGE_DATA;

				return to_boundary - below(8);
			}
		default:
			return below(300);
	}
}

/* Reserve as the model predicts. */
static bool
reserve(ModelStream *s, Size bytes)
{
	bool		expected;
	QueueReserveResult result;

	note_served();
	expected = first_in_line(s) == NULL && model_may_reserve(&sim.model, s, bytes);
	result = queue_reserve(sim.model.q, s->queue_stream, s->generation, bytes, 0);

	if (result != (expected ? QUEUE_RESERVED : QUEUE_FULL))
		MISMATCH(&sim.model, "entry %d %s room for %zu bytes", queue_stream_number(sim.model.q, s->queue_stream),
				 expected ? "should have had" : "should have had no", bytes);
	if (expected)
		s->reserved += bytes;
	else
		sim.tally.full++;
	return expected;
}

static void
unreserve(Part *part, Size bytes)
{
	queue_unreserve(sim.model.q, part->stream->queue_stream, bytes);
	part->stream->reserved -= bytes;
	part->reserved -= bytes;
}

static void
add_record(Part *part, uint64 id, uint32 length)
{
	QueueRecord record = {QUEUE_ITEM_RECORD, QUEUE_RECORD_PENDING, 0, length, id, (TimestampTz) id};
	Size		space = QUEUE_RECORD_SPACE(length);

	part->buffer = part->buffer ? repalloc_huge(part->buffer, part->used + space) :
		MemoryContextAllocHuge(CurrentMemoryContext, space);
	memset(part->buffer + part->used, 0, space);
	memcpy(part->buffer + part->used, &record, sizeof(record));
	model_fill_payload(id, part->buffer + part->used + sizeof(record), length);
	part->records = part->records ?
		repalloc(part->records, sizeof(ModelRecord) * (part->nrecords + 1)) :
		palloc(sizeof(ModelRecord));
	part->records[part->nrecords++] = (ModelRecord) {.id = id, .length = length};
	part->used += space;
	part->nbytes += length;
}

/* Put a few records into one stream of a transaction that is open. */
void
put_some(Transaction *t)
{
	ModelStream *s = &sim.model.streams[below(MODEL_STREAMS)];
	Part	   *part = &t->parts[s - sim.model.streams];
	int			n = chance(0.8) ? 1 : 1 + below(20);

	if (t->appended)
		return;
	if (!OidIsValid(s->serverid) && !claim_stream(s))
		return;
	for (int i = 0; i < n; i++)
	{
		uint32		length = choose_length(s->end + sizeof(QueueRun) + part->used);
		Size		needed = sizeof(QueueRun) + part->used + QUEUE_RECORD_SPACE(length);

		if (needed > part->reserved)
		{
			Size		missing = needed - part->reserved + (chance(0.2) ? below(20000) : 0);

			if (s->dropped && part->reserved == 0)
				return;			/* none finds it any more */
			if (!reserve(s, missing))
				return;
			part->reserved += missing;
			part->stream = s;
		}
		add_record(part, queue_next_ids(sim.model.q, 1), length);
		sim.tally.put++;
	}
}

/* A savepoint: cut the buffer off, and give back what it does not need. */
void
roll_back_part(Transaction *t)
{
	Part	   *part = &t->parts[below(MODEL_STREAMS)];
	Size		needed;

	if (t->appended || part->stream == NULL)
		return;
	for (int n = below(part->nrecords + 1); n > 0; n--)
	{
		ModelRecord *record = &part->records[--part->nrecords];

		part->used -= QUEUE_RECORD_SPACE(record->length);
		part->nbytes -= record->length;
	}
	needed = part->nrecords > 0 ? sizeof(QueueRun) + part->used : 0;
	if (part->reserved > needed)
		unreserve(part, part->reserved - needed);
}

static void
forget_part(Part *part)
{
	if (part->buffer)
		pfree(part->buffer);
	if (part->records && part->run == NULL)
		pfree(part->records);	/* otherwise they are the run's */
	memset(part, 0, sizeof(Part));
}

/* Totals by the model's own account. */
static RunTotals
totals_of(const Part *part)
{
	return (RunTotals) {
		.nrecords = part->nrecords, .nbytes = part->nbytes,
		.first_id = part->records[0].id,
		.last_id = part->records[part->nrecords - 1].id
	};
}

/* PRE_COMMIT */
void
append_parts(Transaction *t)
{
	if (t->appended)
		return;
	t->appended = true;
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		Part	   *part = &t->parts[i];
		pg_atomic_uint32 *flag;
		RunTotals	totals;

		if (part->nrecords == 0)
			continue;
		totals = totals_of(part);
		flag = queue_append(sim.model.q, part->stream->queue_stream, part->buffer, part->used,
							part->reserved, &totals);
		part->stream->reserved -= part->reserved;
		part->reserved = 0;
		part->run = model_append(part->stream, part->records, part->nrecords, flag);
	}
}

/* The transaction commits or aborts, at whatever point it is. */
void
end_transaction(Transaction *t, bool commit)
{
	if (commit)
		append_parts(t);
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		Part	   *part = &t->parts[i];

		if (part->run != NULL)
		{
			RunTotals	totals = totals_of(part);

			if (commit)
				queue_publish(part->stream->queue_stream, part->run->flag, &totals);
			else
				queue_drop(part->stream->queue_stream, part->run->flag);
			part->run->state = commit ? QUEUE_RUN_COMMITTED : QUEUE_RUN_ABORTED;
			part->stream->pending--;
			part->stream->drained = false;
			sim.tally.dropped += commit ? 0 : part->nrecords;
		}
		if (part->reserved > 0)
			unreserve(part, part->reserved);
		forget_part(part);
	}
	t->appended = false;
}
