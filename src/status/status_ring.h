/*
 * status_ring.h
 *		The ring of tables that status rows go into: which one is current,
 *		when the next one has its turn, and their indexes.  For status.c only.
 */
#ifndef FIREHOSE_STATUS_STATUS_RING_H
#define FIREHOSE_STATUS_STATUS_RING_H

#include "storage/block.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

#include "common/own_tables.h"

/* columns of the ring's tables, as in the extension's script */
typedef enum StatusColumn
{
	COLUMN_ID,
	COLUMN_QUEUED_AT,
	COLUMN_COMPLETED_AT,
	COLUMN_LSN,
	COLUMN_SERVERID,
	COLUMN_ATTEMPTS,
	COLUMN_BYTES,
	COLUMN_ACCEPTED,
	COLUMN_ENCRYPTED,
	COLUMN_STREAM,
	COLUMN_PIPELINE,
	COLUMN_RECORD_ID,
	COLUMN_ERROR_CODE,
	COLUMN_ERROR_MESSAGE,
	STATUS_COLUMNS
} StatusColumn;

extern void status_ring_define_settings(void);

/*
 * Outside a transaction: let the next table have its turn if it is due.
 * False: there is no room left.
 */
extern bool status_ring_make_room(void);

/*
 * In a transaction: open the current table to write; NULL when it is locked or
 * gone.
 */
extern Relation status_ring_open(void);

/*
 * In a transaction: some rows were written into the current table and its
 * index, up to a page.  To be called every few pages.
 */
extern void status_ring_written(Relation rel, BlockNumber page);

/* In a transaction: all rows were written. */
extern void status_ring_grown(Relation rel);

#endif							/* FIREHOSE_STATUS_STATUS_RING_H */
