/*
 * wal_reader.c
 *		Logical decoding in this process.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "access/xlogutils.h"
#include "catalog/pg_publication.h"
#include "miscadmin.h"
#include "replication/decode.h"
#include "replication/message.h"
#include "replication/pgoutput.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "common/compat.h"
#include "common/own_tables.h"
#include "wal/run_epoch.h"
#include "wal/standby_gate.h"
#include "wal/wal_reader.h"

#define OUTPUT_PLUGIN	"pgoutput"

/* A message buffer larger than this is not kept. */
#define KEEP_BUFFER		(256 * 1024)

/* How often a slot that is being made looks for more WAL (ms). */
#define SLOT_WAIT_MS	100

/*
 * The most that is used of logical_decoding_work_mem (kB).  Core writes all
 * that it holds of a transaction to a file at once, and hears nothing
 * meanwhile: neither that the server stops nor that a database is dropped.
 * It takes about a second for this much.
 */
#define MAX_WORK_MEM	(128 * 1024)

/* Their names are to be looked up: at first, and after a change. */
static bool publications_changed = true;

XLogRecPtr
wal_reader_limit(void)
{
	return RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) : GetFlushRecPtr(NULL);
}

/*
 * Read a page that is there.  -1, and with it no record and no error, when it
 * is not: core's function would wait, and not on the latch.
 */
static int
read_page(XLogReaderState *state, XLogRecPtr page, int length, XLogRecPtr target,
		  char *buffer)
{
	XLogRecPtr	limit = standby_gate_passed(wal_reader_limit());
	int			n;

	if (page + length > limit)
		return -1;
	n = read_local_xlog_page(state, page, length, target, buffer);

	/* what the reader has, it does not ask for again */
	return n > 0 && page + n > limit ? (int) (limit - page) : n;
}

/*
 * The same while a slot is created, where the caller cannot come again: wait
 * here.
 */
static int
read_page_or_wait(XLogReaderState *state, XLogRecPtr page, int length, XLogRecPtr target,
				  char *buffer)
{
	while (page + length > wal_reader_limit())
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 SLOT_WAIT_MS, WaitEventNamed("FirehoseSlotCreation"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return read_local_xlog_page(state, page, length, target, buffer);
}

void
wal_reader_create_slot(const char *slot_name, bool failover)
{
	LogicalDecodingContext *decoding;

	CheckLogicalDecodingRequirements();

	/* an error on the way drops an ephemeral slot */
	CreateLogicalSlot(slot_name, RS_EPHEMERAL, failover);
	decoding = CreateInitDecodingContext(OUTPUT_PLUGIN, NIL, false, InvalidXLogRecPtr,
										 XL_ROUTINE(.page_read = read_page_or_wait,
													.segment_open = wal_segment_open,
													.segment_close = wal_segment_close),
										 NULL, NULL, NULL);
	DecodingContextFindStartpoint(decoding);
	FreeDecodingContext(decoding);
	ReplicationSlotPersist();
	ReplicationSlotRelease();
}

/* pgoutput is about to write a message. */
static void
prepare_message(LogicalDecodingContext *decoding, XLogRecPtr lsn, TransactionId xid,
				bool last_write)
{
	resetStringInfo(decoding->out);
}

/* A large value leaves a large buffer. */
static void
shrink_buffer(StringInfo buffer)
{
	if (likely(buffer->maxlen <= KEEP_BUFFER))
		return;
	buffer->data = repalloc(buffer->data, KEEP_BUFFER);
	buffer->maxlen = KEEP_BUFFER;
	resetStringInfo(buffer);
}

/* It has written one. */
static void
take_message(LogicalDecodingContext *decoding, XLogRecPtr lsn, TransactionId xid,
			 bool last_write)
{
	WalReader  *reader = decoding->output_writer_private;
	MemoryContext old = MemoryContextSwitchTo(reader->message_context);

	decoding->out->cursor = 0;
	reader->consumer->take(decoding->out, reader->arg);
	MemoryContextSwitchTo(old);
	shrink_buffer(decoding->out);
	MemoryContextReset(reader->message_context);
}

/*
 * Does a record stand for all that it is about: a commit, or a logical message
 * outside of transactions?  Then it can be left out.
 */
static bool
stands_for_itself(XLogReaderState *state)
{
	uint8		info = XLogRecGetInfo(state) & ~XLR_INFO_MASK;

	switch (XLogRecGetRmid(state))
	{
		case RM_XACT_ID:
			return (info & XLOG_XACT_OPMASK) == XLOG_XACT_COMMIT ||
				(info & XLOG_XACT_OPMASK) == XLOG_XACT_COMMIT_PREPARED;
		case RM_LOGICALMSG_ID:
			return !((xl_logical_message *) XLogRecGetData(state))->transactional;
		default:
			return false;
	}
}

static bool
is_skipped(const WalReader *reader)
{
	for (int i = 0; i < reader->nskips; i++)
	{
		if (reader->decoding->reader->ReadRecPtr == reader->skips[i])
			return true;
	}
	return false;
}

/* Does the pipeline leave out what comes from there? */
static bool
is_foreign(const WalReader *reader, RepOriginId origin)
{
	return reader->plugin.filter_by_origin_cb != NULL &&
		reader->plugin.filter_by_origin_cb(reader->decoding, origin);
}

/*
 * Leave a transaction out: asked at its commit record, and at those of single
 * changes.  Before any plugin sees it, because it may be the plugin that fails
 * on it.  A change is left out later, alone, once it has been counted: its
 * transaction may have others that are sent, whose numbers must not depend on
 * what the pipeline leaves out.
 */
static bool
filter_transaction(LogicalDecodingContext *decoding, RepOriginId origin)
{
	WalReader  *reader = decoding->output_writer_private;

	if (reader == NULL || !stands_for_itself(decoding->reader))
		return false;
	return is_skipped(reader) || is_foreign(reader, origin);
}

/* Error context: which table's change was it? */
static void
note_table(void *arg)
{
	WalReader  *reader = arg;

	snprintf(reader->failed_table, sizeof(reader->failed_table), "\"%s\", OID %u",
			 RelationGetRelationName(reader->relation), RelationGetRelid(reader->relation));
}

/* Syscache callback: publications have changed. */
static void
note_publications(Datum arg, int cacheid, uint32 hashvalue)
{
	publications_changed = true;
}

/* Are these tables all the extension's? */
static bool
are_our_own(int nrelations, Relation relations[])
{
	while (nrelations > 0 && own_tables_has(RelationGetRelid(relations[nrelations - 1])))
		nrelations--;
	return nrelations == 0;
}

/*
 * pgoutput looks up publications by name, as of the transaction that is being
 * decoded, while a rename may come before or after it: pass the names of that
 * time.  One that did not exist then is an error, because another one may have
 * had its name.  But a change of our own tables, of which nothing is ever
 * sent, is left out then: false.
 */
static bool
follow_renames(WalReader *reader, int nrelations, Relation relations[])
{
	PGOutputData *data = reader->decoding->output_plugin_private;
	const char *missing = NULL;
	MemoryContext old;
	ListCell   *cell;

	if (likely(!publications_changed))
		return true;
	old = MemoryContextSwitchTo(reader->context);
	foreach(cell, reader->publications)
	{
		ListCell   *name = list_nth_cell(data->publication_names, foreach_current_index(cell));
		char	   *then = get_publication_name(lfirst_oid(cell), true);

		if (then == NULL)
			missing = lfirst(name);
		else if (strcmp(then, lfirst(name)) != 0)
			lfirst(name) = then;
	}
	MemoryContextSwitchTo(old);
	publications_changed = missing != NULL;
	if (missing != NULL && !are_our_own(nrelations, relations))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("publication \"%s\" did not exist at the commit", missing)));
	return missing == NULL;
}

/* Have pgoutput write a change, and remember its table for errors. */
static void
change_for_pgoutput(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
					Relation relation, ReorderBufferChange *change)
{
	WalReader  *reader = decoding->output_writer_private;
	ErrorContextCallback context = {error_context_stack, note_table, reader};

	if (!follow_renames(reader, 1, &relation))
		return;
	reader->relation = relation;
	error_context_stack = &context;
	reader->plugin.change_cb(decoding, txn, relation, change);
	error_context_stack = context.previous;
}

/*
 * Callbacks before pgoutput's, that count: they count the changes in the WAL,
 * because an id must not depend on a publication or a format.
 */

static void
begin_counting(LogicalDecodingContext *decoding, ReorderBufferTXN *txn)
{
	WalReader  *reader = decoding->output_writer_private;

	reader->seq = 0;
	reader->plugin.begin_cb(decoding, txn);
}

static void
count_change(LogicalDecodingContext *decoding, ReorderBufferTXN *txn, Relation relation,
			 ReorderBufferChange *change)
{
	WalReader  *reader = decoding->output_writer_private;

	reader->seq++;
	reader->change_lsn = change->lsn;
	if (!is_foreign(reader, change->origin_id))
		change_for_pgoutput(decoding, txn, relation, change);
	/* some formats make a delete and an insert of it */
	if (change->action == REORDER_BUFFER_CHANGE_UPDATE && change->data.tp.oldtuple != NULL)
		reader->seq++;
}

static void
count_truncate(LogicalDecodingContext *decoding, ReorderBufferTXN *txn, int nrelations,
			   Relation relations[], ReorderBufferChange *change)
{
	WalReader  *reader = decoding->output_writer_private;

	reader->truncated = change->data.truncate.relids;
	reader->ntruncated = change->data.truncate.nrelids;
	reader->seq++;
	reader->change_lsn = change->lsn;
	if (!is_foreign(reader, change->origin_id) && follow_renames(reader, nrelations, relations))
		reader->plugin.truncate_cb(decoding, txn, nrelations, relations, change);
	reader->seq += reader->ntruncated - 1;
}

uint32
wal_reader_truncate_seq(const WalReader *reader, Oid relid)
{
	int			i = 0;

	while (i < reader->ntruncated - 1 && reader->truncated[i] != relid)
		i++;
	return reader->seq + i;
}

/*
 * Callbacks in the place of pgoutput's: of a consumer of logical messages
 * alone ...
 */

static void
begin_for_consumer(LogicalDecodingContext *decoding, ReorderBufferTXN *txn)
{
	WalReader  *reader = decoding->output_writer_private;

	reader->consumer->begin(txn, reader->arg);
}

static void
commit_for_consumer(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
					XLogRecPtr commit_lsn)
{
	WalReader  *reader = decoding->output_writer_private;

	reader->consumer->commit(txn, reader->arg);
}

static void
drop_change(LogicalDecodingContext *decoding, ReorderBufferTXN *txn, Relation relation,
			ReorderBufferChange *change)
{
}

static void
drop_truncate(LogicalDecodingContext *decoding, ReorderBufferTXN *txn, int nrelations,
			  Relation relations[], ReorderBufferChange *change)
{
}

/* ... and of all: unwanted messages are dropped before they are copied. */
static void
filter_message(LogicalDecodingContext *decoding, ReorderBufferTXN *txn, XLogRecPtr lsn,
			   bool transactional, const char *prefix, Size length, const char *content)
{
	WalReader  *reader = decoding->output_writer_private;

	if (transactional)
		reader->seq++;
	reader->change_lsn = lsn;
	if (!reader->consumer->wants_prefix(prefix, reader->arg))
		return;
	if (reader->consumer->logical_message)
		reader->consumer->logical_message(lsn, transactional, content, length, reader->arg);
	else
		reader->plugin.message_cb(decoding, txn, lsn, transactional, prefix, length, content);
}

/*
 * Install the reader's callbacks in the place of pgoutput's, or before them.
 */
static void
replace_callbacks(WalReader *reader)
{
	OutputPluginCallbacks *callbacks = &reader->decoding->callbacks;

	reader->plugin = *callbacks;
	callbacks->filter_by_origin_cb = filter_transaction;
	callbacks->message_cb = filter_message;
	if (reader->consumer->logical_message)
	{
		callbacks->begin_cb = begin_for_consumer;
		callbacks->commit_cb = commit_for_consumer;
		callbacks->change_cb = drop_change;
		callbacks->truncate_cb = drop_truncate;
	}
	else
	{
		callbacks->begin_cb = begin_counting;
		callbacks->change_cb = count_change;
		callbacks->truncate_cb = count_truncate;
	}
}

/*
 * Have decoding begin at `start`, though the slot may have been moved past it:
 * core takes the later of the two.  The WAL from its restart position on is
 * there in any case.
 */
static void
set_back(XLogRecPtr start)
{
	SpinLockAcquire(&MyReplicationSlot->mutex);
	if (MyReplicationSlot->data.confirmed_flush > start)
		MyReplicationSlot->data.confirmed_flush = start;
	SpinLockRelease(&MyReplicationSlot->mutex);
}

WalReader *
wal_reader_open(const char *slot_name, XLogRecPtr start, List *options,
				const WalConsumer *consumer, void *arg)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "firehose decoding",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	WalReader  *reader = palloc0(sizeof(WalReader));

	AcquireLogicalSlot(slot_name);
	set_back(start);
	reader->context = context;
	reader->message_context = AllocSetContextCreate(context, "firehose change",
													ALLOCSET_DEFAULT_SIZES);
	reader->consumer = consumer;
	reader->arg = arg;
	reader->decoding = CreateDecodingContext(start, options, false,
											 XL_ROUTINE(.page_read = read_page,
														.segment_open = wal_segment_open,
														.segment_close = wal_segment_close),
											 prepare_message, take_message, NULL);
	reader->decoding->output_writer_private = reader;
	replace_callbacks(reader);
	XLogBeginRead(reader->decoding->reader, MyReplicationSlot->data.restart_lsn);
	MemoryContextSwitchTo(old);
	if (consumer->open)
		consumer->open(reader, arg);
	return reader;
}

void
wal_reader_set_mark(WalReader *reader, WalMark *mark)
{
	reader->mark = mark;
}

void
wal_reader_follow(WalReader *reader, List *publications)
{
	reader->publications = publications;
	CacheRegisterSyscacheCallback(PUBLICATIONOID, note_publications, (Datum) 0);
}

void
wal_reader_skip(WalReader *reader, const XLogRecPtr *commits, int n)
{
	reader->skips = commits;
	reader->nskips = n;
}

void
wal_reader_place(const WalReader *reader, WalPlace *place)
{
	memset(place, 0, sizeof(WalPlace));
	if (reader == NULL || !reader->in_record)
		return;
	place->lsn = reader->decoding->reader->ReadRecPtr;
	place->can_be_skipped = stands_for_itself(reader->decoding->reader);
	strlcpy(place->table, reader->failed_table, sizeof(place->table));
}

/*
 * A large record leaves large buffers with core, which never makes them
 * smaller: the one in which the pages of a record are put together, the record
 * itself until the next one is read, and the one for changes that the reorder
 * buffer writes to disk.  Some room is left: core wants to have two pages.
 */
static void
shrink_core_buffers(LogicalDecodingContext *decoding)
{
	XLogReaderState *state = decoding->reader;
	ReorderBuffer *reorder = decoding->reorder;

	if (state->record && state->record->oversized)
		(void) XLogReleasePreviousRecord(state);
	if (unlikely(state->readRecordBufSize > KEEP_BUFFER))
	{
		state->readRecordBuf = repalloc(state->readRecordBuf, KEEP_BUFFER);
		state->readRecordBufSize = KEEP_BUFFER;
	}
	if (unlikely(reorder->outbufsize > KEEP_BUFFER))
	{
		reorder->outbuf = repalloc(reorder->outbuf, KEEP_BUFFER);
		reorder->outbufsize = KEEP_BUFFER;
	}
}

bool
wal_reader_next(WalReader *reader)
{
	XLogReaderState *state = reader->decoding->reader;
	XLogRecord *record;
	char	   *error = NULL;

	/*
	 * do not ask for more than there is: core would open the segment anew the
	 * next time
	 */
	if (state->EndRecPtr >= reader->limit)
	{
		reader->limit = standby_gate_pass(wal_reader_limit());
		if (state->EndRecPtr >= reader->limit)
			return false;
	}
	if (reader->stop_at != InvalidXLogRecPtr && state->EndRecPtr >= reader->stop_at)
		return false;

	record = XLogReadRecord(state, &error);
	if (error != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("could not read WAL at %X/%X: %s",
						LSN_FORMAT_ARGS(wal_reader_position(reader)), error)));
	if (record == NULL)
	{
		/* it ends behind the limit: look again */
		reader->limit = InvalidXLogRecPtr;
		return false;
	}
	if (run_epoch_is_start(state) && reader->on_server_start)
	{
		reader->on_server_start(state->ReadRecPtr);
		reader->limit = InvalidXLogRecPtr;	/* the gate may have been closed */
	}
	reader->in_record = true;
	if (reader->mark)
	{
		reader->mark->can_be_skipped = stands_for_itself(state);
		reader->mark->lsn = state->ReadRecPtr;
	}
	/* it may be set anew at any time */
	logical_decoding_work_mem = Min(logical_decoding_work_mem, MAX_WORK_MEM);
	LogicalDecodingProcessRecord(reader->decoding, state);
	if (reader->mark)
		reader->mark->lsn = InvalidXLogRecPtr;
	reader->in_record = false;
	shrink_core_buffers(reader->decoding);
	return true;
}

void
wal_reader_confirm(XLogRecPtr position)
{
	LogicalConfirmReceivedLocation(position);
}

void
wal_reader_save(void)
{
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
}

bool
wal_reader_count_as_decoding(bool decoding)
{
	bool		before = (MyProc->statusFlags & PROC_IN_LOGICAL_DECODING) != 0;

	if (before == decoding)
		return before;
	LWLockAcquire(ProcArrayLock, LW_EXCLUSIVE);
	if (decoding)
		MyProc->statusFlags |= PROC_IN_LOGICAL_DECODING;
	else
		MyProc->statusFlags &= ~PROC_IN_LOGICAL_DECODING;
	ProcGlobal->statusFlags[MyProc->pgxactoff] = MyProc->statusFlags;
	LWLockRelease(ProcArrayLock);
	return before;
}
