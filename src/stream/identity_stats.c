/*
 * identity_stats.c
 *		Statistics of the identities that the senders have towards AWS;
 *		identity_stats.h has the locking contract.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"

#include "common/preload.h"
#include "common/sanitize.h"
#include "common/srf_row.h"
#include "queue/stream_stats.h"
#include "stream/identity_stats.h"

/* More identities than a server has roles for streams; together 200 kB. */
#define MAX_IDENTITIES		96

#define STAT_IDENTITY_COLUMNS	11

static IdentityStats *entries = NULL;

static const char *const state_names[] = {
	[IDENTITY_FETCHING] = "fetching",
	[IDENTITY_READY] = "ready",
	[IDENTITY_FAILED] = "failed"
};

PG_FUNCTION_INFO_V1(firehose_stat_identity);

/* Ask for the memory of the entries. */
void
identity_stats_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(IdentityStats) * MAX_IDENTITIES);
}

/* Find the entries, or set them up. */
void
identity_stats_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	entries = ShmemInitStruct("firehose identities",
							  sizeof(IdentityStats) * MAX_IDENTITIES, &found);
	if (!found)
		memset(entries, 0, sizeof(IdentityStats) * MAX_IDENTITIES);
	LWLockRelease(AddinShmemInitLock);
}

void
identity_stats_clear(Oid dboid)
{
	LWLockAcquire(stream_stats_lock(), LW_EXCLUSIVE);
	for (int i = 0; i < MAX_IDENTITIES; i++)
	{
		if (entries[i].dboid == dboid)
			entries[i].dboid = InvalidOid;
	}
	LWLockRelease(stream_stats_lock());
}

int
identity_stats_take(Oid dboid)
{
	int			taken = -1;

	LWLockAcquire(stream_stats_lock(), LW_EXCLUSIVE);
	for (int i = 0; i < MAX_IDENTITIES && taken < 0; i++)
	{
		if (OidIsValid(entries[i].dboid))
			continue;
		memset(&entries[i], 0, sizeof(entries[i]));
		entries[i].dboid = dboid;
		taken = i;
	}
	LWLockRelease(stream_stats_lock());
	return taken;
}

void
identity_stats_release(int entry)
{
	if (entry < 0)
		return;
	LWLockAcquire(stream_stats_lock(), LW_EXCLUSIVE);
	entries[entry].dboid = InvalidOid;
	LWLockRelease(stream_stats_lock());
}

void
identity_stats_publish(int entry, const IdentityStats *stats)
{
	if (entry < 0)
		return;
	LWLockAcquire(stream_stats_lock(), LW_EXCLUSIVE);
	entries[entry] = *stats;
	LWLockRelease(stream_stats_lock());
}

/*
 * The rows of firehose_stat_identity.  The last error names files and
 * profiles of the server, which only superusers may know.
 */
Datum
firehose_stat_identity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	firehose_check_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MAX_IDENTITIES; i++)
	{
		IdentityStats entry;
		ResultRow	row = {.ncolumns = 0};

		LWLockAcquire(stream_stats_lock(), LW_SHARED);
		entry = entries[i];
		LWLockRelease(stream_stats_lock());
		if (!OidIsValid(entry.dboid))
			continue;
		sanitize_text(entry.last_error, strlen(entry.last_error));

		row_name(&row, get_database_name(entry.dboid));
		row_text(&row, entry.role_arn[0] ? entry.role_arn : NULL);
		row_text(&row, state_names[entry.state]);
		row_text(&row, entry.source[0] ? entry.source : NULL);
		row_text(&row, entry.principal[0] ? entry.principal : NULL);
		row_time(&row, entry.expires_at);
		row_time(&row, entry.fetched_at);
		row_int64(&row, entry.fetches);
		row_int64(&row, entry.failures);
		row_text(&row, superuser() && entry.last_error[0] ? entry.last_error : NULL);
		row_time(&row, entry.last_error_at);
		Assert(row.ncolumns == STAT_IDENTITY_COLUMNS);
		row_return(&row, rsinfo);
	}
	return (Datum) 0;
}
