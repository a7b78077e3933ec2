/*
 * status_index.h
 *		The index entries of status rows.  For status.c only.
 */
#ifndef FIREHOSE_STATUS_STATUS_INDEX_H
#define FIREHOSE_STATUS_STATUS_INDEX_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

typedef struct StatusIndex StatusIndex;

/* The values of a row that its index has. */
typedef struct StatusKey
{
	int64		id;
	int64		queued_at;
	int64		completed_at;
} StatusKey;

/* Open the indexes of a table of the ring. */
extern StatusIndex *status_index_open(Relation rel);

/* Enter rows that were just written; the slots tell where. */
extern void status_index_insert(StatusIndex *index, const StatusKey *keys,
								TupleTableSlot **slots, int n);

extern void status_index_close(StatusIndex *index);

#endif							/* FIREHOSE_STATUS_STATUS_INDEX_H */
