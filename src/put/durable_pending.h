/*
 * durable_pending.h
 *		Durable puts of a transaction that are not in the WAL yet.
 *
 * A message in the WAL costs as much as a record of a hundred bytes, and its
 * seal begins anew.  So the records of a transaction are collected, and
 * written when they are as many as pay for that, and before the transaction
 * commits or is prepared.  However many they are, a message's worth of them is
 * in memory, for each level of nested subtransactions.
 */
#ifndef FIREHOSE_PUT_DURABLE_PENDING_H
#define FIREHOSE_PUT_DURABLE_PENDING_H

#include "wal/durable_message.h"

/* Add a record that the current transaction puts, at its level of nesting. */
extern void durable_pending_add(const DurableRecord *record, RecordShape shape);

/* Write all that is pending. */
extern void durable_pending_write(void);

/* The transaction is over. */
extern void durable_pending_forget(void);

/* A subtransaction is about to commit; has committed; has aborted. */
extern void durable_pending_before_commit_sub(int level);
extern void durable_pending_commit_sub(int level);
extern void durable_pending_abort_sub(int level);

#endif							/* FIREHOSE_PUT_DURABLE_PENDING_H */
