/*
 * status.c
 *		Rows of finished records, written in bulk.
 *
 * Runs in the sender only.  Rows go into the current table of a ring
 * (status_ring.c), hundreds at a time, through one buffer ring, so that they
 * neither take the buffer pool away from others nor wait for another process.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "common/own_tables.h"
#include "status/status.h"
#include "status/status_index.h"
#include "status/status_ring.h"

/* rows given to the table at a time */
#define STATUS_CHUNK	256

/* State of bulk inserts, kept because of its ring of buffers. */
static BulkInsertState bulk_state = NULL;
static MemoryContext bulk_context = NULL;

/* The rows of one call. */
typedef struct StatusBatch
{
	const StatusRow *rows;
	int			n;
} StatusBatch;

static OwnTableError trouble = {"write status rows"};

static bool insert_batch(const void *arg);
static void insert_rows(Relation rel, const StatusRow *rows, int n);
static void insert_chunk(Relation rel, const StatusRow *rows, int n,
						 TupleTableSlot **slots, StatusIndex *index);
static BulkInsertState get_bulk_state(void);
static void forget_bulk_state(void);

/* The only settings are those of the ring. */
void
status_define_settings(void)
{
	status_ring_define_settings();
}

bool
status_write(const StatusRow *rows, int n)
{
	StatusBatch batch = {rows, n};
	bool		done;

	if (n == 0)
		return true;

	if (!status_ring_make_room())
	{
		own_tables_report(&trouble, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
					  "firehose.status_max_size is used up");
		return false;
	}

	done = own_tables_transaction(insert_batch, &batch, "off", &trouble);
	if (!done)
		forget_bulk_state();
	return done;
}

const char *
status_trouble(void)
{
	return trouble.message;
}

/* In a transaction: write the rows into the current table. */
static bool
insert_batch(const void *arg)
{
	const StatusBatch *batch = arg;
	Relation	rel = status_ring_open();

	if (rel == NULL)
		return false;

	insert_rows(rel, batch->rows, batch->n);
	status_ring_grown(rel);
	table_close(rel, NoLock);
	return true;
}

/* Write rows in chunks, all through the same slots. */
static void
insert_rows(Relation rel, const StatusRow *rows, int n)
{
	int			nslots = Min(n, STATUS_CHUNK);
	/* a copy is not counted as a reference, slot by slot */
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(rel));
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * nslots);
	StatusIndex *index = status_index_open(rel);
	MemoryContext context;
	MemoryContext old;

	for (int i = 0; i < nslots; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	context = AllocSetContextCreate(CurrentMemoryContext, "firehose status rows",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);

	for (int done = 0; done < n; done += nslots)
	{
		insert_chunk(rel, rows + done, Min(n - done, nslots), slots, index);
		MemoryContextReset(context);
	}

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	status_index_close(index);
	ReleaseBulkInsertStatePin(bulk_state);
	table_finish_bulk_insert(rel, 0);
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
}

/* Write as many rows as there are slots. */
static void
insert_chunk(Relation rel, const StatusRow *rows, int n, TupleTableSlot **slots,
			 StatusIndex *index)
{
	StatusKey	keys[STATUS_CHUNK];
	HeapTuple	tuple = NULL;

	for (int i = 0; i < n; i++)
	{
		tuple = status_row_tuple(slots[i]->tts_tupleDescriptor, &rows[i], tuple,
								  i > 0 ? &rows[i - 1] : NULL);
		ExecStoreHeapTuple(tuple, slots[i], true);
		keys[i].id = (int64) rows[i].id;
		keys[i].queued_at = rows[i].queued_at;
		keys[i].completed_at = rows[i].completed_at;
	}

	table_multi_insert(rel, slots, n, GetCurrentCommandId(true),
					   0, get_bulk_state());

	status_index_insert(index, keys, slots, n);
	status_ring_written(rel, ItemPointerGetBlockNumber(&slots[n - 1]->tts_tid));
	for (int i = 0; i < n; i++)
		ExecClearTuple(slots[i]);
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
