/*
 * published.c
 *		The tables that publications publish, for firehose_doctor.
 *
 * Runs in backends.  It reads catalogs alone, so it needs no shared memory.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/guc.h"

#include "common/compat.h"
#include "common/srf_row.h"
#include "pipeline/published.h"

PG_FUNCTION_INFO_V1(firehose_published_tables);

/*
 * firehose_published_tables(publications): pubid and relid of each table, the
 * extension's own left out.
 */
Datum
firehose_published_tables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			types[] = {TEXTARRAYOID};
	Datum		args[] = {PG_GETARG_DATUM(0)};
	int			nest_level;

	InitMaterializedSRF(fcinfo, 0);
	nest_level = NewGUCNestLevel();
	/* names mean the same, whichever search_path the caller has */
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args("SELECT DISTINCT b.oid, c.oid " PUBLISHED_COLUMNS,
							  1, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "query on catalogs failed");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		ResultRow	row = {.ncolumns = 0};

		for (int column = 1; column <= 2; column++)
		{
			bool		isnull;
			Datum		oid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column, &isnull);

			row_datum(&row, oid, isnull);
		}
		row_return(&row, rsinfo);
	}
	SPI_finish();
	AtEOXact_GUC(false, nest_level);
	return (Datum) 0;
}
