/*
 * durable_reader.h
 *		Turn durable puts in the WAL into records of the queue.
 *
 * Decoder process only: the consumer of the pipeline "durable_puts".
 */
#ifndef FIREHOSE_DECODER_DURABLE_READER_H
#define FIREHOSE_DECODER_DURABLE_READER_H

#include "decoder/change_batch.h"
#include "wal/wal_reader.h"

typedef struct DurableReader DurableReader;

/*
 * Make one; `context` must outlive it.  To be called in a transaction: it
 * makes the keys and caches that need one, because many messages come outside
 * of any.
 */
extern DurableReader *durable_reader_create(MemoryContext context, ChangeBatch *batch);

/* The functions that the WAL reader calls, with a DurableReader. */
extern const WalConsumer durable_reader_consumer;

#endif							/* FIREHOSE_DECODER_DURABLE_READER_H */
