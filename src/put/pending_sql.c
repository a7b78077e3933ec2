/*
 * pending_sql.c
 *		firehose_pending(): what the current transaction has put, and will send
 *		if it commits.  For tests that roll back and want to know.
 *
 * Runs in backends.
 */
#include "postgres.h"

#include "foreign/foreign.h"
#include "funcapi.h"

#include "common/preload.h"
#include "common/srf_row.h"
#include "put/durable.h"
#include "put/put_xact.h"

PG_FUNCTION_INFO_V1(firehose_pending);

static void
add_row(uint64 id, Oid serverid, const char *data, Size length, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	ForeignServer *server = GetForeignServerExtended(serverid, FSV_MISSING_OK);
	ResultRow	row = {.ncolumns = 0};

	row_int64(&row, (int64) id);
	row_text(&row, server ? server->servername : NULL);
	if (data != NULL)
		row_datum(&row, PointerGetDatum(cstring_to_text_with_len(data, length)), false);
	else
		row_datum(&row, (Datum) 0, true);
	row_return(&row, rsinfo);
}

/* Rows of id, stream and data, those of a stream in the order of the puts. */
Datum
firehose_pending(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	firehose_check_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	put_xact_visit(add_row, rsinfo);
	durable_visit(add_row, rsinfo);
	return (Datum) 0;
}
