/*
 * dead_letter_sql.c
 *		firehose_retry_dead_letters and firehose_purge_dead_letters.
 *
 * Runs in backends, with the caller's identity: no role has rights on the
 * table itself, so these functions go through it letter by letter, oldest
 * first, and take those that the caller owns.  A letter belongs to a stream's
 * owner if both OID and name of the stream agree (see the extension's script);
 * all others are the superuser's.  A letter that another session is taking at
 * the same time is left to that session.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/own_tables.h"
#include "put/put.h"
#include "status/dead_letter.h"
#include "status/retried.h"
#include "stream/stream.h"

/* The letters that are selected, and the work on them. */
typedef struct LetterRequest
{
	char	   *stream;			/* NULL: of all streams */
	TimestampTz before;			/* DT_NOEND: of all times */
	int64	   *ids;			/* sorted; NULL: all */
	int			nids;

	bool		retry;			/* else purge */
	char	   *to_stream;		/* retry: NULL: the letter's own */
	int64		max_records;
	Size		space_left;		/* in the queue, for this transaction */
	bool		taken_any;
} LetterRequest;

/* A letter at hand. */
typedef struct Letter
{
	HeapTuple	tuple;
	Datum		values[DEAD_LETTER_COLUMNS];
	bool		nulls[DEAD_LETTER_COLUMNS];
	int64		id;
	char	   *stream;
	bytea	   *data;			/* NULL: none was kept */
} Letter;

static void read_ids(LetterRequest *request, ArrayType *array);
static int64 process_letters(LetterRequest *request);
static Relation open_letters(void);
static SysScanDesc begin_scan(Relation rel, Relation index, const LetterRequest *request);
static bool take_letter(Relation rel, HeapTuple tuple, LetterRequest *request, bool *full);
static bool is_wanted(const Letter *letter, const LetterRequest *request);
static bool is_own(const Letter *letter);
static bool delete_letter(Relation rel, const Letter *letter);
static const char *stream_of_letter(const Letter *letter);
static void put_letter(const Letter *letter, const char *target);

PG_FUNCTION_INFO_V1(firehose_retry_dead_letters);
PG_FUNCTION_INFO_V1(firehose_purge_dead_letters);

/* Queue dead letters again. */
Datum
firehose_retry_dead_letters(PG_FUNCTION_ARGS)
{
	LetterRequest request = {.before = DT_NOEND, .retry = true};

	PreventCommandIfReadOnly("firehose_retry_dead_letters()");
	put_check_allowed("firehose_retry_dead_letters");

	if (!PG_ARGISNULL(0))
		request.stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		read_ids(&request, PG_GETARG_ARRAYTYPE_P(1));
	if (!PG_ARGISNULL(2))
		request.to_stream = text_to_cstring(PG_GETARG_TEXT_PP(2));
	request.max_records = PG_ARGISNULL(3) ? PG_INT64_MAX : PG_GETARG_INT32(3);
	if (request.max_records < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_records must not be negative"),
				 errhint("Use NULL to retry as many as fit into one transaction.")));

	/* leave room in the transaction for its other puts */
	request.space_left = queue_largest_transaction(firehose_queue) / 2;

	PG_RETURN_INT64(process_letters(&request));
}

/* Delete dead letters. */
Datum
firehose_purge_dead_letters(PG_FUNCTION_ARGS)
{
	LetterRequest request = {.before = DT_NOEND, .max_records = PG_INT64_MAX};

	PreventCommandIfReadOnly("firehose_purge_dead_letters()");
	PreventCommandDuringRecovery("firehose_purge_dead_letters()");

	if (PG_ARGISNULL(0) && PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("must specify which dead letters to delete"),
				 errhint("Give a stream, a time or ids; before => 'infinity' deletes all.")));

	if (!PG_ARGISNULL(0))
		request.stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		request.before = PG_GETARG_TIMESTAMPTZ(1);
	if (!PG_ARGISNULL(2))
		read_ids(&request, PG_GETARG_ARRAYTYPE_P(2));

	PG_RETURN_INT64(process_letters(&request));
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* Sort the ids that are asked for. */
static void
read_ids(LetterRequest *request, ArrayType *array)
{
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("ids must not contain nulls"),
				 errhint("Filter them out with array_remove(ids, NULL).")));

	request->nids = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	request->ids = palloc(sizeof(int64) * Max(request->nids, 1));
	memcpy(request->ids, ARR_DATA_PTR(array), sizeof(int64) * request->nids);
	qsort(request->ids, request->nids, sizeof(int64), compare_ids);
}

/* Go through the letters and take the selected ones. Returns their number. */
static int64
process_letters(LetterRequest *request)
{
	Relation	rel = open_letters();
	Relation	index = index_open(dead_letter_index(rel), AccessShareLock);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "firehose dead letter",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	SysScanDesc scan = begin_scan(rel, index, request);
	int64		taken = 0;
	bool		full = false;
	HeapTuple	tuple;

	while (taken < request->max_records && !full &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		old = MemoryContextSwitchTo(context);
		if (take_letter(rel, tuple, request, &full))
			taken++;
		MemoryContextSwitchTo(old);
	}
	systable_endscan_ordered(scan);

	MemoryContextDelete(context);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
	return taken;
}

/* Open the table, which must have the index of its key. */
static Relation
open_letters(void)
{
	Relation	rel = own_tables_require_table(TABLE_DEAD_LETTERS, RowExclusiveLock,
											   dead_letter_types, DEAD_LETTER_COLUMNS);

	if (!OidIsValid(dead_letter_index(rel)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has lost its primary key",
						RelationGetRelationName(rel)),
				 errhint("Add it again, on columns id and queued_at.")));
	return rel;
}

/* Scan in the order of ids, within the bounds of those that are asked for. */
static SysScanDesc
begin_scan(Relation rel, Relation index, const LetterRequest *request)
{
	ScanKeyData keys[2];
	int			nkeys = 0;

	if (request->ids != NULL)
	{
		/* no ids: bounds between which nothing lies */
		int64		lowest = request->nids > 0 ? request->ids[0] : 1;
		int64		highest = request->nids > 0 ? request->ids[request->nids - 1] : 0;

		ScanKeyInit(&keys[nkeys++], LETTER_ID + 1, BTGreaterEqualStrategyNumber,
					F_INT8GE, Int64GetDatum(lowest));
		ScanKeyInit(&keys[nkeys++], LETTER_ID + 1, BTLessEqualStrategyNumber,
					F_INT8LE, Int64GetDatum(highest));
	}
	return systable_beginscan_ordered(rel, index, GetActiveSnapshot(), nkeys, keys);
}

/*
 * Retry or purge one letter, if it is meant and may be had.  Sets *full, and
 * takes nothing, when it does not fit into this transaction any more.
 */
static bool
take_letter(Relation rel, HeapTuple tuple, LetterRequest *request, bool *full)
{
	Letter		letter = {.tuple = tuple};
	const char *target;
	Size		space;

	heap_deform_tuple(tuple, RelationGetDescr(rel), letter.values, letter.nulls);
	letter.id = DatumGetInt64(letter.values[LETTER_ID]);
	letter.stream = TextDatumGetCString(letter.values[LETTER_STREAM]);
	if (!is_wanted(&letter, request) || !is_own(&letter))
		return false;
	if (!request->retry)
		return delete_letter(rel, &letter);

	target = request->to_stream ? request->to_stream : stream_of_letter(&letter);
	if (target == NULL || letter.nulls[LETTER_DATA])
		return false;

	/*
	 * one of many streams does not stop the others; for one that was named the
	 * error says why
	 */
	if (request->stream == NULL && request->to_stream == NULL &&
		!stream_get(target)->options.enabled)
		return false;

	/*
	 * the first one is always tried; its put raises the error if it can never
	 * fit
	 */
	letter.data = DatumGetByteaPP(letter.values[LETTER_DATA]);
	space = QUEUE_RECORD_SPACE(VARSIZE_ANY_EXHDR(letter.data));
	if (space > request->space_left && request->taken_any)
	{
		*full = true;
		return false;
	}
	if (!delete_letter(rel, &letter))
		return false;

	put_letter(&letter, target);
	request->taken_any = true;
	request->space_left -= Min(space, request->space_left);
	return true;
}

/* Is it among the letters that are asked for? */
static bool
is_wanted(const Letter *letter, const LetterRequest *request)
{
	if (request->stream != NULL && strcmp(letter->stream, request->stream) != 0)
		return false;
	if (request->before != DT_NOEND &&
		DatumGetTimestampTz(letter->values[LETTER_FAILED_AT]) >= request->before)
		return false;
	return request->ids == NULL ||
		bsearch(&letter->id, request->ids, request->nids, sizeof(int64),
				compare_ids) != NULL;
}

/* Is it the current user's? */
static bool
is_own(const Letter *letter)
{
	ForeignServer *server;

	if (superuser())
		return true;
	server = GetForeignServerExtended(DatumGetObjectId(letter->values[LETTER_SERVERID]),
									  FSV_MISSING_OK);
	return server != NULL &&
		strcmp(server->servername, letter->stream) == 0 &&
		has_privs_of_role(GetUserId(), server->owner);
}

/* Delete it, unless another session has done so, or is about to. */
static bool
delete_letter(Relation rel, const Letter *letter)
{
	TM_FailureData failure;

	return table_tuple_delete(rel, &letter->tuple->t_self,
							  GetCurrentCommandId(true), GetActiveSnapshot(),
							  InvalidSnapshot, false, &failure, false) == TM_Ok;
}

/* The stream it was meant for, if there is (again) one of that name. */
static const char *
stream_of_letter(const Letter *letter)
{
	Oid			serverid = get_foreign_server_oid(letter->stream, true);

	if (!OidIsValid(serverid) ||
		GetForeignServer(serverid)->fdwid != stream_wrapper_oid())
		return NULL;
	return letter->stream;
}

/* Queue it again under its old id, as the caller. */
static void
put_letter(const Letter *letter, const char *target)
{
	Stream	   *stream = stream_get(target);

	stream_check_usage(stream, GetUserId());
	retried_add(letter->id);
	if (!put_record(stream, letter->id, VARDATA_ANY(letter->data),
					VARSIZE_ANY_EXHDR(letter->data), true))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("there is no room in the queue for dead letter " INT64_FORMAT,
						letter->id),
				 errhint("Try again later, or with a smaller max_records.")));
}
