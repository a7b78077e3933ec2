/*
 * queue_file.h
 *		The queue across a clean stop: written by the postmaster when the last
 *		process is gone, read back by the next postmaster before the first
 *		one; and the limit of record ids, which no crash may set back.
 */
#ifndef FIREHOSE_QUEUE_FILE_H
#define FIREHOSE_QUEUE_FILE_H

#include "queue.h"

/* Postmaster, at the end of shmem_startup: read the file back, arrange for the next one. */
extern void queue_file_startup(void);

/* Launcher, once recovery is over: the file has been read, remove it. */
extern void queue_file_forget(void);

/* Raise Queue.id_limit, durably, so that at least n more ids may be given out; errors when that fails. */
extern void queue_file_extend_ids(Queue *q, uint64 n);

#endif							/* FIREHOSE_QUEUE_FILE_H */
