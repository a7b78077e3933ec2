/*
 * foreign_table.c
 *		The foreign-data wrapper's handler: a foreign table of a stream takes
 *		rows and gives none back.
 *
 * Runs in backends.  INSERT and COPY FROM put a record of each row
 * (foreign_insert.c).  Nothing else that a table is for can be done with a
 * stream, and is an error that says what can: when a statement is planned, so
 * that EXPLAIN says so, too.  ANALYZE is the exception.  PostgreSQL itself
 * warns that it skips the table, and an error would keep a partitioned table
 * with such a partition from being analyzed.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_table.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "common/compat.h"
#include "put/foreign_table.h"

PG_FUNCTION_INFO_V1(firehose_fdw_handler);
PG_FUNCTION_INFO_V1(firehose_fdw_check_options);

/* stream_options.c: the same of everything but foreign tables */
extern Datum firehose_fdw_validator(PG_FUNCTION_ARGS);

/* ------------------------------------------------------------------------
 * What a stream cannot do
 * ------------------------------------------------------------------------
 */
static void
refuse(const char *action, const char *table, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s foreign table \"%s\"", action, table),
			 errdetail("Rows of a foreign table of firehose are sent to a stream and not kept."),
			 errhint("%s", hint)));
}

/* A scan is being planned. */
static void
refuse_scan(PlannerInfo *root, RelOptInfo *baserel, Oid relid)
{
	refuse("read from", get_rel_name(relid),
		   "Read the records at the stream's destination.");
}

/* An UPDATE or DELETE is being planned. */
static void
refuse_change(PlannerInfo *root, Index rtindex, RangeTblEntry *target_rte,
			  Relation target)
{
	refuse(root->parse->commandType == CMD_DELETE ? "delete from" : "update",
		   RelationGetRelationName(target),
		   "Only INSERT and COPY FROM are possible: insert a row that tells of the change.");
}

static void
refuse_truncate(List *rels, DropBehavior behavior, bool restart_seqs)
{
	refuse("truncate", RelationGetRelationName((Relation) linitial(rels)),
		   "There is nothing to remove. Truncate the other tables one by one.");
}

static void
check_no_conflict_clause(const ModifyTable *plan, Relation rel)
{
	if (plan != NULL && plan->onConflictAction != ONCONFLICT_NONE)
		refuse("use ON CONFLICT with", RelationGetRelationName(rel),
			   "No row conflicts with another. Write INSERT without ON CONFLICT.");
}

/*
 * The rest of what a scan needs.  None is reached, since planning has failed;
 * PostgreSQL calls them without looking whether they are there.
 */
static void
no_paths(PlannerInfo *root, RelOptInfo *baserel, Oid relid)
{
	elog(ERROR, "foreign table of firehose is scanned");
}

static ForeignScan *
no_plan(PlannerInfo *root, RelOptInfo *baserel, Oid relid, ForeignPath *best_path,
		List *tlist, List *scan_clauses, Plan *outer_plan)
{
	elog(ERROR, "foreign table of firehose is scanned");
	return NULL;				/* not reached */
}

static void
no_begin(ForeignScanState *node, int eflags)
{
	elog(ERROR, "foreign table of firehose is scanned");
}

static TupleTableSlot *
no_rows(ForeignScanState *node)
{
	elog(ERROR, "foreign table of firehose is scanned");
	return NULL;				/* not reached */
}

static void
no_end(ForeignScanState *node)
{
}

/* ------------------------------------------------------------------------
 * Inserting
 * ------------------------------------------------------------------------
 */
static int
is_updatable(Relation rel)
{
	return 1 << CMD_INSERT;
}

static List *
plan_modify(PlannerInfo *root, ModifyTable *plan, Index result_relation,
			int subplan_index)
{
	RangeTblEntry *target = planner_rt_fetch(result_relation, root);
	Relation	rel = table_open(target->relid, NoLock);

	check_no_conflict_clause(plan, rel);
	table_close(rel, NoLock);
	return NIL;
}

static void
begin_modify(ModifyTableState *mtstate, ResultRelInfo *target, List *fdw_private,
			 int subplan_index, int eflags)
{
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		foreign_insert_begin(target, mtstate->ps.state);
}

/* COPY, or a partition that a row was found to belong to. */
static void
begin_insert(ModifyTableState *mtstate, ResultRelInfo *target)
{
	check_no_conflict_clause((ModifyTable *) mtstate->ps.plan, target->ri_RelationDesc);
	foreign_insert_begin(target, mtstate->ps.state);
}

static TupleTableSlot *
insert_row(EState *estate, ResultRelInfo *target, TupleTableSlot *slot,
		   TupleTableSlot *plan_slot)
{
	return foreign_insert_rows(estate, target, &slot, 1) == 1 ? slot : NULL;
}

static TupleTableSlot **
insert_batch(EState *estate, ResultRelInfo *target, TupleTableSlot **slots,
			 TupleTableSlot **plan_slots, int *n)
{
	*n = foreign_insert_rows(estate, target, slots, *n);
	return slots;
}

/* Shows the stream. */
static void
explain_modify(ModifyTableState *mtstate, ResultRelInfo *target, List *fdw_private,
			   int subplan_index, ExplainState *es)
{
	ForeignTable *table = GetForeignTable(RelationGetRelid(target->ri_RelationDesc));

	ExplainPropertyText("Stream", GetForeignServer(table->serverid)->servername, es);
}

/* ------------------------------------------------------------------------
 * SQL
 * ------------------------------------------------------------------------
 */
Datum
firehose_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = refuse_scan;
	routine->GetForeignPaths = no_paths;
	routine->GetForeignPlan = no_plan;
	routine->BeginForeignScan = no_begin;
	routine->IterateForeignScan = no_rows;
	routine->ReScanForeignScan = no_end;
	routine->EndForeignScan = no_end;

	routine->IsForeignRelUpdatable = is_updatable;
	routine->AddForeignUpdateTargets = refuse_change;
	routine->ExecForeignTruncate = refuse_truncate;

	routine->PlanForeignModify = plan_modify;
	routine->BeginForeignModify = begin_modify;
	routine->BeginForeignInsert = begin_insert;
	routine->ExecForeignInsert = insert_row;
	routine->ExecForeignBatchInsert = insert_batch;
	routine->GetForeignModifyBatchSize = foreign_insert_batch_size;
	routine->ExplainForeignModify = explain_modify;
	PG_RETURN_POINTER(routine);
}

/*
 * Validator of the foreign-data wrapper.  The columns that a table will have
 * are not known to it: option column is looked at with the first row.
 */
Datum
firehose_fdw_check_options(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	if (PG_GETARG_OID(1) != ForeignTableRelationId)
		return firehose_fdw_validator(fcinfo);

	foreach(lc, untransformRelOptions(PG_GETARG_DATUM(0)))
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, FOREIGN_TABLE_COLUMN) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("unknown option \"%s\" for a foreign table of firehose",
							option->defname),
					 errhint("The one option of a foreign table is column. Options of a stream are set on its server, with CREATE SERVER or ALTER SERVER.")));
		if (*defGetString(option) == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					 errmsg("option \"%s\" of a foreign table must name a column",
							option->defname),
					 errhint("Name the column to send, or leave the option out to send rows as JSON.")));
	}
	PG_RETURN_VOID();
}
