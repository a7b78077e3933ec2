/*
 * launcher.c
 *		The launcher process: a static background worker, connected to no
 *		database, that keeps a sender running in every database that has the
 *		extension, and a decoder for every pipeline that is to run.
 *
 * It cannot see from outside whether a database has the extension.  So it
 * starts a sender in every database that may have it, one at a time; a sender
 * that finds no extension says so and exits, and the database is left alone
 * until CREATE EXTENSION asks for a check.  Nor can it see pipelines: the
 * sender of their database writes them into the table of pipelines.
 * pg_database is read at start, when the sending is switched on, and after
 * statements that change databases (ddl_hooks.c).  Otherwise the launcher
 * sleeps on its latch, without a timeout unless a start is due or under way.
 *
 * All that must outlive the launcher is in the tables of databases and of
 * pipelines (database_table.h, pipeline_table.h).  A launcher that comes back
 * finds the workers running, and gives up starts that were under way: their
 * processes will not be admitted.
 *
 * It always exits with code 1, so that the postmaster restarts it; at a
 * shutdown that does not happen anyway.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "common/clock.h"
#include "common/compat.h"
#include "common/names.h"
#include "queue/save.h"
#include "queue/set_aside.h"
#include "wal/run_epoch.h"
#include "workers/database_scan.h"
#include "workers/database_table.h"
#include "workers/decoder_lifecycle.h"
#include "workers/launcher.h"
#include "workers/pipeline_table.h"
#include "workers/worker.h"

#define SENDER_FUNCTION		"firehose_sender_start"
#define DECODER_FUNCTION	"firehose_decoder_main"

#define RESTART_SECONDS		5	/* of the launcher, by the postmaster */
#define START_POLL_MS		1000	/* of a start, in case no signal came */
#define PROBE_MS			5000	/* a sender that has not said within this
								 * whether there is an extension holds up the
								 * others no longer */
#define NO_WORKER_FIRST_MS	200 /* the last worker may be on its way out */
#define NO_WORKER_MS		30000
#define NO_PROCESS_MS		1000	/* doubled each time ... */
#define MAX_NO_PROCESS_MS	60000	/* ... up to this */

/* A worker that is to be started: a sender or a decoder. */
typedef struct Vacancy
{
	DatabaseEntry *database;		/* one of these two */
	PipelineEntry *pipeline;
} Vacancy;

/* The state of this process beyond the tables. */
static struct
{
	BackgroundWorkerHandle *starting;	/* the worker under way, if any */
	WorkerSlot	   *starting_slot;
	uint16		starting_generation;

	int			refusals;		/* starts without a free worker, in a row */
	int			no_process_ms;	/* pause after the last start from which no
								 * process came; 0: the last one did come */
	int64		retry_at;		/* no start before, after either */
}			state;

extern PGDLLEXPORT void firehose_launcher_main(Datum arg);

static void begin_launcher(void);
static void detach_launcher(int code, Datum arg);
static void stop_decoders(void);
static bool take_rescan(void);
static void start_all_now(void);
static long keep_workers_running(int64 now);
static bool start_under_way(int64 now);
static bool choose_vacancy(int64 now, Vacancy *vacancy, int64 *due);
static int64 probing_until(void);
static bool sender_should_run(const DatabaseEntry *entry);
static void start_worker(const Vacancy *vacancy, int64 now);
static void describe_sender(BackgroundWorker *worker, const DatabaseEntry *entry);
static void describe_decoder(BackgroundWorker *worker, const PipelineEntry *entry);
static void report_refusal(const char *worker, int64 now);

/* Register the launcher with the postmaster. */
void
launcher_register_worker(void)
{
	BackgroundWorker worker = {0};

	/* no process may write during pg_upgrade */
	if (IsBinaryUpgrade)
		return;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, FIREHOSE_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "firehose_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "firehose launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "firehose launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* Entry point of the process. */
void
firehose_launcher_main(Datum arg)
{
	bool		was_enabled = false;

	begin_launcher();

	while (!worker_shutdown_requested())
	{
		long		timeout;
		bool		rescan = take_rescan();

		if (workers_enabled && !was_enabled)
		{
			start_all_now();
			rescan = true;
		}
		else if (was_enabled && !workers_enabled)
			stop_decoders();
		was_enabled = workers_enabled;

		if (rescan)
		{
			database_scan();

			/* a database less may be a worker more */
			state.retry_at = 0;
		}
		database_scan_place();

		timeout = clock_sooner(decoders_drop_orphaned_slots(clock_ms()),
							   queue_set_aside_expire());
		if (workers_enabled)
			timeout = clock_sooner(timeout, keep_workers_running(clock_ms()));

		worker_wait(NULL, timeout, WaitEventNamed("FirehoseLauncherMain"),
					NULL, 0);
	}

	proc_exit(1);
}

/* Decoders may be where they do not hear of a setting. */
static void
stop_decoders(void)
{
	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	decoders_exclude(InvalidOid);
	LWLockRelease(database_table->lock);
}

/* Take over the table, and connect. */
static void
begin_launcher(void)
{
	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	database_table->launcher_procno = MyProcNo();
	database_table->rescan = true;

	/* starts of a launcher before this one, whose handles went with it */
	for (int i = 0; i < database_table->nentries; i++)
		worker_slot_give_up_start(&database_table->entries[i].sender);
	for (int i = 0; i < pipeline_table->nentries; i++)
		worker_slot_give_up_start(&pipeline_table->entries[i].decoder);
	LWLockRelease(database_table->lock);
	on_shmem_exit(detach_launcher, (Datum) 0);

	worker_connect(InvalidOid);

	/* before there is a decoder */
	run_epoch_flush();

	/* recovery is over, or we would not run */
	queue_save_forget();
}

/* on_shmem_exit: no process is to wake this one any more. */
static void
detach_launcher(int code, Datum arg)
{
	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	database_table->launcher_procno = NO_PROC;
	LWLockRelease(database_table->lock);
}

/* Was it requested to read pg_database? */
static bool
take_rescan(void)
{
	bool		rescan;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	rescan = database_table->rescan;
	database_table->rescan = false;
	LWLockRelease(database_table->lock);

	return rescan;
}

/* Have all workers started at once, whatever they waited for. */
static void
start_all_now(void)
{
	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < database_table->nentries; i++)
		worker_slot_start_now(&database_table->entries[i].sender);
	decoders_start_now(InvalidOid);
	LWLockRelease(database_table->lock);
}

/* Start the next worker if one is due; returns how long to sleep. */
static long
keep_workers_running(int64 now)
{
	Vacancy		vacancy;
	int64		due;

	if (start_under_way(now))
		return START_POLL_MS;

	if (choose_vacancy(now, &vacancy, &due))
	{
		if (now >= state.retry_at)
		{
			start_worker(&vacancy, now);
			if (state.starting)
				return START_POLL_MS;
		}
		due = Max(due, state.retry_at);
	}

	if (due == PG_INT64_MAX)
		return -1;
	return (long) Max(due - now, 0);
}

/* Is there a worker that was asked for and has not come yet? */
static bool
start_under_way(int64 now)
{
	WorkerSlot	   *worker_slot = state.starting_slot;
	bool		stopped;
	bool		waiting;
	pid_t		pid;

	if (!state.starting)
		return false;

	/* ask first: a process may attach and exit between the two questions */
	stopped = GetBackgroundWorkerPid(state.starting, &pid) == BGWH_STOPPED;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	waiting = worker_slot->state == WORKER_SLOT_STARTING &&
		worker_slot->generation == state.starting_generation;
	if (waiting && stopped)
	{
		/*
		 * no process could be started, or no library be loaded, for any worker
		 */
		worker_slot_give_up_start(worker_slot);
		state.no_process_ms = Min(Max(state.no_process_ms * 2, NO_PROCESS_MS),
								  MAX_NO_PROCESS_MS);
		state.retry_at = now + state.no_process_ms;
		waiting = false;
	}
	else if (!waiting)
		state.no_process_ms = 0;
	LWLockRelease(database_table->lock);

	if (!waiting)
	{
		pfree(state.starting);
		state.starting = NULL;
	}
	return waiting;
}

/*
 * Choose the worker that is due first, and say when it is due; false and the
 * time until which nothing is due, PG_INT64_MAX if nothing ever will.
 */
static bool
choose_vacancy(int64 now, Vacancy *vacancy, int64 *due)
{
	int64		probes_from;

	*due = PG_INT64_MAX;

	LWLockAcquire(database_table->lock, LW_SHARED);
	probes_from = probing_until();
	for (int i = 0; i < database_table->nentries; i++)
	{
		DatabaseEntry *entry = &database_table->entries[i];
		int64		at = entry->sender.start_at;

		if (entry->sender.state != WORKER_SLOT_EMPTY || !sender_should_run(entry))
			continue;
		if (entry->extension == EXTENSION_UNKNOWN)
			at = Max(at, probes_from);
		if (at < *due)
		{
			*due = at;
			*vacancy = (Vacancy) {.database = entry};
		}
	}

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (entry->decoder.state == WORKER_SLOT_EMPTY && decoder_should_run(entry) &&
			entry->decoder.start_at < *due)
		{
			*due = entry->decoder.start_at;
			*vacancy = (Vacancy) {.pipeline = entry};
		}
	}
	LWLockRelease(pipeline_table->lock);
	LWLockRelease(database_table->lock);

	return *due <= now;
}

/*
 * Until when a running sender that has not reported yet holds up the next one.
 */
static int64
probing_until(void)
{
	int64		until = 0;

	for (int i = 0; i < database_table->nentries; i++)
	{
		DatabaseEntry *entry = &database_table->entries[i];

		if (entry->sender.state == WORKER_SLOT_TAKEN &&
			entry->extension == EXTENSION_UNKNOWN)
			until = Max(until, entry->sender.attached_at + PROBE_MS);
	}

	return until;
}

/* Is a sender to run now?  Wants the lock held. */
static bool
sender_should_run(const DatabaseEntry *entry)
{
	return OidIsValid(entry->dboid) && entry->eligible && entry->exclusions == 0 &&
		entry->extension != EXTENSION_ABSENT;
}

/* Ask the postmaster for a worker. */
static void
start_worker(const Vacancy *vacancy, int64 now)
{
	BackgroundWorker worker = {0};
	WorkerSlot	   *worker_slot;
	bool		should_run;
	MemoryContext old_context;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	if (vacancy->database)
	{
		worker_slot = &vacancy->database->sender;
		should_run = sender_should_run(vacancy->database);
	}
	else
	{
		worker_slot = &vacancy->pipeline->decoder;
		should_run = decoder_should_run(vacancy->pipeline);
	}
	if (should_run)
	{
		worker_slot_begin_start(worker_slot);
		state.starting_slot = worker_slot;
		state.starting_generation = worker_slot->generation;
		if (vacancy->database)
			describe_sender(&worker, vacancy->database);
		else
			describe_decoder(&worker, vacancy->pipeline);
	}
	LWLockRelease(pipeline_table->lock);
	LWLockRelease(database_table->lock);
	if (!should_run)
		return;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	/*
	 * the launcher restarts workers itself; a restart by the postmaster would
	 * create a duplicate
	 */
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	/*
	 * spares us START_POLL_MS when the start fails; nothing else relies on it
	 */
	worker.bgw_notify_pid = MyProcPid;

	old_context = MemoryContextSwitchTo(TopMemoryContext);
	if (RegisterDynamicBackgroundWorker(&worker, &state.starting))
	{
		if (state.refusals > 1)
			ereport(LOG,
					(errmsg("firehose launcher: background workers are available again")));
		state.refusals = 0;
		state.retry_at = 0;
	}
	else
	{
		state.starting = NULL;
		LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
		if (worker_slot->generation == state.starting_generation)
			worker_slot_give_up_start(worker_slot);
		LWLockRelease(database_table->lock);
		report_refusal(worker.bgw_name, now);
		if (vacancy->pipeline)
			pipeline_set_state(vacancy->pipeline, PIPELINE_STARTING,
							   "there is no background worker for it; max_worker_processes is used up");
	}
	MemoryContextSwitchTo(old_context);
}

/* Fill in the fields of a sender for the postmaster. */
static void
describe_sender(BackgroundWorker *worker, const DatabaseEntry *entry)
{
	worker->bgw_main_arg = database_worker_arg(entry - database_table->entries,
											   &entry->sender);
	strlcpy(worker->bgw_library_name, FIREHOSE_NAME, BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, SENDER_FUNCTION, BGW_MAXLEN);
	snprintf(worker->bgw_name, BGW_MAXLEN, "firehose sender for %s",
			 NameStr(entry->name));
	strlcpy(worker->bgw_type, "firehose sender", BGW_MAXLEN);
}

/* The same of a decoder. */
static void
describe_decoder(BackgroundWorker *worker, const PipelineEntry *entry)
{
	worker->bgw_main_arg = database_worker_arg(entry - pipeline_table->entries,
											   &entry->decoder);
	strlcpy(worker->bgw_library_name, FIREHOSE_NAME, BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, DECODER_FUNCTION, BGW_MAXLEN);
	snprintf(worker->bgw_name, BGW_MAXLEN, "firehose decoder for pipeline %s",
			 NameStr(entry->name));
	strlcpy(worker->bgw_type, "firehose decoder", BGW_MAXLEN);
}

/*
 * No worker could be started.  The first time this may be because the
 * postmaster has not yet cleaned up after the last worker.  The second time it
 * is logged.
 */
static void
report_refusal(const char *worker, int64 now)
{
	state.refusals++;
	state.retry_at = now +
		(state.refusals == 1 ? NO_WORKER_FIRST_MS : NO_WORKER_MS);

	if (state.refusals == 2)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("firehose launcher: out of background worker slots"),
				 errdetail("The %s could not be started.", worker),
				 errhint("You might need to increase %s.",
						 "max_worker_processes")));
}
