/*
 * extension_drop.c
 *		Objects that DROP EXTENSION takes along beyond its objects.
 *
 * Runs in backends, for the object access hook.  Pipelines and records are
 * counted in shared memory: by then CASCADE has emptied the catalog.
 */
#include "postgres.h"

#include "catalog/pg_db_role_setting.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"

#include "common/names.h"
#include "queue/queue.h"
#include "workers/extension_drop.h"
#include "workers/pipeline_table.h"

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

void
extension_drop_follow(void)
{
	VariableSetStmt *reset = makeNode(VariableSetStmt);
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

	reset->kind = VAR_RESET;
	reset->name = FIREHOSE_NAME ".put_durability";
	AlterSetting(MyDatabaseId, InvalidOid, reset);
}
