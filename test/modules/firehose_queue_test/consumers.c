/*
 * consumers.c
 *		The senders of two databases, which are restarted at any time.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "simulation.h"

ModelSender *
sender_of(const ModelStream *s)
{
	return &sim.model.senders[s->dboid - 1];
}

QueueReader *
make_reader(ModelStream *s)
{
	ModelSender *sender = sender_of(s);
	MemoryContext old = MemoryContextSwitchTo(sender->context);
	QueueReader *reader = palloc(sizeof(QueueReader));

	queue_reader_init(reader, sim.model.q, s->queue_stream, sender->outstanding);
	MemoryContextSwitchTo(old);
	return reader;
}

void
start_sender(ModelSender *sender)
{
	sender->alive = true;
	sender->context = AllocSetContextCreate(CurrentMemoryContext, "sender",
											ALLOCSET_DEFAULT_SIZES);
	sender->outstanding = MemoryContextAllocZero(sender->context,
												 sim.model.q->npages * sizeof(uint32));
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &sim.model.streams[i];

		if (OidIsValid(s->serverid) && s->dboid == sender->dboid)
			model_start_reader(s, make_reader(s));
	}
}

/* It goes without a word: only what it has settled is known. */
void
stop_sender(ModelSender *sender)
{
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (sim.model.streams[i].dboid == sender->dboid)
			model_stop_reader(&sim.model.streams[i]);
	}
	MemoryContextDelete(sender->context);
	sender->alive = false;
	sim.tally.restarts++;
}

static void
check_payload(ModelStream *s, const ClaimedRecord *claimed)
{
	QueuePlace	place = queue_reader_payload(s->reader, claimed);
	char	   *is = palloc(claimed->length + 1);
	char	   *expected = palloc(claimed->length + 1);

	queue_read(sim.model.q, &place.page, &place.offset, is, claimed->length);
	model_fill_payload(claimed->id, expected, claimed->length);
	if (memcmp(is, expected, claimed->length) != 0)
		MISMATCH(&sim.model, "record " UINT64_FORMAT " has other bytes than were put", claimed->id);
	pfree(is);
	pfree(expected);
}

/* Take a record, if there is one. */
bool
take_record(ModelStream *s)
{
	bool		more = queue_reader_has_more(s->reader);
	ModelRun   *run = NULL;
	ModelRecord *expected;
	ModelClaimed *t;
	ClaimedRecord	claimed;
	bool		got;

	got = queue_reader_next(s->reader, &claimed);
	expected = model_next(s, &run);
	if (!got || expected == NULL)
	{
		if (got || expected != NULL)
			MISMATCH(&sim.model, "entry %d hands out record " UINT64_FORMAT ", not " UINT64_FORMAT,
					 queue_stream_number(sim.model.q, s->queue_stream), got ? claimed.id : 0, expected ? expected->id : 0);
		if (queue_reader_has_more(s->reader) != model_has_ended_deferred(s))
			MISMATCH(&sim.model, "entry %d hands out nothing, and then is wrong about having more",
					 queue_stream_number(sim.model.q, s->queue_stream));
		if (queue_reader_has_deferred(s->reader) != (s->deferred != NIL))
			MISMATCH(&sim.model, "entry %d has other runs put aside", queue_stream_number(sim.model.q, s->queue_stream));
		if (s->deferred == NIL && queue_reader_read_upto(s->reader) != s->end)
			MISMATCH(&sim.model, "entry %d is not read up to its end", queue_stream_number(sim.model.q, s->queue_stream));
		return false;
	}
	if (!more)
		MISMATCH(&sim.model, "entry %d has nothing more to read and hands out a record",
				 queue_stream_number(sim.model.q, s->queue_stream));
	if (claimed.id != expected->id || claimed.length != expected->length ||
		claimed.attempts != expected->attempts || claimed.position != expected->position ||
		claimed.queued_at != (TimestampTz) expected->id)
		MISMATCH(&sim.model, "entry %d hands out record " UINT64_FORMAT " at " UINT64_FORMAT " (%u bytes, %u attempts), not "
				 UINT64_FORMAT " at " UINT64_FORMAT " (%u, %u)", queue_stream_number(sim.model.q, s->queue_stream),
				 claimed.id, claimed.position, claimed.length, claimed.attempts,
				 expected->id, expected->position, expected->length, expected->attempts);
	check_payload(s, &claimed);

	t = palloc(sizeof(ModelClaimed));
	t->claimed = claimed;
	t->record = expected;
	t->run = run;
	s->claimed = lappend(s->claimed, t);
	return true;
}

void
settle_record(ModelStream *s)
{
	int			i = chance(0.5) ? 0 : below(list_length(s->claimed));
	ModelClaimed *t = list_nth(s->claimed, i);

	/* they stay as they were for as long as they are outstanding */
	check_payload(s, &t->claimed);
	queue_reader_settle(s->reader, &t->claimed);
	t->record->settled = true;
	sim.tally.settled++;
	s->claimed = list_delete_nth_cell(s->claimed, i);
	pfree(t);
}

/* What a sender does in one round for one stream. */
void
consume_some(ModelStream *s)
{
	ModelSender *sender = sender_of(s);

	if (!OidIsValid(s->serverid))
		return;
	if (!sender->alive)
		start_sender(sender);
	for (int n = below(30); n > 0 && take_record(s); n--)
	{
		if (chance(0.3))
		{
			ModelClaimed *t = llast(s->claimed);

			queue_reader_count_attempt(s->reader, &t->claimed);
			t->record->attempts++;
		}
	}
	for (int n = below(30); n > 0 && s->claimed != NIL; n--)
		settle_record(s);
	queue_reader_serve_waiters(sim.model.q);
}
