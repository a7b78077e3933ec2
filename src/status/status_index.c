/*
 * status_index.c
 *		The index entries of status rows.
 *
 * Runs in the sender only.  The tables of the ring have a BRIN index, which
 * keeps the least and the greatest value of each column in a range of pages.
 * So the rows that are written together need no entry each: one of their least
 * and one of their greatest values tell it as much, for every range that they
 * lie in.  A row by itself would cost a fifth of all that is done for it.
 */
#include "postgres.h"

#include "utils/rel.h"

#include "common/own_tables.h"
#include "status/status_index.h"
#include "status/status_ring.h"

/* The columns whose bounds are known here. */
static const AttrNumber bounded[] = {
	COLUMN_ID + 1, COLUMN_QUEUED_AT + 1, COLUMN_COMPLETED_AT + 1
};

struct StatusIndex
{
	OwnIndexes *indexes;		/* NULL: the table has none */
	BlockNumber range;			/* own_tables_index_range */
	TupleTableSlot *bounds;		/* for an entry of bounds */
};

StatusIndex *
status_index_open(Relation rel)
{
	StatusIndex *index = palloc(sizeof(StatusIndex));

	index->indexes = own_tables_open_indexes(rel);
	index->range = own_tables_index_range(index->indexes, bounded, lengthof(bounded));
	index->bounds = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	return index;
}

void
status_index_close(StatusIndex *index)
{
	own_tables_close_indexes(index->indexes);
	ExecDropSingleTupleTableSlot(index->bounds);
	pfree(index);
}

/* The least and the greatest values of rows. */
static void
find_bounds(const StatusKey *keys, int n, StatusKey *least, StatusKey *greatest)
{
	*least = *greatest = keys[0];
	for (int i = 1; i < n; i++)
	{
		least->id = Min(least->id, keys[i].id);
		least->queued_at = Min(least->queued_at, keys[i].queued_at);
		least->completed_at = Min(least->completed_at, keys[i].completed_at);
		greatest->id = Max(greatest->id, keys[i].id);
		greatest->queued_at = Max(greatest->queued_at, keys[i].queued_at);
		greatest->completed_at = Max(greatest->completed_at, keys[i].completed_at);
	}
}

/* Enter the least or the greatest values of the rows in one range. */
static void
insert_bound(StatusIndex *index, const StatusKey *bound, const TupleTableSlot *row)
{
	TupleTableSlot *slot = index->bounds;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * STATUS_COLUMNS);
	slot->tts_values[COLUMN_ID] = Int64GetDatum(bound->id);
	slot->tts_values[COLUMN_QUEUED_AT] = Int64GetDatum(bound->queued_at);
	slot->tts_values[COLUMN_COMPLETED_AT] = Int64GetDatum(bound->completed_at);
	for (int k = 0; k < lengthof(bounded); k++)
		slot->tts_isnull[bounded[k] - 1] = false;
	ExecStoreVirtualTuple(slot);
	slot->tts_tid = row->tts_tid;
	slot->tts_tableOid = row->tts_tableOid;
	own_tables_insert_index_entries(index->indexes, slot);
}

/* How many of the rows, from the first on, lie in the range of that one? */
static int
count_in_range(const StatusIndex *index, TupleTableSlot **slots, int n)
{
	BlockNumber range = ItemPointerGetBlockNumber(&slots[0]->tts_tid) / index->range;
	int			i = 1;

	while (i < n && ItemPointerGetBlockNumber(&slots[i]->tts_tid) / index->range == range)
		i++;
	return i;
}

void
status_index_insert(StatusIndex *index, const StatusKey *keys, TupleTableSlot **slots, int n)
{
	StatusKey	least;
	StatusKey	greatest;
	int			together;

	if (index->indexes == NULL)
		return;
	for (int i = 0; i < n; i += together)
	{
		together = index->range > 0 ? count_in_range(index, slots + i, n - i) : 1;
		if (together == 1)
		{
			own_tables_insert_index_entries(index->indexes, slots[i]);
			continue;
		}
		find_bounds(keys + i, together, &least, &greatest);
		insert_bound(index, &least, slots[i]);
		insert_bound(index, &greatest, slots[i]);
	}
}
