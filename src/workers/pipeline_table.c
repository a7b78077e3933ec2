/*
 * pipeline_table.c
 *		The pipelines in shared memory; pipeline_table.h has the contract.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/resowner.h"

#include "workers/pipeline_table.h"

#define TRANCHE		"FirehosePipelines"

/* A decoder sleeps while other databases write less WAL than this. */
#define FOREIGN_WAL_LIMIT	(4 * 1024 * 1024)

PipelineTable *pipeline_table = NULL;

/* firehose.max_pipelines */
static int	max_pipelines;

void
pipeline_table_define_settings(void)
{
	DefineCustomIntVariable("firehose.max_pipelines",
							"Sets how many pipelines may exist, in all databases.",
							"Each running one needs a background worker and a replication slot.",
							&max_pipelines, 16, 1, 1000, PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
}

static Size
table_size(void)
{
	return add_size(offsetof(PipelineTable, entries),
					mul_size(max_pipelines, sizeof(PipelineEntry)));
}

void
pipeline_table_shmem_request(void)
{
	RequestAddinShmemSpace(table_size());
	RequestNamedLWLockTranche(TRANCHE, 1);
}

static void
init_entry(PipelineEntry *entry)
{
	uint32		generation = entry->generation;
	uint16		worker_slot_generation = entry->decoder.generation;

	memset(entry, 0, sizeof(PipelineEntry));
	entry->generation = generation;
	worker_slot_init(&entry->decoder);
	entry->decoder.generation = worker_slot_generation;
	pg_atomic_init_u32(&entry->state, PIPELINE_STARTING);
	pg_atomic_init_u32(&entry->reread, 0);
	pg_atomic_init_u32(&entry->wants_commit, 0);
	pg_atomic_init_u32(&entry->wants_settled, 0);
	commit_ring_init(&entry->ring, generation, InvalidXLogRecPtr);
	pg_atomic_init_u64(&entry->queued_upto, 0);
	pg_atomic_init_u64(&entry->part_lsn, 0);
	pg_atomic_init_u32(&entry->part_seq, 0);
	pg_atomic_init_u64(&entry->part_definition, 0);
	pg_atomic_init_u64(&entry->copy_hold, 0);
	pg_atomic_init_u64(&entry->read_lsn, 0);
	pg_atomic_init_u64(&entry->confirmed_lsn, 0);
	pg_atomic_init_u64(&entry->accepted_lsn, 0);
	pg_atomic_init_u64(&entry->last_commit_time, 0);
	pg_atomic_init_u64(&entry->standbys_lsn, 0);
	pg_atomic_init_u64(&entry->transactions, 0);
	pg_atomic_init_u64(&entry->inserts, 0);
	pg_atomic_init_u64(&entry->updates, 0);
	pg_atomic_init_u64(&entry->deletes, 0);
	pg_atomic_init_u64(&entry->truncates, 0);
	pg_atomic_init_u64(&entry->nulled, 0);
	pg_atomic_init_u64(&entry->messages, 0);
	pg_atomic_init_u64(&entry->dead, 0);
	pg_atomic_init_u64(&entry->refused, 0);
}

void
pipeline_table_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	pipeline_table = ShmemInitStruct("firehose pipelines", table_size(), &found);
	if (!found)
	{
		memset(pipeline_table, 0, table_size());
		pipeline_table->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
		pipeline_table->nentries = max_pipelines;
		pg_atomic_init_u32(&pipeline_table->sleepers, 0);
		pg_atomic_init_u64(&pipeline_table->asynchronous_upto, 0);
		for (int i = 0; i < max_pipelines; i++)
			init_entry(&pipeline_table->entries[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

PipelineEntry *
pipeline_table_find(Oid dboid, int32 id)
{
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (entry->dboid == dboid && entry->id == id)
			return entry;
	}
	return NULL;
}

PipelineEntry *
pipeline_table_claim(Oid dboid, int32 id, const char *name, const char *slot_name)
{
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (OidIsValid(entry->dboid))
			continue;
		entry->generation++;
		init_entry(entry);
		entry->dboid = dboid;
		entry->id = id;
		namestrcpy(&entry->name, name);
		namestrcpy(&entry->slot_name, slot_name);
		return entry;
	}
	return NULL;
}

void
pipeline_table_release(PipelineEntry *entry)
{
	Assert(entry->decoder.state == WORKER_SLOT_EMPTY);
	/* records still in the queue belong to no pipeline */
	entry->generation++;
	entry->dboid = InvalidOid;
	entry->dropped = false;
}

void
pipeline_table_drop(PipelineEntry *entry)
{
	entry->should_run = false;
	entry->dropped = true;
	worker_slot_give_up_start(&entry->decoder);
	worker_slot_request_exit(&entry->decoder);
}

void
pipeline_set_state(PipelineEntry *entry, PipelineState state, const char *reason)
{
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&entry->state, state);
	strlcpy(entry->reason, reason, sizeof(entry->reason));
	LWLockRelease(pipeline_table->lock);
}

void
pipeline_fail(PipelineEntry *entry, const char *reason)
{
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&entry->state, PIPELINE_FAILED);
	strlcpy(entry->reason, reason, sizeof(entry->reason));
	entry->needs_command = true;
	LWLockRelease(pipeline_table->lock);
}

/* The entry of a CommitRef, NULL if it has changed hands. */
static PipelineEntry *
entry_of(const CommitRef *origin)
{
	PipelineEntry *entry = &pipeline_table->entries[origin->pipeline - 1];

	return (uint16) entry->generation == origin->generation ? entry : NULL;
}

static void
set_decoder_latch(PipelineEntry *entry)
{
	int			procno = entry->decoder.procno;

	/* if the process has exited meanwhile, another one is woken in vain */
	if (procno != NO_PROC)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

void
pipeline_settled(const CommitRef *origin)
{
	PipelineEntry *entry = &pipeline_table->entries[origin->pipeline - 1];

	if (commit_ring_settle(&entry->ring, origin->entry, origin->generation) &&
		pg_atomic_read_u32(&entry->wants_settled) != 0 &&
		pg_atomic_exchange_u32(&entry->wants_settled, 0) != 0)
		set_decoder_latch(entry);
}

char *
pipeline_name(const CommitRef *origin)
{
	PipelineEntry *entry;
	char	   *name = NULL;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	entry = entry_of(origin);
	if (entry != NULL)
		name = pstrdup(NameStr(entry->name));
	LWLockRelease(pipeline_table->lock);
	return name;
}

/*
 * The two counters may disagree for a moment, which costs a committer a look
 * at the entries.  A request that another process has just granted is not
 * counted twice.
 */
void
pipeline_want_commit(PipelineEntry *entry, bool want)
{
	if (pg_atomic_exchange_u32(&entry->wants_commit, want) == want)
		return;
	if (want)
		pg_atomic_fetch_add_u32(&pipeline_table->sleepers, 1);
	else
		pg_atomic_fetch_sub_u32(&pipeline_table->sleepers, 1);
}

/* Note that no process waits for the flush of the WAL up to here. */
static void
note_asynchronous_commit(XLogRecPtr upto)
{
	uint64		known = pg_atomic_read_u64(&pipeline_table->asynchronous_upto);

	while (upto > known &&
		   !pg_atomic_compare_exchange_u64(&pipeline_table->asynchronous_upto, &known, upto))
		;
}

/* Wake a decoder if it sleeps. */
static void
wake_decoder(PipelineEntry *entry)
{
	if (pg_atomic_read_u32(&entry->wants_commit) != 0 &&
		pg_atomic_exchange_u32(&entry->wants_commit, 0) != 0)
	{
		pg_atomic_fetch_sub_u32(&pipeline_table->sleepers, 1);
		set_decoder_latch(entry);
	}
}

void
pipeline_wake_decoders(Oid dboid)
{
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (entry->dboid == dboid)
			wake_decoder(entry);
	}
}

/*
 * A commit concerns the decoders of its database, and one of another database
 * that is far behind: else its slot would retain the WAL that others write.
 */
static void
wake_after_commit(XLogRecPtr upto)
{
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (entry->dboid == MyDatabaseId ||
			(OidIsValid(entry->dboid) &&
			 upto > pg_atomic_read_u64(&entry->read_lsn) + FOREIGN_WAL_LIMIT))
			wake_decoder(entry);
	}
}

/*
 * After the locks are released, so that no process waits for the signal; by
 * the end of the last commit, which COMMIT PREPARED moves too, though it has
 * no xid.
 */
static void
at_resource_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	static XLogRecPtr seen = InvalidXLogRecPtr;

	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_commit || !is_top_level ||
		XactLastCommitEnd == seen)
		return;
	seen = XactLastCommitEnd;
	if (pipeline_table == NULL || pg_atomic_read_u32(&pipeline_table->sleepers) == 0)
		return;
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		note_asynchronous_commit(seen);
	wake_after_commit(seen);
}

void
pipeline_register_wakeup(void)
{
	RegisterResourceReleaseCallback(at_resource_release, NULL);
}
