/*
 * copier.c
 *		Copies of tables beside the stream of their changes (see copier.h).
 *
 * A chunk's position is that of a record of the WAL that is written for it, so
 * that no commit and no other chunk has it.  Every transaction whose commit
 * record lies before it has to be visible to the chunk's snapshot.  But a
 * transaction becomes visible after it has written that record, and long
 * after if it waits for a standby.  So the decoder waits for those
 * transactions; the stream stands still meanwhile, because it must not get
 * ahead of the snapshot.
 *
 * Rows that a change of their key may move are read again, see moved_rows.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/caught_error.h"
#include "common/clock.h"
#include "decoder/chunks_in_flight.h"
#include "decoder/copier.h"
#include "decoder/copy_position.h"
#include "decoder/copy_rate.h"
#include "decoder/copy_table.h"
#include "decoder/deferred_chunk.h"
#include "decoder/error_policy.h"
#include "decoder/moved_rows.h"
#include "decoder/progress.h"
#include "wal/present_catalogs.h"
#include "wal/standby_gate.h"
#include "wal/visibility.h"
#include "workers/worker.h"

/* How often progress is noted (ms): a crash repeats what was read since. */
#define NOTE_MS			1000

/* When a table is locked, or an error may pass (ms). */
#define RETRY_MS		1000

/* Rows of one chunk of those that were moved. */
#define MOVED_ROWS		500

static const Pipeline *pipeline;
static ChangeBatch *batch;
static ChangeReader *reader;
static WalReader *wal;
static MemoryContext context;
static MemoryContext scratch;	/* of one chunk */
static List *copies;			/* of CopyRow *, that are not finished */
static CopyRow *current;		/* is being read; NULL: none */
static CopyTable *table;		/* its description; NULL: to be made */
static MemoryContext current_context;	/* of all that is about it */
static CopyPosition next;		/* where the next chunk begins */
static XLogRecPtr end;			/* all is read; Invalid: not yet */
static XLogRecPtr begin_at;		/* no chunk before the stream is here */
static XLogRecPtr left_hold;	/* copy_hold of an earlier decoder */
static bool held;				/* until more is delivered */
static bool fresh;				/* no key of it is known yet */
static bool dirty;				/* more is delivered than is noted */
static int64 noted_at;
static int64 not_before;		/* clock_ms */
static Event row_event;			/* of the chunk that is being read */
static int	rows_seen;			/* in it, sent or not; moved ones are extra */
static int	said;				/* SQLSTATE that the log has; 0: none */
static bool said_end;			/* the log has why the copy is to end */

/* Start ------------------------------------------------------------------- */

/* Had an earlier decoder begun with one? */
static bool
is_under_way(void)
{
	return copies != NIL && copies_choose(copies)->phase == COPY_READING;
}

void
copier_start(const Pipeline *p, ChangeBatch *b, ChangeReader *r)
{
	ListCell   *cell;

	pipeline = p;
	batch = b;
	reader = r;
	copies = copies_read_unfinished(p->id);
	foreach(cell, copies)
		((CopyRow *) lfirst(cell))->blocks = copy_table_blocks(((CopyRow *) lfirst(cell))->relid);
	if (!is_under_way())
	{
		pg_atomic_write_u64(&b->pipeline->copy_hold, InvalidXLogRecPtr);
		chunks_in_flight_forget(b->pipeline);
	}
	context = AllocSetContextCreate(TopMemoryContext, "firehose copies", ALLOCSET_DEFAULT_SIZES);
	scratch = AllocSetContextCreate(context, "firehose chunk", ALLOCSET_DEFAULT_SIZES);
}

/* Say that a pipeline that streams copies as well. */
static void
show_copying(void)
{
	if (pg_atomic_read_u32(&batch->pipeline->state) == PIPELINE_STREAMING)
		pipeline_set_state(batch->pipeline, PIPELINE_STREAMING, copier_reason());
}

const char *
copier_reason(void)
{
	int			n = list_length(copies);

	return n == 0 ? "" :
		psprintf("copying the rows of %d table%s, see firehose_stat_progress_copy", n,
					n == 1 ? "" : "s");
}

/* Moved rows -------------------------------------------------------------- */

/*
 * Show the next decoder where it is to begin.  Rows that an earlier one had
 * noted are noted again only when the stream comes past them.
 */
static void
show_hold(void)
{
	XLogRecPtr	hold = current ? moved_rows_hold() : InvalidXLogRecPtr;

	if (current != NULL && wal_reader_position(wal) < begin_at)
		hold = copy_earlier(hold, left_hold);
	pg_atomic_write_u64(&batch->pipeline->copy_hold, hold);
}

/* The reader of changes: an event of a table. */
static void
note_event(const Event *event)
{
	pg_atomic_uint64 *hold = &batch->pipeline->copy_hold;
	XLogRecPtr	first;

	if (current == NULL || event->relation->relid != current->relid)
		return;
	first = moved_rows_note(event, end);
	if (first != InvalidXLogRecPtr)
		pg_atomic_write_u64(hold, copy_earlier(pg_atomic_read_u64(hold), first));
}

XLogRecPtr
copier_hold(void)
{
	PipelineEntry *entry;

	if (batch == NULL)
		return InvalidXLogRecPtr;
	entry = batch->pipeline;
	return copy_earlier(pg_atomic_read_u64(&entry->copy_hold), chunks_in_flight_hold(entry));
}

/* The beginning and the end of a copy ------------------------------------- */

static void
store_current(void)
{
	dirty = !copies_store(pipeline->id, current);
	noted_at = clock_ms();
	if (!dirty)
		moved_rows_stored();
}

static void
begin_copy(void)
{
	CopyRow    *copy = copies_choose(copies);

	current = copy;
	current_context = AllocSetContextCreate(context, "firehose current copy", ALLOCSET_DEFAULT_SIZES);
	next = copy_position_keep(current_context, &copy->last);
	copy->last = copy_position_keep(current_context, &copy->last);
	end = copy->end;
	chunks_in_flight_begin(batch->pipeline, current, current_context);
	chunks_in_flight_follow(current_context, &next, &end);
	moved_rows_begin(current_context, copy->key_columns);
	copy->phase = COPY_READING;
	fresh = copy->started_at == 0;
	if (fresh)
		copy->started_at = GetCurrentTimestamp();
	store_current();
	show_copying();
	change_reader_watch(reader, note_event);
}

static void
forget_table(void)
{
	if (table != NULL)
		copy_table_free(table);
	table = NULL;
}

/* Returns when to come again: the table of copies may be locked. */
static long
end_copy(CopyPhase phase, const char *error)
{
	CopyRow		ended = *current;

	ended.phase = phase;
	ended.finished_at = GetCurrentTimestamp();
	ended.error = (char *) error;
	if (error && !said_end)
		ereport(LOG, (errmsg("firehose decoder: pipeline \"%s\" ends the copy of table %u: %s",
							 pipeline->name, current->relid, error)));
	said_end = error != NULL;
	forget_table();
	/* if not, it goes on should there be no reason any more */
	if (!copies_store(pipeline->id, &ended))
		return RETRY_MS;
	copies = list_delete_ptr(copies, current);
	current = NULL;
	dirty = said_end = false;
	said = 0;
	chunks_in_flight_forget(batch->pipeline);
	moved_rows_forget();
	MemoryContextDelete(current_context);
	change_reader_watch(reader, NULL);
	show_hold();
	show_copying();
	return 0;
}

/*
 * The epoch of a chunk's position has to be known (position.h): the stream is
 * first to come past the start of the server.  But what moves rows of a table
 * that is being read is noted from the beginning.
 */
void
copier_open(WalReader *w)
{
	if (batch == NULL)
		return;					/* durable puts: nothing is copied */
	wal = w;
	begin_at = wal_reader_limit();
	left_hold = pg_atomic_read_u64(&batch->pipeline->copy_hold);
	if (is_under_way())
		begin_copy();
}

/* Chunks ------------------------------------------------------------------ */

/* Give a row to the batch; false: it is full. */
static bool
take_row(EventRelation *relation, const EventValue *row, void *arg)
{
	row_event.seq++;
	row_event.relation = relation;
	row_event.new_row = row;
	change_reader_add_row(reader, &row_event);
	return batch->size < OUTBOX_FULL;
}

/*
 * From the beginning; after another key, once the stream is here, because what
 * it comes past until then may be of that.  Until this is stored a restart
 * goes on with the old reading, which needs what the stream comes past from
 * now on.
 */
static void
start_over(List *key_columns, List *key_types, bool other_key)
{
	XLogRecPtr	hold = copy_earlier(wal_reader_done(wal), chunks_in_flight_hold(batch->pipeline));
	XLogRecPtr	mark = other_key ? visibility_write_mark() : begin_at;

	/* first what may fail, and is then tried again */
	XLogFlush(mark);
	moved_rows_begin_anew(current_context, key_columns, hold);
	current->key_columns = key_columns;
	current->key_types = key_types;
	memset(&next, 0, sizeof(next));
	memset(&current->last, 0, sizeof(current->last));
	end = current->end = InvalidXLogRecPtr;
	(void) deferred_chunk_end(batch, wal, true, NULL);
	chunks_in_flight_forget(batch->pipeline);
	chunks_in_flight_begin(batch->pipeline, current, current_context);
	if (wal_reader_position(wal) >= begin_at)
		left_hold = InvalidXLogRecPtr;
	begin_at = mark;
	show_hold();

	/* the next decoder is to compare with this key */
	dirty = true;
	noted_at = 0;
}

/* See that the table is described as it is now; returns why it cannot be. */
static const char *
describe_current(void)
{
	const char *fault = NULL;
	List	   *columns;
	List	   *types;

	if (table != NULL && copy_table_is_valid(table))
		return NULL;
	forget_table();
	table = copy_table_describe(context, pipeline, current, &fault);
	if (table == NULL)
		return fault;
	copy_table_key(table, &columns, &types);
	if (!copy_texts_equal(columns, current->key_columns) || !copy_texts_equal(types, current->key_types))
		start_over(copy_texts_keep(current_context, columns),
				   copy_texts_keep(current_context, types), !fresh);
	fresh = false;
	return NULL;
}

/*
 * Read moved rows again; returns how many.  They fill a half of the batch
 * while there are others: sessions may move rows faster than they are read.
 */
static int
read_moved(void)
{
	Size		full = end == InvalidXLogRecPtr ? OUTBOX_FULL / 2 : OUTBOX_FULL;
	int			n = 0;

	while (n < Min(moved_rows_count(), MOVED_ROWS) && batch->size < full)
		copy_table_read_one(table, moved_rows_key(n++), take_row, NULL);
	return n;
}

/* Read the rows of a chunk: moved ones first, then the next ones. */
static void
read_rows(ChunkInFlight *chunk, int *nmoved)
{
	CopyChunk	result = {.rows = 0};

	*nmoved = read_moved();
	if (end == InvalidXLogRecPtr)
	{
		copy_table_read(table, &next, copy_rate_rows(), &result, take_row, NULL);
		chunk->advances = true;
		chunk->last = copy_position_keep(current_context, &result.last);
		chunk->end = result.all_read ? 1 : InvalidXLogRecPtr;
	}
	rows_seen = result.seen;
	chunk->rows = row_event.seq;
}

/*
 * In a transaction: read a chunk into the batch.  Returns NULL or why the copy
 * ends; *locked: it is to be tried again.
 */
static const char *
read_chunk(ChunkInFlight *chunk, int *nmoved, bool *locked)
{
	Oid			user;
	int			security;
	const char *fault = NULL;

	if (!ConditionalLockRelationOid(current->relid, AccessShareLock))
	{
		*locked = true;
		return NULL;
	}
	if (get_rel_name(current->relid) == NULL)
		return "the table was dropped";
	copy_table_set_planner();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	GetUserIdAndSecContext(&user, &security);
	fault = describe_current();
	SetUserIdAndSecContext(pipeline->owner, security | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_LOCAL_USERID_CHANGE);
	if (fault == NULL && wal_reader_position(wal) < begin_at)
		*locked = true;			/* begun anew */
	else if (fault == NULL)
		read_rows(chunk, nmoved);
	SetUserIdAndSecContext(user, security);
	SPI_finish();
	PopActiveSnapshot();
	return fault;
}

/* How the reading of a chunk ended. */
typedef enum ChunkOutcome {CHUNK_READ, CHUNK_LATER, CHUNK_FAULT} ChunkOutcome;

/* The same in a transaction of its own; errors are caught. */
static ChunkOutcome
try_chunk(ChunkInFlight *chunk, int *nmoved, const char **fault)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		decoding = wal_reader_count_as_decoding(false);
	volatile ChunkOutcome outcome = CHUNK_READ;
	WalPlace	amid = {.lsn = 1};	/* rows are near: no text that quotes them */

	PG_TRY();
	{
		bool		is_locked = false;

		present_catalogs_look(wal_reader_position(wal));
		StartTransactionCommand();
		*fault = read_chunk(chunk, nmoved, &is_locked);
		CommitTransactionCommand();
		if (*fault != NULL)
			outcome = CHUNK_FAULT;
		else if (is_locked)
			outcome = CHUNK_LATER;
	}
	PG_CATCH();
	{
		ErrorData  *error = caught_error_abort(caller);

		outcome = error_policy_passes(error->sqlerrcode) ? CHUNK_LATER : CHUNK_FAULT;
		*fault = error_policy_text(error, &amid);
		if (outcome == CHUNK_LATER && said != error->sqlerrcode)
			ereport(LOG, (errmsg("firehose decoder: pipeline \"%s\" will try again to copy table %u: %s",
								 pipeline->name, current->relid, *fault)));
		said = error->sqlerrcode;
		forget_table();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	(void) wal_reader_count_as_decoding(decoding);
	present_catalogs_forget(wal_reader_position(wal));
	return outcome;
}

/* Hand the chunk over whose rows are in the batch. */
static void
hand_over(ReadChunk *read)
{
	ChunkInFlight *chunk = &read->chunk;

	if (chunk->end != InvalidXLogRecPtr)
		end = chunk->end = read->mark;
	chunk->hold = moved_rows_read(read->nmoved, read->mark);
	if (chunk->advances)
	{
		copy_position_free(&next);
		next = copy_position_keep(current_context, &chunk->last);
	}
	batch->commits_upto = Max(batch->commits_upto, wal_reader_done(wal));
	change_batch_flush(batch);
	chunk->until = pg_atomic_read_u64(&batch->pipeline->ring.next);
	chunks_in_flight_add(chunk);
	show_hold();
}

/*
 * The chunk's transaction has ended.  The rows it saw are to be durable, on
 * standbys as well, and its position is not to come again.
 */
static void
finish_chunk(ReadChunk *read)
{
	read->mark = visibility_write_mark();
	XLogFlush(read->mark);
	read->chunk.bytes = batch->size;
	if (standby_gate_has(read->mark))
	{
		hand_over(read);
		return;
	}
	deferred_chunk_begin(read, batch, wal);
	change_reader_defer_rows(reader, current->relid);
}

/* Read the next chunk; returns when to come again. */
static long
do_chunk(void)
{
	ReadChunk	read = {.position = visibility_write_mark()};
	ChunkOutcome outcome;
	const char *fault = NULL;
	long		pause;

	if (!worker_enter_core())
		return -1;
	pause = visibility_await();
	worker_leave_core();
	if (pause > 0)
		return pause;

	row_event = (Event) {.op = EVENT_READ, .lsn = read.position - 1,
		.epoch = progress_epoch(read.position), .ts = GetCurrentTimestamp()};
	if (!worker_enter_core())
		return -1;
	outcome = try_chunk(&read.chunk, &read.nmoved, &fault);
	worker_leave_core();
	if (outcome != CHUNK_READ)
	{
		if (batch->size > 0)
			change_reader_forget_rows(reader);
		change_batch_discard(batch);
		return outcome == CHUNK_FAULT ? end_copy(COPY_FAILED, fault) : RETRY_MS;
	}
	said = 0;
	said_end = false;
	finish_chunk(&read);
	return copy_rate_pause(rows_seen);
}

/* Take account of what was delivered, and of what the stream has passed. */
static void
keep_account(void)
{
	dirty |= chunks_in_flight_settle(current);
	moved_rows_passed(wal_reader_position(wal));
	if (dirty && clock_ms() - noted_at >= NOTE_MS)
		store_current();
	show_hold();
}

/*
 * Files of notes that nothing needs any more may stay open: the process is to
 * exit once it is stored what became of their copy.  The next one has none
 * open.
 */
static bool
must_leave_files(void)
{
	if (!moved_rows_files_stay() ||
		(current != NULL && (dirty || moved_rows_are_lost() || moved_rows_failure() != NULL)))
		return false;
	pg_atomic_write_u32(&batch->pipeline->reread, 1);
	return true;
}

static long
come_again(long wait)
{
	not_before = clock_ms() + wait;
	return wait;
}

long
copier_turn(void)
{
	int64		now = clock_ms();
	MemoryContext old;
	long		wait;

	held = false;
	if (current != NULL)
		keep_account();
	if (must_leave_files())
		return 0;
	if (copies == NIL)
		return -1;
	/* at first, because the stream stops at a deferred chunk */
	if (!deferred_chunk_end(batch, wal, moved_rows_are_lost() || moved_rows_failure() != NULL, hand_over))
		return -1;
	if (now < not_before)
		return not_before - now;
	if (wal_reader_position(wal) < begin_at)
		return -1;
	if (current == NULL)
		begin_copy();
	if (moved_rows_failure() != NULL)
		return come_again(end_copy(COPY_FAILED, psprintf("moved rows cannot be noted: %s", moved_rows_failure())));
	if (moved_rows_are_lost())
	{
		ereport(LOG, (errmsg("firehose decoder: pipeline \"%s\" begins the copy of table %u anew, because rows changed while it had another key",
							 pipeline->name, current->relid)));
		start_over(current->key_columns, current->key_types, true);
		return 0;
	}
	if (moved_rows_count() == 0 && end != InvalidXLogRecPtr)
	{
		if (wal_reader_position(wal) < end || chunks_in_flight_count() > 0 || !moved_rows_settled())
			return -1;
		return come_again(end_copy(COPY_DONE, NULL));
	}
	if ((held = !copy_rate_has_turn(batch)))
		return -1;
	old = MemoryContextSwitchTo(scratch);
	wait = do_chunk();
	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	return come_again(wait);
}

bool
copier_is_due(void)
{
	return held && (chunks_in_flight_delivered() || copy_rate_has_turn(batch));
}

void
copier_stop(void)
{
	if (current != NULL)
		dirty |= chunks_in_flight_settle(current);
	if (dirty)
		store_current();
}
