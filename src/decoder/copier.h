/*
 * copier.h
 *		Copies the rows that tables have already, in chunks, between two
 *		transactions of the WAL.
 *
 * Decoder process only.  A chunk is read in a short transaction of its own and
 * handed over after it has ended: no snapshot, lock or transaction is held
 * while anything waits.  Rows have op `r` and an id below those of all changes
 * that the chunk does not contain.  test/model/copy_model.py says why a
 * consumer ends right, and which rules that takes.
 */
#ifndef FIREHOSE_DECODER_COPIER_H
#define FIREHOSE_DECODER_COPIER_H

#include "decoder/change_reader.h"

/*
 * Read which copies there are; before the reading of the WAL begins.  What is
 * to be read again is behind the position of the slot, see copier_hold.
 */
extern void copier_start(const Pipeline *pipeline, ChangeBatch *batch, ChangeReader *reader);

/* The WAL reader is there: begin. */
extern void copier_open(WalReader *wal);

/*
 * Between two transactions, with an empty batch: do a step.  Returns how many
 * ms until the next one (0: at once), or -1 if nothing is to be done until
 * something else happens.
 */
extern long copier_turn(void);

/*
 * Has the step of a copy become possible that the last turn could not do
 * because too much was on its way?
 */
extern bool copier_is_due(void);

/*
 * The slot is not to be confirmed beyond this: a row that such a change has
 * moved is still to be read.  Invalid: as far as it likes.
 */
extern XLogRecPtr copier_hold(void);

/* The reason that a pipeline shows while it streams; "": there is no copy. */
extern const char *copier_reason(void);

/* At exit: note how far they are. */
extern void copier_stop(void);

#endif							/* FIREHOSE_DECODER_COPIER_H */
