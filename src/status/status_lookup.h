/*
 * status_lookup.h
 *		The rows of firehose_status of some records, for sessions that wait
 *		for them.
 */
#ifndef FIREHOSE_STATUS_STATUS_LOOKUP_H
#define FIREHOSE_STATUS_STATUS_LOOKUP_H

/* The row of a record; texts are NULL where the view has null. */
typedef struct StatusRow
{
	uint64		id;
	const char *status;
	const char *record_id;
	const char *error_code;
	const char *error_message;
} StatusRow;

/*
 * The rows of n records (n > 0), as of now whatever the transaction's
 * snapshot, in ascending order of ids and the last one of each; as many as
 * there are, and the user may see: none without SELECT on the view, during
 * recovery, or without the extension.  Returns their number.
 */
extern int	status_lookup(const int64 *ids, int n, StatusRow **rows);

#endif							/* FIREHOSE_STATUS_STATUS_LOOKUP_H */
