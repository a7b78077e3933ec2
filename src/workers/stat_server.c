/*
 * stat_server.c
 *		The state of firehose in the whole server: the function behind
 *		firehose_stat_server.
 *
 * Runs in backends.  Unlike every other view, this one works in a server that
 * has not loaded the library at its start, because it has to tell so.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/proc.h"

#include "common/build.h"
#include "common/data_file.h"
#include "common/preload.h"
#include "common/srf_row.h"
#include "queue/set_aside.h"
#include "workers/database_table.h"
#include "workers/decoder_lifecycle.h"
#include "workers/pipeline_table.h"

#define STAT_SERVER_COLUMNS		10

/* Workers that run, and workers that should. */
typedef struct WorkerCounts
{
	int			launcher_pid;	/* 0: it does not run */
	int			senders;
	int			senders_wanted;
	int			decoders;
	int			decoders_wanted;
} WorkerCounts;

PG_FUNCTION_INFO_V1(firehose_stat_server);

static void
count_workers(WorkerCounts *counts)
{
	memset(counts, 0, sizeof(WorkerCounts));
	LWLockAcquire(database_table->lock, LW_SHARED);
	if (database_table->launcher_procno != NO_PROC)
		counts->launcher_pid = GetPGProcByNumber(database_table->launcher_procno)->pid;
	for (int i = 0; i < database_table->nentries; i++)
	{
		DatabaseEntry *entry = &database_table->entries[i];

		if (!OidIsValid(entry->dboid))
			continue;
		counts->senders += entry->sender.state == WORKER_SLOT_TAKEN;
		counts->senders_wanted += workers_enabled && entry->eligible &&
			entry->extension != EXTENSION_ABSENT;
	}

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (!OidIsValid(entry->dboid))
			continue;
		counts->decoders += entry->decoder.state == WORKER_SLOT_TAKEN;
		counts->decoders_wanted += workers_enabled && decoder_should_run(entry);
	}
	LWLockRelease(pipeline_table->lock);
	LWLockRelease(database_table->lock);
}

/* The columns that only a server with the library loaded has. */
static void
add_shared_columns(ResultRow *row)
{
	char		trouble[BUILD_TROUBLE_LEN];
	WorkerCounts counts;

	row_text(row, build_running());
	row_text(row, build_get_trouble(trouble) ? trouble : NULL);
	row_bool(row, workers_enabled);

	count_workers(&counts);
	row_datum(row, Int32GetDatum(counts.launcher_pid), counts.launcher_pid == 0);
	row_int32(row, counts.senders);
	row_int32(row, counts.senders_wanted);
	row_int32(row, counts.decoders);
	row_int32(row, counts.decoders_wanted);
	row_int32(row, queue_set_aside_count());
}

/* The row of firehose_stat_server. */
Datum
firehose_stat_server(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	ResultRow	row = {.ncolumns = 0};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	row_bool(&row, firehose_preloaded);
	if (firehose_preloaded)
		add_shared_columns(&row);
	while (row.ncolumns < STAT_SERVER_COLUMNS)
		row_datum(&row, (Datum) 0, true);

	PG_RETURN_DATUM(row_result(&row, tupdesc));
}
