/*
 * save.h
 *		The queue across a clean stop: written by the postmaster when the last
 *		process is gone, read back by the next postmaster before the first
 *		one.
 */
#ifndef FIREHOSE_QUEUE_SAVE_H
#define FIREHOSE_QUEUE_SAVE_H

/*
 * Postmaster, at the end of shmem_startup: give record ids a start, read the
 * saved queue back, and arrange for the next one to be saved.
 */
extern void queue_save_startup(void);

/*
 * Launcher, once recovery is over and before any sender runs: the saved
 * records are in the queue now, so remove the file.  As long as the file
 * exists, none of its records has been sent.  A file that this server has not
 * read, because it began as a standby, is renamed.
 */
extern void queue_save_forget(void);

#endif							/* FIREHOSE_QUEUE_SAVE_H */
