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
	uint64		hash;			/* of the key */
} MovedNote;

/* False: it cannot be written, see moved_spill_failure. */
extern bool moved_spill_add(const MovedNote *note);
extern bool moved_spill_is_empty(void);

/*
 * Take the oldest one, in the current memory context; false: there is none, or
 * it cannot be read.
 */
extern bool moved_spill_take(MovedNote *note);

/*
 * The error that notes were lost by in this process; NULL: none.  After one
 * there are no notes any more, but what they held is held until they are
 * forgotten.
 */
extern const char *moved_spill_failure(void);

/*
 * Do files stay open that nothing needs?  So it is after an error: closing
 * them would write again.  They go when the process exits.
 */
extern bool moved_spill_files_stay(void);

/*
 * If there may be notes of a key of this hash, a commit that none of them is
 * before; Invalid: there are none.
 */
extern XLogRecPtr moved_spill_first_of(uint64 hash);

/* No commit that was noted is before this; Invalid: there is none. */
extern XLogRecPtr moved_spill_hold(void);

/* Forget all notes.  It does not fail, but files may stay. */
extern void moved_spill_forget(void);

#endif							/* FIREHOSE_DECODER_MOVED_SPILL_H */
