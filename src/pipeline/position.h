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
 * Epochs ------ Ids of changes begin with an epoch (48 bits: the second since
 * 2000 in which it was drawn, and 16 random ones), because positions in the
 * WAL return: when a copy of the storage continues, beside the original or in
 * its place, or a standby that lacks the last WAL.  Each of these begins with
 * a start of the server, which the WAL shows (wal_reader.h).  A commit has the
 * epoch of the last such start before it; one that the decoder meets for the
 * first time gets the epoch of the server's run, and that is in the table
 * before anything behind it is handed over.  So every server that continues a
 * history agrees on the delivered part of it, and no other history has its
 * epochs.  (The model in test/model checks this.)
 */
#ifndef FIREHOSE_PIPELINE_POSITION_H
#define FIREHOSE_PIPELINE_POSITION_H

#include "access/xlogdefs.h"

/* The second since 2000 in which an epoch was drawn: below are random bits. */
#define EPOCH_RANDOM_BITS	16
#define EPOCH_SECOND(number)	((number) >> EPOCH_RANDOM_BITS)

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
	Epoch	   *epochs;			/* ascending */
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
 * In a command's transaction: everything before it is given up, and a new
 * epoch begins.  Invalid: forget the position; it will be that of a new slot.
 */
extern void pipeline_position_set(int32 id, XLogRecPtr confirmed);

/* The same without waiting for a lock; false: not now. */
extern bool pipeline_position_forget(int32 id);

/* An epoch above another: that of this run of the server, if it can be. */
extern uint64 pipeline_epoch_draw(uint64 above);

#endif							/* FIREHOSE_PIPELINE_POSITION_H */
