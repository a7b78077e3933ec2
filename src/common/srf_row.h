/*
 * srf_row.h
 *		A row of a function's result, built column by column.
 */
#ifndef FIREHOSE_COMMON_SRF_ROW_H
#define FIREHOSE_COMMON_SRF_ROW_H

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "common/extension_version.h"

#define RESULT_ROW_COLUMNS	32	/* at most */

typedef struct ResultRow
{
	Datum		values[RESULT_ROW_COLUMNS];
	bool		nulls[RESULT_ROW_COLUMNS];
	int			ncolumns;
} ResultRow;

static inline void
row_datum(ResultRow *row, Datum value, bool isnull)
{
	Assert(row->ncolumns < RESULT_ROW_COLUMNS);
	row->values[row->ncolumns] = value;
	row->nulls[row->ncolumns] = isnull;
	row->ncolumns++;
}

static inline void
row_int64(ResultRow *row, int64 value)
{
	row_datum(row, Int64GetDatum(value), false);
}

static inline void
row_int32(ResultRow *row, int32 value)
{
	row_datum(row, Int32GetDatum(value), false);
}

static inline void
row_bool(ResultRow *row, bool value)
{
	row_datum(row, BoolGetDatum(value), false);
}

static inline void
row_counter(ResultRow *row, pg_atomic_uint64 *counter)
{
	row_int64(row, (int64) pg_atomic_read_u64(counter));
}

/* An empty text, like a NULL one, is a null. */
static inline void
row_text(ResultRow *row, const char *value)
{
	if (value == NULL || value[0] == '\0')
		row_datum(row, (Datum) 0, true);
	else
		row_datum(row, CStringGetTextDatum(value), false);
}

static inline void
row_name(ResultRow *row, const char *value)
{
	if (value == NULL)
		row_datum(row, (Datum) 0, true);
	else
		row_datum(row, DirectFunctionCall1(namein, CStringGetDatum(value)), false);
}

/* No time is a null. */
static inline void
row_time(ResultRow *row, TimestampTz value)
{
	row_datum(row, TimestampTzGetDatum(value), value == 0);
}

/* No position is a null. */
static inline void
row_lsn(ResultRow *row, XLogRecPtr value)
{
	row_datum(row, LSNGetDatum(value), XLogRecPtrIsInvalid(value));
}

/*
 * Is the row as long as the function's result has columns?  Longer will do:
 * the function was created by an earlier version, and those that are missing
 * came at the end.
 */
static inline void
row_check(const ResultRow *row, TupleDesc desc)
{
	if (unlikely(row->ncolumns < desc->natts))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the result has %d columns, of which the library of firehose knows %d",
						desc->natts, row->ncolumns),
				 errhint("%s", extension_version_remedy("Drop the extension firehose and create it again."))));
}

/* Add it to a set. */
static inline void
row_return(ResultRow *row, ReturnSetInfo *rsinfo)
{
	row_check(row, rsinfo->setDesc);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row->values, row->nulls);
}

/* Make it the only one. */
static inline Datum
row_result(ResultRow *row, TupleDesc desc)
{
	row_check(row, desc);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), row->values, row->nulls));
}

#endif							/* FIREHOSE_COMMON_SRF_ROW_H */
