/*
 * firehose_queue_test.c
 *		queue_model_test(seed, operations): random operations on a small queue
 *		in private memory, each compared with a simple model (model.h).
 *
 * One process plays all the parts: transactions that interleave, and the
 * senders of two databases, which are restarted at any time.  So this shows
 * that the queue's logic is right, not that its locking is.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "model.h"
#include "queue/ids.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(queue_model_test);

#define TRANSACTIONS	8
#define MAX_PAGES		96
#define WAITERS			8

/* A process that stands in a line; its proc number is its place here. */
typedef struct Waiter
{
	ModelStream *stream;		/* NULL: it does not */
	uint32		generation;
	Size		bytes;
	uint64		ticket;			/* order of arrival */
} Waiter;

/* A transaction's records for one stream, as put.c keeps them. */
typedef struct Part
{
	ModelStream *stream;		/* NULL: unused */
	char	   *buffer;
	Size		used;
	Size		reserved;
	ModelRecord *records;
	int			nrecords;
	ModelRun   *run;			/* once appended */
	uint64		nbytes;
} Part;

typedef struct Transaction
{
	bool		appended;
	Part		parts[MODEL_STREAMS];
} Transaction;

/* What happened, to see that the test tests something. */
typedef struct Tally
{
	int64		put;
	int64		full;
	int64		settled;
	int64		dropped;
	int64		restarts;
	int64		releases;
	int64		crowded;		/* found no place for a stream */
	int64		evicted;		/* without a reader */
	int64		asked;			/* whose reader gave the place up */
	int64		stale;
	int64		discarded;
	int64		waited;			/* stood in line */
	int64		served;			/* and got what they waited for */
	int64		cancelled;		/* left before */
} Tally;

static Model m;
static Tally tally;
static Transaction transactions[TRANSACTIONS];
static pg_prng_state prng;
static Oid	next_serverid;
static Waiter waiters[WAITERS];
static uint64 next_ticket;

static uint32
below(uint32 n)
{
	return pg_prng_uint64_range(&prng, 0, n - 1);
}

static bool
chance(double probability)
{
	return pg_prng_double(&prng) < probability;
}

/* Set-up ------------------------------------------------------------------ */

/* Memory at a multiple of `alignment`. */
static void *
allocate_aligned(Size size, Size alignment)
{
	return (void *) TYPEALIGN(alignment,
							  MemoryContextAllocHuge(CurrentMemoryContext, size + alignment));
}

/* A queue whose locks and memory are this function's own. */
static Queue *
make_queue(void)
{
	int			tranche = firehose_queue->table_lock->tranche;
	uint32		npages = 12 + below(MAX_PAGES - 12);
	/* often there are too few */
	int			max_streams = 3 + below(chance(0.5) ? 6 : 20);
	Size		size = queue_memory_size(npages, max_streams, WAITERS);
	LWLockPadded *locks = allocate_aligned(sizeof(LWLockPadded) * (max_streams + 1),
										   LWLOCK_PADDED_SIZE);
	Queue	   *q = allocate_aligned(size, QUEUE_PAGE_DATA);

	for (int i = 0; i <= max_streams; i++)
		LWLockInitialize(&locks[i].lock, tranche);
	/* what is not initialized shows as such */
	memset(q, 0x5a, size);
	queue_init(q, npages, max_streams, WAITERS, &locks[0].lock, locks + 1);
	/* no file is needed for so few ids */
	pg_atomic_write_u64(&q->id_limit, PG_INT64_MAX);
	return q;
}

static void
start(uint64 seed)
{
	pg_prng_seed(&prng, seed);
	memset(&m, 0, sizeof(m));
	memset(&tally, 0, sizeof(tally));
	memset(transactions, 0, sizeof(transactions));
	memset(waiters, 0, sizeof(waiters));
	next_serverid = 1000;
	m.seed = seed;
	m.q = make_queue();
	for (int i = 0; i < MODEL_SENDERS; i++)
		m.senders[i].dboid = i + 1;
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		m.streams[i].dboid = m.senders[i % MODEL_SENDERS].dboid;
		dlist_init(&m.streams[i].runs);
	}
}

/* Lines ------------------------------------------------------------------- */

/* Who stands first in a stream's line?  NULL: nobody. */
static Waiter *
first_in_line(const ModelStream *s)
{
	Waiter	   *first = NULL;

	for (int i = 0; i < WAITERS; i++)
	{
		if (waiters[i].stream == s && (first == NULL || waiters[i].ticket < first->ticket))
			first = &waiters[i];
	}
	return first;
}

static QueueWaiterState
state_of(const Waiter *w)
{
	return pg_atomic_read_u32(&queue_waiter(m.q, w - waiters)->state);
}

/*
 * Take note of those who were served.  They must have been the first of their
 * line, one after the other.  Several lines may have been served by turns, so
 * whether the accounts allowed it shows in that they agree in the end.
 */
static void
note_served(void)
{
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &m.streams[i];
		Waiter	   *w;

		while ((w = first_in_line(s)) != NULL && state_of(w) == QUEUE_WAITER_SERVED)
		{
			s->reserved += w->bytes;
			tally.served++;
			queue_leave_line(m.q, w - waiters);
			/* it has no use for it: another one may have it */
			w->stream = NULL;
			s->reserved -= w->bytes;
			queue_unreserve(m.q, s->queue_stream, w->bytes);
			i = -1;				/* which may have served anybody */
			break;
		}
	}
}

/*
 * Nobody is overtaken, and nobody sleeps who could have what he waits for.
 */
static void
check_lines(void)
{
	note_served();
	for (int i = 0; i < WAITERS; i++)
	{
		if (waiters[i].stream != NULL && state_of(&waiters[i]) != QUEUE_WAITER_IN_LINE)
			MISMATCH(&m, "waiter %d is in state %d behind another one", i, state_of(&waiters[i]));
	}
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		Waiter	   *w = first_in_line(&m.streams[i]);

		if (w != NULL && model_may_reserve(&m, &m.streams[i], w->bytes))
			MISMATCH(&m, "waiter %d sleeps although there is space", (int) (w - waiters));
	}
}

/* The entry changed hands: everybody in its line is told so. */
static void
dismiss(ModelStream *s)
{
	for (int i = 0; i < WAITERS; i++)
	{
		if (waiters[i].stream != s)
			continue;
		if (state_of(&waiters[i]) != QUEUE_WAITER_STALE ||
			queue_leave_line(m.q, i) != QUEUE_STALE)
			MISMATCH(&m, "waiter %d does not know that its stream is gone", i);
		waiters[i].stream = NULL;
	}
}

/* One joins a line, or leaves it without having got anything. */
static void
join_or_leave(void)
{
	Waiter	   *w = &waiters[below(WAITERS)];
	ModelStream *s = &m.streams[below(MODEL_STREAMS)];

	if (w->stream != NULL)
	{
		w->stream = NULL;
		if (queue_leave_line(m.q, w - waiters) != QUEUE_FULL)
			MISMATCH(&m, "waiter %d was served unseen", (int) (w - waiters));
		tally.cancelled++;
		return;
	}
	if (!OidIsValid(s->serverid) || s->dropped)
		return;
	w->stream = s;
	w->bytes = 1 + below(chance(0.5) ? 1000 : 20 * QUEUE_PAGE_DATA);
	w->ticket = next_ticket++;
	tally.waited++;
	queue_join_line(m.q, s->queue_stream, w - waiters, s->generation, w->bytes);
}

static ModelSender *
sender_of(const ModelStream *s)
{
	return &m.senders[s->dboid - 1];
}

static bool take(ModelStream *s);
static void settle(ModelStream *s);

/* Streams ----------------------------------------------------------------- */

static QueueReader *
make_reader(ModelStream *s)
{
	ModelSender *sender = sender_of(s);
	MemoryContext old = MemoryContextSwitchTo(sender->context);
	QueueReader *reader = palloc(sizeof(QueueReader));

	queue_reader_init(reader, m.q, s->queue_stream, sender->outstanding);
	MemoryContextSwitchTo(old);
	return reader;
}

static void forget_stream(ModelStream *s);

/* Does a stream owe nothing, and does nobody count on it? */
static bool
owes_nothing(ModelStream *s)
{
	return s->reserved == 0 && s->pending == 0 && model_pending(s) == 0;
}

/* Whose entry is it now?  Only who has no reader and owes nothing loses it. */
static void
note_evicted(void)
{
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &m.streams[i];

		if (!OidIsValid(s->serverid) ||
			pg_atomic_read_u32(&s->queue_stream->generation) == s->generation)
			continue;
		if (s->reader != NULL || !owes_nothing(s))
			MISMATCH(&m, "entry %d was taken from a stream that needs it",
					 queue_stream_number(m.q, s->queue_stream));
		tally.evicted++;
		forget_stream(s);
	}
}

/* No place for a stream: has an idle one been overlooked? */
static void
check_crowded(ModelStream *s)
{
	tally.crowded++;
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (OidIsValid(m.streams[i].serverid) &&
			pg_atomic_read_u32(&m.streams[i].queue_stream->asked_to_leave) != 0)
			return;
	}
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *other = &m.streams[i];

		if (OidIsValid(other->serverid) && other->dboid == s->dboid && owes_nothing(other) &&
			first_in_line(other) == NULL)
			MISMATCH(&m, "entry %d is idle and was not asked for", queue_stream_number(m.q, other->queue_stream));
	}
}

/* Claim an entry for a new stream; false: there is none. */
static bool
claim(ModelStream *s)
{
	char		name[NAMEDATALEN];
	uint32		generation;
	uint32		again;

	QueueStream *queue_stream;

	note_served();
	snprintf(name, sizeof(name), "stream %u", next_serverid);
	queue_stream = queue_find_or_claim(m.q, s->dboid, next_serverid, name, &s->generation);
	note_evicted();
	if (queue_stream == NULL)
	{
		check_crowded(s);
		return false;
	}
	s->serverid = next_serverid++;
	s->queue_stream = queue_stream;
	if (queue_find_or_claim(m.q, s->dboid, s->serverid, name, &again) != s->queue_stream ||
		again != s->generation)
		MISMATCH(&m, "a stream has two entries");
	generation = pg_atomic_read_u32(&s->queue_stream->generation);
	if (generation != s->generation || s->queue_stream->npages != 0)
		MISMATCH(&m, "entry %d is not new", queue_stream_number(m.q, s->queue_stream));
	s->dropped = false;
	s->reserved = 0;
	s->end = 0;
	if (sender_of(s)->alive)
		model_start_reader(s, make_reader(s));
	return true;
}

/* The entry is gone. */
static void
forget_stream(ModelStream *s)
{
	uint32		generation = s->generation;

	dismiss(s);
	/* who comes with what he knew of it is told so */
	if (queue_reserve(m.q, s->queue_stream, generation, 100, 0) != QUEUE_STALE)
		MISMATCH(&m, "entry %d takes records for a stream that has lost it",
				 queue_stream_number(m.q, s->queue_stream));
	tally.stale++;
	model_stop_reader(s);
	dlist_init(&s->runs);
	s->serverid = InvalidOid;
}

/*
 * A sender parts with a stream that owes nothing to its knowledge: because it
 * was dropped, or because its entry is needed.
 */
static void
release(ModelStream *s)
{
	bool		open = s->reserved > 0 || s->pending > 0;
	bool		asked = s->reader != NULL &&
		pg_atomic_exchange_u32(&s->queue_stream->asked_to_leave, 0) != 0;

	if (!asked && !s->dropped)
	{
		queue_mark_dropped(m.q, s->queue_stream);
		s->dropped = true;
	}
	if (s->reader == NULL || s->claimed != NIL)
		return;
	while (take(s))
		settle(s);
	if (!s->drained || s->deferred != NIL)
		return;
	note_served();
	if (queue_release_stream(m.q, s->queue_stream) == open)
		MISMATCH(&m, "entry %d, which is %s, is %s", queue_stream_number(m.q, s->queue_stream),
				 open ? "in use" : "idle", open ? "released" : "not released");
	if (open)
		return;
	tally.releases++;
	tally.asked += asked;
	forget_stream(s);
}

/*
 * A database goes, with what it owes, except what open transactions count on.
 */
static void
discard_database(ModelSender *sender)
{
	uint64		expected = 0;
	uint64		discarded;
	ModelStream *gone[MODEL_STREAMS];
	int			ngone = 0;

	note_served();
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &m.streams[i];

		if (!OidIsValid(s->serverid) || s->dboid != sender->dboid ||
			s->reserved > 0 || s->pending > 0)
			continue;
		expected += model_pending(s);
		gone[ngone++] = s;
	}
	discarded = queue_discard_database(m.q, sender->dboid);
	if (discarded != expected)
		MISMATCH(&m, UINT64_FORMAT " records were discarded, not " UINT64_FORMAT,
				 discarded, expected);
	tally.discarded += discarded;
	for (int i = 0; i < ngone; i++)
		forget_stream(gone[i]);
}

/* Producers --------------------------------------------------------------- */

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
	expected = first_in_line(s) == NULL && model_may_reserve(&m, s, bytes);
	result = queue_reserve(m.q, s->queue_stream, s->generation, bytes, 0);

	if (result != (expected ? QUEUE_RESERVED : QUEUE_FULL))
		MISMATCH(&m, "entry %d %s room for %zu bytes", queue_stream_number(m.q, s->queue_stream),
				 expected ? "should have had" : "should have had no", bytes);
	if (expected)
		s->reserved += bytes;
	else
		tally.full++;
	return expected;
}

static void
unreserve(Part *part, Size bytes)
{
	queue_unreserve(m.q, part->stream->queue_stream, bytes);
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
static void
put(Transaction *t)
{
	ModelStream *s = &m.streams[below(MODEL_STREAMS)];
	Part	   *part = &t->parts[s - m.streams];
	int			n = chance(0.8) ? 1 : 1 + below(20);

	if (t->appended)
		return;
	if (!OidIsValid(s->serverid) && !claim(s))
		return;
	for (int i = 0; i < n; i++)
	{
		uint32		length = choose_length(s->end + sizeof(QueueRun) + part->used);
		Size		needed = sizeof(QueueRun) + part->used + QUEUE_RECORD_SPACE(length);

		if (needed > part->reserved)
		{
			Size		missing = needed - part->reserved + (chance(0.2) ? below(20000) : 0);

			if (s->dropped && part->reserved == 0)
				return;			/* nobody finds it any more */
			if (!reserve(s, missing))
				return;
			part->reserved += missing;
			part->stream = s;
		}
		add_record(part, queue_next_ids(m.q, 1), length);
		tally.put++;
	}
}

/* A savepoint: cut the buffer off, and give back what it does not need. */
static void
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
static void
append(Transaction *t)
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
		flag = queue_append(m.q, part->stream->queue_stream, part->buffer, part->used,
							part->reserved, &totals);
		part->stream->reserved -= part->reserved;
		part->reserved = 0;
		part->run = model_append(part->stream, part->records, part->nrecords, flag);
	}
}

/* The transaction commits or aborts, at whatever point it is. */
static void
end_transaction(Transaction *t, bool commit)
{
	if (commit)
		append(t);
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
			tally.dropped += commit ? 0 : part->nrecords;
		}
		if (part->reserved > 0)
			unreserve(part, part->reserved);
		forget_part(part);
	}
	t->appended = false;
}

/* Consumers --------------------------------------------------------------- */

static void
start_sender(ModelSender *sender)
{
	sender->alive = true;
	sender->context = AllocSetContextCreate(CurrentMemoryContext, "sender",
											ALLOCSET_DEFAULT_SIZES);
	sender->outstanding = MemoryContextAllocZero(sender->context,
												 m.q->npages * sizeof(uint32));
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &m.streams[i];

		if (OidIsValid(s->serverid) && s->dboid == sender->dboid)
			model_start_reader(s, make_reader(s));
	}
}

/* It goes without a word: only what it has settled is known. */
static void
stop_sender(ModelSender *sender)
{
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (m.streams[i].dboid == sender->dboid)
			model_stop_reader(&m.streams[i]);
	}
	MemoryContextDelete(sender->context);
	sender->alive = false;
	tally.restarts++;
}

static void
check_payload(ModelStream *s, const ClaimedRecord *claimed)
{
	QueuePlace	place = queue_reader_payload(s->reader, claimed);
	char	   *is = palloc(claimed->length + 1);
	char	   *expected = palloc(claimed->length + 1);

	queue_read(m.q, &place.page, &place.offset, is, claimed->length);
	model_fill_payload(claimed->id, expected, claimed->length);
	if (memcmp(is, expected, claimed->length) != 0)
		MISMATCH(&m, "record " UINT64_FORMAT " has other bytes than were put", claimed->id);
	pfree(is);
	pfree(expected);
}

/* Take a record, if there is one. */
static bool
take(ModelStream *s)
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
			MISMATCH(&m, "entry %d hands out record " UINT64_FORMAT ", not " UINT64_FORMAT,
					 queue_stream_number(m.q, s->queue_stream), got ? claimed.id : 0, expected ? expected->id : 0);
		if (queue_reader_has_more(s->reader) != model_has_ended_deferred(s))
			MISMATCH(&m, "entry %d hands out nothing, and then is wrong about having more",
					 queue_stream_number(m.q, s->queue_stream));
		if (queue_reader_has_deferred(s->reader) != (s->deferred != NIL))
			MISMATCH(&m, "entry %d has other runs put aside", queue_stream_number(m.q, s->queue_stream));
		if (s->deferred == NIL && queue_reader_read_upto(s->reader) != s->end)
			MISMATCH(&m, "entry %d is not read up to its end", queue_stream_number(m.q, s->queue_stream));
		return false;
	}
	if (!more)
		MISMATCH(&m, "entry %d has nothing more to read and hands out a record",
				 queue_stream_number(m.q, s->queue_stream));
	if (claimed.id != expected->id || claimed.length != expected->length ||
		claimed.attempts != expected->attempts || claimed.position != expected->position ||
		claimed.queued_at != (TimestampTz) expected->id)
		MISMATCH(&m, "entry %d hands out record " UINT64_FORMAT " at " UINT64_FORMAT " (%u bytes, %u attempts), not "
				 UINT64_FORMAT " at " UINT64_FORMAT " (%u, %u)", queue_stream_number(m.q, s->queue_stream),
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

static void
settle(ModelStream *s)
{
	int			i = chance(0.5) ? 0 : below(list_length(s->claimed));
	ModelClaimed *t = list_nth(s->claimed, i);

	/* they stay as they were for as long as they are outstanding */
	check_payload(s, &t->claimed);
	queue_reader_settle(s->reader, &t->claimed);
	t->record->settled = true;
	tally.settled++;
	s->claimed = list_delete_nth_cell(s->claimed, i);
	pfree(t);
}

/* What a sender does in one round for one stream. */
static void
consume(ModelStream *s)
{
	ModelSender *sender = sender_of(s);

	if (!OidIsValid(s->serverid))
		return;
	if (!sender->alive)
		start_sender(sender);
	for (int n = below(30); n > 0 && take(s); n--)
	{
		if (chance(0.3))
		{
			ModelClaimed *t = llast(s->claimed);

			queue_reader_count_attempt(s->reader, &t->claimed);
			t->record->attempts++;
		}
	}
	for (int n = below(30); n > 0 && s->claimed != NIL; n--)
		settle(s);
}

/* The test ---------------------------------------------------------------- */

static void
do_something(void)
{
	Transaction *t = &transactions[below(TRANSACTIONS)];
	ModelStream *s = &m.streams[below(MODEL_STREAMS)];
	ModelSender *sender = &m.senders[below(MODEL_SENDERS)];
	double		dice = pg_prng_double(&prng);

	if (dice < 0.1)
		join_or_leave();
	else if (dice < 0.5)
		put(t);
	else if (dice < 0.55)
		roll_back_part(t);
	else if (dice < 0.62)
		append(t);
	else if (dice < 0.72)
		end_transaction(t, chance(0.75));
	else if (dice < 0.97)
		consume(s);
	else if (dice < 0.98 && sender->alive)
	{
		stop_sender(sender);
		if (chance(0.1))
			discard_database(sender);
	}
	else if (OidIsValid(s->serverid))
		release(s);
}

/* All transactions end, all is delivered: nothing may be left but tails. */
static void
finish(void)
{
	uint32		tails = 0;

	for (int i = 0; i < WAITERS; i++)
	{
		note_served();
		if (waiters[i].stream != NULL)
			queue_leave_line(m.q, i);
		waiters[i].stream = NULL;
	}
	for (int i = 0; i < TRANSACTIONS; i++)
		end_transaction(&transactions[i], chance(0.75));
	for (int i = 0; i < MODEL_SENDERS; i++)
	{
		if (!m.senders[i].alive)
			start_sender(&m.senders[i]);
	}
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &m.streams[i];

		if (!OidIsValid(s->serverid))
			continue;
		while (take(s))
			;
		/* an aborted run met on the way is only deferred then */
		(void) take(s);
		while (s->claimed != NIL)
			settle(s);
		model_check_stream(&m, s);
		if (model_pending(s) != 0 || s->queue_stream->npages > 1)
			MISMATCH(&m, "entry %d keeps %u pages", queue_stream_number(m.q, s->queue_stream), s->queue_stream->npages);
		tails += s->queue_stream->npages;
	}
	model_check_reservations(&m);
	if (m.q->promised != 0 || m.q->free_pages + tails != m.q->npages)
		MISMATCH(&m, "%u pages of %u are free at the end", m.q->free_pages, m.q->npages);

	/* the next senders find nothing */
	for (int i = 0; i < MODEL_SENDERS; i++)
	{
		stop_sender(&m.senders[i]);
		start_sender(&m.senders[i]);
	}
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (OidIsValid(m.streams[i].serverid))
			(void) take(&m.streams[i]);
	}
}

Datum
queue_model_test(PG_FUNCTION_ARGS)
{
	uint64		seed = PG_GETARG_INT64(0);
	int			operations = PG_GETARG_INT32(1);
	MemoryContext context;
	MemoryContext old;

	if (firehose_queue == NULL)
		elog(ERROR, "firehose is not preloaded");
	context = AllocSetContextCreate(CurrentMemoryContext, "queue model test",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	start(seed);
	for (m.step = 1; m.step <= operations; m.step++)
	{
		ModelStream *s = &m.streams[below(MODEL_STREAMS)];

		CHECK_FOR_INTERRUPTS();
		do_something();
		check_lines();
		model_check_reservations(&m);
		if (OidIsValid(s->serverid))
		{
			model_check_stream(&m, s);
			model_prune(s);
		}
	}
	finish();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);

	PG_RETURN_TEXT_P(cstring_to_text(psprintf(
		"put " INT64_FORMAT ", full " INT64_FORMAT ", settled " INT64_FORMAT
		", dropped " INT64_FORMAT ", restarts " INT64_FORMAT ", releases " INT64_FORMAT
		", crowded " INT64_FORMAT ", evicted " INT64_FORMAT ", asked " INT64_FORMAT
		", stale " INT64_FORMAT ", discarded " INT64_FORMAT
		", waited " INT64_FORMAT ", served " INT64_FORMAT ", cancelled " INT64_FORMAT,
		tally.put, tally.full, tally.settled, tally.dropped, tally.restarts,
		tally.releases, tally.crowded, tally.evicted, tally.asked, tally.stale, tally.discarded,
		tally.waited, tally.served, tally.cancelled)));
}
