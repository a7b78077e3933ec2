/*
 * status.c
 *		Rows of finished records: a ring of unlogged tables, written in bulk.
 *
 * Runs in the sender only (the settings are defined everywhere).  The tables
 * of the ring are filled in turn; one that is full, or old enough, makes room
 * for the next one, which is truncated first.  So rows are kept for at least
 * firehose.status_retention as long as they fit into firehose.status_max_size,
 * and nothing is ever deleted or vacuumed.
 *
 * Which table is current is written nowhere: it is the one whose first row is
 * the youngest, and that row's time is when the table's turn began.
 *
 * A lock that somebody else holds never makes us wait.  If it is on the table
 * to write, the caller comes back; if it is on the next one, the current table
 * is filled further, up to twice its share, and only then do rows get lost.
 */
#include "postgres.h"

#include <limits.h>

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "status.h"
#include "writer.h"

/* rows given to the table at a time */
#define STATUS_CHUNK	256

/* how long to leave the next table alone when it was locked */
#define STATUS_ROTATION_RETRY_MS	1000

/* longest texts that are kept: a row stays below the size that is toasted */
#define STATUS_MAX_RECORD_ID	1024
#define STATUS_MAX_ERROR_CODE	64
#define STATUS_MAX_ERROR_MESSAGE 512

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

static const Oid column_types[STATUS_COLUMNS] = {
	[COLUMN_ID] = INT8OID,
	[COLUMN_QUEUED_AT] = TIMESTAMPTZOID,
	[COLUMN_COMPLETED_AT] = TIMESTAMPTZOID,
	[COLUMN_LSN] = PG_LSNOID,
	[COLUMN_SERVERID] = OIDOID,
	[COLUMN_ATTEMPTS] = INT4OID,
	[COLUMN_BYTES] = INT4OID,
	[COLUMN_ACCEPTED] = BOOLOID,
	[COLUMN_ENCRYPTED] = BOOLOID,
	[COLUMN_STREAM] = TEXTOID,
	[COLUMN_PIPELINE] = TEXTOID,
	[COLUMN_RECORD_ID] = TEXTOID,
	[COLUMN_ERROR_CODE] = TEXTOID,
	[COLUMN_ERROR_MESSAGE] = TEXTOID
};

/* settings */
static int	status_retention;	/* seconds; 0: by size only */
static int	status_max_size;	/* megabytes */

/* What the sender knows of the ring. */
typedef struct StatusRing
{
	Oid			first;			/* OID of table 0: is this the ring we know? */
	int			current;
	TimestampTz since;			/* when the turn of the current table began */
	uint64		size;			/* its size in bytes */
	TimestampTz retry_at;		/* no attempt to rotate before */
} StatusRing;

static StatusRing ring;

/* State of bulk inserts, kept because of its ring of buffers. */
static BulkInsertState bulk_state = NULL;
static MemoryContext bulk_context = NULL;

/* The rows of one call. */
typedef struct StatusBatch
{
	const StatusRow *rows;
	int			n;
} StatusBatch;

static WriterTrouble trouble = {"status rows"};

static bool insert_batch(const void *arg);
static void insert_rows(Relation rel, const StatusRow *rows, int n);
static void insert_chunk(Relation rel, const StatusRow *rows, int n,
						 TupleTableSlot **slots, WriterIndexes *indexes);
static void fill_slot(TupleTableSlot *slot, const StatusRow *row);
static bool locate_ring(void);
static TimestampTz first_completed_at(Relation rel);
static uint64 share_of_size(void);
static bool rotation_is_due(void);
static bool rotate_ring(const void *arg);
static void empty_table(Relation rel);
static BulkInsertState get_bulk_state(void);
static void forget_bulk_state(void);

/* Settings of the ring. */
void
status_define_settings(void)
{
	DefineCustomIntVariable("firehose.status_retention",
							"Sets how long status rows are kept.",
							"Rows may stay longer. 0 keeps them for as long as "
							"firehose.status_max_size allows.",
							&status_retention, 86400, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.status_max_size",
							"Sets the size of the status rows of a database "
							"at which the oldest are removed.",
							NULL,
							&status_max_size, 1024, 8, INT_MAX / 1024,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
}

bool
status_write(const StatusRow *rows, int n)
{
	StatusBatch batch = {rows, n};
	bool		done;

	if (n == 0)
		return true;

	if (rotation_is_due() &&
		!writer_transaction(rotate_ring, NULL, "off", &trouble))
	{
		ring.retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													STATUS_ROTATION_RETRY_MS);
	}
	if (ring.size >= 2 * share_of_size())
		return false;

	done = writer_transaction(insert_batch, &batch, "off", &trouble);
	if (!done)
		forget_bulk_state();
	return done;
}

/* In a transaction: write the rows into the current table. */
static bool
insert_batch(const void *arg)
{
	const StatusBatch *batch = arg;
	Relation	rel;

	if (!locate_ring())
		return false;

	rel = writer_open_table(TABLE_STATUS_FIRST + ring.current, RowExclusiveLock,
							column_types, STATUS_COLUMNS);
	if (rel == NULL)
		return false;

	insert_rows(rel, batch->rows, batch->n);
	ring.size = (uint64) RelationGetNumberOfBlocks(rel) * BLCKSZ;
	table_close(rel, NoLock);
	return true;
}

/* Write rows in chunks, all through the same slots. */
static void
insert_rows(Relation rel, const StatusRow *rows, int n)
{
	int			nslots = Min(n, STATUS_CHUNK);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * nslots);
	WriterIndexes *indexes = writer_open_indexes(rel);
	MemoryContext context;
	MemoryContext old;

	for (int i = 0; i < nslots; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel),
											&TTSOpsHeapTuple);
	context = AllocSetContextCreate(CurrentMemoryContext, "firehose status rows",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);

	for (int done = 0; done < n; done += nslots)
	{
		insert_chunk(rel, rows + done, Min(n - done, nslots), slots, indexes);
		MemoryContextReset(context);
	}

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	writer_close_indexes(indexes);
	ReleaseBulkInsertStatePin(bulk_state);
	table_finish_bulk_insert(rel, TABLE_INSERT_NO_LOGICAL);
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
}

/* Write as many rows as there are slots. */
static void
insert_chunk(Relation rel, const StatusRow *rows, int n, TupleTableSlot **slots,
			 WriterIndexes *indexes)
{
	for (int i = 0; i < n; i++)
		fill_slot(slots[i], &rows[i]);

	table_multi_insert(rel, slots, n, GetCurrentCommandId(true),
					   TABLE_INSERT_NO_LOGICAL, get_bulk_state());

	for (int i = 0; i < n; i++)
	{
		writer_insert_index_entries(indexes, slots[i]);
		ExecClearTuple(slots[i]);
	}
}

/* Make a row of the table. */
static void
fill_slot(TupleTableSlot *slot, const StatusRow *row)
{
	Datum	   *values = slot->tts_values;
	bool	   *nulls = slot->tts_isnull;

	ExecClearTuple(slot);

	values[COLUMN_ID] = Int64GetDatum((int64) row->id);
	values[COLUMN_QUEUED_AT] = TimestampTzGetDatum(row->queued_at);
	values[COLUMN_COMPLETED_AT] = TimestampTzGetDatum(row->completed_at);
	values[COLUMN_LSN] = LSNGetDatum(row->lsn);
	values[COLUMN_SERVERID] = ObjectIdGetDatum(row->serverid);
	values[COLUMN_ATTEMPTS] = Int32GetDatum(row->attempts);
	values[COLUMN_BYTES] = Int32GetDatum(row->bytes);
	values[COLUMN_ACCEPTED] = BoolGetDatum(row->accepted);
	values[COLUMN_ENCRYPTED] = BoolGetDatum(row->encrypted);
	memset(nulls, 0, sizeof(bool) * STATUS_COLUMNS);
	nulls[COLUMN_LSN] = XLogRecPtrIsInvalid(row->lsn);
	nulls[COLUMN_PIPELINE] = true;

	values[COLUMN_STREAM] = writer_text(row->stream, NAMEDATALEN,
										&nulls[COLUMN_STREAM]);
	values[COLUMN_RECORD_ID] = writer_text_len(row->record_id, row->record_id_len,
											   STATUS_MAX_RECORD_ID,
											   &nulls[COLUMN_RECORD_ID]);
	values[COLUMN_ERROR_CODE] = writer_text(row->error_code,
											STATUS_MAX_ERROR_CODE,
											&nulls[COLUMN_ERROR_CODE]);
	values[COLUMN_ERROR_MESSAGE] = writer_text(row->error_message,
											   STATUS_MAX_ERROR_MESSAGE,
											   &nulls[COLUMN_ERROR_MESSAGE]);
	ExecStoreVirtualTuple(slot);
}

/*
 * Know which table is current: at the sender's start, and when the extension
 * was created anew.  False: some table is not there or cannot be looked at.
 */
static bool
locate_ring(void)
{
	Oid			first = writer_table_oid(TABLE_STATUS_FIRST);
	StatusRing	found = {.first = first};

	if (!OidIsValid(first))
		return false;
	if (first == ring.first)
		return true;

	for (int i = 0; i < STATUS_TABLES; i++)
	{
		Relation	rel = writer_open_table(TABLE_STATUS_FIRST + i, AccessShareLock,
											column_types, STATUS_COLUMNS);
		TimestampTz since;

		if (rel == NULL)
			return false;

		since = first_completed_at(rel);
		if (since > found.since)
		{
			found.current = i;
			found.since = since;
			found.size = (uint64) RelationGetNumberOfBlocks(rel) * BLCKSZ;
		}
		table_close(rel, AccessShareLock);
	}

	if (found.since == 0)
		found.since = GetCurrentTimestamp();
	ring = found;
	return true;
}

/* The time of a table's first row, 0 if it has none. */
static TimestampTz
first_completed_at(Relation rel)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan;
	TimestampTz result = 0;

	/* from the first page on, wherever other scans may be */
	scan = table_beginscan_strat(rel, GetActiveSnapshot(), 0, NULL, true, false);
	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;

		result = DatumGetTimestampTz(slot_getattr(slot, COLUMN_COMPLETED_AT + 1,
												  &isnull));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

/* The size at which a table is full. */
static uint64
share_of_size(void)
{
	return (uint64) status_max_size * 1024 * 1024 / STATUS_TABLES;
}

/*
 * Is the turn of the current table over?  All tables but the current one
 * together must cover the time that rows are to be kept.
 */
static bool
rotation_is_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		turn_ms = (int64) status_retention * 1000 / (STATUS_TABLES - 1);

	if (!OidIsValid(ring.first) || now < ring.retry_at)
		return false;

	return ring.size >= share_of_size() ||
		(status_retention > 0 && ring.size > 0 &&
		 now >= TimestampTzPlusMilliseconds(ring.since, turn_ms));
}

/* In a transaction of its own: empty the next table, and make it the current one. */
static bool
rotate_ring(const void *arg)
{
	int			next;
	Relation	rel;

	if (!locate_ring())
		return false;

	next = (ring.current + 1) % STATUS_TABLES;
	rel = writer_open_table(TABLE_STATUS_FIRST + next, AccessExclusiveLock,
							column_types, STATUS_COLUMNS);
	if (rel == NULL)
		return false;

	if (RelationGetNumberOfBlocks(rel) > 0)
		empty_table(rel);
	table_close(rel, NoLock);

	/* if the commit fails now, a table that is not empty is written further */
	ring.current = next;
	ring.since = GetCurrentTimestamp();
	ring.size = 0;
	return true;
}

/* What TRUNCATE does, below triggers: new storage, and the old one goes at commit. */
static void
empty_table(Relation rel)
{
	ReindexParams params = {0};
	Oid			relid = RelationGetRelid(rel);
	Oid			toastid = rel->rd_rel->reltoastrelid;

	CheckTableForSerializableConflictIn(rel);
	RelationSetNewStorage(rel);
	if (OidIsValid(toastid))
	{
		Relation	toast = table_open(toastid, AccessExclusiveLock);

		RelationSetNewStorage(toast);
		table_close(toast, NoLock);
	}
	(void) ReindexAllOf(relid, REINDEX_REL_PROCESS_TOAST, &params);
	pgstat_count_truncate(rel);
}

/* The state of bulk inserts, which lives as long as no error comes. */
static BulkInsertState
get_bulk_state(void)
{
	if (bulk_state == NULL)
	{
		MemoryContext old;

		if (bulk_context == NULL)
			bulk_context = AllocSetContextCreate(TopMemoryContext,
												 "firehose bulk insert",
												 ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(bulk_context);
		bulk_state = GetBulkInsertState();
		MemoryContextSwitchTo(old);
	}
	return bulk_state;
}

/* After an error, which has released its pin already. */
static void
forget_bulk_state(void)
{
	bulk_state = NULL;
	if (bulk_context != NULL)
		MemoryContextReset(bulk_context);
}
