/*
 * moved_spill.h
 *		Notes of moved rows (moved_rows.h) that memory has no room for: in
 *		temporary files, first in, first out.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_DECODER_MOVED_SPILL_H
#define FIREHOSE_DECODER_MOVED_SPILL_H

#include "pipeline/copies.h"

/* A note of one row. */
typedef struct MovedNote
{
	CopyPosition key;			/* that it has moved to */
	XLogRecPtr	first;			/* commit of the first change of its moves */
	bool		whole;			/* has the key all its columns? */
	uint64		hash;			/* of a whole one */
} MovedNote;

extern void moved_spill_add(const MovedNote *note);
extern bool moved_spill_is_empty(void);

/* Take the oldest one, in the current memory context; false: there is none. */
extern bool moved_spill_take(MovedNote *note);

/* May there be a note of a key of this hash?  If not, there is none. */
extern bool moved_spill_may_have(uint64 hash);

/* No commit that is noted is before this; Invalid: there is none. */
extern XLogRecPtr moved_spill_hold(void);

extern void moved_spill_forget(void);

#endif							/* FIREHOSE_DECODER_MOVED_SPILL_H */
