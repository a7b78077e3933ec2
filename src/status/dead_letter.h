/*
 * dead_letter.h
 *		The table of dead letters, shared by dead_letter.c, which writes it,
 *		and dead_letter_sql.c, which retries or purges.
 */
#ifndef FIREHOSE_STATUS_DEAD_LETTER_H
#define FIREHOSE_STATUS_DEAD_LETTER_H

#include "utils/relcache.h"

/* columns, as in the extension's script */
typedef enum DeadLetterColumn
{
	LETTER_ID,
	LETTER_QUEUED_AT,
	LETTER_FAILED_AT,
	LETTER_LSN,
	LETTER_SERVERID,
	LETTER_ATTEMPTS,
	LETTER_STREAM,
	LETTER_PIPELINE,
	LETTER_ERROR_CODE,
	LETTER_ERROR_MESSAGE,
	LETTER_DATA,
	DEAD_LETTER_COLUMNS
} DeadLetterColumn;

extern const Oid dead_letter_types[DEAD_LETTER_COLUMNS];

/* The index of the table's key; InvalidOid if it has been dropped. */
extern Oid	dead_letter_index(Relation rel);

#endif							/* FIREHOSE_STATUS_DEAD_LETTER_H */
