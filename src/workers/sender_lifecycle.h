/*
 * sender_lifecycle.h
 *		The start and exit of senders, as the launcher arranges it.  Runs in
 *		senders.
 */
#ifndef FIREHOSE_WORKERS_SENDER_LIFECYCLE_H
#define FIREHOSE_WORKERS_SENDER_LIFECYCLE_H

/*
 * A sender's first act, before worker_connect: claim the entry that `arg`
 * (bgw_main_arg) names.  Sets *dboid and returns true; false when no sender is
 * to run there any more, and the caller has to return.  The entry is given
 * back at exit.  An exit code of 0 means "as asked"; after any other the next
 * start is delayed, longer each time.
 */
extern PGDLLEXPORT bool sender_attach(Datum arg, Oid *dboid);

/*
 * Look whether the extension is in the sender's database, in a transaction of
 * its own, and tell the launcher; until then no other unknown database is
 * looked at (for 5 s at most).  Call it right after worker_connect, whenever
 * sender_take_recheck says so, and before pipeline_reconcile.  False: the
 * caller exits and leaves the queue alone, which may have been discarded;
 * after CREATE EXTENSION another sender will come.
 */
extern PGDLLEXPORT bool sender_check_extension(Oid dboid);

/*
 * Was this sender asked to look whether the extension is still there?  Clears
 * the request.
 */
extern PGDLLEXPORT bool sender_take_recheck(Oid dboid);

/*
 * Was this sender asked to exit: by an exclusion, or firehose.enabled = off?
 */
extern PGDLLEXPORT bool sender_must_exit(Oid dboid);

#endif							/* FIREHOSE_WORKERS_SENDER_LIFECYCLE_H */
