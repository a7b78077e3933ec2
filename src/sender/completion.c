/*
 * completion.c
 *		Collecting and writing the outcomes of records.
 *
 * Sender process only.  A record that was accepted is settled in the queue at
 * once: a lost status row is better than a second delivery.  One that failed
 * is settled when its dead letter is durably stored: a lost payload is not.
 *
 * Outcomes are published after the status rows, so that a session that has
 * waited for a record finds its row.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "queue/chain.h"
#include "queue/queue.h"
#include "sender/completion.h"
#include "sender/group.h"
#include "status/recent.h"
#include "status/status.h"
#include "stream/stream.h"
#include "workers/pipeline_table.h"

/*
 * Rows are written when there are this many, or the oldest is this old (us).
 */
#define FLUSH_ROWS			4000
#define FLUSH_AFTER			20000

/*
 * The pause before rows that could not be written are tried again (us), and
 * the number beyond which the oldest half is dropped.
 */
#define RETRY_AFTER			1000000
#define MAX_ROWS			50000
#define HALF_OF_ROWS		(MAX_ROWS / 2)

/* Dead letters that are stored in one transaction. */
#define MAX_LETTERS			100
#define MAX_LETTER_BYTES	(8 * 1024 * 1024)

typedef struct PendingFailure
{
	dlist_node	node;
	CompletionTarget *target;
	ClaimedRecord	claimed;
	TimestampTz failed_at;
	char		code[STATISTICS_CODE_LEN];
	char		message[STATISTICS_MESSAGE_LEN];
} PendingFailure;

static StatusRow *rows;
static int	nrows = 0;
static MemoryContext row_texts[2];	/* of each half of rows, dropped with it */
static RecentEntry *outcomes;
static int	noutcomes = 0;
static dlist_head failures = DLIST_STATIC_INIT(failures);
static int64 due = -1;			/* when to flush, -1: nothing to flush */
static int64 not_before = 0;	/* tables could not be written: wait */

/* on_shmem_exit: what was settled before an error must not be waited for. */
static void
serve_waiters(int code, Datum arg)
{
	queue_reader_serve_waiters(firehose_queue);
}

void
completion_init(void)
{
	on_shmem_exit(serve_waiters, (Datum) 0);
	rows = MemoryContextAllocHuge(TopMemoryContext, MAX_ROWS * sizeof(StatusRow));
	outcomes = MemoryContextAllocHuge(TopMemoryContext, MAX_ROWS * sizeof(RecentEntry));
	for (int i = 0; i < lengthof(row_texts); i++)
		row_texts[i] = AllocSetContextCreate(TopMemoryContext, "firehose status rows",
											 ALLOCSET_DEFAULT_SIZES);
}

/* Where the texts of a row are. */
static MemoryContext
texts_of(int row)
{
	return row_texts[row / HALF_OF_ROWS];
}

static void
forget_rows(void)
{
	nrows = 0;
	for (int i = 0; i < lengthof(row_texts); i++)
		MemoryContextReset(row_texts[i]);
}

/* Drop the older half of the rows. */
static void
forget_older_rows(void)
{
	MemoryContext emptied = row_texts[0];

	MemoryContextReset(emptied);
	row_texts[0] = row_texts[1];
	row_texts[1] = emptied;
	nrows -= HALF_OF_ROWS;
	memmove(rows, rows + HALF_OF_ROWS, nrows * sizeof(StatusRow));
}

/*
 * A place for a row.  If the tables cannot be written for long, the oldest
 * rows are lost, not records.
 */
static StatusRow *
add_row(CompletionTarget *target, const ClaimedRecord *claimed)
{
	StatusRow  *row;

	if (nrows == MAX_ROWS)
		forget_older_rows();
	row = &rows[nrows++];
	memset(row, 0, sizeof(StatusRow));
	row->id = claimed->id;
	row->serverid = target->serverid;
	row->stream = target->name;
	row->attempts = claimed->attempts;
	row->bytes = claimed->length;
	row->queued_at = claimed->queued_at;
	if (QUEUE_ITEM_HAS_ORIGIN(claimed->kind))
	{
		MemoryContext old = MemoryContextSwitchTo(texts_of(nrows - 1));

		row->lsn = claimed->origin.lsn;
		if (!QUEUE_ITEM_IS_PUT(claimed->kind))
			row->pipeline = pipeline_name(&claimed->origin);
		MemoryContextSwitchTo(old);
	}
	return row;
}

static void
publish_outcomes(void)
{
	recent_publish(outcomes, noutcomes);
	noutcomes = 0;
}

static void
add_outcome(uint64 id, RecordOutcome outcome, Oid serverid)
{
	if (noutcomes == MAX_ROWS)
		publish_outcomes();
	outcomes[noutcomes].id = id;
	outcomes[noutcomes++].outcome = outcome;

	/*
	 * before the record leaves the queue, so that it is found in one of the
	 * two
	 */
	recent_announce(id, outcome, serverid);
}

/* Copy a text of a row. */
static char *
copy_text(const StatusRow *row, const char *text, int length)
{
	char	   *copy = MemoryContextAlloc(texts_of(row - rows), length + 1);

	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

void
completion_accepted(CompletionTarget *target, const ClaimedRecord *claimed,
					const ResponseEntry *entry, bool encrypted, TimestampTz now)
{
	if (target->status == STATUS_ALL ||
		(target->status == STATUS_DEFAULT && QUEUE_ITEM_IS_PUT(claimed->kind)))
	{
		StatusRow  *row = add_row(target, claimed);

		row->accepted = true;
		row->record_id = status_record_id(texts_of(row - rows), entry->record_id,
										  entry->record_id_len, entry->record_id_is_ascii);
		row->encrypted = encrypted;
		row->completed_at = now;
	}
	add_outcome(claimed->id, OUTCOME_ACCEPTED, target->serverid);
	if (due < 0)
		due = 0;				/* set by the next completion_flush */
}

void
completion_failed(CompletionTarget *target, const ClaimedRecord *claimed, const char *code, const char *message)
{
	PendingFailure *failure = MemoryContextAllocZero(TopMemoryContext, sizeof(PendingFailure));

	failure->target = target;
	target->npending++;
	failure->claimed = *claimed;
	failure->failed_at = GetCurrentTimestamp();
	strlcpy(failure->code, code, sizeof(failure->code));
	strlcpy(failure->message, message, sizeof(failure->message));
	dlist_push_tail(&failures, &failure->node);
	if (due < 0)
		due = 0;
}

/* A record's payload, with a NUL behind it. */
static char *
copy_payload(CompletionTarget *target, const ClaimedRecord *claimed)
{
	QueuePlace	place = queue_reader_payload(&target->reader, claimed);
	char	   *data = palloc(claimed->length + 1);

	queue_read(target->reader.q, &place.page, &place.offset, data, claimed->length);
	data[claimed->length] = '\0';
	return data;
}

/*
 * A change that its decoder could not make a record of; layout.h has the form.
 */
void
completion_dead_event(CompletionTarget *target, const ClaimedRecord *claimed)
{
	char	   *code = copy_payload(target, claimed);

	completion_failed(target, claimed, code, code + strlen(code) + 1);
	pfree(code);
}

/* Describe a failure for the dead letters, payload included. */
static void
describe_letter(const PendingFailure *failure, DeadLetter *letter)
{
	char	   *payload = copy_payload(failure->target, &failure->claimed);
	char	   *data = payload;

	if (failure->claimed.kind == QUEUE_ITEM_DEAD_EVENT)
	{
		data += strlen(data) + 1;
		data += strlen(data) + 1;
	}
	memset(letter, 0, sizeof(DeadLetter));
	letter->id = failure->claimed.id;
	letter->serverid = failure->target->serverid;
	letter->stream = failure->target->name;
	letter->data = data;
	letter->length = failure->claimed.length - (data - payload);
	letter->error_code = failure->code;
	letter->error_message = failure->message;
	letter->attempts = failure->claimed.attempts;
	letter->queued_at = failure->claimed.queued_at;
	letter->failed_at = failure->failed_at;
	if (QUEUE_ITEM_HAS_ORIGIN(failure->claimed.kind))
	{
		letter->lsn = failure->claimed.origin.lsn;
		if (!QUEUE_ITEM_IS_PUT(failure->claimed.kind))
			letter->pipeline = pipeline_name(&failure->claimed.origin);
	}
}

/* The dead letter is stored: the record is not pending any more. */
static void
settle_failure(PendingFailure *failure)
{
	CompletionTarget *target = failure->target;

	target->npending--;
	add_outcome(failure->claimed.id, OUTCOME_FAILED, target->serverid);
	queue_reader_settle(&target->reader, &failure->claimed);
	pg_atomic_fetch_add_u64(&target->stats->failed, 1);
	if (target->status != STATUS_NONE)
	{
		StatusRow  *row = add_row(target, &failure->claimed);

		row->error_code = copy_text(row, failure->code, strlen(failure->code));
		row->error_message = copy_text(row, failure->message, strlen(failure->message));
		row->completed_at = failure->failed_at;
	}
	dlist_delete(&failure->node);
	pfree(failure);
}

/* Store a first batch of dead letters.  False: it cannot be done now. */
static bool
store_letters(void)
{
	DeadLetter	letters[MAX_LETTERS];
	int			n = 0;
	Size		bytes = 0;
	bool		stored;
	dlist_iter	iter;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "firehose dead letters",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	dlist_foreach(iter, &failures)
	{
		if (n == MAX_LETTERS || bytes > MAX_LETTER_BYTES)
			break;
		describe_letter(dlist_container(PendingFailure, node, iter.cur), &letters[n]);
		bytes += letters[n++].length;
	}
	stored = dead_letter_write(letters, n);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);

	for (int i = 0; stored && i < n; i++)
		settle_failure(dlist_container(PendingFailure, node, dlist_head_node(&failures)));
	queue_reader_serve_waiters(firehose_queue);
	return stored;
}

void
completion_flush(int64 now, bool now_or_never)
{
	bool		written = true;

	if (due < 0)
		return;
	if (nrows == 0 && dlist_is_empty(&failures))
	{
		/* nothing that an outcome would have to wait for */
		publish_outcomes();
		due = -1;
		return;
	}
	if (due == 0)
		due = now + FLUSH_AFTER;
	if (!now_or_never && (now < not_before ||
						  (now < due && nrows < FLUSH_ROWS && !recent_has_waiters())))
		return;

	/* one batch a turn, because other streams have work, too */
	do
		written = dlist_is_empty(&failures) || store_letters();
	while (now_or_never && written && !dlist_is_empty(&failures));
	if (nrows > 0 && status_write(rows, nrows))
		forget_rows();
	else if (nrows > 0)
		written = false;

	publish_outcomes();
	due = written ? (dlist_is_empty(&failures) ? -1 : now) : now + RETRY_AFTER;
	not_before = written ? 0 : due;
}

void
completion_make_room(int64 now)
{
	if (Max(nrows, noutcomes) > MAX_ROWS - REQUEST_MAX_RECORDS)
		completion_flush(now, false);
}

long
completion_timeout_ms(int64 now)
{
	if (due < 0)
		return -1;
	return Max(0, (Max(due, not_before) - now + 999) / 1000);
}

void
completion_forget(CompletionTarget *target)
{
	for (int i = 0; i < nrows; i++)
	{
		if (rows[i].stream == target->name)
			rows[i].stream = copy_text(&rows[i], target->name, strlen(target->name));
	}
}

QueuePosition
completion_first_failure(CompletionTarget *target, QueuePosition otherwise)
{
	dlist_iter	iter;

	dlist_foreach(iter, &failures)
	{
		PendingFailure *failure = dlist_container(PendingFailure, node, iter.cur);

		if (failure->target == target)
			otherwise = Min(otherwise, failure->claimed.position);
	}
	return otherwise;
}
