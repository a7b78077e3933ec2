/*
 * reader.c
 *		The consumer's side of the queue.
 *
 * Runs in the sender only.  Walks the chain without its lock, below
 * end_position, as the contract in queue.h allows the one reader; takes the
 * lock, inside queue_free_page, to give pages back.
 *
 * A response frees many pages at once.  Those that wait for space are served
 * when it has been dealt with, so that a line is gone through once for all of
 * them, and no process is woken that would then wait for the chain's lock.
 */
#include "postgres.h"

#include "queue/chain.h"
#include "queue/reader.h"
#include "queue/reserve.h"
#include "queue/wake.h"

/*
 * How far ahead of the reader memory is prefetched, in bytes: some small
 * records.
 */
#define PREFETCH_AHEAD	2048
#define PREFETCH_LINE	64

/* A run that was pending when the reader came by. */
typedef struct DeferredRun
{
	dlist_node	node;
	pg_atomic_uint32 *state;
	QueuePlace	header;			/* of the run; pages are held from here on */
	QueuePlace	at;				/* first of what was not handed out */
	QueuePosition position;		/* the same */
	QueuePosition end;
	bool		decided;		/* its transaction has ended */
} DeferredRun;

/* A stream of which pages were freed since waiters were served. */
static QueueStream *freed = NULL;

static bool seek(QueueReader *r, QueuePosition pos, QueuePosition end);
static QueuePosition pass_run(QueueReader *r);
static void defer_run(QueueReader *r, const QueueRun *run);
static void finish_deferred(QueueReader *r, DeferredRun *d);
static bool next_deferred(QueueReader *r, ClaimedRecord *claimed);

static inline QueuePosition
page_start(Queue *q, QueuePageNo no)
{
	return queue_page(q, no)->seq * QUEUE_PAGE_DATA;
}

/*
 * A record's header, for what lies in its first 8 bytes, which no page
 * boundary divides: kind, state, attempts and length.
 */
static inline QueueRecord *
record_at(QueueReader *r, QueuePlace place)
{
	return (QueueRecord *) (queue_data(r->q, place.page) + place.offset);
}

/*
 * Free a page that is no longer needed: the reader has left it, and none of
 * its records is outstanding.
 */
static inline void
free_if_unused(QueueReader *r, QueuePageNo no)
{
	if (r->outstanding[no] == 0 && no != r->at.page &&
		queue_page(r->q, no)->seq < queue_page(r->q, r->at.page)->seq)
	{
		queue_free_page(r->q, r->stream, no);
		freed = r->stream;
	}
}

void
queue_reader_serve_waiters(Queue *q)
{
	QueueStream *s = freed;

	if (s == NULL)
		return;
	freed = NULL;
	queue_serve_waiters(q, s);
}

void
queue_reader_init(QueueReader *r, Queue *q, QueueStream *s, uint32 *outstanding)
{
	memset(r, 0, sizeof(QueueReader));
	r->q = q;
	r->stream = s;
	r->outstanding = outstanding;
	r->context = CurrentMemoryContext;
	r->at.page = QUEUE_NO_PAGE;
	r->read_records = pg_atomic_read_u64(&s->finished_records);
	r->read_bytes = pg_atomic_read_u64(&s->finished_bytes);
	dlist_init(&r->deferred);
}

/*
 * Move to a position, over page boundaries and over the gaps that freed pages
 * left (an earlier reader's doing: nothing in them is pending).  False when
 * there is nothing to be read there yet.
 */
static bool
seek(QueueReader *r, QueuePosition pos, QueuePosition end)
{
	Queue	   *q = r->q;

	for (;;)
	{
		QueuePage  *page = queue_page(q, r->at.page);
		QueuePosition start = page->seq * QUEUE_PAGE_DATA;
		QueuePageNo left;

		if (pos < start)
		{
			uint32		first = pg_atomic_read_u32(&page->first_item);

			pos = start + (first == QUEUE_NO_OFFSET ? QUEUE_PAGE_DATA : first);
			pos = Min(pos, end);
		}
		r->position = pos;
		r->at.offset = pos - start;
		if (pos < start + QUEUE_PAGE_DATA)
			return pos < end;
		/* at the very end of a page there may be no next one yet */
		if (pos == start + QUEUE_PAGE_DATA && pos == end)
			return false;
		left = r->at.page;
		r->at.page = page->next;
		free_if_unused(r, left);
	}
}

/* Begin with a chain that was empty when the reader was made. */
static void
start_at_head(QueueReader *r)
{
	LWLockAcquire(r->stream->lock, LW_SHARED);
	r->at.page = r->stream->head;
	r->at.offset = 0;
	LWLockRelease(r->stream->lock);
}

static inline uint8
kind_at(QueueReader *r)
{
	return *(uint8 *) (queue_data(r->q, r->at.page) + r->at.offset);
}

/*
 * Records are read at about the distance of their headers, which are far from
 * the CPU when the queue is long: prefetch the next ones.  Beyond the end of
 * the page that prefetches another page's bytes in vain.
 */
static inline void
prefetch_records(const char *at)
{
#ifdef __GNUC__
	__builtin_prefetch(at + PREFETCH_AHEAD);
	__builtin_prefetch(at + PREFETCH_AHEAD + PREFETCH_LINE);
#endif
}

/* Count (by +1 or -1) something on every page between two positions. */
static void
hold_pages(QueueReader *r, QueuePageNo no, QueuePosition end, int change)
{
	for (;;)
	{
		QueuePageNo next = queue_page(r->q, no)->next;
		bool		last = page_start(r->q, no) + QUEUE_PAGE_DATA >= end;

		r->outstanding[no] += change;
		if (change < 0)
			free_if_unused(r, no);
		if (last)
			break;
		no = next;
	}
}

/* The CommitRef of a pipeline's record is behind its header. */
static void
read_commit_ref(QueueReader *r, QueuePlace at, CommitRef *origin)
{
	QueueRecord skipped;

	queue_read(r->q, &at.page, &at.offset, &skipped, sizeof(skipped));
	queue_read(r->q, &at.page, &at.offset, origin, sizeof(CommitRef));
}

/* Hand out the record whose header stands at a place, unless it is settled. */
static bool
take(QueueReader *r, QueuePlace at, QueuePosition position, ClaimedRecord *claimed,
	 QueuePosition *end)
{
	const QueueRecord *record = record_at(r, at);
	Size		left = QUEUE_PAGE_DATA - at.offset;
	QueueRecord copy;
	Size		space;

	prefetch_records((const char *) record);
	if (unlikely(left < sizeof(QueueRecord)))
	{
		QueuePlace	place = at;

		queue_read(r->q, &place.page, &place.offset, &copy, sizeof(copy));
		record = &copy;
	}
	space = QUEUE_ITEM_SPACE(record->kind, record->length);
	*end = position + space;
	if (record->state == QUEUE_RECORD_DONE)
		return false;

	claimed->place = at;
	claimed->position = position;
	claimed->id = record->id;
	claimed->queued_at = record->queued_at;
	claimed->length = record->length;
	claimed->attempts = record->attempts;
	claimed->kind = record->kind;
	claimed->refused = 0;
	claimed->group = 0;
	r->read_records++;
	r->read_bytes += record->length;
	if (QUEUE_ITEM_HAS_ORIGIN(record->kind))
		read_commit_ref(r, at, &claimed->origin);
	if (likely(space <= left))
		r->outstanding[at.page]++;
	else
		hold_pages(r, at.page, *end, 1);
	return true;
}

bool
queue_reader_next(QueueReader *r, ClaimedRecord *claimed)
{
	QueuePosition end = pg_atomic_read_u64(&r->stream->end_position);

	pg_read_barrier();			/* pairs with queue_append's */
	if (!dlist_is_empty(&r->deferred) && next_deferred(r, claimed))
		return true;
	if (r->at.page == QUEUE_NO_PAGE)
	{
		if (end == 0)
			return false;
		start_at_head(r);
	}

	/* at the end, too, for the pages that it leaves behind */
	while (seek(r, r->position, end))
	{
		if (kind_at(r) == QUEUE_ITEM_RUN)
		{
			r->position = pass_run(r);
			pg_read_barrier();	/* pairs with queue_publish's */
		}
		else
		{
			QueuePosition next;
			bool		pending = take(r, r->at, r->position, claimed, &next);

			r->position = next;
			if (pending)
				return true;
		}
	}
	return false;
}

/* Note in a run's header that a reader has passed it. */
static void
mark_visited(QueueReader *r, QueuePageNo page, uint32 offset)
{
	((QueueRun *) (queue_data(r->q, page) + offset))->visited = true;
}

/*
 * Pass the run header the reader stands at: into a committed run, round any
 * other.  Returns where to continue.
 */
static QueuePosition
pass_run(QueueReader *r)
{
	QueueRun	run;
	QueuePlace	place = r->at;

	queue_read(r->q, &place.page, &place.offset, &run, sizeof(run));
	if (run.visited)
		return r->position + sizeof(run);
	if (pg_atomic_read_u32(&run.state) == QUEUE_RUN_COMMITTED)
	{
		mark_visited(r, r->at.page, r->at.offset);
		return r->position + sizeof(run);
	}
	defer_run(r, &run);
	return run.end;
}

/* Defer the run whose header the reader stands at, holding its pages. */
static void
defer_run(QueueReader *r, const QueueRun *run)
{
	DeferredRun *d = MemoryContextAllocZero(r->context, sizeof(DeferredRun));
	QueuePlace	place = r->at;
	char		header[sizeof(QueueRun)];

	d->header = r->at;
	d->position = r->position + sizeof(QueueRun);
	d->end = run->end;

	/* where the run's flag stands, and its first record */
	queue_read(r->q, &place.page, &place.offset, header, offsetof(QueueRun, state));
	if (place.offset == QUEUE_PAGE_DATA)
	{
		place.page = queue_page(r->q, place.page)->next;
		place.offset = 0;
	}
	d->state = (pg_atomic_uint32 *) (queue_data(r->q, place.page) + place.offset);
	queue_read(r->q, &place.page, &place.offset, header,
			   sizeof(QueueRun) - offsetof(QueueRun, state));
	d->at = place;

	hold_pages(r, d->header.page, d->end, 1);
	dlist_push_tail(&r->deferred, &d->node);
}

/* Stand at the next record of a run that was deferred; false: at its end. */
static bool
seek_in_deferred(QueueReader *r, DeferredRun *d)
{
	if (d->position >= d->end)
		return false;
	while (d->position >= page_start(r->q, d->at.page) + QUEUE_PAGE_DATA)
		d->at.page = queue_page(r->q, d->at.page)->next;
	d->at.offset = d->position - page_start(r->q, d->at.page);
	return true;
}

/*
 * The records of an aborted run are settled, without a change of the counters,
 * which never counted them.
 */
static void
settle_aborted(QueueReader *r, DeferredRun *d)
{
	while (seek_in_deferred(r, d))
	{
		QueueRecord *record = record_at(r, d->at);

		record->state = QUEUE_RECORD_DONE;
		d->position += QUEUE_ITEM_SPACE(record->kind, record->length);
	}
}

/* Has a run that was deferred been decided on by now? */
static bool
deferred_has_ended(QueueReader *r, DeferredRun *d)
{
	uint32		state;

	if (d->decided)
		return true;
	state = pg_atomic_read_u32(d->state);
	if (state == QUEUE_RUN_PENDING)
		return false;
	pg_read_barrier();
	d->decided = true;
	if (state == QUEUE_RUN_ABORTED)
		settle_aborted(r, d);
	return true;
}

/* Hand out the next record of a run that was deferred and has committed. */
static bool
next_deferred(QueueReader *r, ClaimedRecord *claimed)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &r->deferred)
	{
		DeferredRun *d = dlist_container(DeferredRun, node, iter.cur);

		if (!deferred_has_ended(r, d))
			continue;
		while (seek_in_deferred(r, d))
		{
			QueuePosition next;
			bool		pending = take(r, d->at, d->position, claimed, &next);

			d->position = next;
			if (pending)
				return true;
		}
		finish_deferred(r, d);
	}
	return false;
}

static void
finish_deferred(QueueReader *r, DeferredRun *d)
{
	dlist_delete(&d->node);
	mark_visited(r, d->header.page, d->header.offset);
	hold_pages(r, d->header.page, d->end, -1);
	pfree(d);
}

bool
queue_reader_has_more(QueueReader *r)
{
	dlist_iter	iter;

	if (r->position < pg_atomic_read_u64(&r->stream->end_position))
		return true;
	dlist_foreach(iter, &r->deferred)
	{
		if (deferred_has_ended(r, dlist_container(DeferredRun, node, iter.cur)))
			return true;
	}
	return false;
}

bool
queue_reader_has_deferred(QueueReader *r)
{
	return !dlist_is_empty(&r->deferred);
}

QueuePosition
queue_reader_read_upto(QueueReader *r)
{
	dlist_iter	iter;

	dlist_foreach(iter, &r->deferred)
	{
		DeferredRun *d = dlist_container(DeferredRun, node, iter.cur);

		if (deferred_has_ended(r, d) && d->position < d->end)
			return d->position;
	}
	return r->position;
}

QueuePlace
queue_reader_payload(QueueReader *r, const ClaimedRecord *claimed)
{
	QueuePlace	place = claimed->place;

	place.offset += QUEUE_HEADER_SIZE(claimed->kind);
	if (place.offset >= QUEUE_PAGE_DATA && claimed->length > 0)
	{
		place.offset -= QUEUE_PAGE_DATA;
		place.page = queue_page(r->q, place.page)->next;
	}
	return place;
}

bool
queue_reader_ends_line(QueueReader *r, const ClaimedRecord *claimed)
{
	QueuePlace	place = queue_reader_payload(r, claimed);
	Size		last = place.offset + claimed->length - 1;

	if (claimed->length == 0)
		return false;
	for (; last >= QUEUE_PAGE_DATA; last -= QUEUE_PAGE_DATA)
		place.page = queue_page(r->q, place.page)->next;
	return queue_data(r->q, place.page)[last] == '\n';
}

void
queue_reader_wake_at(QueueReader *r, uint64 records, uint64 bytes)
{
	pg_atomic_write_u64(&r->stream->wake_records, r->read_records + records);
	pg_atomic_write_u64(&r->stream->wake_bytes, r->read_bytes + bytes);
	queue_ask_for_news(r->stream, QUEUE_WAKE_FULL);
}

void
queue_reader_count_attempt(QueueReader *r, ClaimedRecord *claimed)
{
	if (claimed->attempts < PG_UINT16_MAX)
		record_at(r, claimed->place)->attempts = ++claimed->attempts;
}

void
queue_reader_uncount_attempt(QueueReader *r, ClaimedRecord *claimed)
{
	if (claimed->attempts > 0 && claimed->attempts < PG_UINT16_MAX)
		record_at(r, claimed->place)->attempts = --claimed->attempts;
}

/*
 * Settled and counted belong together: an error between them would leave a
 * stream with pending records for ever.  The reader is the only writer of the
 * counters.
 */
void
queue_reader_settle(QueueReader *r, const ClaimedRecord *claimed)
{
	QueueStream *s = r->stream;
	Size		space = QUEUE_ITEM_SPACE(claimed->kind, claimed->length);

	record_at(r, claimed->place)->state = QUEUE_RECORD_DONE;
	pg_atomic_write_u64(&s->finished_bytes,
						pg_atomic_read_u64(&s->finished_bytes) + claimed->length);
	pg_atomic_write_u64(&s->finished_records,
						pg_atomic_read_u64(&s->finished_records) + 1);
	if (QUEUE_ITEM_HAS_ORIGIN(claimed->kind))
		r->on_settled(&claimed->origin);
	if (likely(claimed->place.offset + space <= QUEUE_PAGE_DATA))
	{
		r->outstanding[claimed->place.page]--;
		free_if_unused(r, claimed->place.page);
	}
	else
		hold_pages(r, claimed->place.page, claimed->position + space, -1);
}
