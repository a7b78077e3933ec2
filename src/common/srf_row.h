/*
 * srf_row.h
 *		A row of a function's result, built column by column.
 */
#ifndef FIREHOSE_COMMON_SRF_ROW_H
#define FIREHOSE_COMMON_SRF_ROW_H

#include "fmgr.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

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

#endif							/* FIREHOSE_COMMON_SRF_ROW_H */
