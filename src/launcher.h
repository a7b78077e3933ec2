/*
 * launcher.h
 *		The launcher: one static background worker, connected to no database,
 *		that keeps a sender running in every database that has the extension;
 *		and the table of databases by which backends, hooks and senders talk
 *		to it.
 *
 * DatabaseTable is in shared memory, under one LWLock ("FirehoseDatabases",
 * exclusive to change anything, shared to read), except the atomics.
 */
#ifndef FIREHOSE_LAUNCHER_H
#define FIREHOSE_LAUNCHER_H

#include "port/atomics.h"

extern void launcher_define_settings(void);
extern void launcher_register_worker(void);
extern void launcher_shmem_request(void);
extern void launcher_shmem_startup(void);

extern PGDLLEXPORT bool launcher_enabled;	/* firehose.enabled */

/*
 * Called by a sender as its first act: claim the slot that `arg` (bgw_main_arg)
 * names.  Sets *dboid and returns true; false when another worker has it, or
 * it is held, and the caller has to exit.  Gives the slot back at exit.
 */
extern PGDLLEXPORT bool launcher_attach_sender(Datum arg, Oid *dboid);

/* Called by the sender when it found no extension in its database (after CREATE EXTENSION somebody will nudge). */
extern PGDLLEXPORT void launcher_report_no_extension(Oid dboid);

/* Has somebody asked this database's sender to look whether the extension is still there? Clears the request. */
extern PGDLLEXPORT bool launcher_take_recheck(Oid dboid);

/* Has somebody asked this database's sender to go (a hold, or firehose.enabled = off)? */
extern PGDLLEXPORT bool launcher_sender_must_exit(Oid dboid);

/* The extension was created or dropped here, by a transaction that has committed: wake sender and launcher. */
extern void launcher_nudge(Oid dboid);

/* Set the latch of this database's sender, if there is one. */
extern PGDLLEXPORT void launcher_wake_sender(Oid dboid);

/*
 * Keep workers out of a database until launcher_release_database: stops the
 * sender and waits until it is gone, at most timeout_ms.  Nests.
 */
extern void launcher_hold_database(Oid dboid, int timeout_ms);
extern void launcher_release_database(Oid dboid);

/* The process id of the database's sender, 0: none. */
extern int	launcher_sender_pid(Oid dboid);

#endif							/* FIREHOSE_LAUNCHER_H */
