/*
 * worker.h
 *		What launcher, sender and decoder share: signal handlers, overrides
 *		of inherited settings, and the one wait helper.
 *
 * Every wait of ours goes through worker_wait: a process that waits on
 * anything but its latch keeps procsignal barriers unanswered, and DROP
 * DATABASE of every database hangs with it.
 */
#ifndef FIREHOSE_WORKER_H
#define FIREHOSE_WORKER_H

#include "storage/latch.h"

/* Install handlers (SIGTERM: shutdown flag and latch; SIGHUP: reload) and unblock signals. */
extern PGDLLEXPORT void worker_init_signals(void);

/* Override what ALTER DATABASE / ROLE SET may have given this process (trap 4). */
extern PGDLLEXPORT void worker_init_settings(void);

/*
 * Wait for the latch, or an event of `set` (which holds the latch and the
 * postmaster's death; NULL for a plain latch wait), at most timeout_ms (-1: no
 * limit).  Resets the latch, processes interrupts and catch-up invalidations,
 * reloads the configuration after SIGHUP, exits when the postmaster died.
 * Must be called outside a transaction.  Returns the number of events of the set
 * other than the latch that are ready, in `events`.
 */
extern PGDLLEXPORT int worker_wait(WaitEventSet *set, long timeout_ms, uint32 wait_event,
								   WaitEvent *events, int max_events);

/* Was SIGTERM received? The caller finishes what is under way and exits. */
extern PGDLLEXPORT bool worker_shutdown_requested(void);

#endif							/* FIREHOSE_WORKER_H */
