/*
 * position.h
 *		How far a pipeline has got, durably: the one truth, to which its
 *		replication slot, is compared.  Other users may drop that slot, create
 *		it again, move it or bring it along from elsewhere.
 *
 * A row of the table firehose_positions per pipeline, which lies in the WAL
 * like everything else: a standby has it, a copy of the storage has it as of
 * then, and it cannot be mistaken for another history's.  It has the position
 * up to which all is delivered, the system it was written on, and the epochs
 * of the WAL from there on.
 *
 * Epochs ------ Ids of changes begin with an epoch, because positions in the
 * WAL return: when a copy of the storage continues, beside the original or in
 * its place, or a standby that lacks the last WAL.  Each of these begins with
 * a start of the server, and each run of the server says its epoch in the WAL
 * (run_epoch.h).  So every server that continues a history agrees on the epoch
 * of each commit in it, and no other history has its epochs.  (The model in
 * test/model checks this.)
 *
 * The table has the epochs that hold at the position or were met behind it:
 * the slot does not keep the WAL that says them.  It has them before anything
 * behind the start is handed over.
 *
 * Epochs of a pipeline ascend though the clock may be set back: one that is
 * not above the last is lifted above it, always in the same way.
 */
#ifndef FIREHOSE_PIPELINE_POSITION_H
#define FIREHOSE_PIPELINE_POSITION_H

#include "access/xlogdefs.h"

/* Commits from a position on have this epoch, until the next one's. */
typedef struct Epoch
{
	XLogRecPtr	from;
	uint64		number;
} Epoch;

typedef struct PipelinePosition
{
	/* of the server that wrote it; 0: of none, see pipeline_position_set */
	uint64		system;
	TimeLineID	timeline;		/* of the WAL that it wrote, for people to see
								 * */
	XLogRecPtr	confirmed;		/* all that commits before this is delivered */
	int			nepochs;
	Epoch	   *epochs;			/* ascending; not NULL even if there is none */
} PipelinePosition;

/* In a transaction: read it, into palloc'd memory; false: there is none. */
extern bool pipeline_position_read(int32 id, PipelinePosition *position);

/*
 * Decoder: write it, flushed when this returns.  In a transaction of its own;
 * raises an error if that cannot be.
 */
extern void pipeline_position_store(int32 id, const PipelinePosition *position);

/*
 * Decoder: advance the confirmed position of one that exists; flushed when
 * this returns.  It is no transaction's commit: no reader of the WAL sees it.
 * False if it cannot be done now.
 */
extern bool pipeline_position_advance(int32 id, XLogRecPtr confirmed);

/*
 * In a command's transaction: everything before it is given up.  Invalid:
 * forget the position; it will be that of a new slot.
 */
extern void pipeline_position_set(int32 id, XLogRecPtr confirmed);

/* The same without waiting for a lock; false: not now. */
extern bool pipeline_position_forget(int32 id);

/*
 * Have commits from a position on have an epoch that the WAL says, lifted if
 * need be; those that no future commit has are dropped.  The array, which is
 * palloc'd memory, is enlarged.  False: the last one is this one already.
 */
extern bool pipeline_position_add_epoch(PipelinePosition *position, XLogRecPtr from,
										uint64 number);

#endif							/* FIREHOSE_PIPELINE_POSITION_H */
