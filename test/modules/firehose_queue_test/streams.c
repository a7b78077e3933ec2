/*
 * streams.c
 *		The coming and going of streams, and who keeps an entry of the table.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "simulation.h"

/* Does a stream owe nothing, and does no producer count on it? */
static bool
owes_nothing(ModelStream *s)
{
	return s->reserved == 0 && s->pending == 0 && model_pending(s) == 0;
}

/* Whose entry is it now?  Only who has no reader and owes nothing loses it. */
void
note_evicted(void)
{
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &sim.model.streams[i];

		if (!OidIsValid(s->serverid) ||
			pg_atomic_read_u32(&s->queue_stream->generation) == s->generation)
			continue;
		if (s->reader != NULL || !owes_nothing(s))
			MISMATCH(&sim.model, "entry %d was taken from a stream that needs it",
					 queue_stream_number(sim.model.q, s->queue_stream));
		sim.tally.evicted++;
		forget_stream(s);
	}
}

/* No place for a stream: has an idle one been overlooked? */
static void
check_crowded(ModelStream *s)
{
	sim.tally.crowded++;
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (OidIsValid(sim.model.streams[i].serverid) &&
			pg_atomic_read_u32(&sim.model.streams[i].queue_stream->asked_to_leave) != 0)
			return;
	}
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *other = &sim.model.streams[i];

		if (OidIsValid(other->serverid) && other->dboid == s->dboid && owes_nothing(other) &&
			first_in_line(other) == NULL)
			MISMATCH(&sim.model, "entry %d is idle and was not asked for", queue_stream_number(sim.model.q, other->queue_stream));
	}
}

/* Claim an entry for a new stream; false: there is none. */
bool
claim_stream(ModelStream *s)
{
	char		name[NAMEDATALEN];
	uint32		generation;
	uint32		again;

	QueueStream *queue_stream;

	note_served();
	snprintf(name, sizeof(name), "stream %u", sim.next_serverid);
	queue_stream = queue_find_or_claim(sim.model.q, s->dboid, sim.next_serverid, name, &s->generation);
	note_evicted();
	if (queue_stream == NULL)
	{
		check_crowded(s);
		return false;
	}
	s->serverid = sim.next_serverid++;
	s->queue_stream = queue_stream;
	if (queue_find_or_claim(sim.model.q, s->dboid, s->serverid, name, &again) != s->queue_stream ||
		again != s->generation)
		MISMATCH(&sim.model, "a stream has two entries");
	generation = pg_atomic_read_u32(&s->queue_stream->generation);
	if (generation != s->generation || s->queue_stream->npages != 0)
		MISMATCH(&sim.model, "entry %d is not new", queue_stream_number(sim.model.q, s->queue_stream));
	s->dropped = false;
	s->reserved = 0;
	s->end = 0;
	if (sender_of(s)->alive)
		model_start_reader(s, make_reader(s));
	return true;
}

/* The entry is gone. */
void
forget_stream(ModelStream *s)
{
	uint32		generation = s->generation;

	dismiss_line(s);
	/* whoever comes with what was known of it is told so */
	if (queue_reserve(sim.model.q, s->queue_stream, generation, 100, 0) != QUEUE_STALE)
		MISMATCH(&sim.model, "entry %d takes records for a stream that has lost it",
				 queue_stream_number(sim.model.q, s->queue_stream));
	sim.tally.stale++;
	model_stop_reader(s);
	dlist_init(&s->runs);
	s->serverid = InvalidOid;
}

/*
 * A sender parts with a stream that owes nothing to its knowledge: because it
 * was dropped, or because its entry is needed.
 */
void
release_stream(ModelStream *s)
{
	bool		open = s->reserved > 0 || s->pending > 0;
	bool		asked = s->reader != NULL &&
		pg_atomic_exchange_u32(&s->queue_stream->asked_to_leave, 0) != 0;

	if (!asked && !s->dropped)
	{
		queue_mark_dropped(sim.model.q, s->queue_stream);
		s->dropped = true;
	}
	if (s->reader == NULL || s->claimed != NIL)
		return;
	while (take_record(s))
		settle_record(s);
	queue_reader_serve_waiters(sim.model.q);
	if (!s->drained || s->deferred != NIL)
		return;
	note_served();
	if (queue_release_stream(sim.model.q, s->queue_stream) == open)
		MISMATCH(&sim.model, "entry %d, which is %s, is %s", queue_stream_number(sim.model.q, s->queue_stream),
				 open ? "in use" : "idle", open ? "released" : "not released");
	if (open)
		return;
	sim.tally.releases++;
	sim.tally.asked += asked;
	forget_stream(s);
}

/*
 * A database goes, with what it owes, except what open transactions count on.
 */
void
discard_database(ModelSender *sender)
{
	uint64		expected = 0;
	uint64		discarded;
	ModelStream *gone[MODEL_STREAMS];
	int			ngone = 0;

	note_served();
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &sim.model.streams[i];

		if (!OidIsValid(s->serverid) || s->dboid != sender->dboid ||
			s->reserved > 0 || s->pending > 0)
			continue;
		expected += model_pending(s);
		gone[ngone++] = s;
	}
	discarded = queue_discard_database(sim.model.q, sender->dboid);
	if (discarded != expected)
		MISMATCH(&sim.model, UINT64_FORMAT " records were discarded, not " UINT64_FORMAT,
				 discarded, expected);
	sim.tally.discarded += discarded;
	for (int i = 0; i < ngone; i++)
		forget_stream(gone[i]);
}
