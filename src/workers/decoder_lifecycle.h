/*
 * decoder_lifecycle.h
 *		The start and exit of decoders, as the launcher arranges it, and the
 *		end of pipelines that are gone.
 */
#ifndef FIREHOSE_WORKERS_DECODER_LIFECYCLE_H
#define FIREHOSE_WORKERS_DECODER_LIFECYCLE_H

#include "workers/pipeline_table.h"

/*
 * For decoders
 */

/*
 * A decoder's first act, before worker_connect: claim the entry that `arg`
 * names; its database is (*entry)->dboid.  False: no decoder is to run there
 * any more, and the caller has to return.  Given back at exit, with the
 * meaning of the exit code as for senders.  After pipeline_fail it
 * is not started again until the definition of its pipeline changes, it is
 * resumed, or the server restarts.
 */
extern PGDLLEXPORT bool decoder_attach(Datum arg, PipelineEntry **entry);

/*
 * Was this decoder asked to exit: by an exclusion, firehose.enabled = off, a
 * pause or a drop?
 */
extern PGDLLEXPORT bool decoder_must_exit(PipelineEntry *entry);

/*
 * For senders and backends
 */

/*
 * The extension, or all of the database, is gone: its decoders are to leave,
 * and their replication slots to be dropped.
 */
extern void decoders_abandon_pipelines(Oid dboid);

/*
 * For the launcher and database_control.c; these want the lock of the table of
 * databases held
 */

/*
 * Is a decoder to run now?  Wants the lock of the table of pipelines as well.
 */
extern bool decoder_should_run(const PipelineEntry *entry);

/*
 * Keep decoders out of a database (InvalidOid: all) and have those that are
 * there exit.  Wants the lock held exclusively.
 */
extern void decoders_exclude(Oid dboid);

/* Have a database's decoders started at once (InvalidOid: all).  Likewise. */
extern void decoders_start_now(Oid dboid);

/* The process id of a decoder in a database, 0: none. */
extern int	decoders_any_pid(Oid dboid);

/*
 * Launcher: drop the replication slots of pipelines that are gone.  Returns
 * how long until the next try (ms), -1: nothing left.
 */
extern long decoders_drop_orphaned_slots(int64 now);

#endif							/* FIREHOSE_WORKERS_DECODER_LIFECYCLE_H */
