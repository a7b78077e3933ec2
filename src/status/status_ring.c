/*
 * status_ring.c
 *		The ring of tables that status rows go into.
 *
 * Runs in the sender only (the settings are defined everywhere).  The tables
 * are filled in turn; one that is full, or old enough, makes room for the next
 * one, which is emptied first.  So rows are kept for at least
 * firehose.status_retention as long as they fit into firehose.status_max_size,
 * and nothing is ever deleted or vacuumed.
 *
 * Which table is current is written nowhere: it is the one whose first row is
 * the youngest, and that row's time is when the table's turn began.  If the
 * clock was set meanwhile, it may be one behind that (find_current).
 *
 * A lock of another process never makes the sender wait.  If it is on the
 * table to write, the caller comes back; if it is on the next one, the current
 * table is filled further, up to twice its share, and only then do rows get
 * lost.
 *
 * The tables have a BRIN index on the id and the times, which ascend more or
 * less: it costs a tenth of a microsecond a row, and makes finding one row of
 * a million a matter of a few milliseconds.  The sender summarizes a range
 * when it has its first pages: for that few rows are read again, and the
 * entries of those that follow keep the summary right.  Autovacuum cannot
 * (autosummarize), because its list of requests, and then the log, would fill
 * at this rate of writing.
 */
#include "postgres.h"

#include <limits.h>

#include "access/brin.h"
#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "common/compat.h"
#include "status/status_ring.h"

/* how long to leave the next table alone when it was locked */
#define STATUS_ROTATION_RETRY_MS	1000

/*
 * most ranges that are summarized at a time, where other processes kept the
 * lock, or a sender has just started
 */
#define STATUS_MAX_RANGES	16

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

/* The sender's view of the ring. */
typedef struct StatusRing
{
	Oid			first;			/* OID of table 0: tells if the ring is still
								 * the same one */
	int			current;
	TimestampTz since;			/* when the turn of the current table began */
	uint64		size;			/* its size in bytes */
	int64		retry_at;		/* no attempt to rotate before (clock_ms) */
	BlockNumber range_size;		/* pages of a range of its index; 0: none */
	BlockNumber summarized;		/* pages that are summarized */
} StatusRing;

static StatusRing ring;

/* The first row of a table. */
typedef struct FirstRow
{
	bool		exists;
	TimestampTz completed_at;
	int64		id;
	TransactionId xid;			/* that wrote it */
	uint64		table_size;
} FirstRow;

static OwnTableError rotation_trouble = {"rotate status tables"};

static bool rotation_is_due(void);
static uint64 share_of_size(void);
static bool rotate(const void *arg);
static void empty_table(Relation rel);
static bool locate(void);
static FirstRow first_row(Relation rel);
static int	find_current(const FirstRow *rows);
static Oid	brin_index(Relation rel, BlockNumber *range_size);

/* Settings of the ring. */
void
status_ring_define_settings(void)
{
	DefineCustomIntVariable("firehose.status_retention",
							"Sets how long status rows are kept.",
							"Rows may stay longer, and go earlier if "
							"firehose.status_max_size is used up: at 1000 records "
							"a second 1 GB holds an hour. 0 keeps them for as long "
							"as that allows.",
							&status_retention, 86400, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.status_max_size",
							"Sets the size of the status rows of a database "
							"at which the oldest are removed.",
							"A row takes about 300 bytes: 1 GB holds 3.4 million "
							"rows, whatever firehose.status_retention says.",
							&status_max_size, 1024, 8, INT_MAX / 1024,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
}

bool
status_ring_make_room(void)
{
	if (rotation_is_due() && !own_tables_transaction(rotate, NULL, "off", &rotation_trouble))
		ring.retry_at = clock_ms() + STATUS_ROTATION_RETRY_MS;

	return ring.size < 2 * share_of_size();
}

Relation
status_ring_open(void)
{
	if (!locate())
		return NULL;
	return own_tables_open_table(TABLE_STATUS_FIRST + ring.current, RowExclusiveLock,
							 column_types, STATUS_COLUMNS);
}

void
status_ring_grown(Relation rel)
{
	BlockNumber pages = RelationGetNumberOfBlocks(rel);

	ring.size = (uint64) pages * BLCKSZ;
	/* it was emptied meanwhile, and its index with it */
	if (pages + ring.range_size <= ring.summarized)
		ring.summarized = 0;
}

/*
 * A page of a range that is not summarized yet: summarize it and those before
 * it, if the lock for that can be had at once.  The core function takes it,
 * too, but would wait.
 */
void
status_ring_written(Relation rel, BlockNumber page)
{
	Oid			index;

	if (page < ring.summarized || !rel->rd_rel->relhasindex)
		return;
	index = brin_index(rel, &ring.range_size);
	if (!OidIsValid(index) || !ConditionalLockRelation(rel, ShareUpdateExclusiveLock) ||
		!ConditionalLockRelationOid(index, ShareUpdateExclusiveLock))
		return;
	for (int i = 0; i < STATUS_MAX_RANGES && ring.summarized <= page; i++)
	{
		DirectFunctionCall2(brin_summarize_range, ObjectIdGetDatum(index),
							Int64GetDatum((int64) ring.summarized));
		ring.summarized += ring.range_size;
	}
}

/*
 * Know which table is current: at the sender's start, and when the extension
 * was created anew.  False: some table is not there or cannot be looked at.
 */
static bool
locate(void)
{
	Oid			first = own_tables_table_oid(TABLE_STATUS_FIRST);
	StatusRing	found = {.first = first};
	FirstRow	rows[STATUS_TABLES];

	if (!OidIsValid(first))
		return false;
	if (first == ring.first)
		return true;

	for (int i = 0; i < STATUS_TABLES; i++)
	{
		Relation	rel = own_tables_open_table(TABLE_STATUS_FIRST + i, AccessShareLock,
											column_types, STATUS_COLUMNS);

		if (rel == NULL)
			return false;
		rows[i] = first_row(rel);
		table_close(rel, AccessShareLock);
	}

	found.current = find_current(rows);
	found.size = rows[found.current].table_size;
	found.since = rows[found.current].exists ? rows[found.current].completed_at :
		GetCurrentTimestamp();
	ring = found;
	return true;
}

static FirstRow
first_row(Relation rel)
{
	FirstRow	row = {.table_size = (uint64) RelationGetNumberOfBlocks(rel) * BLCKSZ};
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan;

	/* from the first page on, wherever other scans may be */
	scan = table_beginscan_strat(rel, GetActiveSnapshot(), 0, NULL, true, false);
	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;

		row.exists = true;
		row.completed_at = DatumGetTimestampTz(slot_getattr(slot, COLUMN_COMPLETED_AT + 1,
															&isnull));
		row.id = DatumGetInt64(slot_getattr(slot, COLUMN_ID + 1, &isnull));
		row.xid = DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber,
														&isnull));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return row;
}

/*
 * Was a table begun after another one, whatever the clock showed?  Neither is
 * certain alone: a record that was tried for long has a low id, and ids of
 * transactions return after some billions.
 */
static bool
is_later(const FirstRow *row, const FirstRow *than)
{
	return row->exists && row->id > than->id && TransactionIdFollows(row->xid, than->xid);
}

/* The one with the youngest first row, or what was begun after it. */
static int
find_current(const FirstRow *rows)
{
	int			current = 0;

	for (int i = 1; i < STATUS_TABLES; i++)
	{
		if (rows[i].exists &&
			(!rows[current].exists || rows[i].completed_at > rows[current].completed_at))
			current = i;
	}
	for (int n = 1; n < STATUS_TABLES; n++)
	{
		int			next = (current + 1) % STATUS_TABLES;

		if (!is_later(&rows[next], &rows[current]))
			break;
		current = next;
	}
	return current;
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

	if (!OidIsValid(ring.first) || clock_ms() < ring.retry_at)
		return false;

	/* the clock was set back */
	ring.since = Min(ring.since, now);
	return ring.size >= share_of_size() ||
		(status_retention > 0 && ring.size > 0 &&
		 now >= TimestampTzPlusMilliseconds(ring.since, turn_ms));
}

/*
 * In a transaction of its own: empty the next table, and make it the current
 * one.
 */
static bool
rotate(const void *arg)
{
	int			next;
	Relation	rel;

	if (!locate())
		return false;

	next = (ring.current + 1) % STATUS_TABLES;
	rel = own_tables_open_table(TABLE_STATUS_FIRST + next, AccessExclusiveLock,
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
	ring.summarized = 0;
	return true;
}

/*
 * Do the same as TRUNCATE, below triggers: new storage, and the old one goes
 * at commit.
 */
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

/*
 * The table's BRIN index and the size of its ranges; InvalidOid and 0: none.
 */
static Oid
brin_index(Relation rel, BlockNumber *range_size)
{
	Oid			found = InvalidOid;
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;

	*range_size = 0;
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == BRIN_AM_OID && !OidIsValid(found))
		{
			found = lfirst_oid(cell);
			*range_size = BrinGetPagesPerRange(index);
		}
		index_close(index, NoLock);
	}
	list_free(indexes);
	return found;
}
