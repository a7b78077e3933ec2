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
	return add_size(offsetof(PipelineTable, slots),
					mul_size(max_pipelines, sizeof(PipelineSlot)));
}

void
pipeline_table_shmem_request(void)
{
	RequestAddinShmemSpace(table_size());
	RequestNamedLWLockTranche(TRANCHE, 1);
}

static void
init_slot(PipelineSlot *slot)
{
	uint32		generation = slot->generation;
	uint16		seat_generation = slot->decoder.generation;

	memset(slot, 0, sizeof(PipelineSlot));
	slot->generation = generation;
	seat_init(&slot->decoder);
	slot->decoder.generation = seat_generation;
	pg_atomic_init_u32(&slot->state, PIPELINE_STARTING);
	pg_atomic_init_u32(&slot->reread, 0);
	pg_atomic_init_u32(&slot->wants_commit, 0);
	pg_atomic_init_u32(&slot->wants_settled, 0);
	commit_ring_init(&slot->ring, InvalidXLogRecPtr);
	pg_atomic_init_u64(&slot->queued_upto, 0);
	pg_atomic_init_u64(&slot->part_lsn, 0);
	pg_atomic_init_u32(&slot->part_seq, 0);
	pg_atomic_init_u64(&slot->read_lsn, 0);
	pg_atomic_init_u64(&slot->confirmed_lsn, 0);
	pg_atomic_init_u64(&slot->accepted_lsn, 0);
	pg_atomic_init_u64(&slot->last_commit_time, 0);
	pg_atomic_init_u64(&slot->transactions, 0);
	pg_atomic_init_u64(&slot->inserts, 0);
	pg_atomic_init_u64(&slot->updates, 0);
	pg_atomic_init_u64(&slot->deletes, 0);
	pg_atomic_init_u64(&slot->truncates, 0);
	pg_atomic_init_u64(&slot->messages, 0);
	pg_atomic_init_u64(&slot->dead, 0);
	pg_atomic_init_u64(&slot->refused, 0);
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
		pipeline_table->nslots = max_pipelines;
		pg_atomic_init_u32(&pipeline_table->sleepers, 0);
		pg_atomic_init_u64(&pipeline_table->asynchronous_upto, 0);
		for (int i = 0; i < max_pipelines; i++)
			init_slot(&pipeline_table->slots[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

PipelineSlot *
pipeline_table_find(Oid dboid, int32 id)
{
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (slot->dboid == dboid && slot->id == id)
			return slot;
	}
	return NULL;
}

PipelineSlot *
pipeline_table_claim(Oid dboid, int32 id, const char *name, const char *slot_name)
{
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (OidIsValid(slot->dboid))
			continue;
		init_slot(slot);
		slot->generation++;
		slot->dboid = dboid;
		slot->id = id;
		namestrcpy(&slot->name, name);
		namestrcpy(&slot->slot_name, slot_name);
		return slot;
	}
	return NULL;
}

void
pipeline_table_release(PipelineSlot *slot)
{
	Assert(slot->decoder.state == SEAT_EMPTY);
	slot->generation++;			/* records still in the queue are nobody's */
	slot->dboid = InvalidOid;
	slot->dropped = false;
}

void
pipeline_table_drop(PipelineSlot *slot)
{
	slot->wanted = false;
	slot->dropped = true;
	seat_give_up_start(&slot->decoder);
	seat_ask_exit(&slot->decoder);
}

void
pipeline_set_state(PipelineSlot *slot, PipelineState state, const char *reason)
{
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&slot->state, state);
	strlcpy(slot->reason, reason, sizeof(slot->reason));
	LWLockRelease(pipeline_table->lock);
}

/* The slot of an origin, NULL if it has changed hands. */
static PipelineSlot *
slot_of(const QueueOrigin *origin)
{
	PipelineSlot *slot = &pipeline_table->slots[origin->pipeline - 1];

	return (uint16) slot->generation == origin->generation ? slot : NULL;
}

static void
set_decoder_latch(PipelineSlot *slot)
{
	int			procno = slot->decoder.procno;

	/* a process that has gone meanwhile costs somebody else a needless look */
	if (procno != NO_PROC)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

void
pipeline_settled(const QueueOrigin *origin)
{
	PipelineSlot *slot = slot_of(origin);

	if (slot != NULL && commit_ring_settle(&slot->ring, origin->entry) &&
		pg_atomic_read_u32(&slot->wants_settled) != 0 &&
		pg_atomic_exchange_u32(&slot->wants_settled, 0) != 0)
		set_decoder_latch(slot);
}

char *
pipeline_name(const QueueOrigin *origin)
{
	PipelineSlot *slot;
	char	   *name = NULL;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	slot = slot_of(origin);
	if (slot != NULL)
		name = pstrdup(NameStr(slot->name));
	LWLockRelease(pipeline_table->lock);
	return name;
}

void
pipeline_give_up(PipelineSlot *slot)
{
	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	slot->given_up = true;
	LWLockRelease(pipeline_table->lock);
}

/*
 * The two counters may disagree for a moment, which costs a committer a look
 * at the slots; a wish that somebody has just granted is not counted twice.
 */
void
pipeline_want_commit(PipelineSlot *slot, bool want)
{
	if (pg_atomic_exchange_u32(&slot->wants_commit, want) == want)
		return;
	if (want)
		pg_atomic_fetch_add_u32(&pipeline_table->sleepers, 1);
	else
		pg_atomic_fetch_sub_u32(&pipeline_table->sleepers, 1);
}

/* Let it be known that WAL up to here waits for nobody to flush it. */
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
wake_decoder(PipelineSlot *slot)
{
	if (pg_atomic_read_u32(&slot->wants_commit) != 0 &&
		pg_atomic_exchange_u32(&slot->wants_commit, 0) != 0)
	{
		pg_atomic_fetch_sub_u32(&pipeline_table->sleepers, 1);
		set_decoder_latch(slot);
	}
}

void
pipeline_wake_decoders(Oid dboid)
{
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (slot->dboid == dboid)
			wake_decoder(slot);
	}
}

/*
 * A commit concerns the decoders of its database, and one of another database
 * that is far behind: else its slot would retain the WAL that others write.
 */
static void
wake_after_commit(XLogRecPtr upto)
{
	for (int i = 0; i < pipeline_table->nslots; i++)
	{
		PipelineSlot *slot = &pipeline_table->slots[i];

		if (slot->dboid == MyDatabaseId ||
			(OidIsValid(slot->dboid) &&
			 upto > pg_atomic_read_u64(&slot->read_lsn) + FOREIGN_WAL_LIMIT))
			wake_decoder(slot);
	}
}

/*
 * After the locks, so that nobody waits for the signal; by the end of the last
 * commit, which COMMIT PREPARED moves too, though it has no xid.
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
