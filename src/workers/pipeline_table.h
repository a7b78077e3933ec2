/*
 * pipeline_table.h
 *		The pipelines that are known to this server, in shared memory: the
 *		state of their decoders, their positions, and which of their records
 *		are not delivered yet.
 *
 * The catalog (definition.h) has the pipelines that are to exist.  The sender
 * of a database reads it and keeps this table in step; the launcher starts and
 * stops decoders by this table, and drops replication slots that are no longer
 * needed.
 *
 * Locking contract ---------------- To read the identity, the desired state or
 * the texts of an entry, hold PipelineTable.lock (LWLock "FirehosePipelines")
 * shared; to change them, exclusively.  The worker slots of the decoders are
 * under the lock of the table of databases (database_table.h), which is
 * acquired before this one.  To claim, drop or release an entry, hold both.
 * commit_ring.h has the contract of PipelineEntry.ring.  Atomics are written
 * by the pipeline's decoder and read by any process, except where noted.
 */
#ifndef FIREHOSE_WORKERS_PIPELINE_TABLE_H
#define FIREHOSE_WORKERS_PIPELINE_TABLE_H

#include "datatype/timestamp.h"
#include "storage/lwlock.h"

#include "queue/queue.h"
#include "workers/commit_ring.h"
#include "workers/copy_chunks.h"
#include "workers/worker_slot.h"

/* The values of the column state of firehose_stat_pipeline. */
typedef enum PipelineState
{
	PIPELINE_STARTING,			/* no decoder yet, or it makes the slot */
	PIPELINE_STREAMING,			/* the decoder follows the WAL */
	PIPELINE_WAITING,			/* the queue is full: the WAL is the buffer */
	/* by command, or since it came from elsewhere */
	PIPELINE_PAUSED,
	PIPELINE_FAILED,			/* cannot continue without a command */
	PIPELINE_STANDBY			/* for views only: none runs in recovery */
} PipelineState;

#define PIPELINE_TEXT_LEN	512

typedef struct PipelineEntry
{
	/* identity and desired state, under the table's lock */
	Oid			dboid;			/* InvalidOid: free */
	int32		id;				/* of the pipeline in its database's catalog */
	uint32		generation;		/* changes with every claim */
	NameData	name;
	NameData	slot_name;
	int32		version;		/* of the definition in the catalog */
	bool		durable_puts;	/* it is the one that reads durable puts */
	bool		should_run;			/* a decoder is to run */
	bool		dropped;		/* the pipeline is gone: drop its slot */
	/* it cannot continue until a command says how */
	bool		needs_command;

	/* under the lock of the table of databases */
	WorkerSlot		decoder;
	/* launcher: no try to drop the slot before */
	int64		drop_retry_at;

	/* the texts to show; under the table's lock */
	char		reason[PIPELINE_TEXT_LEN];
	char		last_error[PIPELINE_TEXT_LEN];
	int			last_sqlstate;
	XLogRecPtr	last_error_lsn;
	TimestampTz last_error_at;
	int			same_error;		/* times in a row, at this LSN */
	/* the commit that the reason offers to leave out */
	XLogRecPtr	reported_lsn;

	pg_atomic_uint32 state;		/* PipelineState */
	pg_atomic_uint32 reread;	/* set by any process: read the catalog again
								 * */

	/*
	 * waking: 1 while the decoder sleeps; whoever swaps it to 0 sets its latch
	 */
	pg_atomic_uint32 wants_commit;
	pg_atomic_uint32 wants_settled;

	/* how far: survives the decoder, not the server */
	CommitRing	ring;
	/* commits that end here are in the queue */
	pg_atomic_uint64 queued_upto;
	pg_atomic_uint64 part_lsn;	/* a commit of which only a part is, */
	pg_atomic_uint32 part_seq;	/* and the place in it of the last one, */
	/* as counted under this definition */
	pg_atomic_uint64 part_definition;
	/*
	 * a copy is still to read what a commit here has moved: the next decoder
	 * begins before it (copier.h); Invalid: none
	 */
	pg_atomic_uint64 copy_hold;
	/* what it has handed over meanwhile; decoder only */
	CopyChunks	copy_chunks;
	pg_atomic_uint64 read_lsn;
	pg_atomic_uint64 confirmed_lsn;
	pg_atomic_uint64 accepted_lsn;	/* last commit that is delivered completely
									 * */
	pg_atomic_uint64 last_commit_time;	/* of what was read; TimestampTz */
	/*
	 * its state is that standbys are to have this before it goes on; Invalid:
	 * it does not wait for them
	 */
	pg_atomic_uint64 standbys_lsn;

	/* counters */
	pg_atomic_uint64 transactions;
	pg_atomic_uint64 inserts;
	pg_atomic_uint64 updates;
	pg_atomic_uint64 deletes;
	pg_atomic_uint64 truncates;
	pg_atomic_uint64 messages;
	pg_atomic_uint64 nulled;	/* values that became null in a number's place */
	pg_atomic_uint64 dead;		/* changes that went to the dead letters */
	pg_atomic_uint64 refused;	/* messages that pretended to be durable puts
								 * */
} PipelineEntry;

typedef struct PipelineTable
{
	LWLock	   *lock;
	int			nentries;			/* firehose.max_pipelines, fixed */
	pg_atomic_uint32 sleepers;	/* how many decoders want_commit */
	pg_atomic_uint64 asynchronous_upto; /* end of the last commit that did not
										 * wait for its flush; 0: none yet */
	PipelineEntry entries[FLEXIBLE_ARRAY_MEMBER];
} PipelineTable;

extern PGDLLEXPORT PipelineTable *pipeline_table;	/* NULL: not preloaded */

extern void pipeline_table_define_settings(void);
extern void pipeline_table_shmem_request(void);
extern void pipeline_table_shmem_startup(void);

/* All of these want the lock held, exclusively where they change anything. */
extern PipelineEntry *pipeline_table_find(Oid dboid, int32 id);
extern PipelineEntry *pipeline_table_claim(Oid dboid, int32 id, const char *name,
										   const char *slot_name);
extern void pipeline_table_release(PipelineEntry *entry);

/*
 * The pipeline is gone: its decoder is to leave, and the launcher to drop its
 * slot.  Wants the lock of the table of databases as well, and the launcher
 * woken.
 */
extern void pipeline_table_drop(PipelineEntry *entry);

/* Show a state and why.  Takes the lock. */
extern void pipeline_set_state(PipelineEntry *entry, PipelineState state, const char *reason);

/*
 * Decoder: the pipeline cannot continue without a command, which the reason
 * names.
 */
extern void pipeline_fail(PipelineEntry *entry, const char *reason);

/*
 * The origin of a pipeline's record, which travels through the queue with it.
 */
static inline void
pipeline_commit_ref(const PipelineEntry *entry, uint64 number, XLogRecPtr lsn, CommitRef *ref)
{
	ref->pipeline = (entry - pipeline_table->entries) + 1;
	ref->generation = (uint16) entry->generation;
	ref->entry = (uint32) number;
	ref->lsn = lsn;
}

/*
 * Sender: a record of this origin is settled.  Does nothing if the pipeline is
 * gone meanwhile.
 */
extern PGDLLEXPORT void pipeline_settled(const CommitRef *origin);

/*
 * The name of the pipeline of this origin, in palloc'd memory; NULL: it is
 * gone.
 */
extern PGDLLEXPORT char *pipeline_name(const CommitRef *origin);

/* Decoder: be woken by commits from now on, or not. */
extern void pipeline_want_commit(PipelineEntry *entry, bool want);

/*
 * Wake the decoders of a database that sleep: there is WAL for them.  Neither
 * waits nor fails.
 */
extern void pipeline_wake_decoders(Oid dboid);

/*
 * Have every commit of this server's processes that wrote WAL wake the
 * decoders of its database that sleep, after it has released its locks.
 */
extern void pipeline_register_wakeup(void);

#endif							/* FIREHOSE_WORKERS_PIPELINE_TABLE_H */
