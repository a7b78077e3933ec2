/*
 * durable_sql.c
 *		firehose_enable_durable_puts and firehose_disable_durable_puts.
 *
 * Runs in backends.  Durable puts need a pipeline that reads them; it has no
 * publication, because nothing but messages is read.  Its row is written here,
 * in the caller's transaction; its replication slot is created after the
 * commit by the pipeline's decoder.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "common/clock.h"
#include "common/compat.h"
#include "common/preload.h"
#include "common/sql_command.h"
#include "pipeline/catalog.h"
#include "pipeline/check.h"
#include "put/durable.h"
#include "stream/stat_stream.h"
#include "wal/replication_slot.h"
#include "workers/ddl_hooks.h"
#include "workers/pipeline_table.h"

#define PIPELINE_NAME_TEXT	"durable_puts"

/*
 * How long to wait for undelivered records, with the lock and without; and how
 * often to look.
 */
#define SETTLE_MS			5000
#define SETTLE_LOOK_MS		50

/* The work that the durable pipeline still has to do. */
typedef struct Unsettled
{
	uint64		bytes;			/* of WAL not read */
	uint64		records;		/* read and not settled */
} Unsettled;

PG_FUNCTION_INFO_V1(firehose_enable_durable_puts);
PG_FUNCTION_INFO_V1(firehose_disable_durable_puts);

static void begin_command(FunctionCallInfo fcinfo, const char *function, const char *argument);
static void make_pipeline(Relation rel);
static void drop_pipeline(Relation rel, PipelineRow *row);
static void check_settled(Relation rel, const PipelineRow *row);
static bool await_settled(const PipelineRow *row, Unsettled *unsettled);
static void set_default_durability(bool wal);

/* The common beginning of both functions. */
static void
begin_command(FunctionCallInfo fcinfo, const char *function, const char *argument)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
	firehose_check_preloaded();

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s of %s must not be null", argument, function)));
	if (!IsDatabaseOwner(MyDatabaseId, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_DATABASE, get_database_name(MyDatabaseId));
}

/* Is there a row? */
static bool
query_is_true(const char *query)
{
	bool		found;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(query, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "query failed: %s", query);
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

/*
 * Enable durable puts, and make them the default of the database's new
 * sessions.
 */
Datum
firehose_enable_durable_puts(PG_FUNCTION_ARGS)
{
	Relation	rel;
	PipelineRow *row;

	begin_command(fcinfo, "firehose_enable_durable_puts()", "set_default");
	pipeline_check_server();
	pipeline_check_role();

	rel = pipeline_catalog_open(PIPELINE_WRITE_LOCK);
	row = pipeline_catalog_find_durable(rel);
	if (row != NULL && pipeline_row_is_detached(row))
	{
		/* it came with a dump, or a copy of another database */
		pipeline_catalog_delete(rel, row);
		row = NULL;
	}
	if (row == NULL)
		make_pipeline(rel);
	else
		ereport(NOTICE,
				(errmsg("durable puts are enabled already in database \"%s\"",
						get_database_name(MyDatabaseId))));
	table_close(rel, NoLock);

	if (PG_GETARG_BOOL(0))
		set_default_durability(true);
	PG_RETURN_VOID();
}

static void
set_column(PipelineRow *row, PipelineColumn column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static void
make_pipeline(Relation rel)
{
	PipelineRow row = {NULL};

	memset(row.nulls, true, sizeof(row.nulls));
	set_column(&row, PIPELINE_ID, Int32GetDatum(pipeline_catalog_new_id(rel)));
	set_column(&row, PIPELINE_VERSION, Int32GetDatum(1));
	set_column(&row, PIPELINE_DATABASE, ObjectIdGetDatum(MyDatabaseId));
	set_column(&row, PIPELINE_SYSTEM_IDENTIFIER, Int64GetDatum((int64) GetSystemIdentifier()));
	pipeline_row_set_home(&row);
	set_column(&row, PIPELINE_OWNER, ObjectIdGetDatum(GetUserId()));
	set_column(&row, PIPELINE_SLOT_CREATED, BoolGetDatum(false));
	set_column(&row, PIPELINE_ENABLED, BoolGetDatum(true));
	set_column(&row, PIPELINE_DURABLE_PUTS, BoolGetDatum(true));
	set_column(&row, PIPELINE_DROPPED, BoolGetDatum(false));
	set_column(&row, PIPELINE_NAME, CStringGetTextDatum(PIPELINE_NAME_TEXT));
	/* a put names its stream and brings its bytes */
	set_column(&row, PIPELINE_STREAM, CStringGetTextDatum(""));
	set_column(&row, PIPELINE_PUBLICATIONS,
			   PointerGetDatum(construct_empty_array(TEXTOID)));
	set_column(&row, PIPELINE_FORMAT, CStringGetTextDatum("json"));
	set_column(&row, PIPELINE_ROUTES, DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	/*
	 * a put counts even if a trigger made it while changes were replicated
	 * into this database
	 */
	set_column(&row, PIPELINE_ORIGIN, CStringGetTextDatum("any"));

	if (pipeline_catalog_find(rel, PIPELINE_NAME_TEXT) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pipeline \"%s\" already exists", PIPELINE_NAME_TEXT),
				 errdetail("Durable puts need a pipeline of this name.")));
	pipeline_check_slot(rel, pipeline_row_slot_name(&row), false);
	pipeline_catalog_store(rel, &row);
	ddl_hooks_request_recheck();
}

/* Disable durable puts. */
Datum
firehose_disable_durable_puts(PG_FUNCTION_ARGS)
{
	Relation	rel;
	PipelineRow *row;

	begin_command(fcinfo, "firehose_disable_durable_puts()", "force");
	if (durable_has_put())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cannot disable durable puts in a transaction that has put records")));

	rel = pipeline_catalog_open(PIPELINE_WRITE_LOCK);
	row = pipeline_catalog_find_durable(rel);
	if (row == NULL)
		ereport(NOTICE,
				(errmsg("durable puts are not enabled in database \"%s\"",
						get_database_name(MyDatabaseId))));
	else
	{
		if (!PG_GETARG_BOOL(0))
			check_settled(rel, row);
		drop_pipeline(rel, row);
	}
	table_close(rel, NoLock);

	set_default_durability(false);
	PG_RETURN_VOID();
}

/* As firehose_drop_pipeline. */
static void
drop_pipeline(Relation rel, PipelineRow *row)
{
	if (pipeline_row_is_detached(row))
		pipeline_catalog_delete(rel, row);
	else
	{
		set_column(row, PIPELINE_DROPPED, BoolGetDatum(true));
		set_column(row, PIPELINE_VERSION,
				   Int32GetDatum(DatumGetInt32(row->values[PIPELINE_VERSION]) + 1));
		row->nulls[PIPELINE_NAME] = true;
		pipeline_catalog_store(rel, row);
	}
	ddl_hooks_request_recheck();
}

/*
 * Error unless everything that was durably put has met its outcome.  The slot
 * goes with the pipeline, and with it the records of transactions that commit
 * later.  So wait for the transactions that have put, and keep others from
 * putting, but only after most of the waiting is done.
 */
static void
check_settled(Relation rel, const PipelineRow *row)
{
	Unsettled	unsettled;

	(void) await_settled(row, &unsettled);
	LockRelation(rel, ExclusiveLock);
	if (await_settled(row, &unsettled))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("not all durable puts are delivered"),
			 errdetail(UINT64_FORMAT " bytes of WAL are not read yet, and " UINT64_FORMAT " records that were read are not accepted yet.",
					   unsettled.bytes, unsettled.records),
			 errhint("Wait until firehose_stat_pipeline shows that they are delivered, or discard those not read yet with: SELECT firehose_disable_durable_puts(force => true);")));
}

/* How much is left to do, up to a place in the WAL? */
static void
look_unsettled(const PipelineRow *row, const SlotInfo *info, XLogRecPtr upto, Unsettled *unsettled)
{
	XLogRecPtr	read = info->confirmed;
	PipelineEntry *slot;

	unsettled->records = 0;
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	slot = pipeline_table_find(MyDatabaseId, pipeline_row_id(row));
	if (slot != NULL)
	{
		read = Max(read, pg_atomic_read_u64(&slot->read_lsn));
		unsettled->records = commit_ring_outstanding(&slot->ring);
	}
	LWLockRelease(pipeline_table->lock);
	unsettled->bytes = read < upto ? upto - read : 0;
}

/* Wait a while for the delivery of the records put so far. */
static bool
await_settled(const PipelineRow *row, Unsettled *unsettled)
{
	XLogRecPtr	upto = durable_flush_wal();
	int64		deadline = clock_ms() + SETTLE_MS;
	SlotInfo	info;

	for (;;)
	{
		/* nothing can be delivered from a slot that is not there or lost */
		if (pipeline_row_is_detached(row) ||
			!replication_slot_look(pipeline_row_slot_name(row), &info) ||
			!info.persistent || info.lost)
			return true;
		look_unsettled(row, &info, upto, unsettled);
		if (unsettled->bytes == 0 && unsettled->records == 0)
			return true;
		if (clock_ms() >= deadline)
			return false;

		pipeline_wake_decoders(MyDatabaseId);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 SETTLE_LOOK_MS, WaitEventNamed("FirehoseDurablePuts"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Make wal the default of the database's new sessions, or remove that default.
 */
static void
set_default_durability(bool wal)
{
	const char *database = quote_identifier(get_database_name(MyDatabaseId));

	if (wal)
		sql_command_execute(psprintf("ALTER DATABASE %s SET firehose.put_durability = 'wal'", database));
	else if (query_is_true("SELECT FROM pg_catalog.pg_db_role_setting s"
						   " JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase"
						   " WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()"
						   " AND s.setrole OPERATOR(pg_catalog.=) '0'"
						   " AND 'firehose.put_durability=wal' OPERATOR(pg_catalog.=) ANY (s.setconfig)"))
		sql_command_execute(psprintf("ALTER DATABASE %s RESET firehose.put_durability", database));
}
