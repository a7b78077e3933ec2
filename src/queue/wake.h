/*
 * wake.h
 *		Waking the sender of a stream.
 */
#ifndef FIREHOSE_QUEUE_WAKE_H
#define FIREHOSE_QUEUE_WAKE_H

#include "queue/layout.h"

/* Set the latch of the stream's sender, if it has asked for that. */
extern PGDLLEXPORT void queue_wake_sender(QueueStream *s);

#endif							/* FIREHOSE_QUEUE_WAKE_H */
