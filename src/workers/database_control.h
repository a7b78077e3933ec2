/*
 * database_control.h
 *		Requests of backends and senders to the workers of a database.
 *
 * Unless stated otherwise, these functions raise no error and wait for nothing
 * but the table's lock.
 */
#ifndef FIREHOSE_WORKERS_DATABASE_CONTROL_H
#define FIREHOSE_WORKERS_DATABASE_CONTROL_H

#include "queue/layout.h"

/*
 * A transaction that has committed created or dropped the extension here, or
 * created, changed or dropped a pipeline: wake sender and launcher.
 * InvalidOid: databases have come or changed, and the launcher is to read
 * pg_database.
 */
extern void database_request_check(Oid dboid);

/* Set the latch of this database's sender, if there is one. */
extern PGDLLEXPORT void database_wake_sender(Oid dboid);

/*
 * Claim the entry of the queue's table for a stream of this database, and wake
 * the sender if it does not know the entry yet: publications do not wake it
 * before.  *generation is valid for as long as the entry is this stream's.
 * Raises configuration_limit_exceeded if the table has no entry left.
 */
extern QueueStream *database_claim_stream(Oid serverid, const char *name,
										  uint32 *generation);

/*
 * Keep workers out of a database until database_readmit_workers, and ask its
 * sender and decoders to exit; nests.  False when the table is full: then
 * there is nothing to readmit.
 */
extern bool database_exclude_workers(Oid dboid);
extern void database_readmit_workers(Oid dboid);

/*
 * Wait, at most timeout_ms, until the database has no worker of firehose.  Can
 * be cancelled.
 */
extern void database_await_vacant(Oid dboid, int timeout_ms);

/* The database is gone: so is its queue. */
extern void database_forget(Oid dboid);

/* The process id of the database's sender, 0: none. */
extern int	database_sender_pid(Oid dboid);

#endif							/* FIREHOSE_WORKERS_DATABASE_CONTROL_H */
