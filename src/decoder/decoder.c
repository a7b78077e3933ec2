/*
 * decoder.c
 *		The decoder: one background worker per pipeline, that follows the WAL
 *		on the pipeline's slot, hands records to the queue, and confirms the
 *		slot as far as everything was delivered.
 *
 * The launcher starts it and, after an exit, another one.  Shared memory
 * (pipeline_table.h) has how far it has read and handed over, so a new decoder
 * continues where the last one stopped; after a crash of the server everything
 * not confirmed is read again.  An ERROR ends the process, having told the
 * table.
 *
 * It sleeps on its latch, without a snapshot; a commit that wrote WAL in its
 * database sets the latch when it sleeps, and under load it naps 2 ms when it
 * has caught up, so that busy committers need not signal.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_foreign_server.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "common/compat.h"
#include "common/json_write.h"
#include "decoder/change_batch.h"
#include "decoder/change_reader.h"
#include "decoder/chunks_in_flight.h"
#include "decoder/copier.h"
#include "decoder/durable_reader.h"
#include "decoder/error_policy.h"
#include "decoder/plugin_options.h"
#include "decoder/progress.h"
#include "decoder/standbys.h"
#include "decoder/unflushed.h"
#include "format/value.h"
#include "pipeline/definition.h"
#include "pipeline/rights.h"
#include "queue/reserve.h"
#include "status/recent.h"
#include "stream/stream.h"
#include "stream/stream_options.h"
#include "wal/present_catalogs.h"
#include "wal/replication_slot.h"
#include "wal/standby_gate.h"
#include "wal/wal_reader.h"
#include "workers/crash_mark.h"
#include "workers/database_control.h"
#include "workers/decoder_lifecycle.h"
#include "workers/pipeline_table.h"
#include "workers/worker.h"

/* Records decoded before interrupts and confirmation are looked at. */
#define ROUND_RECORDS		1000

/* How long to nap after a round that read the last of the WAL (us). */
#define NAP_US				2000

/* How long a stop awaits the sender, and how often it looks (ms). */
#define DRAIN_MS			4000
#define DRAIN_WAIT_MS		20

extern PGDLLEXPORT void firehose_decoder_main(Datum main_arg);

static PipelineEntry *my_entry;
static Pipeline *pipeline;
static ChangeBatch batch;
static const WalConsumer *consumer;
static void *consumer_arg;
static WalReader *wal;
static MemoryContext decoder_context;
static uint64 nulled;			/* values not counted in the table yet */
static bool making_slot;
static XLogRecPtr failed_at;	/* where an earlier decoder met an error */
static uint64 read_options_at;	/* stream_options_generation */

static void start(void);
static void run(void);
static void fail(void);
static void leave_at_exit(int code, Datum arg);

void
firehose_decoder_main(Datum main_arg)
{
	if (!decoder_attach(main_arg, &my_entry))
		return;
	worker_connect(my_entry->dboid);
	decoder_context = AllocSetContextCreate(TopMemoryContext, "firehose decoder",
											ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(decoder_context);

	PG_TRY();
	{
		/* start() waits inside core's code, for locks and old transactions */
		if (!worker_enter_core())
			proc_exit(0);
		start();
		worker_leave_core();
		run();
	}
	PG_CATCH();
	{
		fail();
	}
	PG_END_TRY();
}

/*
 * An error ends the process; error_policy.c says what it means.  Does not
 * return.
 */
static void
fail(void)
{
	ErrorData  *error;
	WalPlace	place;

	MemoryContextSwitchTo(decoder_context);
	error = CopyErrorData();
	LWLockReleaseAll();
	wal_reader_place(wal, &place);
	error_policy_note(my_entry, error, &place);
	if (!error_policy_hides_text(error, &place))
		PG_RE_THROW();
	FlushErrorState();
	ereport(ERROR,
			(errcode(error->sqlerrcode),
			 errmsg("pipeline \"%s\": %s", NameStr(my_entry->name),
					error_policy_text(error, &place))));
}

/* Start ------------------------------------------------------------------- */

/* Resolve a stream, and check that the pipeline's owner may use it. */
static void
add_stream(const char *name)
{
	Stream	   *stream = stream_get(name);

	stream_check_usage(stream, pipeline->owner);
	change_batch_add_stream(&batch, stream->serverid, stream->name,
							stream->options.delimiter != DELIMITER_NONE);
}

static bool
must_leave(void)
{
	return worker_shutdown_requested() || decoder_must_exit(my_entry);
}

static void
on_queue_full(const char *stream)
{
	if (pg_atomic_read_u32(&my_entry->state) != PIPELINE_WAITING)
		pipeline_set_state(my_entry, PIPELINE_WAITING,
						   psprintf("the queue has no room for stream \"%s\"; the WAL is the buffer meanwhile",
									stream));
	if (must_leave())
		proc_exit(0);
	CHECK_FOR_INTERRUPTS();
}

/* Durable puts name their streams, and their privileges were checked. */
static void
read_durable_puts(void)
{
	batch.outlives_streams = true;
	consumer = &durable_reader_consumer;
	consumer_arg = durable_reader_create(decoder_context, &batch);
}

/*
 * Changes go to the streams of their routes, or to the pipeline's, the last.
 */
static void
read_changes(void)
{
	ListCell   *lc;

	foreach(lc, pipeline->routes)
		add_stream(((PipelineRoute *) lfirst(lc))->stream);
	add_stream(pipeline->stream);
	read_options_at = stream_options_generation();
	json_tolerate(QUEUE_MAX_RECORD);
	pipeline->values.nulled = &nulled;
	consumer = &change_reader_consumer;
	consumer_arg = change_reader_create(decoder_context, pipeline, &batch, event_fill_source());
	copier_start(pipeline, &batch, consumer_arg);
}

/*
 * In a transaction: the pipeline fails if a publication or stream that it
 * needs is gone.
 */
static void
check_rights(void)
{
	const char *trouble = pipeline_check_rights(pipeline);

	if (trouble == NULL)
		return;
	/* the definition may have been altered with it: it is read again */
	if (!pipeline_is_well_now(my_entry->id))
		pipeline_fail(my_entry, trouble);
	proc_exit(0);
}

/* In a transaction: streams' options that records depend on, as of now. */
static void
reread_options(void)
{
	read_options_at = stream_options_generation();
	if (pipeline->durable_puts)
		return;
	for (int i = 0; i < batch.nstreams; i++)
	{
		Stream	   *stream = stream_get_by_id(batch.streams[i]->serverid);

		if (stream != NULL)
			batch.streams[i]->newline = stream->options.delimiter != DELIMITER_NONE;
	}
}

/*
 * Between transactions: check again if anything was changed that rights depend
 * on, or defaults of streams' options.  Invalidations are processed at the
 * start of a transaction.
 */
static void
recheck_rights(void)
{
	MemoryContext old = CurrentMemoryContext;
	bool		changed;

	if (wal_reader_position(wal) >= wal_reader_limit())
		return;
	StartTransactionCommand();
	changed = pipeline_rights_changed() || read_options_at != stream_options_generation();
	CommitTransactionCommand();
	if (changed)
	{
		present_catalogs_look(wal_reader_position(wal));
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		check_rights();
		reread_options();
		PopActiveSnapshot();
		CommitTransactionCommand();
		present_catalogs_forget(wal_reader_position(wal));
	}
	MemoryContextSwitchTo(old);
}

/*
 * Read the catalog: in a transaction of its own, with the slot not acquired.
 */
static void
read_pipeline(void)
{
	MemoryContext old = CurrentMemoryContext;

	pg_atomic_write_u32(&my_entry->reread, 0);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(old);

	pipeline = pipeline_read(my_entry->id);
	if (pipeline == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" does not exist", NameStr(my_entry->name))));
	check_rights();
	batch.pipeline = my_entry;
	batch.on_full = on_queue_full;
	batch.context = decoder_context;
	if (pipeline->durable_puts)
		read_durable_puts();
	else
		read_changes();

	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	database_wake_sender(MyDatabaseId);
}

/* Terminal: only a command can say where to continue. */
static void
fail_lost_slot(const char *what, XLogRecPtr confirmed)
{
	char	   *where = "";

	if (confirmed != InvalidXLogRecPtr)
		where = psprintf(" after %X/%X", LSN_FORMAT_ARGS(confirmed));
	pipeline_fail(my_entry,
				  psprintf("replication slot \"%s\" %s; changes committed%s and not yet delivered cannot be recovered from it; "
						   "to continue from now, run SELECT firehose_resume_pipeline(%s, from_now => true)",
						   pipeline->slot_name, what, where,
						   quote_literal_cstr(pipeline->name)));
	proc_exit(0);
}

/* Read no record at which the server crashed again and again. */
static void
heed_crashes(void)
{
	WalPlace	place;

	if (crash_mark_open(my_entry->dboid, my_entry->id, my_entry->version, &place))
	{
		error_policy_brake(my_entry, &place);
		proc_exit(0);
	}
}

/* An earlier decoder has left rows for a copy to read again (copier.h). */
static void
begin_before_moved_rows(void)
{
	XLogRecPtr	hold = pg_atomic_read_u64(&my_entry->copy_hold);

	if (hold == InvalidXLogRecPtr || hold >= pg_atomic_read_u64(&my_entry->queued_upto))
		return;
	pg_atomic_write_u64(&my_entry->queued_upto, hold);
	pg_atomic_write_u64(&my_entry->part_lsn, InvalidXLogRecPtr);
}

/*
 * Make the replication slot the first time, later check that it exists;
 * returns where to start.
 */
static XLogRecPtr
ensure_slot(void)
{
	SlotInfo	info;
	XLogRecPtr	from;
	const char *fault;

	if (!pipeline->slot_created && !replication_slot_look(pipeline->slot_name, &info))
	{
		pipeline_set_state(my_entry, PIPELINE_STARTING,
						   "the slot is being made; this waits for all older transactions to end");
		making_slot = true;
		wal_reader_create_slot(pipeline->slot_name, pipeline->failover);
		making_slot = false;
	}
	if (!pipeline->slot_created)
		pipeline_note_slot_created(pipeline->id);

	begin_before_moved_rows();
	fault = progress_start(pipeline, my_entry, &from);
	if (fault != NULL)
		fail_lost_slot(fault, progress_noted(pipeline));
	if (pipeline->failover_given)
		replication_slot_set_failover(pipeline->slot_name, pipeline->failover);
	return from;
}

static void
start(void)
{
	XLogRecPtr	from;

	value_fix_settings();
	before_shmem_exit(leave_at_exit, (Datum) 0);
	pipeline_watch_rights();
	read_pipeline();
	heed_crashes();
	from = ensure_slot();

	batch.definition = pipeline->fingerprint;
	batch.commits_upto = pg_atomic_read_u64(&my_entry->queued_upto);
	batch.part_lsn = pg_atomic_read_u64(&my_entry->part_lsn);
	batch.part_seq = pg_atomic_read_u32(&my_entry->part_seq);
	batch.part_definition = pg_atomic_read_u64(&my_entry->part_definition);
	present_catalogs_forget(InvalidXLogRecPtr);
	wal = wal_reader_open(pipeline->slot_name, from, plugin_options(pipeline), consumer,
						  consumer_arg);
	wal_reader_set_mark(wal, crash_mark());
	wal_reader_follow(wal, pipeline->publication_oids);
	wal_reader_skip(wal, pipeline->skips, pipeline->nskips);
	wal->on_server_start = progress_on_server_start;
	copier_open(wal);

	/* the epochs that are noted, perhaps just now, are to be on standbys */
	standby_gate_hold(InvalidXLogRecPtr, wal_reader_limit());

	failed_at = my_entry->last_error_lsn;
	(void) standbys_end_show(my_entry);
	pipeline_set_state(my_entry, PIPELINE_STREAMING, copier_reason());
	pgstat_report_activity(STATE_RUNNING, psprintf("pipeline \"%s\"", pipeline->name));
}

/* Confirmation ------------------------------------------------------------ */

/*
 * Confirm as far as everything is delivered: to the end of the finished prefix
 * of commits or, if nothing is outstanding, to the end of the WAL that was
 * read, so that an idle database retains no WAL.  Note and slot follow
 * (progress.h).
 */
static void
confirm(void)
{
	XLogRecPtr	upto = commit_ring_advance(&my_entry->ring);
	XLogRecPtr	hold;

	if (upto != InvalidXLogRecPtr)
		pg_atomic_write_u64(&my_entry->accepted_lsn, upto);
	if (commit_ring_is_empty(&my_entry->ring) && batch.nrecords == 0)
		upto = Max(upto, wal_reader_done(wal));
	hold = copier_hold();
	if (hold != InvalidXLogRecPtr)
		upto = Min(upto, hold);
	if (upto > pg_atomic_read_u64(&my_entry->confirmed_lsn))
		pg_atomic_write_u64(&my_entry->confirmed_lsn, upto);
}

/* The loop ---------------------------------------------------------------- */

/*
 * Decode one record of the WAL; false: there is none yet, or this process is
 * to exit.  The record of a commit may be hours of work, or wait for locks.
 */
static bool
next_record(void)
{
	bool		found;

	if (!worker_enter_core())
		return false;
	found = wal_reader_next(wal);
	worker_leave_core();
	return found;
}

/* Decode a round of the WAL that is there; returns how many records. */
static int
decode_round(void)
{
	int			n = 0;

	recheck_rights();
	while (n < ROUND_RECORDS && next_record())
	{
		n++;
		/* hand over the whole commits before the one that failed */
		if (unlikely(wal_reader_done(wal) <= failed_at))
			change_batch_flush(&batch);
		if (!pipeline->durable_puts)
			change_reader_trim(consumer_arg);
	}
	if (n == 0)
		return 0;

	if (standbys_end_show(my_entry))
		pipeline_set_state(my_entry, PIPELINE_STREAMING, copier_reason());
	change_batch_flush(&batch);
	pg_atomic_write_u64(&my_entry->read_lsn, wal_reader_position(wal));
	if (nulled > 0)
		pg_atomic_fetch_add_u64(&my_entry->nulled, nulled);
	nulled = 0;
	if (pipeline->durable_puts)
		recent_wake_flushers();
	if (pg_atomic_read_u32(&my_entry->state) == PIPELINE_WAITING)
		pipeline_set_state(my_entry, PIPELINE_STREAMING, copier_reason());
	return n;
}

/*
 * Sleep until a commit, a settled record, a standby or a command wakes us, or
 * until a copy goes on (-1: it waits for one of these).
 */
static void
sleep_until_woken(long copy_wait)
{
	bool		lack = standbys_lack() != InvalidXLogRecPtr;
	long		timeout;

	pg_atomic_exchange_u32(&my_entry->wants_settled, !commit_ring_is_empty(&my_entry->ring));

	/* commits do not matter while standbys lack what is there */
	if (!lack)
		pipeline_want_commit(my_entry, true);

	/* a last look at what happened before we asked to be woken */
	unflushed_flush();
	if (decode_round() == 0 && lack == (standbys_lack() != InvalidXLogRecPtr) &&
		!(lack && standbys_want_wakeup()))
	{
		confirm();
		if (lack)
			timeout = clock_sooner(standbys_show(my_entry, standbys_lack()), progress_due());
		else if ((timeout = unflushed_timeout()) < 0)
			timeout = progress_due();
		/* delivered between the copier's turn and our asking to be woken */
		if (copier_is_due())
			timeout = 0;
		else if (chunks_in_flight_delivered())
			timeout = clock_sooner(timeout, 1000);
		worker_wait(NULL, clock_sooner(timeout, copy_wait), WaitEventNamed("FirehoseDecoderMain"), NULL, 0);
	}
	standby_gate_cancel_wakeup();
	pipeline_want_commit(my_entry, false);
}

static void
run(void)
{
	for (;;)
	{
		int			n;
		long		copy_wait;

		worker_process_interrupts();
		if (must_leave() || pg_atomic_read_u32(&my_entry->reread) != 0)
			proc_exit(0);

		n = decode_round();
		if (standbys_lack() == InvalidXLogRecPtr && standbys_end_show(my_entry))
			pipeline_set_state(my_entry, PIPELINE_STREAMING, copier_reason());
		confirm();
		progress_note(false);
		copy_wait = copier_turn();
		if (copy_wait == 0)
			continue;
		if (n == 0)
			sleep_until_woken(copy_wait);
		else if (n < ROUND_RECORDS)
			pg_usleep(NAP_US);
	}
}

/* The end ----------------------------------------------------------------- */

/*
 * At a shutdown of the server the sender awaits the responses to its requests,
 * and the decoder awaits the sender, so that a clean restart repeats nothing.
 * Records in the queue that are not in flight come from the WAL again.
 */
static void
await_sender(void)
{
	int64		deadline = clock_ms() + DRAIN_MS;

	while (worker_shutdown_requested() && !decoder_must_exit(my_entry) &&
		   !commit_ring_is_empty(&my_entry->ring) &&
		   database_sender_pid(MyDatabaseId) != 0 && clock_ms() < deadline)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 DRAIN_WAIT_MS, WaitEventNamed("FirehoseDecoderShutdown"));
		ResetLatch(MyLatch);
	}
}

/*
 * before_shmem_exit: the one way out, after a request to exit, an error, or a
 * SIGTERM amid a record.  Only the handing over of a batch moves state, so
 * that a record may end anywhere; core's own callback gives up the slot after
 * this one, and drops one that is still being made.
 */
static void
leave_at_exit(int code, Datum arg)
{
	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	AbortOutOfAnyTransaction();
	crash_mark_close();
	change_batch_abandon(&batch);
	queue_stop_waiting(firehose_queue);
	if (making_slot && pg_atomic_read_u32(&my_entry->state) == PIPELINE_STARTING)
		pipeline_set_state(my_entry, PIPELINE_STARTING, "");
	if (wal == NULL || MyReplicationSlot == NULL)
		return;

	await_sender();
	confirm();

	/* it may have been stopped amid a transaction's decoding */
	if (HistoricSnapshotActive())
	{
		TeardownHistoricSnapshot(true);
		InvalidateSystemCaches();
	}
	copier_stop();
	progress_note(true);
}
