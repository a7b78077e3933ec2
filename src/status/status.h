/*
 * status.h
 *		The tables of finished records: firehose_status (a ring of unlogged
 *		tables) and the dead letters; written by the sender only, in short
 *		transactions of their own, in bulk, below triggers.
 *
 * None of the functions raises an error: a failure to write (a lock, a full
 * disk) is reported once per change of state in the log, and false tells the
 * caller to come back.
 */
#ifndef FIREHOSE_STATUS_H
#define FIREHOSE_STATUS_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

#include "status/status_row.h"

typedef struct DeadLetter
{
	uint64		id;
	Oid			serverid;
	const char *stream;
	const char *pipeline;		/* NULL for puts */
	const char *data;			/* payload, length bytes */
	Size		length;
	const char *error_code;
	const char *error_message;
	int			attempts;
	XLogRecPtr	lsn;
	TimestampTz queued_at;
	TimestampTz failed_at;
} DeadLetter;

extern void status_define_settings(void);

/*
 * Write rows; false: nothing was written, come back later (the caller may drop
 * rows to bound its memory).
 */
extern PGDLLEXPORT bool status_write(const StatusRow *rows, int n);

/*
 * Write dead letters, durably committed on return; rows whose id is there
 * already are skipped.  False: come back later.
 */
extern PGDLLEXPORT bool dead_letter_write(const DeadLetter *letters, int n);

/* Why either could not be written the last time; "" if it could. */
extern PGDLLEXPORT const char *status_trouble(void);
extern PGDLLEXPORT const char *dead_letter_trouble(void);

#endif							/* FIREHOSE_STATUS_H */
