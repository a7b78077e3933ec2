/*
 * dead_letter.c
 *		Records that cannot be delivered: the sender's side.
 *
 * Runs in the sender only.  A letter is durable when dead_letter_write
 * returns; only then may its record be finished in the queue.  Should the
 * sender die in between, the record is sent again and fails again, with the
 * same id and time: the table's key, by which it is skipped.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/own_tables.h"
#include "status/dead_letter.h"
#include "status/status.h"

#define DEAD_LETTER_MAX_ERROR_CODE		64
#define DEAD_LETTER_MAX_ERROR_MESSAGE	4096

const Oid	dead_letter_types[DEAD_LETTER_COLUMNS] = {
	[LETTER_ID] = INT8OID,
	[LETTER_QUEUED_AT] = TIMESTAMPTZOID,
	[LETTER_FAILED_AT] = TIMESTAMPTZOID,
	[LETTER_LSN] = PG_LSNOID,
	[LETTER_SERVERID] = OIDOID,
	[LETTER_ATTEMPTS] = INT4OID,
	[LETTER_STREAM] = TEXTOID,
	[LETTER_PIPELINE] = TEXTOID,
	[LETTER_ERROR_CODE] = TEXTOID,
	[LETTER_ERROR_MESSAGE] = TEXTOID,
	[LETTER_DATA] = BYTEAOID
};

/* The letters of one call. */
typedef struct LetterBatch
{
	const DeadLetter *letters;
	int			n;
} LetterBatch;

static OwnTableError trouble = {"write dead letters"};

static bool insert_letters(const void *arg);
static bool letter_exists(Relation rel, const DeadLetter *letter);
static void fill_slot(TupleTableSlot *slot, const DeadLetter *letter);

const char *
dead_letter_trouble(void)
{
	return trouble.message;
}

bool
dead_letter_write(const DeadLetter *letters, int n)
{
	LetterBatch batch = {letters, n};

	/*
	 * local: durable on this server's disk, because a standby that is away
	 * must not stop delivery
	 */
	return n == 0 || own_tables_transaction(insert_letters, &batch, "local", &trouble);
}

/*
 * In a transaction: write the letters that are not there yet.  Without logical
 * information, for which a subscriber to FOR ALL TABLES would have no use.
 */
static bool
insert_letters(const void *arg)
{
	const LetterBatch *batch = arg;
	Relation	rel = own_tables_open_table(TABLE_DEAD_LETTERS, RowExclusiveLock,
										dead_letter_types, DEAD_LETTER_COLUMNS);
	TupleTableSlot *slot;
	OwnIndexes *indexes;
	MemoryContext context;
	MemoryContext old;

	if (rel == NULL)
		return false;

	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	indexes = own_tables_open_indexes(rel);
	context = AllocSetContextCreate(CurrentMemoryContext, "firehose dead letters",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	for (int i = 0; i < batch->n; i++)
	{
		if (letter_exists(rel, &batch->letters[i]))
			continue;

		fill_slot(slot, &batch->letters[i]);
		table_tuple_insert(rel, slot, GetCurrentCommandId(true),
						   TABLE_INSERT_NO_LOGICAL, NULL);
		own_tables_insert_index_entries(indexes, slot);
		ExecClearTuple(slot);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);

	own_tables_close_indexes(indexes);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return true;
}

/*
 * Is the letter there already?  No other process writes letters, so a letter
 * that is absent now is absent at the insert.  A letter that this command has
 * inserted counts too.
 */
static bool
letter_exists(Relation rel, const DeadLetter *letter)
{
	Oid			index = dead_letter_index(rel);
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&keys[0], LETTER_ID + 1, BTEqualStrategyNumber,
				F_INT8EQ, Int64GetDatum((int64) letter->id));
	ScanKeyInit(&keys[1], LETTER_QUEUED_AT + 1, BTEqualStrategyNumber,
				F_TIMESTAMPTZ_EQ, TimestampTzGetDatum(letter->queued_at));
	scan = systable_beginscan(rel, index, OidIsValid(index), SnapshotSelf,
							  lengthof(keys), keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	return found;
}

/* The index of the key; InvalidOid if an administrator has dropped it. */
Oid
dead_letter_index(Relation rel)
{
	list_free(RelationGetIndexList(rel));
	return rel->rd_pkindex;
}

/* Make a row of the table. */
static void
fill_slot(TupleTableSlot *slot, const DeadLetter *letter)
{
	Datum	   *values = slot->tts_values;
	bool	   *nulls = slot->tts_isnull;
	bytea	   *data;

	ExecClearTuple(slot);

	values[LETTER_ID] = Int64GetDatum((int64) letter->id);
	values[LETTER_QUEUED_AT] = TimestampTzGetDatum(letter->queued_at);
	values[LETTER_FAILED_AT] = TimestampTzGetDatum(letter->failed_at);
	values[LETTER_LSN] = LSNGetDatum(letter->lsn);
	values[LETTER_SERVERID] = ObjectIdGetDatum(letter->serverid);
	values[LETTER_ATTEMPTS] = Int32GetDatum(letter->attempts);
	memset(nulls, 0, sizeof(bool) * DEAD_LETTER_COLUMNS);
	nulls[LETTER_LSN] = XLogRecPtrIsInvalid(letter->lsn);

	values[LETTER_PIPELINE] = own_tables_text(letter->pipeline, NAMEDATALEN,
										  &nulls[LETTER_PIPELINE]);
	values[LETTER_STREAM] = own_tables_text(letter->stream, NAMEDATALEN,
										&nulls[LETTER_STREAM]);
	values[LETTER_ERROR_CODE] = own_tables_text(letter->error_code,
											DEAD_LETTER_MAX_ERROR_CODE,
											&nulls[LETTER_ERROR_CODE]);
	values[LETTER_ERROR_MESSAGE] = own_tables_text(letter->error_message,
											   DEAD_LETTER_MAX_ERROR_MESSAGE,
											   &nulls[LETTER_ERROR_MESSAGE]);

	nulls[LETTER_DATA] = (letter->data == NULL);
	if (letter->data != NULL)
	{
		data = palloc(VARHDRSZ + letter->length);
		SET_VARSIZE(data, VARHDRSZ + letter->length);
		memcpy(VARDATA(data), letter->data, letter->length);
		values[LETTER_DATA] = PointerGetDatum(data);
	}

	ExecStoreVirtualTuple(slot);
}
