/*
 * run_builder.h
 *		How a run is built before it is appended to a stream: the headers of
 *		its records, and their totals.
 *
 * Used in the process that builds the run, on memory of its own.
 */
#ifndef FIREHOSE_QUEUE_RUN_BUILDER_H
#define FIREHOSE_QUEUE_RUN_BUILDER_H

#include "queue/layout.h"

/* The totals of the records of a run. Blank before the first. */
typedef struct RunTotals
{
	uint32		nrecords;
	uint64		nbytes;			/* of payload */

	/*
	 * The smallest and the largest id.  Ids need not ascend, because a dead
	 * letter that is queued again and a durable put keep their old ids.
	 */
	uint64		first_id;
	uint64		last_id;
} RunTotals;

/* Count a record of `length` bytes of payload. */
static inline void
run_totals_add(RunTotals *totals, uint64 id, uint32 length)
{
	if (totals->nrecords++ == 0)
		totals->first_id = totals->last_id = id;
	totals->first_id = Min(totals->first_id, id);
	totals->last_id = Max(totals->last_id, id);
	totals->nbytes += length;
}

/* Write the header of a record that waits to be sent; count it as well. */
static inline void
run_write_header(RunTotals *totals, QueueRecord *record, QueueItemKind kind,
				 uint64 id, uint32 length, TimestampTz queued_at)
{
	record->kind = kind;
	record->state = QUEUE_RECORD_PENDING;
	record->attempts = 0;
	record->length = length;
	record->id = id;
	record->queued_at = queued_at;
	run_totals_add(totals, id, length);
}

#endif							/* FIREHOSE_QUEUE_RUN_BUILDER_H */
