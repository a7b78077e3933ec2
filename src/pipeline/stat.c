/*
 * stat.c
 *		The state of pipelines: the function behind firehose_stat_pipeline.
 *
 * Runs in backends.  One row per pipeline of this database's catalog, whether
 * any worker knows of it or not.  Its entry in shared memory is copied under
 * the locks; counters are read without.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "common/compat.h"
#include "common/preload.h"
#include "common/sanitize.h"
#include "common/srf_row.h"
#include "pipeline/catalog.h"
#include "pipeline/stat.h"
#include "stream/stat_stream.h"
#include "wal/replication_slot.h"
#include "wal/standby_gate.h"
#include "workers/database_table.h"
#include "workers/pipeline_table.h"

/* firehose.retained_wal_warning, in megabytes; 0: off */
static int	retained_wal_warning = 10240;

static const char *const state_names[] = {
	[PIPELINE_STARTING] = "starting",
	[PIPELINE_STREAMING] = "streaming",
	[PIPELINE_WAITING] = "waiting",
	[PIPELINE_PAUSED] = "paused",
	[PIPELINE_FAILED] = "failed",
	[PIPELINE_STANDBY] = "standby"
};

/* A copy of an entry of the shared table. */
typedef struct PipelineReport
{
	bool		known;			/* there is an entry */
	bool		table_full;		/* there is none, because all are in use */
	int			pid;
	PipelineState state;
	char		reason[PIPELINE_TEXT_LEN];
	char		last_error[PIPELINE_TEXT_LEN];
	XLogRecPtr	last_error_lsn;
	TimestampTz last_error_at;

	bool		caught_up;		/* nothing is left to be read or delivered */
	uint64		outstanding;
	XLogRecPtr	read_lsn;
	XLogRecPtr	accepted_lsn;
	XLogRecPtr	confirmed_lsn;
	XLogRecPtr	standbys_lsn;	/* it waits for standbys to have this */
	TimestampTz last_commit_at;
	int64		transactions;
	int64		inserts;
	int64		updates;
	int64		deletes;
	int64		truncates;
	int64		messages;
	int64		nulled;
	int64		dead;
	int64		refused;

	bool		has_slot;
	SlotInfo	slot;
} PipelineReport;

static void read_entry(int32 id, PipelineReport *report);
static void copy_entry(PipelineEntry *entry, PipelineReport *report);
static void decide_state(const PipelineRow *row, PipelineReport *report);
static void add_columns(ResultRow *result, const PipelineRow *row, const PipelineReport *report);

PG_FUNCTION_INFO_V1(firehose_stat_pipeline);

void
pipeline_stat_define_settings(void)
{
	DefineCustomIntVariable("firehose.retained_wal_warning",
							"Sets how much WAL the slot of a pipeline may retain until firehose_stat_pipeline warns of it.",
							"Zero turns the warning off.",
							&retained_wal_warning, 10240, 0, MAX_KILOBYTES,
							PGC_SIGHUP, GUC_UNIT_MB,
							NULL, NULL, NULL);
}

/*
 * The rows of firehose_stat_pipeline, as far as they do not come from
 * pg_replication_slots.
 */
Datum
firehose_stat_pipeline(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		sees_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	Relation	rel;
	List	   *rows;
	ListCell   *cell;

	firehose_check_preloaded();
	InitMaterializedSRF(fcinfo, 0);

	rel = pipeline_catalog_open(AccessShareLock);
	rows = pipeline_catalog_rows(rel);
	table_close(rel, AccessShareLock);

	foreach(cell, rows)
	{
		PipelineRow *row = lfirst(cell);
		ResultRow	result = {.ncolumns = 0};
		PipelineReport	report = {0};

		CHECK_FOR_INTERRUPTS();
		if (DatumGetBool(row->values[PIPELINE_DROPPED]) ||
			!(sees_all || has_privs_of_role(GetUserId(),
											DatumGetObjectId(row->values[PIPELINE_OWNER]))))
			continue;

		read_entry(pipeline_row_id(row), &report);
		report.has_slot = replication_slot_look(pipeline_row_slot_name(row), &report.slot) &&
			report.slot.database == MyDatabaseId;
		decide_state(row, &report);
		add_columns(&result, row, &report);
		row_return(&result, rsinfo);
	}

	return (Datum) 0;
}

/* Find a pipeline's entry and copy it. */
static void
read_entry(int32 id, PipelineReport *report)
{
	PipelineEntry *entry;

	LWLockAcquire(database_table->lock, LW_SHARED);
	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	entry = pipeline_table_find(MyDatabaseId, id);
	if (entry != NULL)
		copy_entry(entry, report);
	else
	{
		report->table_full = true;
		for (int i = 0; i < pipeline_table->nentries; i++)
			report->table_full &= OidIsValid(pipeline_table->entries[i].dboid);
	}
	LWLockRelease(pipeline_table->lock);
	LWLockRelease(database_table->lock);

	sanitize_text(report->reason, strlen(report->reason));
	sanitize_text(report->last_error, strlen(report->last_error));
}

/*
 * A decoder that wants to be woken by commits has read all that was committed
 * in its database; other WAL is no lag.  Look at that before the outstanding
 * records.
 */
static void
copy_entry(PipelineEntry *entry, PipelineReport *report)
{
	report->known = true;
	report->pid = entry->decoder.pid;
	report->state = pg_atomic_read_u32(&entry->state);
	strlcpy(report->reason, entry->reason, sizeof(report->reason));
	strlcpy(report->last_error, entry->last_error, sizeof(report->last_error));
	report->last_error_lsn = entry->last_error_lsn;
	report->last_error_at = entry->last_error_at;

	report->caught_up = pg_atomic_read_u32(&entry->wants_commit) != 0;
	pg_read_barrier();
	report->outstanding = commit_ring_outstanding(&entry->ring);
	report->caught_up &= report->outstanding == 0;
	report->confirmed_lsn = pg_atomic_read_u64(&entry->confirmed_lsn);
	report->accepted_lsn = pg_atomic_read_u64(&entry->accepted_lsn);
	report->read_lsn = pg_atomic_read_u64(&entry->read_lsn);
	report->standbys_lsn = pg_atomic_read_u64(&entry->standbys_lsn);
	report->last_commit_at = pg_atomic_read_u64(&entry->last_commit_time);

	report->transactions = pg_atomic_read_u64(&entry->transactions);
	report->inserts = pg_atomic_read_u64(&entry->inserts);
	report->updates = pg_atomic_read_u64(&entry->updates);
	report->deletes = pg_atomic_read_u64(&entry->deletes);
	report->truncates = pg_atomic_read_u64(&entry->truncates);
	report->nulled = pg_atomic_read_u64(&entry->nulled);
	report->messages = pg_atomic_read_u64(&entry->messages);
	report->dead = pg_atomic_read_u64(&entry->dead);
	report->refused = pg_atomic_read_u64(&entry->refused);
}

/* Could the slot be read from after a promotion? */
static bool
is_ready(const PipelineReport *report)
{
	return report->has_slot && report->slot.persistent && !report->slot.lost;
}

/*
 * Decide the state to show: the catalog knows a pause or a drop before the
 * shared table does.
 */
static void
decide_state(const PipelineRow *row, PipelineReport *report)
{
	const char *reason = NULL;

	if (RecoveryInProgress())
	{
		report->state = PIPELINE_STANDBY;
		reason = is_ready(report) ?
			"the server is in recovery; the pipeline goes on after its promotion" :
			"the server is in recovery, and the slot of the pipeline is not here, or not permanent yet; "
			"after a promotion without it the pipeline can only continue from then on";
	}
	else if (pipeline_row_is_detached(row))
	{
		report->state = PIPELINE_PAUSED;
		reason = PIPELINE_DETACHED_REASON;
	}
	else if (pipeline_row_is_copied(row))
	{
		report->state = PIPELINE_PAUSED;
		reason = PIPELINE_COPIED_REASON;
	}
	else if (!DatumGetBool(row->values[PIPELINE_ENABLED]))
	{
		report->state = PIPELINE_PAUSED;
		reason = PIPELINE_PAUSED_REASON;
	}
	else if (report->pid == 0 && report->state != PIPELINE_FAILED)
	{
		report->state = PIPELINE_STARTING;
		if (!workers_enabled)
			reason = "firehose.enabled is off";
		else if (report->table_full)
			reason = "there are more pipelines than firehose.max_pipelines";
	}
	else if (report->state == PIPELINE_WAITING && report->standbys_lsn != InvalidXLogRecPtr)
		reason = standby_gate_reason(report->standbys_lsn);	/* who it is may change */

	if (reason != NULL)
		strlcpy(report->reason, reason, sizeof(report->reason));
}

static void
add_columns(ResultRow *result, const PipelineRow *row, const PipelineReport *report)
{
	bool		durable = DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]);

	row_text(result, pipeline_row_text(row, PIPELINE_NAME));
	row_text(result, state_names[report->state]);
	row_text(result, report->reason);
	row_text(result, durable ? NULL : pipeline_row_text(row, PIPELINE_STREAM));
	row_text(result, durable ? NULL : pipeline_row_text(row, PIPELINE_FORMAT));
	row_text(result, pipeline_row_slot_name(row));
	row_datum(result, Int32GetDatum(report->pid), report->pid == 0);
	row_bool(result, report->caught_up);
	row_lsn(result, report->read_lsn);
	row_lsn(result, report->accepted_lsn);
	row_lsn(result, report->confirmed_lsn);
	row_time(result, report->last_commit_at);
	row_int64(result, report->transactions);
	row_int64(result, report->inserts);
	row_int64(result, report->updates);
	row_int64(result, report->deletes);
	row_int64(result, report->truncates);
	row_int64(result, report->messages);
	row_int64(result, report->nulled);
	row_int64(result, report->outstanding);
	row_int64(result, report->dead);
	row_int64(result, report->refused);
	row_text(result, report->last_error);
	row_lsn(result, report->last_error_lsn);
	row_time(result, report->last_error_at);
	row_datum(result, Int64GetDatum((int64) retained_wal_warning * 1024 * 1024),
			  retained_wal_warning == 0);
	row_datum(result, BoolGetDatum(report->slot.failover), !report->has_slot);
	row_datum(result, BoolGetDatum(report->slot.synced), !report->has_slot);
	row_datum(result, BoolGetDatum(is_ready(report)), !RecoveryInProgress());
}
