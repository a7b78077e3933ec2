/*
 * worker.h
 *		Shared by launcher, sender and decoder: signal handlers, the
 *		connection, overrides of inherited settings, and the one wait helper.
 *
 * Every wait goes through worker_wait: a process that waits on anything but
 * its latch keeps procsignal barriers unanswered, and DROP DATABASE of every
 * database hangs with it.
 */
#ifndef FIREHOSE_WORKERS_WORKER_H
#define FIREHOSE_WORKERS_WORKER_H

#include "storage/latch.h"

/*
 * Everything between the start of a background worker and its loop: handlers,
 * connection (to no database if dboid is invalid), settings.  SIGTERM ends the
 * process during it, and only sets a flag from its return on.  A sender calls
 * sender_attach before it.
 */
extern PGDLLEXPORT void worker_connect(Oid dboid);

/*
 * The parts of worker_connect, for a process that connects in another way:
 * install the handlers of a running worker (SIGTERM: shutdown flag and latch,
 * and an end at the next interrupt check when it comes again; SIGHUP: reload;
 * SIGINT cancels the current transaction, if there is one) and unblock
 * signals, to be called *after* the connection; and override settings of ALTER
 * DATABASE / ROLE SET.
 */
extern PGDLLEXPORT void worker_init_signals(void);
extern PGDLLEXPORT void worker_init_settings(void);

/*
 * Wait for the latch, or an event of `set` (which holds the latch and the
 * postmaster's death; NULL for a plain latch wait), at most timeout_ms (-1: no
 * limit).  Resets the latch, processes interrupts and catch-up invalidations,
 * reloads the configuration after SIGHUP, exits when the postmaster died.
 * Must be called outside a transaction.  Returns the number of events of the
 * set other than the latch that are ready, in `events`; there may be none
 * although neither the latch was set nor the time is over.  The latch takes a
 * place in `events` while it waits: max_events is at least 2 if there is a
 * set.
 */
extern PGDLLEXPORT int worker_wait(WaitEventSet *set, long timeout_ms, uint32 wait_event,
								   WaitEvent *events, int max_events);

/*
 * The same without waiting and without touching the latch, for a worker that
 * has so much work that it never waits.
 */
extern PGDLLEXPORT void worker_process_interrupts(void);

/* Was SIGTERM received? The caller finishes what is under way and exits. */
extern PGDLLEXPORT bool worker_shutdown_requested(void);

/*
 * Around code of core's that may wait, or work, for long without a look at our
 * flag: meanwhile SIGTERM ends the process at core's next check for
 * interrupts, whose exit callbacks do the remaining work.  False: it came
 * already.
 */
extern PGDLLEXPORT bool worker_enter_core(void);
extern PGDLLEXPORT void worker_leave_core(void);

#endif							/* FIREHOSE_WORKERS_WORKER_H */
