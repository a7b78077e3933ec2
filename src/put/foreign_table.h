/*
 * foreign_table.h
 *		Inserting into a foreign table of a stream, between the wrapper's
 *		handler (foreign_table.c) and the rows (foreign_insert.c).
 */
#ifndef FIREHOSE_PUT_FOREIGN_TABLE_H
#define FIREHOSE_PUT_FOREIGN_TABLE_H

#include "nodes/execnodes.h"

/* The option of a foreign table that names the column to send. */
#define FOREIGN_TABLE_COLUMN	"column"

/*
 * Begin to insert: checks that puts are possible, USAGE on the stream, and the
 * table's options.  The state is in ri_FdwState until the query ends.
 */
extern void foreign_insert_begin(ResultRelInfo *target, EState *estate);

/* How many rows of this target may be inserted at once? */
extern int	foreign_insert_batch_size(ResultRelInfo *target);

/*
 * Put n rows.  Returns how many were: all, or none because the stream's
 * on_full is discard.
 */
extern int	foreign_insert_rows(EState *estate, ResultRelInfo *target,
								TupleTableSlot **slots, int n);

#endif							/* FIREHOSE_PUT_FOREIGN_TABLE_H */
