/*
 * change_reader.h
 *		Turn pgoutput's messages into records: takes the messages that the WAL
 *		reader hands over, keeps a description of every table, and has the
 *		pipeline's format write each change into the batch.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_DECODER_CHANGE_READER_H
#define FIREHOSE_DECODER_CHANGE_READER_H

#include "lib/stringinfo.h"
#include "decoder/change_batch.h"
#include "pipeline/definition.h"
#include "wal/wal_reader.h"

typedef struct ChangeReader ChangeReader;

/*
 * Make one; `context` must outlive it.  The last stream of the batch is the
 * pipeline's own, those before it the routes'.
 */
extern ChangeReader *change_reader_create(MemoryContext context, const Pipeline *pipeline,
										  ChangeBatch *batch, const EventSource *origin);

/*
 * Send a row that was read from its table (EVENT_READ), in a transaction.  It
 * is no part of the stream's transactions.
 */
extern void change_reader_add_row(ChangeReader *reader, Event *event);

/*
 * The rows since the last time that the batch was handed over were discarded.
 */
extern void change_reader_forget_rows(ChangeReader *reader);

/* The rows of a table since then are deferred: others may overtake them. */
extern void change_reader_defer_rows(ChangeReader *reader, Oid relid);

/* Have changes of tables looked at, too; NULL: not any more. */
extern void change_reader_watch(ChangeReader *reader, void (*look) (const Event *event));

/*
 * Between records of the WAL, outside of a transaction: free what is kept of
 * tables if it has become much.
 */
extern void change_reader_trim(ChangeReader *reader);

/* The functions that the WAL reader calls, with a ChangeReader. */
extern const WalConsumer change_reader_consumer;

#endif							/* FIREHOSE_DECODER_CHANGE_READER_H */
