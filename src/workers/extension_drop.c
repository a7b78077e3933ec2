/*
 * extension_drop.c
 *		Objects that DROP EXTENSION takes along beyond its objects.
 *
 * Runs in backends, for the object access hook.  Pipelines and records are
 * counted in shared memory: by then CASCADE has emptied the catalog.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "common/names.h"
#include "queue/queue.h"
#include "workers/extension_drop.h"
#include "workers/pipeline_table.h"

#define PUT_DURABILITY	FIREHOSE_NAME ".put_durability"

static int
count_pipelines(void)
{
	int			n = 0;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		const PipelineEntry *entry = &pipeline_table->entries[i];

		if (entry->dboid == MyDatabaseId && !entry->dropped)
			n++;
	}
	LWLockRelease(pipeline_table->lock);
	return n;
}

static uint64
count_records(void)
{
	uint64		n = 0;

	LWLockAcquire(firehose_queue->table_lock, LW_SHARED);
	for (int i = 0; i < firehose_queue->max_streams; i++)
	{
		QueueStream *s = queue_stream(firehose_queue, i);

		if (s->in_use && s->dboid == MyDatabaseId)
		{
			/* in this order: the reader finishes what was published before */
			uint64		finished = pg_atomic_read_u64(&s->finished_records);

			pg_read_barrier();
			n += pg_atomic_read_u64(&s->published_records) - finished;
		}
	}
	LWLockRelease(firehose_queue->table_lock);
	return n;
}

/* Is one of these settings, "name=value" each, that puts are durable? */
static bool
settings_make_durable(ArrayType *settings)
{
	Datum	   *elements;
	int			n;

	deconstruct_array(settings, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		if (strcmp(TextDatumGetCString(elements[i]), PUT_DURABILITY "=wal") == 0)
			return true;
	}
	return false;
}

/* Are puts durable by default in this database's sessions? */
static bool
durable_by_default(void)
{
	Relation	rel = table_open(DbRoleSettingRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(MyDatabaseId));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(InvalidOid));
	scan = systable_beginscan(rel, DbRoleSettingDatidRolidIndexId, true, NULL,
							  lengthof(keys), keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		settings = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
											RelationGetDescr(rel), &isnull);

		result = !isnull && settings_make_durable(DatumGetArrayTypeP(settings));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static void
reset_durability(void)
{
	VariableSetStmt *reset = makeNode(VariableSetStmt);

	reset->kind = VAR_RESET;
	reset->name = PUT_DURABILITY;
	AlterSetting(MyDatabaseId, InvalidOid, reset);
}

void
extension_drop_follow(void)
{
	int			pipelines = count_pipelines();
	uint64		records = count_records();

	if (pipelines > 0)
		ereport(NOTICE,
				(errmsg_plural("%d pipeline is dropped with extension \"%s\"",
							   "%d pipelines are dropped with extension \"%s\"",
							   pipelines, pipelines, FIREHOSE_NAME)));
	if (records > 0)
		ereport(NOTICE,
				(errmsg_plural(UINT64_FORMAT " queued record is dropped with extension \"%s\"",
							   UINT64_FORMAT " queued records are dropped with extension \"%s\"",
							   records, records, FIREHOSE_NAME)));

	/* other values are an administrator's, and work without it */
	if (durable_by_default())
		reset_durability();
}
