/*
 * chain.c
 *		How records lie in a stream's chain of pages: appending runs,
 *		publishing them, and looking at them.  Runs in backends (append,
 *		publish, find) and in the sender; the locking contract is in layout.h.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "queue/chain.h"
#include "queue/pool.h"
#include "queue/reserve.h"
#include "queue/wake.h"

/* The number of pages after which queue_find looks for interrupts. */
#define PAGES_UNINTERRUPTED	1024

static void add_page(Queue *q, QueueStream *s);
static void note_ids(QueuePage *page, uint64 first_id, uint64 last_id);
static void lower_first_item(QueuePage *page, uint32 offset);
static void note_first_items(Queue *q, QueuePageNo no, uint32 offset,
							 const char *records, Size length);

/*
 * Copy out of the chain.  A place at the very end of a page is the beginning
 * of the next one.
 */
void
queue_read(Queue *q, QueuePageNo *page, uint32 *offset, void *to, Size length)
{
	char	   *p = to;

	while (length > 0)
	{
		Size		n;

		if (*offset == QUEUE_PAGE_DATA)
		{
			*page = queue_page(q, *page)->next;
			*offset = 0;
		}
		n = Min(length, QUEUE_PAGE_DATA - *offset);
		memcpy(p, queue_data(q, *page) + *offset, n);
		p += n;
		*offset += n;
		length -= n;
	}
}

/* Copy into the chain, likewise. */
static void
queue_write(Queue *q, QueuePageNo *page, uint32 *offset, const void *from, Size length)
{
	const char *p = from;

	while (length > 0)
	{
		Size		n;

		if (*offset == QUEUE_PAGE_DATA)
		{
			*page = queue_page(q, *page)->next;
			*offset = 0;
		}
		n = Min(length, QUEUE_PAGE_DATA - *offset);
		memcpy(queue_data(q, *page) + *offset, p, n);
		p += n;
		*offset += n;
		length -= n;
	}
}

/*
 * Append a run.  Under the lock the room is given out and the run's header
 * written, so that readers know where it ends; its records are copied after
 * the lock is released.
 */
pg_atomic_uint32 *
queue_append(Queue *q, QueueStream *s, const char *records, Size length, Size reserved,
			 const RunTotals *totals)
{
	QueueRun	run;
	QueuePageNo page;
	uint32		offset;
	QueuePageNo run_page;
	QueuePageNo first_page;
	uint32		first_offset;
	pg_atomic_uint32 *state;
	bool		gave_back;
	Size		left = sizeof(QueueRun) + length;

	Assert(reserved >= left && length % 8 == 0);

	LWLockAcquire(s->lock, LW_EXCLUSIVE);

	s->highest_id = Max(s->highest_id, totals->last_id);
	if (s->tail == QUEUE_NO_PAGE || s->tail_used == QUEUE_PAGE_DATA)
		add_page(q, s);
	page = s->tail;
	offset = s->tail_used;
	lower_first_item(queue_page(q, page), offset);
	run_page = page;

	/* give out the room, page by page */
	for (;;)
	{
		Size		n = Min(left, QUEUE_PAGE_DATA - s->tail_used);

		note_ids(queue_page(q, s->tail), totals->first_id, totals->last_id);
		s->tail_used += n;
		left -= n;
		if (left == 0)
			break;
		add_page(q, s);
	}

	memset(&run, 0, sizeof(run));
	run.kind = QUEUE_ITEM_RUN;
	run.nrecords = totals->nrecords;
	run.end = pg_atomic_read_u64(&s->end_position) + sizeof(QueueRun) + length;
	pg_atomic_init_u32(&run.state, QUEUE_RUN_PENDING);
	queue_write(q, &page, &offset, &run, offsetof(QueueRun, state));
	if (offset == QUEUE_PAGE_DATA)
	{
		page = queue_page(q, page)->next;
		offset = 0;
	}
	state = (pg_atomic_uint32 *) (queue_data(q, page) + offset);
	queue_write(q, &page, &offset, &run.state, sizeof(QueueRun) - offsetof(QueueRun, state));

	pg_atomic_fetch_add_u32(&s->pending, 1);
	/* pages that what is appended needed are still needed: it has them */
	gave_back = queue_settle_reservation(q, s, reserved) && reserved > sizeof(QueueRun) + length;

	/* readers may go this far, now that headers and links are in place */
	pg_write_barrier();
	pg_atomic_write_u64(&s->end_position, run.end);

	LWLockRelease(s->lock);
	if (gave_back)
		queue_serve_waiters(q, s);

	/* the records' bytes belong to this process until the run is published */
	first_page = page;
	first_offset = offset;
	queue_write(q, &page, &offset, records, length);
	pg_write_barrier();
	/* a header that straddles pages makes the first record begin the second */
	if (first_page != run_page && first_offset < QUEUE_PAGE_DATA)
		lower_first_item(queue_page(q, first_page), first_offset);
	note_first_items(q, first_page, first_offset, records, length);
	return state;
}

/* Put a page at the tail.  Caller holds the lock and has pages promised. */
static void
add_page(Queue *q, QueueStream *s)
{
	QueuePageNo no = queue_take_page(q, s);
	QueuePage  *page = queue_page(q, no);

	page->next = QUEUE_NO_PAGE;
	page->prev = s->tail;
	page->seq = s->next_seq++;
	page->min_id = PG_UINT64_MAX;
	page->max_id = 0;
	page->ids_before = s->highest_id;
	pg_atomic_init_u32(&page->first_item, QUEUE_NO_OFFSET);
	pg_write_barrier();
	page->owner = queue_stream_number(q, s);

	if (s->tail == QUEUE_NO_PAGE)
		s->head = no;
	else
		queue_page(q, s->tail)->next = no;
	s->tail = no;
	s->tail_used = 0;
}

static void
note_ids(QueuePage *page, uint64 first_id, uint64 last_id)
{
	page->min_id = Min(page->min_id, first_id);
	page->max_id = Max(page->max_id, last_id);
}

/*
 * The last page of one run is the first of the next, and the two appenders
 * note their first items independently: the lower one stays.
 */
static void
lower_first_item(QueuePage *page, uint32 offset)
{
	uint32		current = pg_atomic_read_u32(&page->first_item);

	while (offset < current &&
		   !pg_atomic_compare_exchange_u32(&page->first_item, &current, offset))
		;
}

/*
 * Note in each page after the run's first where its first header stands, and
 * in those that are this run's alone which ids begin there.  Until now they
 * have the bounds of the whole run, and whoever looks at a page meanwhile,
 * without the lock, may read either.
 */
static void
note_first_items(Queue *q, QueuePageNo no, uint32 offset, const char *records, Size length)
{
	QueuePageNo noted = no;
	uint64		min_id = 0;		/* of the page noted; 0: it is the first */
	uint64		max_id = 0;
	Size		done = 0;

	if (length <= QUEUE_PAGE_DATA - offset)
		return;
	while (done < length)
	{
		const QueueRecord *record = (const QueueRecord *) (records + done);

		while (offset >= QUEUE_PAGE_DATA)
		{
			no = queue_page(q, no)->next;
			offset -= QUEUE_PAGE_DATA;
		}
		if (no != noted)
		{
			lower_first_item(queue_page(q, no), offset);
			if (min_id > 0)
			{
				queue_page(q, noted)->min_id = min_id;
				queue_page(q, noted)->max_id = max_id;
			}
			noted = no;
			min_id = max_id = record->id;
		}
		else if (min_id > 0)
		{
			min_id = Min(min_id, record->id);
			max_id = Max(max_id, record->id);
		}
		offset += QUEUE_ITEM_SPACE(record->kind, record->length);
		done += QUEUE_ITEM_SPACE(record->kind, record->length);
	}
}

/*
 * Publish a run: its transaction has committed.  A handful of stores, in a
 * place where nothing may fail.  The counters go first, so that "nothing is
 * pending" is never shown while a published record is.
 */
void
queue_publish(QueueStream *s, pg_atomic_uint32 *run_state, const RunTotals *totals)
{
	pg_atomic_fetch_add_u64(&s->published_records, totals->nrecords);
	pg_atomic_fetch_add_u64(&s->published_bytes, totals->nbytes);
	pg_write_barrier();
	pg_atomic_write_u32(run_state, QUEUE_RUN_COMMITTED);
	pg_atomic_fetch_sub_u32(&s->pending, 1);
	queue_wake_for_publication(s);
}

/* Drop a run: its transaction has aborted after all. */
void
queue_drop(QueueStream *s, pg_atomic_uint32 *run_state)
{
	pg_atomic_write_u32(run_state, QUEUE_RUN_ABORTED);
	pg_atomic_fetch_sub_u32(&s->pending, 1);
	queue_wake_sender(s);
}

void
queue_free_page(Queue *q, QueueStream *s, QueuePageNo no)
{
	QueuePage  *page = queue_page(q, no);

	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	Assert(no != s->tail);
	if (page->prev == QUEUE_NO_PAGE)
		s->head = page->next;
	else
		queue_page(q, page->prev)->next = page->next;
	queue_page(q, page->next)->prev = page->prev;
	queue_return_page(q, s, no);
	LWLockRelease(s->lock);
}

/*
 * A walk over the items of a chain from the beginning of a page's own items
 * on, under the stream's lock.  Freed pages leave gaps, which hold nothing
 * that is pending; after one the walk goes on at the next page's first item.
 */
typedef struct Walk
{
	Queue	   *q;
	QueuePageNo page;
	uint32		offset;
	QueuePosition end;			/* of what may be looked at */
} Walk;

/* Move to a position at or after the page's start; false at the end. */
static bool
walk_to(Walk *w, QueuePosition pos)
{
	for (;;)
	{
		QueuePage  *page = queue_page(w->q, w->page);
		QueuePosition start = page->seq * QUEUE_PAGE_DATA;

		if (pos < start)
		{
			uint32		first = pg_atomic_read_u32(&page->first_item);

			pos = start + (first == QUEUE_NO_OFFSET ? QUEUE_PAGE_DATA : first);
		}
		if (pos >= w->end)
			return false;
		if (pos < start + QUEUE_PAGE_DATA)
		{
			w->offset = pos - start;
			return true;
		}
		if (page->next == QUEUE_NO_PAGE)
			return false;
		w->page = page->next;
	}
}

static inline QueuePosition
walk_position(const Walk *w)
{
	return queue_page(w->q, w->page)->seq * QUEUE_PAGE_DATA + w->offset;
}

/* The kind of the item at the walk's place. */
static inline uint8
walk_kind(const Walk *w)
{
	return *(uint8 *) (queue_data(w->q, w->page) + w->offset);
}

static void
walk_read(const Walk *w, void *header, Size size)
{
	QueuePageNo page = w->page;
	uint32		offset = w->offset;

	queue_read(w->q, &page, &offset, header, size);
}

/*
 * Step over the run header the walk stands at: into the run, or, if its
 * records do not count (it is pending, or aborted), to its end.
 */
static QueuePosition
walk_over_run(const Walk *w)
{
	QueueRun	run;
	QueuePosition pos = walk_position(w);

	walk_read(w, &run, sizeof(run));
	if (!run.visited && pg_atomic_read_u32(&run.state) != QUEUE_RUN_COMMITTED)
		return run.end;
	pg_read_barrier();			/* pairs with queue_publish's */
	return pos + sizeof(QueueRun);
}

void
queue_visit_pending(Queue *q, QueueStream *s, QueueVisitor visit, void *arg)
{
	Walk		w = {q, s->head, 0, pg_atomic_read_u64(&s->end_position)};
	QueuePosition pos = 0;

	while (w.page != QUEUE_NO_PAGE && walk_to(&w, pos))
	{
		QueueRecord record;

		if (walk_kind(&w) == QUEUE_ITEM_RUN)
		{
			pos = walk_over_run(&w);
			continue;
		}
		walk_read(&w, &record, sizeof(record));
		if (record.state == QUEUE_RECORD_PENDING &&
			!visit(q, &record, w.page, w.offset, arg))
			return;
		pos = walk_position(&w) + QUEUE_ITEM_SPACE(record.kind, record.length);
	}
}

/*
 * Is there a pending record of this id whose header begins in this page?  (The
 * records of a pending run may count: whether they are pending is being
 * decided just now.)
 */
static bool
find_in_page(Queue *q, QueueStream *s, QueuePageNo no, uint64 id)
{
	QueuePage  *page = queue_page(q, no);
	uint32		first = pg_atomic_read_u32(&page->first_item);
	Walk		w = {q, no, 0, pg_atomic_read_u64(&s->end_position)};
	QueuePosition pos = page->seq * QUEUE_PAGE_DATA + first;

	if (first == QUEUE_NO_OFFSET)
		return false;
	pg_read_barrier();			/* pairs with queue_append's */
	while (walk_to(&w, pos) && w.page == no)
	{
		QueueRecord record;

		if (walk_kind(&w) == QUEUE_ITEM_RUN)
		{
			pos = walk_over_run(&w);
			continue;
		}
		walk_read(&w, &record, sizeof(record));
		/* an id comes twice when a dead letter is queued again */
		if (record.id == id && record.state == QUEUE_RECORD_PENDING)
			return true;
		pos = walk_position(&w) + QUEUE_ITEM_SPACE(record.kind, record.length);
	}
	return false;
}

/*
 * The part of a page's header that queue_find has seen; the page may leave the
 * chain at any time.
 */
typedef struct SeenPage
{
	uint64		seq;
	QueuePageNo prev;
	bool		may_have;		/* the id lies in its bounds */
	bool		is_first;		/* and could not lie in a page before */
} SeenPage;

/* Look at a page's header without a lock; false: it is not in the chain. */
static bool
look_at_page(Queue *q, QueueStream *s, QueuePageNo no, uint64 id, SeenPage *seen)
{
	volatile QueuePage *page = queue_page(q, no);
	uint32		number = queue_stream_number(q, s);

	if (page->owner != number)
		return false;
	pg_read_barrier();
	seen->seq = page->seq;
	seen->prev = page->prev;
	seen->may_have = id >= page->min_id && id <= page->max_id;
	seen->is_first = page->prev == QUEUE_NO_PAGE || id > page->ids_before;
	pg_read_barrier();
	return page->owner == number && page->seq == seen->seq;
}

/* Search one page, if it is still the one that was seen. */
static bool
search_page(Queue *q, QueueStream *s, QueuePageNo no, const SeenPage *seen, uint64 id)
{
	bool		found = false;

	LWLockAcquire(s->lock, LW_SHARED);
	if (queue_page(q, no)->owner == queue_stream_number(q, s) && queue_page(q, no)->seq == seen->seq)
		found = find_in_page(q, s, no, id);
	LWLockRelease(s->lock);
	return found;
}

/*
 * Search a stream of the database, from its end, because recent records are
 * asked for more often.  The search ends at a page before which no larger id
 * lies.  If the page at hand leaves the chain, the search begins again.
 */
static bool
find_in_stream(Queue *q, QueueStream *s, Oid dboid, uint64 id,
			   bool (*may_search) (Oid serverid))
{
	QueuePageNo no;
	SeenPage	seen;
	uint64		last_seq;
	Oid			serverid;
	uint32		generation;
	int			visited = 0;

restart:
	LWLockAcquire(s->lock, LW_SHARED);
	no = s->in_use && s->dboid == dboid && id <= s->highest_id ? s->tail : QUEUE_NO_PAGE;
	serverid = s->serverid;
	generation = pg_atomic_read_u32(&s->generation);
	LWLockRelease(s->lock);
	if (no == QUEUE_NO_PAGE || !may_search(serverid))
		return false;
	last_seq = PG_UINT64_MAX;

	while (no != QUEUE_NO_PAGE)
	{
		if (++visited % PAGES_UNINTERRUPTED == 0)
			CHECK_FOR_INTERRUPTS();
		if (!look_at_page(q, s, no, id, &seen) || seen.seq >= last_seq ||
			pg_atomic_read_u32(&s->generation) != generation)
			goto restart;
		if (seen.may_have && search_page(q, s, no, &seen, id))
			return true;
		if (seen.is_first)
			break;
		last_seq = seen.seq;
		no = seen.prev;
	}
	return false;
}

bool
queue_find(Queue *q, Oid dboid, uint64 id, bool (*may_search) (Oid serverid))
{
	for (int i = 0; i < q->max_streams; i++)
	{
		QueueStream *s = queue_stream(q, i);

		/* without its lock an entry that is not ours can be passed over */
		if (s->in_use && s->dboid == dboid && find_in_stream(q, s, dboid, id, may_search))
			return true;
	}
	return false;
}

static bool
note_queued_at(Queue *q, const QueueRecord *record, QueuePageNo page, uint32 offset,
			   void *arg)
{
	*(TimestampTz *) arg = record->queued_at;
	return false;
}

/*
 * When was the oldest record that is pending queued? 0: none.  Pages whose
 * records are all settled are freed, so the record is near the chain's head.
 */
TimestampTz
queue_oldest(Queue *q, QueueStream *s)
{
	TimestampTz oldest = 0;

	LWLockAcquire(s->lock, LW_SHARED);
	queue_visit_pending(q, s, note_queued_at, &oldest);
	LWLockRelease(s->lock);
	return oldest;
}

void
queue_note_asynchronous(Queue *q, XLogRecPtr commit_end)
{
	uint64		known = pg_atomic_read_u64(&q->asynchronous_upto);

	while (commit_end > known &&
		   !pg_atomic_compare_exchange_u64(&q->asynchronous_upto, &known, commit_end))
		;
}
