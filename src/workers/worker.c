/*
 * worker.c
 *		Shared by launcher, sender and decoder: signal handlers, the
 *		connection, overrides of inherited settings, and the one wait helper.
 *
 * Runs in firehose's background workers only.
 *
 * Signals. bgworker.c starts a worker with a SIGTERM handler that raises an
 * error inside the handler.  During the connection, which may wait for a lock
 * on the database, `die` is installed instead: exit at the next
 * CHECK_FOR_INTERRUPTS.  Afterwards SIGTERM only sets a flag, because a sender
 * waits for its requests in flight, whose records would be sent again
 * otherwise.  A worker that does not reach a look at the flag ends by a second
 * SIGTERM, or by the first one while it waits for a lock, which a prepared
 * transaction may hold for ever, or is inside worker_enter_core.  SIGINT
 * (pg_cancel_backend) means something only within a transaction, as in a
 * session; between transactions it is dropped.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"

#include "common/clock.h"
#include "workers/worker.h"

/* Settings of a worker, which override those of the database and the role. */
static const struct
{
	const char *name;
	const char *value;
}			worker_settings[] =
{
	/* transactions that write, and see what others have committed */
	{"default_transaction_read_only", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_deferrable", "off"},
	/* a timeout would only end work that is done again */
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"transaction_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	/* the bootstrap superuser, and a fixed meaning of names */
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"row_security", "off"},
	{"session_replication_role", "origin"},
	/* do not wait for a standby */
	{"synchronous_commit", "local"},
	/* small statements only: neither compiler nor helpers */
	{"jit", "off"},
	{"max_parallel_workers_per_gather", "0"},
};

/* A second SIGTERM that comes this much later is a second request. */
#define SIGNAL_TWICE_MS		500

/* How long a lock may be waited for after a SIGTERM. */
#define LOCK_WAIT_AT_EXIT_MS	1000

static volatile sig_atomic_t shutdown_requested = false;
static volatile sig_atomic_t in_core = false;
static int64 shutdown_requested_at;		/* written by the handler alone */

static void handle_terminate(SIGNAL_ARGS);
static void handle_cancel(SIGNAL_ARGS);
static int	drop_own_events(WaitEvent *events, int n);

/* Connect the process to a database and make it a worker. */
void
worker_connect(Oid dboid)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (OidIsValid(dboid))
		BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	else
		BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	worker_init_signals();
	worker_init_settings();

	/* for pg_stat_activity, which knows no names of workers */
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name,
					PGC_USERSET, PGC_S_OVERRIDE);
}

/* Install the handlers of a running worker and unblock signals. */
void
worker_init_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, handle_cancel);
	pqsignal(SIGTERM, handle_terminate);
	BackgroundWorkerUnblockSignals();
}

/* Override settings that came with the database or the role. */
void
worker_init_settings(void)
{
	for (int i = 0; i < lengthof(worker_settings); i++)
	{
		const char *name = worker_settings[i].name;

		/* not every server version has all of them */
		if (GetConfigOption(name, true, false) != NULL)
			SetConfigOption(name, worker_settings[i].value,
							PGC_SUSET, PGC_S_OVERRIDE);
	}
}

/* Wait for the latch, an event of the set, or the time. */
int
worker_wait(WaitEventSet *set, long timeout_ms, uint32 wait_event,
			WaitEvent *events, int max_events)
{
	int			nready = 0;

	Assert(!IsTransactionState());

	if (set == NULL)
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (timeout_ms >= 0 ? WL_TIMEOUT : 0),
						 timeout_ms, wait_event);
	else
	{
		nready = WaitEventSetWait(set, timeout_ms, events, max_events,
								  wait_event);
		nready = drop_own_events(events, nready);
	}

	/*
	 * reset before the caller looks for work, so that a later set wakes it
	 * again
	 */
	ResetLatch(MyLatch);
	worker_process_interrupts();

	return nready;
}

/* Process interrupts, barriers and a changed configuration. */
void
worker_process_interrupts(void)
{
	Assert(!IsTransactionState());

	/* came too late for the transaction it was meant for */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();

	/*
	 * An idle process that is far behind in reading invalidations is asked to
	 * catch up, and all others wait in line until it has.  Sessions do this
	 * while they wait for their client.
	 */
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Was SIGTERM received? */
bool
worker_shutdown_requested(void)
{
	return shutdown_requested;
}

/*
 * Core's code begins, which may take long.  The flag is set first, so that a
 * signal from now on ends it.
 */
bool
worker_enter_core(void)
{
	in_core = true;
	if (!shutdown_requested)
		return true;
	in_core = false;
	return false;
}

/* It has ended; a request that came meanwhile is one for the loop again. */
void
worker_leave_core(void)
{
	in_core = false;
	if (shutdown_requested)
		ProcDiePending = false;
}

/*
 * SIGTERM: ask the loop to end; asked again, end at the next check.  The
 * postmaster sends every signal twice, to the process and to its group, so a
 * second signal at once is the same request.
 *
 * A wait for a lock that has begun ends now.  One that is about to begin looks
 * at LockTimeout after it has set waitLock.
 */
static void
handle_terminate(SIGNAL_ARGS)
{
	int			save_errno = errno;

	if (!shutdown_requested)
		shutdown_requested_at = clock_ms();
	LockTimeout = LOCK_WAIT_AT_EXIT_MS;
	if (in_core || (MyProc != NULL && MyProc->waitLock != NULL) ||
		clock_ms() - shutdown_requested_at > SIGNAL_TWICE_MS)
		die(postgres_signal_arg);
	shutdown_requested = true;
	SetLatch(MyLatch);

	errno = save_errno;
}

/* SIGINT: cancel the current transaction, if there is one. */
static void
handle_cancel(SIGNAL_ARGS)
{
	if (IsTransactionState())
		StatementCancelHandler(postgres_signal_arg);
}

/* Remove the latch from the events, and exit if the postmaster is dead. */
static int
drop_own_events(WaitEvent *events, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_POSTMASTER_DEATH)
			proc_exit(1);
		if (events[i].events & WL_LATCH_SET)
			continue;
		events[kept++] = events[i];
	}

	return kept;
}
