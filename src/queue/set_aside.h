/*
 * set_aside.h
 *		Saved queues that a start of the server has not loaded, and what
 *		becomes of them: firehose_load_saved_queue loads them, and the others
 *		are removed after firehose.saved_queue_retention.
 */
#ifndef FIREHOSE_QUEUE_SET_ASIDE_H
#define FIREHOSE_QUEUE_SET_ASIDE_H

#include "common/data_file.h"

#define QUEUE_FILE				DATA_DIRECTORY "/queue"
#define QUEUE_FILE_SET_ASIDE	DATA_DIRECTORY "/queue.refused"

/* Written by firehose_load_saved_queue, and then renamed. */
#define QUEUE_FILE_LOADING		DATA_DIRECTORY "/loading.tmp"

extern void queue_set_aside_define_settings(void);

/*
 * Rename the saved queue, beside earlier ones, and log why.  Postmaster, or
 * launcher; raises no error.
 */
extern void queue_set_aside(const char *why);

/*
 * Any process: how many files are set aside?  0 if the directory cannot be
 * read.
 */
extern int	queue_set_aside_count(void);

/*
 * Launcher: remove those that are too old.  Returns after how many ms to come
 * again; -1: there are none that a start has left, or they are kept.
 */
extern long queue_set_aside_expire(void);

#endif							/* FIREHOSE_QUEUE_SET_ASIDE_H */
