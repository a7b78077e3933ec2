/*
 * status_row.c
 *		The tuples of status rows.
 *
 * Runs in the sender only.  Forming a tuple value by value costs as much as
 * sending a third of a record.  But the rows of accepted puts into one stream
 * differ in few places, all of them as long in one row as in the next: so the
 * first of them is formed, and the others are copies of it with these places
 * written anew.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "common/own_tables.h"
#include "status/status_ring.h"
#include "status/status_row.h"

/* longest texts that are kept: a row stays below the size that is toasted */
#define STATUS_MAX_RECORD_ID	1024
#define STATUS_MAX_ERROR_CODE	64
#define STATUS_MAX_ERROR_MESSAGE 512

/*
 * How the tuple of a put begins, which has no LSN; the columns are those of
 * status_ring.h, as heap_form_tuple() lays them out.  The RecordId is the end
 * of an accepted one's tuple.
 */
typedef struct PutColumns
{
	int64		id;
	TimestampTz queued_at;
	TimestampTz completed_at;
	Oid			serverid;
	int32		attempts;
	int32		bytes;
} PutColumns;

text *
status_record_id(MemoryContext context, const char *id, int length, bool is_ascii)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	text	   *result;
	bool		isnull;

	/* ASCII is valid in every encoding, and may be cut anywhere */
	if (is_ascii)
		result = cstring_to_text_with_len(id, Min(length, STATUS_MAX_RECORD_ID));
	else
		result = (text *) DatumGetPointer(own_tables_text_len(id, length, STATUS_MAX_RECORD_ID,
															  &isnull));
	MemoryContextSwitchTo(old);
	return result;
}

/* Form the tuple of a row, whatever it is. */
static HeapTuple
form(TupleDesc desc, const StatusRow *row)
{
	Datum		values[STATUS_COLUMNS];
	bool		nulls[STATUS_COLUMNS] = {false};

	values[COLUMN_ID] = Int64GetDatum((int64) row->id);
	values[COLUMN_QUEUED_AT] = TimestampTzGetDatum(row->queued_at);
	values[COLUMN_COMPLETED_AT] = TimestampTzGetDatum(row->completed_at);
	values[COLUMN_LSN] = LSNGetDatum(row->lsn);
	values[COLUMN_SERVERID] = ObjectIdGetDatum(row->serverid);
	values[COLUMN_ATTEMPTS] = Int32GetDatum(row->attempts);
	values[COLUMN_BYTES] = Int32GetDatum(row->bytes);
	values[COLUMN_ACCEPTED] = BoolGetDatum(row->accepted);
	values[COLUMN_ENCRYPTED] = BoolGetDatum(row->encrypted);
	nulls[COLUMN_LSN] = XLogRecPtrIsInvalid(row->lsn);

	values[COLUMN_PIPELINE] = own_tables_text(row->pipeline, NAMEDATALEN,
										  &nulls[COLUMN_PIPELINE]);
	values[COLUMN_STREAM] = own_tables_text(row->stream, NAMEDATALEN,
										&nulls[COLUMN_STREAM]);
	values[COLUMN_RECORD_ID] = PointerGetDatum(row->record_id);
	nulls[COLUMN_RECORD_ID] = row->record_id == NULL;
	values[COLUMN_ERROR_CODE] = own_tables_text(row->error_code,
											STATUS_MAX_ERROR_CODE,
											&nulls[COLUMN_ERROR_CODE]);
	values[COLUMN_ERROR_MESSAGE] = own_tables_text(row->error_message,
											   STATUS_MAX_ERROR_MESSAGE,
											   &nulls[COLUMN_ERROR_MESSAGE]);
	return heap_form_tuple(desc, values, nulls);
}

/*
 * An accepted put, whose RecordId is long enough to be stored with a length
 * word of four bytes.
 */
static bool
is_common(const StatusRow *row)
{
	return row->accepted && XLogRecPtrIsInvalid(row->lsn) && row->pipeline == NULL &&
		!VARATT_CAN_MAKE_SHORT(row->record_id);
}

/* Do two rows differ only in what copy() writes? */
static bool
are_alike(const StatusRow *a, const StatusRow *b)
{
	return a->stream == b->stream && a->serverid == b->serverid &&
		a->encrypted == b->encrypted && is_common(a) && is_common(b) &&
		VARSIZE(a->record_id) == VARSIZE(b->record_id);
}

/* Make the tuple of a row out of that of one that is alike. */
static HeapTuple
copy(HeapTuple last, const StatusRow *row)
{
	HeapTuple	tuple = heap_copytuple(last);
	PutColumns *columns = (PutColumns *) GETSTRUCT(tuple);
	Size		id_size = VARSIZE(row->record_id);

	columns->id = (int64) row->id;
	columns->queued_at = row->queued_at;
	columns->completed_at = row->completed_at;
	columns->attempts = row->attempts;
	columns->bytes = row->bytes;
	memcpy((char *) tuple->t_data + tuple->t_len - id_size, row->record_id, id_size);
	return tuple;
}

HeapTuple
status_row_tuple(TupleDesc desc, const StatusRow *row, HeapTuple last, const StatusRow *last_row)
{
	HeapTuple	tuple;

	if (last == NULL || !are_alike(row, last_row))
		return form(desc, row);
	tuple = copy(last, row);
#ifdef USE_ASSERT_CHECKING
	{
		HeapTuple	formed = form(desc, row);

		Assert(formed->t_len == tuple->t_len &&
			   memcmp((char *) formed->t_data + formed->t_data->t_hoff,
					  (char *) tuple->t_data + tuple->t_data->t_hoff,
					  formed->t_len - formed->t_data->t_hoff) == 0);
	}
#endif
	return tuple;
}
