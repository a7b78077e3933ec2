/*
 * copy_sql.c
 *		The SQL functions that have a pipeline copy tables, or stop it.
 *
 * Runs in backends.  Like all commands on pipelines they write the catalog,
 * and the decoder takes note once they have committed.
 */
#include "postgres.h"

#include "access/table.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pipeline/check.h"
#include "pipeline/command.h"
#include "pipeline/copies.h"

PG_FUNCTION_INFO_V1(firehose_refresh_pipeline);
PG_FUNCTION_INFO_V1(firehose_copy_table);
PG_FUNCTION_INFO_V1(firehose_cancel_copy);

#define HAS_NO_TABLES	"It has no tables to be copied."

/* Copy the tables that are new. */
Datum
firehose_refresh_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name = pipeline_command_begin(fcinfo, "firehose_refresh_pipeline()");
	bool		copy_data = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	Relation	rel = pipeline_command_open(name, false);
	PipelineRow *row = pipeline_command_find(rel, name, false);
	int			n;

	pipeline_command_refuse_durable(row, HAS_NO_TABLES);
	n = copies_add_published(pipeline_row_id(row),
							 pipeline_row_texts(row, PIPELINE_PUBLICATIONS), copy_data);
	pipeline_command_end(rel, row);
	PG_RETURN_INT32(n);
}

/* The hint of an error about a name in a condition. */
static void
hint_to_qualify(void *arg)
{
	switch (geterrcode())
	{
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_UNDEFINED_OBJECT:
		case ERRCODE_UNDEFINED_TABLE:
			errhint("The condition is evaluated later, with search_path = pg_catalog: write names of other schemas with their schema, and operators as OPERATOR(schema.name).");
			break;
		default:
			break;
	}
}

/*
 * Error unless a condition is one of a table's rows; asked of the planner,
 * with names as the decoder will find them (worker.c).
 */
static void
check_condition(Oid relid, const char *condition)
{
	char	   *query = psprintf("SELECT FROM ONLY %s WHERE (%s\n)",
								 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
															get_rel_name(relid)),
								 condition);
	ErrorContextCallback callback = {error_context_stack, hint_to_qualify, NULL};
	int			nest_level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	error_context_stack = &callback;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_prepare(query, 0, NULL) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("condition \"%s\" cannot be used", condition)));
	SPI_finish();
	error_context_stack = callback.previous;
	AtEOXact_GUC(false, nest_level);
}

static Oid
table_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("table to be copied must not be null")));
	return PG_GETARG_OID(1);
}

/* Copy one again, beside the stream. */
Datum
firehose_copy_table(PG_FUNCTION_ARGS)
{
	char	   *name = pipeline_command_begin(fcinfo, "firehose_copy_table()");
	CopyRow		copy = {.relid = table_argument(fcinfo)};
	Relation	rel = pipeline_command_open(name, false);
	PipelineRow *row = pipeline_command_find(rel, name, false);

	pipeline_command_refuse_durable(row, HAS_NO_TABLES);
	if (!list_member_oid(pipeline_published_tables(pipeline_row_texts(row, PIPELINE_PUBLICATIONS)),
						 copy.relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is not in the publications of pipeline \"%s\"",
						get_rel_name(copy.relid), name),
				 errhint("Of a partitioned table name the root with publish_via_partition_root, and its partitions without.")));
	if (!PG_ARGISNULL(2))
	{
		copy.condition = text_to_cstring(PG_GETARG_TEXT_PP(2));
		check_condition(copy.relid, copy.condition);
	}
	copies_add(pipeline_row_id(row), &copy);
	pipeline_command_end(rel, row);
	PG_RETURN_VOID();
}

/* Do not go on with one. */
Datum
firehose_cancel_copy(PG_FUNCTION_ARGS)
{
	char	   *name = pipeline_command_begin(fcinfo, "firehose_cancel_copy()");
	Oid			relid = table_argument(fcinfo);
	Relation	rel = pipeline_command_open(name, false);
	PipelineRow *row = pipeline_command_find(rel, name, false);
	List	   *copies = copies_read(pipeline_row_id(row));
	bool		under_way = false;
	ListCell   *cell;

	foreach(cell, copies)
	{
		CopyRow    *copy = lfirst(cell);

		if (copy->relid != relid ||
			(copy->phase != COPY_WAITING && copy->phase != COPY_READING))
			continue;
		under_way = true;
		copy->phase = COPY_FAILED;
		copy->error = "cancelled by command";
		copies_add(pipeline_row_id(row), copy);
	}
	if (under_way)
		pipeline_command_end(rel, row);
	else
		table_close(rel, NoLock);
	PG_RETURN_BOOL(under_way);
}
