/*
 * status_row.h
 *		A status row, and its tuple.
 */
#ifndef FIREHOSE_STATUS_STATUS_ROW_H
#define FIREHOSE_STATUS_STATUS_ROW_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

typedef struct StatusRow
{
	uint64		id;
	Oid			serverid;
	const char *stream;			/* the foreign server's name */
	const char *pipeline;		/* NULL for puts */
	bool		accepted;		/* else failed */
	text	   *record_id;		/* status_record_id's; NULL unless accepted */
	bool		encrypted;
	const char *error_code;		/* NULL when accepted */
	const char *error_message;	/* NULL when accepted */
	int			attempts;
	int			bytes;
	XLogRecPtr	lsn;			/* Invalid for puts */
	TimestampTz queued_at;
	TimestampTz completed_at;
} StatusRow;

/* A RecordId as a row has it, made in this memory context. */
extern PGDLLEXPORT text *status_record_id(MemoryContext context, const char *id, int length,
										  bool is_ascii);

/*
 * Make the tuple of a row, in the current memory context.  `last` is that of
 * the row before, last_row, or NULL.
 */
extern HeapTuple status_row_tuple(TupleDesc desc, const StatusRow *row, HeapTuple last,
								  const StatusRow *last_row);

#endif							/* FIREHOSE_STATUS_STATUS_ROW_H */
