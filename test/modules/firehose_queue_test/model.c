/*
 * model.c
 *		The reference model of the queue; model.h says what it is.
 */
#include "postgres.h"

#include "common/compat.h"
#include "model.h"

static uint64 held_pages(const ModelStream *s);

void
model_fill_payload(uint64 id, char *payload, uint32 length)
{
	for (uint32 i = 0; i < length; i += sizeof(uint64))
	{
		/* whoever takes payload for a header finds ids in it */
		uint64		word = id + 1 - (i / sizeof(uint64)) % 3;

		memcpy(payload + i, &word, Min(sizeof(word), length - i));
	}
}

ModelStream *
model_stream_of(Model *m, QueueStream *queue_stream)
{
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (OidIsValid(m->streams[i].serverid) && m->streams[i].queue_stream == queue_stream)
			return &m->streams[i];
	}
	return NULL;
}

/* Accounts ---------------------------------------------------------------- */

/* Pages beyond the tail for that much of reservations. */
static uint64
pages_for(const ModelStream *s, uint64 reserved)
{
	uint64		used = s->end % QUEUE_PAGE_DATA;
	uint64		left = used == 0 ? 0 : QUEUE_PAGE_DATA - used;

	return reserved <= left ? 0 : (reserved - left + QUEUE_PAGE_DATA - 1) / QUEUE_PAGE_DATA;
}

static uint64
held_pages(const ModelStream *s)
{
	return s->queue_stream->npages + pages_for(s, s->reserved);
}

/*
 * Free pages that are not promised, and those kept for streams below their
 * minimum.
 */
static void
pool(const Model *m, int64 *available, int64 *unmet)
{
	*available = m->q->npages;
	*unmet = 0;
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (!OidIsValid(m->streams[i].serverid))
			continue;
		*available -= held_pages(&m->streams[i]);
		*unmet += Max(0, (int64) m->q->minimum - (int64) held_pages(&m->streams[i]));
	}
}

/* Pages that the streams of a database hold. */
static int64
held_by_database(const Model *m, Oid dboid)
{
	int64		held = 0;

	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (OidIsValid(m->streams[i].serverid) && m->streams[i].dboid == dboid)
			held += held_pages(&m->streams[i]);
	}
	return held;
}

/*
 * Within its minimum a stream may have any free page.  Beyond, its database
 * may have four times what it leaves free, the stream four times what it
 * leaves of that, and nothing that is kept for others.
 */
bool
model_may_reserve(const Model *m, const ModelStream *s, Size bytes)
{
	int64		held = held_pages(s);
	int64		n = pages_for(s, s->reserved + bytes) - pages_for(s, s->reserved);
	int64		minimum = m->q->minimum;
	int64		available;
	int64		unmet;
	int64		allowed;

	pool(m, &available, &unmet);
	if (n == 0)
		return true;
	if (n > available)
		return false;
	if (held + n <= minimum)
		return true;
	unmet -= Max(0, minimum - held);
	allowed = minimum + 4 * (available - n) - held_by_database(m, s->dboid) - n;
	return unmet <= available - n && allowed >= 0 && held + n <= minimum + 4 * allowed;
}

void
model_check_reservations(Model *m)
{
	Queue	   *q = m->q;
	int64		available;
	int64		unmet;
	int64		promised = 0;
	int64		npages = 0;
	int64		nfree = 0;

	pool(m, &available, &unmet);
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &m->streams[i];

		if (!OidIsValid(s->serverid))
			continue;
		if (s->queue_stream->reserved != s->reserved)
			MISMATCH(m, "stream %d has " UINT64_FORMAT " bytes reserved, not " UINT64_FORMAT,
					 i, s->queue_stream->reserved, s->reserved);
		if (s->queue_stream->promised != pages_for(s, s->reserved))
			MISMATCH(m, "stream %d has %u pages promised, not " UINT64_FORMAT,
					 i, s->queue_stream->promised, pages_for(s, s->reserved));
		if (pg_atomic_read_u32(&s->queue_stream->pending) != s->pending)
			MISMATCH(m, "stream %d has %u runs pending, not %d",
					 i, pg_atomic_read_u32(&s->queue_stream->pending), s->pending);
		if (queue_database(q, s->queue_stream->database)->dboid != s->dboid ||
			queue_database(q, s->queue_stream->database)->held != held_by_database(m, s->dboid))
			MISMATCH(m, "database %u holds %u pages, not " INT64_FORMAT, s->dboid,
					 queue_database(q, s->queue_stream->database)->held,
					 held_by_database(m, s->dboid));
		promised += s->queue_stream->promised;
		npages += s->queue_stream->npages;
	}

	for (QueuePageNo no = q->free_head; no != QUEUE_NO_PAGE && nfree <= q->npages;
		 no = queue_page(q, no)->next)
		nfree++;
	nfree += q->npages - q->untouched;
	if (q->free_pages != nfree || nfree + npages != q->npages)
		MISMATCH(m, "%u pages are free, " INT64_FORMAT " in the list, and " INT64_FORMAT " in chains",
				 q->free_pages, nfree, npages);
	if (q->promised != promised || promised > nfree)
		MISMATCH(m, "%u pages are promised, " INT64_FORMAT " to streams, and " INT64_FORMAT " are free",
				 q->promised, promised, nfree);
	if (q->unmet_minimum != unmet)
		MISMATCH(m, "unmet minimum is %u, not " INT64_FORMAT, q->unmet_minimum, unmet);
	if (q->lowest_free > available)
		MISMATCH(m, "lowest_free is %u, but " INT64_FORMAT " pages are left",
				 q->lowest_free, available);
}

/* Runs -------------------------------------------------------------------- */

ModelRun *
model_append(ModelStream *s, ModelRecord *records, int n, pg_atomic_uint32 *flag)
{
	ModelRun   *run = palloc0(sizeof(ModelRun));

	run->state = QUEUE_RUN_PENDING;
	run->flag = flag;
	run->start = s->end;
	run->records = records;
	run->nrecords = n;
	s->end += sizeof(QueueRun);
	for (int i = 0; i < n; i++)
	{
		records[i].position = s->end;
		s->end += QUEUE_RECORD_SPACE(records[i].length);
	}
	run->end = s->end;
	s->pending++;
	s->drained = false;
	dlist_push_tail(&s->runs, &run->node);
	return run;
}

static bool
is_settled(const ModelRun *run)
{
	for (int i = 0; i < run->nrecords; i++)
	{
		if (!run->records[i].settled)
			return false;
	}
	return run->state != QUEUE_RUN_PENDING;
}

void
model_prune(ModelStream *s)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &s->runs)
	{
		ModelRun   *run = dlist_container(ModelRun, node, iter.cur);

		if (!is_settled(run) || run->deferred || run == s->in)
			continue;
		if (run == s->last)
			s->last = dlist_has_prev(&s->runs, &run->node) ?
				dlist_container(ModelRun, node, dlist_prev_node(&s->runs, &run->node)) : NULL;
		dlist_delete(&run->node);
		pfree(run->records);
		pfree(run);
	}
}

uint64
model_pending(ModelStream *s)
{
	dlist_iter	iter;
	uint64		pending = 0;

	dlist_foreach(iter, &s->runs)
	{
		ModelRun   *run = dlist_container(ModelRun, node, iter.cur);

		for (int i = 0; run->state == QUEUE_RUN_COMMITTED && i < run->nrecords; i++)
			pending += !run->records[i].settled;
	}
	return pending;
}

/* The reader -------------------------------------------------------------- */

void
model_start_reader(ModelStream *s, QueueReader *reader)
{
	s->reader = reader;
	pg_atomic_write_u32(&s->queue_stream->sender_procno, MyProcNo());
	s->last = s->in = NULL;
	s->drained = false;
}

void
model_stop_reader(ModelStream *s)
{
	dlist_iter	iter;

	s->reader = NULL;
	/* unless it is another stream's by now */
	if (OidIsValid(s->serverid) &&
		pg_atomic_read_u32(&s->queue_stream->generation) == s->generation)
		pg_atomic_write_u32(&s->queue_stream->sender_procno, PG_UINT32_MAX);
	s->last = s->in = NULL;
	list_free(s->deferred);
	list_free_deep(s->claimed);
	s->deferred = s->claimed = NIL;
	dlist_foreach(iter, &s->runs)
	{
		ModelRun   *run = dlist_container(ModelRun, node, iter.cur);

		run->deferred = false;
		for (int i = 0; i < run->nrecords; i++)
			run->records[i].handed_out = false;
	}
}

/*
 * The next record from `next` on that is not settled, NULL at the run's end.
 */
static ModelRecord *
next_in_run(ModelRun *run, int *next)
{
	while (*next < run->nrecords)
	{
		ModelRecord *record = &run->records[(*next)++];

		if (!record->settled)
			return record;
	}
	return NULL;
}

/* Runs that were deferred come first, once they are decided. */
static ModelRecord *
next_deferred(ModelStream *s, ModelRun **run)
{
	ListCell   *cell;

	foreach(cell, s->deferred)
	{
		ModelRun   *d = lfirst(cell);
		ModelRecord *record;

		if (d->state == QUEUE_RUN_PENDING)
			continue;
		if (d->state == QUEUE_RUN_ABORTED)
		{
			for (int i = 0; i < d->nrecords; i++)
				d->records[i].settled = true;
		}
		*run = d;
		if ((record = next_in_run(d, &d->next)) != NULL)
			return record;
		d->visited = true;
		d->deferred = false;
		s->deferred = foreach_delete_current(s->deferred, cell);
	}
	return NULL;
}

static ModelRun *
run_after(ModelStream *s, ModelRun *run)
{
	if (run == NULL)
		return dlist_is_empty(&s->runs) ? NULL : dlist_head_element(ModelRun, node, &s->runs);
	return dlist_has_next(&s->runs, &run->node) ?
		dlist_container(ModelRun, node, dlist_next_node(&s->runs, &run->node)) : NULL;
}

/* Then those that follow, in order; what is not committed is deferred. */
static ModelRecord *
next_in_order(ModelStream *s, ModelRun **run)
{
	for (;;)
	{
		ModelRun   *r = s->in;

		if (r != NULL)
		{
			ModelRecord *record = next_in_run(r, &s->in_next);

			*run = r;
			if (record != NULL)
				return record;
			s->last = r;
			s->in = NULL;
		}

		r = run_after(s, s->last);
		if (r == NULL)
			return NULL;
		if (r->visited || r->state == QUEUE_RUN_COMMITTED)
		{
			r->visited = true;
			s->in = r;
			s->in_next = 0;
			continue;
		}
		r->deferred = true;
		r->next = 0;
		s->deferred = lappend(s->deferred, r);
		s->last = r;
	}
}

ModelRecord *
model_next(ModelStream *s, ModelRun **run)
{
	ModelRecord *record = next_deferred(s, run);

	if (record == NULL)
		record = next_in_order(s, run);
	s->drained = record == NULL;
	if (record != NULL)
		record->handed_out = true;
	return record;
}

bool
model_has_ended_deferred(const ModelStream *s)
{
	ListCell   *cell;

	foreach(cell, s->deferred)
	{
		if (((ModelRun *) lfirst(cell))->state != QUEUE_RUN_PENDING)
			return true;
	}
	return false;
}

/* Comparison -------------------------------------------------------------- */

static bool
touches(QueuePosition start, QueuePosition end, uint64 seq)
{
	return start < (seq + 1) * QUEUE_PAGE_DATA && end > seq * QUEUE_PAGE_DATA;
}

/* Does the reader have something outstanding in this page? */
static bool
is_held(const ModelStream *s, uint64 seq)
{
	ListCell   *cell;

	foreach(cell, s->claimed)
	{
		ModelClaimed *t = lfirst(cell);

		if (touches(t->record->position,
					t->record->position + QUEUE_RECORD_SPACE(t->record->length), seq))
			return true;
	}
	foreach(cell, s->deferred)
	{
		ModelRun   *run = lfirst(cell);

		if (touches(run->start, run->end, seq))
			return true;
	}
	return false;
}

/* The links of a chain, and that it holds no page without a reason. */
static void
check_chain(Model *m, ModelStream *s)
{
	Queue	   *q = m->q;
	QueueStream *queue_stream = s->queue_stream;
	QueueReader *r = s->reader;
	QueuePageNo prev = QUEUE_NO_PAGE;
	uint32		n = 0;

	for (QueuePageNo no = queue_stream->head; no != QUEUE_NO_PAGE; no = queue_page(q, no)->next)
	{
		QueuePage  *page = queue_page(q, no);

		if (page->prev != prev || ++n > queue_stream->npages ||
			(prev != QUEUE_NO_PAGE && page->seq <= queue_page(q, prev)->seq))
			MISMATCH(m, "the chain of entry %d is broken at page %u", queue_stream_number(q, queue_stream), no);
		if (r != NULL && r->at.page != QUEUE_NO_PAGE &&
			page->seq < queue_page(q, r->at.page)->seq && !is_held(s, page->seq))
			MISMATCH(m, "page %u (" UINT64_FORMAT ") of entry %d should have been freed",
					 no, page->seq, queue_stream_number(q, queue_stream));
		prev = no;
	}
	if (prev != queue_stream->tail || n != queue_stream->npages)
		MISMATCH(m, "the chain of entry %d ends at page %u after %u pages, not at %u after %u",
				 queue_stream_number(q, queue_stream), prev, n, queue_stream->tail, queue_stream->npages);
	if (pg_atomic_read_u64(&queue_stream->end_position) != s->end)
		MISMATCH(m, "entry %d ends at " UINT64_FORMAT ", not " UINT64_FORMAT,
				 queue_stream_number(q, queue_stream), pg_atomic_read_u64(&queue_stream->end_position), s->end);
}

typedef struct Visit
{
	Model	   *m;
	ModelStream *s;
	ModelRun   *run;
	int			next;
} Visit;

/* Called for each owed record in order. */
static bool
check_visited(Queue *q, const QueueRecord *record, QueuePageNo page, uint32 offset, void *arg)
{
	Visit	   *v = arg;
	ModelRecord *expected = NULL;

	while (v->run != NULL && expected == NULL)
	{
		if (v->run->state == QUEUE_RUN_COMMITTED)
			expected = next_in_run(v->run, &v->next);
		if (expected == NULL)
		{
			v->run = run_after(v->s, v->run);
			v->next = 0;
		}
	}
	if (expected == NULL || expected->id != record->id || expected->length != record->length)
		MISMATCH(v->m, "a visit of entry %d finds record " UINT64_FORMAT ", not " UINT64_FORMAT,
				 queue_stream_number(q, v->s->queue_stream), record->id, expected ? expected->id : 0);
	return true;
}

static uint64 visited;

static bool
all_streams(Oid serverid)
{
	return true;
}

static bool
count_visited(Queue *q, const QueueRecord *record, QueuePageNo page, uint32 offset, void *arg)
{
	visited++;
	return check_visited(q, record, page, offset, arg);
}

/* Observers see what is pending, all of it and in order. */
static void
check_observers(Model *m, ModelStream *s)
{
	Visit		v = {m, s, run_after(s, NULL), 0};
	uint64		pending = model_pending(s);
	TimestampTz oldest = 0;
	dlist_iter	iter;

	visited = 0;
	queue_visit_pending(m->q, s->queue_stream, count_visited, &v);
	if (visited != pending)
		MISMATCH(m, "a visit of entry %d finds " UINT64_FORMAT " records, not " UINT64_FORMAT,
				 queue_stream_number(m->q, s->queue_stream), visited, pending);
	if (pg_atomic_read_u64(&s->queue_stream->published_records) -
		pg_atomic_read_u64(&s->queue_stream->finished_records) != pending)
		MISMATCH(m, "entry %d counts other records than " UINT64_FORMAT " as owed",
				 queue_stream_number(m->q, s->queue_stream), pending);

	dlist_foreach(iter, &s->runs)
	{
		ModelRun   *run = dlist_container(ModelRun, node, iter.cur);

		for (int i = 0; i < run->nrecords; i++)
		{
			ModelRecord *record = &run->records[i];
			bool		is_pending = run->state == QUEUE_RUN_COMMITTED && !record->settled;

			if (is_pending && oldest == 0)
				oldest = record->id;
			/* of runs that are not committed nothing is promised */
			if (run->state == QUEUE_RUN_COMMITTED &&
				queue_find(m->q, s->dboid, record->id, all_streams) != is_pending)
				MISMATCH(m, "record " UINT64_FORMAT " of entry %d is %s", record->id,
						 queue_stream_number(m->q, s->queue_stream), is_pending ? "not found" : "found");
		}
	}
	/* a record is queued at the time of its number */
	if (queue_oldest(m->q, s->queue_stream) != oldest)
		MISMATCH(m, "the oldest record of entry %d is not " INT64_FORMAT,
				 queue_stream_number(m->q, s->queue_stream), oldest);
}

/* Everything before read_upto was handed out. */
static void
check_read_upto(Model *m, ModelStream *s)
{
	QueuePosition upto = queue_reader_read_upto(s->reader);
	dlist_iter	iter;

	dlist_foreach(iter, &s->runs)
	{
		ModelRun   *run = dlist_container(ModelRun, node, iter.cur);

		for (int i = 0; run->state == QUEUE_RUN_COMMITTED && i < run->nrecords; i++)
		{
			ModelRecord *record = &run->records[i];

			if (record->position < upto && !record->handed_out && !record->settled)
				MISMATCH(m, "entry %d is read up to " UINT64_FORMAT ", but not record " UINT64_FORMAT,
						 queue_stream_number(m->q, s->queue_stream), upto, record->id);
		}
	}
}

void
model_check_stream(Model *m, ModelStream *s)
{
	check_chain(m, s);
	check_observers(m, s);
	if (s->reader != NULL)
		check_read_upto(m, s);
}
