/*
 * database_table.h
 *		The table of databases, for the files of this folder: the launcher, the
 *		life of senders and decoders (sender_lifecycle.c, decoder_lifecycle.c),
 *		and the requests of backends (database_control.c).
 *
 * Locking contract ---------------- To read anything in the table, or the
 * worker slots of decoders in the table of pipelines, hold the LWLock
 * "FirehoseDatabases" shared; to change it, exclusively.  It is held for a
 * walk over entries at most, and nothing is called under it that could wait or
 * raise an error.  The lock of the table of pipelines may be taken under it,
 * never the other way round.
 *
 * Processes are named by the number of their PGPROC, never by a latch.  A
 * process clears its number, under the lock, before its PGPROC is given back,
 * so that a latch set under the lock is that of the right process.
 */
#ifndef FIREHOSE_WORKERS_DATABASE_TABLE_H
#define FIREHOSE_WORKERS_DATABASE_TABLE_H

#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "workers/pipeline_table.h"
#include "workers/worker_slot.h"

typedef enum ExtensionState
{
	EXTENSION_UNKNOWN,			/* a sender has to look */
	EXTENSION_PRESENT,
	EXTENSION_ABSENT			/* no sender until a check is asked for */
} ExtensionState;

typedef struct DatabaseEntry
{
	Oid			dboid;			/* InvalidOid: the entry is free */
	NameData	name;			/* for messages; as of the last scan */
	bool		eligible;		/* the last scan found it connectable and no
								 * template; false as well: not seen yet */
	ExtensionState extension;
	WorkerSlot		sender;
	int			exclusions;			/* statements that want it empty */
} DatabaseEntry;

typedef struct DatabaseTable
{
	LWLock	   *lock;
	int			launcher_procno;	/* NO_PROC: it does not run */
	bool		rescan;			/* the launcher is to read pg_database */
	ConditionVariable vacated;	/* broadcast when a worker has left */
	int			nentries;			/* firehose.max_databases, fixed */
	DatabaseEntry entries[FLEXIBLE_ARRAY_MEMBER];
} DatabaseTable;

extern DatabaseTable *database_table;

extern PGDLLEXPORT bool workers_enabled;	/* firehose.enabled */

extern void database_table_define_settings(void);
extern void database_table_shmem_request(void);
extern void database_table_shmem_startup(void);

/* All of these want the lock held, exclusively where they change anything. */
extern DatabaseEntry *database_find(Oid dboid);
extern DatabaseEntry *database_claim(Oid dboid);
extern void database_free_if_idle(DatabaseEntry *entry);
extern void database_wake_launcher(void);

/*
 * The contents of a worker's bgw_main_arg: the number of its entry, and the
 * generation of the worker slot in it.
 */
static inline Datum
database_worker_arg(int number, const WorkerSlot *worker_slot)
{
	return UInt32GetDatum((uint32) number << 16 | worker_slot->generation);
}

static inline int
database_arg_number(Datum arg)
{
	return DatumGetUInt32(arg) >> 16;
}

static inline uint16
database_arg_generation(Datum arg)
{
	return DatumGetUInt32(arg) & 0xffff;
}

#endif							/* FIREHOSE_WORKERS_DATABASE_TABLE_H */
