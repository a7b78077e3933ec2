/*
 * launcher.h
 *		The launcher: one static background worker, connected to no database,
 *		that keeps a sender running in every database that has the extension,
 *		and a decoder for every pipeline; and the table of databases by which
 *		backends, hooks and workers talk to it.
 *
 * None of these functions raises an error or waits for anything but the
 * table's lock, except launcher_check_extension and launcher_await_vacant.
 */
#ifndef FIREHOSE_WORKERS_LAUNCHER_H
#define FIREHOSE_WORKERS_LAUNCHER_H

#include "workers/pipeline_table.h"

extern void launcher_define_settings(void);
extern void launcher_register_worker(void);
extern void launcher_shmem_request(void);
extern void launcher_shmem_startup(void);

extern PGDLLEXPORT bool launcher_enabled;	/* firehose.enabled */

/*
 * For senders
 */

/*
 * A sender's first act, before worker_connect: claim the slot that `arg`
 * (bgw_main_arg) names.  Sets *dboid and returns true; false when it is not
 * wanted any more, and the caller has to return.  The slot is given back at
 * exit.  An exit code of 0 means "as asked"; with any other the next start is
 * put off, the longer the more often.
 */
extern PGDLLEXPORT bool launcher_attach_sender(Datum arg, Oid *dboid);

/*
 * Look whether the extension is in the sender's database, in a transaction of
 * its own, and tell the launcher; until then no other unknown database is
 * looked at (for 5 s at most).  To be called right after worker_connect and
 * whenever launcher_take_recheck says so, and before pipeline_reconcile.  False: the caller exits and leaves
 * the queue alone, which may have been discarded; after CREATE EXTENSION
 * another sender will come.
 */
extern PGDLLEXPORT bool launcher_check_extension(Oid dboid);

/* Has somebody asked this database's sender to look whether the extension is still there? Clears the request. */
extern PGDLLEXPORT bool launcher_take_recheck(Oid dboid);

/* Has somebody asked this database's sender to go (a hold, or firehose.enabled = off)? */
extern PGDLLEXPORT bool launcher_sender_must_exit(Oid dboid);

/*
 * For decoders
 */

/*
 * A decoder's first act, before worker_connect: claim the slot that `arg`
 * names; its database is (*slot)->dboid.  False: it is not wanted any more, and
 * the caller has to return.  Given back at exit, with the meaning of the exit
 * code as for senders.  After pipeline_require_command it is not started again until
 * the definition of its pipeline changes, it is resumed, or the server restarts.
 */
extern PGDLLEXPORT bool launcher_attach_decoder(Datum arg, PipelineEntry **entry);

/* Has somebody asked this decoder to go: a hold, firehose.enabled = off, a pause, a drop? */
extern PGDLLEXPORT bool launcher_decoder_must_exit(PipelineEntry *entry);

/*
 * For senders and backends
 */

/* The extension, or all of the database, is gone: its decoders are to leave, and their replication slots to be dropped. */
extern void launcher_abandon_pipelines(Oid dboid);

/*
 * For backends
 */

/*
 * The extension was created or dropped here, or a pipeline created, changed or
 * dropped, by a transaction that has committed: wake sender and launcher.  InvalidOid: databases have come or
 * changed, and the launcher is to read pg_database.
 */
extern void launcher_request_check(Oid dboid);

/* Set the latch of this database's sender, if there is one. */
extern PGDLLEXPORT void launcher_wake_sender(Oid dboid);

/*
 * Keep workers out of a database until launcher_readmit_workers, and ask its
 * sender and decoders to exit; nests.  False when there is no room in the table, and then
 * there is nothing to release.
 */
extern bool launcher_exclude_workers(Oid dboid);
extern void launcher_readmit_workers(Oid dboid);

/* Wait, at most timeout_ms, until the database has no worker of ours (interruptible). */
extern void launcher_await_vacant(Oid dboid, int timeout_ms);

/* The database is gone: so is its queue. */
extern void launcher_forget_database(Oid dboid);

/* The process id of the database's sender, 0: none. */
extern int	launcher_sender_pid(Oid dboid);

#endif							/* FIREHOSE_WORKERS_LAUNCHER_H */
