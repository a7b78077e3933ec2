/*
 * ids.h
 *		The source of record ids, which neither a crash nor a clock that is
 *		set back makes return.
 */
#ifndef FIREHOSE_QUEUE_IDS_H
#define FIREHOSE_QUEUE_IDS_H

#include "queue/layout.h"

extern void ids_shmem_request(void);
extern void ids_shmem_startup(void);

/* Postmaster, when it starts: set the first id. */
extern void ids_start(Queue *q);

/*
 * Postmaster, at a clean stop: the next start may continue from the present
 * id.
 */
extern void ids_save(Queue *q);

/*
 * n consecutive record ids, above all given out before, below 2^53.  An error
 * (of the file system's class) when it cannot be noted how far they go.
 */
extern PGDLLEXPORT uint64 queue_next_ids(Queue *q, int n);

/*
 * Ids that are given out from now on are not below this time.  One that is 256
 * years after 2000, or later, does not use up the ids that there are.
 */
extern void ids_raise(Queue *q, uint64 time);

/*
 * The same, also after a crash.  An error (of the file system's class) when
 * that cannot be noted.
 */
extern PGDLLEXPORT void ids_raise_durably(Queue *q, uint64 least);

/*
 * May another server have given out this id?  Not if it is more than a day
 * ahead of the clock and of the ids that were given out here: it would use up
 * the ids of all the time between.
 */
extern PGDLLEXPORT bool ids_are_plausible(Queue *q, uint64 highest);

#endif							/* FIREHOSE_QUEUE_IDS_H */
