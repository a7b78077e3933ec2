/*
 * worker_slot.h
 *		The place of a worker that the launcher keeps running: a sender's in
 *		its database's entry, a decoder's in its pipeline's.
 *
 * A worker slot holds at most one worker.  Its life:
 *
 *	EMPTY --launcher--> STARTING --worker attaches--> TAKEN --exits--> EMPTY
 *
 * The worker of a worker slot is decided under a lock alone: a start carries
 * the worker slot's generation, and the process that comes with another one is
 * turned away before it has connected to anything.  So there is at most one
 * worker per worker slot, even if launcher, workers or messages between them
 * are lost.  A statement that needs a database without workers has to wait
 * only for worker slots that are taken.
 *
 * Locking contract ---------------- To read worker slots, hold the lock of the
 * table of databases (database_table.h) shared; to change them, exclusively.
 * All functions want it held. `requests` is atomic besides, for a worker to
 * read its own without the lock at every turn of its loop.
 */
#ifndef FIREHOSE_WORKERS_WORKER_SLOT_H
#define FIREHOSE_WORKERS_WORKER_SLOT_H

#include "port/atomics.h"

#define NO_PROC (-1)

typedef enum WorkerSlotState
{
	WORKER_SLOT_EMPTY,
	/* the postmaster was asked for a worker */
	WORKER_SLOT_STARTING,
	/* it runs, and has not left its database yet */
	WORKER_SLOT_TAKEN
} WorkerSlotState;

/* bits of WorkerSlot.requests, cleared when a worker attaches */
#define REQUEST_RECHECK	0x01	/* look whether the extension is still there,
								 * and which pipelines there are */
#define REQUEST_EXIT	0x02	/* leave the database */

typedef struct WorkerSlot
{
	WorkerSlotState	state;
	uint16		generation;		/* changes with every start; one that attaches
								 * under another was given up.  Survives reuse
								 * of the worker slot */
	int			procno;			/* of the worker in it, else NO_PROC */
	int			pid;			/* likewise, else 0 */
	int64		attached_at;	/* clock_ms of the last attach */
	int64		start_at;		/* no start before (clock_ms) */
	int			backoff_ms;		/* after the last failure; 0: none */
	pg_atomic_uint32 requests;	/* to the worker in it */
} WorkerSlot;

/* Set-up: empty, and never used. */
extern void worker_slot_init(WorkerSlot *worker_slot);

/*
 * Launcher: a start is asked for; the worker has to come with the generation
 * that the worker slot has now.
 */
extern void worker_slot_begin_start(WorkerSlot *worker_slot);

/* A worker that has not attached yet is turned away when it comes. */
extern void worker_slot_give_up_start(WorkerSlot *worker_slot);

/*
 * Worker: take the worker slot; false if the start of this generation was
 * given up.
 */
extern bool worker_slot_attach(WorkerSlot *worker_slot, uint16 generation);

/*
 * Worker, at exit: leave the worker slot, and set when the next one may come.
 */
extern void worker_slot_detach(WorkerSlot *worker_slot, int exit_code);

/* Have the worker in it leave, if there is one, wherever it is. */
extern void worker_slot_request_exit(WorkerSlot *worker_slot);

/* Have the next worker started at once, without the pause after a failure. */
extern void worker_slot_start_now(WorkerSlot *worker_slot);

/* Set the latch of the worker in it, if there is one. */
extern void worker_slot_wake(const WorkerSlot *worker_slot);

#endif							/* FIREHOSE_WORKERS_WORKER_SLOT_H */
