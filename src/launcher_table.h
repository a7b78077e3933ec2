/*
 * launcher_table.h
 *		The table of databases, as the files of this room see it: the process
 *		(launcher.c), what its senders call (launcher_sender.c), and what
 *		backends call (launcher_table.c).  Everybody else uses launcher.h.
 *
 * Locking contract
 * ----------------
 * One LWLock ("FirehoseDatabases") protects everything in the table: shared to
 * read, exclusive to change.  It is held for a walk over the slots at most and
 * nothing is called under it that could wait, raise an error or take another
 * lock.  DatabaseSlot.requests is atomic besides, for the sender to read its
 * own without the lock at every turn of its loop.
 *
 * Processes are named by the number of their PGPROC, never by a latch.  A
 * process clears its number, under the lock, before its PGPROC is given back,
 * so that a latch set under the lock is that of the right process.
 */
#ifndef FIREHOSE_LAUNCHER_TABLE_H
#define FIREHOSE_LAUNCHER_TABLE_H

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#define NO_PROC (-1)

typedef enum ExtensionState
{
	EXTENSION_UNKNOWN,			/* a sender has to look */
	EXTENSION_PRESENT,
	EXTENSION_ABSENT			/* no sender until a nudge */
} ExtensionState;

typedef enum SenderState
{
	SENDER_NONE,
	SENDER_STARTING,			/* the postmaster was asked for one */
	SENDER_ATTACHED				/* it runs, and has not left the database yet */
} SenderState;

/* bits of DatabaseSlot.requests, cleared when a sender attaches */
#define REQUEST_RECHECK	0x01	/* look whether the extension is still there */
#define REQUEST_EXIT	0x02	/* leave the database */

typedef struct DatabaseSlot
{
	Oid			dboid;			/* InvalidOid: the slot is free */
	NameData	name;			/* for messages; as of the last scan */
	uint16		generation;		/* changes with every start; one that attaches
								 * under another was given up.  Survives reuse
								 * of the slot */
	bool		eligible;		/* the last scan found it connectable and no
								 * template; false as well: not seen yet */
	ExtensionState extension;
	SenderState sender;
	int			procno;			/* of the attached sender, else NO_PROC */
	int			pid;			/* likewise, else 0 */
	int			holds;			/* statements that want it empty */
	int64		attached_at;	/* worker_clock_ms of the last attach */
	int64		start_at;		/* no sender before (worker_clock_ms) */
	int			backoff_ms;		/* after the last failure; 0: none */
	pg_atomic_uint32 requests;	/* to the attached sender */
} DatabaseSlot;

typedef struct DatabaseTable
{
	LWLock	   *lock;
	int			launcher_procno;	/* NO_PROC: it does not run */
	bool		rescan;			/* the launcher is to read pg_database */
	ConditionVariable vacated;	/* broadcast when a sender has left */
	int			nslots;			/* firehose.max_databases, fixed */
	DatabaseSlot slots[FLEXIBLE_ARRAY_MEMBER];
} DatabaseTable;

extern DatabaseTable *database_table;

/* All of these want the lock held, exclusively where they change anything. */
extern DatabaseSlot *table_find(Oid dboid);
extern DatabaseSlot *table_claim(Oid dboid);
extern void table_free_if_idle(DatabaseSlot *slot);
extern void table_ask_exit(DatabaseSlot *slot);
extern void table_wake(int procno);

/* bgw_main_arg of the sender of a slot, under its current generation. */
static inline Datum
table_sender_arg(const DatabaseSlot *slot)
{
	return UInt32GetDatum((uint32) (slot - database_table->slots) << 16 |
						  slot->generation);
}

#endif							/* FIREHOSE_LAUNCHER_TABLE_H */
