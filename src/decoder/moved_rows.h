/*
 * moved_rows.h
 *		Rows whose key changes without their large values while their table is
 *		copied: they are to be read again.
 *
 * Such a change can move a row from the unread part of the table to the part
 * that was read.  Neither the copy nor the stream would then send the large
 * values.  So the row is read again by its key, and the slot stays before the
 * change until that is delivered.
 *
 * Decoder process only.  A row goes from noted (its change has been decoded)
 * to read (a chunk has read its key again) to forgotten.  While a copy is
 * being read all such changes are noted.  Once all of the table has been read,
 * only changes before that position are, and those of rows that are noted
 * themselves, or were read by a snapshot that may have seen the row move on.
 * So this comes to an end under any traffic that the notes have room for.
 *
 * Notes that do not fit into logical_decoding_work_mem go to temporary files
 * (moved_spill.h).
 *
 * A change of a row while the table has another key (replica identity) does
 * not say whether it moves the row in the order of this reading.  If it leaves
 * values out, notes are lost, and the table is to be read from its beginning.
 * The slot stays before such changes until that is stored.
 */
#ifndef FIREHOSE_DECODER_MOVED_ROWS_H
#define FIREHOSE_DECODER_MOVED_ROWS_H

#include "format/event.h"
#include "pipeline/copies.h"

/*
 * Begin for a copy that reads in the order of these columns, with memory of
 * this context; moved_rows_forget ends it.
 */
extern void moved_rows_begin(MemoryContext context, List *key_columns);
extern void moved_rows_forget(void);

/* Are notes lost?  Then the table is to be read anew. */
extern bool moved_rows_are_lost(void);

/*
 * Why rows can be noted no more by this process, so that the copy fails; NULL:
 * they can.
 */
extern const char *moved_rows_failure(void);

/* Do files of notes stay open that only the end of the process closes? */
extern bool moved_rows_files_stay(void);

/*
 * The reading begins anew, in the order of these columns.  `hold` is the first
 * commit that the old reading holds the slot before, besides its notes.  It
 * and what they held is held until moved_rows_stored says that a restart would
 * begin anew, too.
 */
extern void moved_rows_begin_anew(MemoryContext context, List *key_columns, XLogRecPtr hold);
extern void moved_rows_stored(void);

/*
 * Take note of an event of the table, if it moves a row so.  `end` is where
 * all of the table was read; Invalid: not yet.  Returns the commit that a
 * restart has to begin before; Invalid: nothing was noted.
 */
extern XLogRecPtr moved_rows_note(const Event *event, XLogRecPtr end);

/* How many are to be read at once, and the key of one of them. */
extern int	moved_rows_count(void);
extern const CopyPosition *moved_rows_key(int i);

/*
 * The first n were read by a snapshot that is older than the position `mark`.
 * Returns the first commit that the rows of this chunk hold the slot before;
 * Invalid: none.
 */
extern XLogRecPtr moved_rows_read(int n, XLogRecPtr mark);

/* The stream has come to this position: forget what was read before it. */
extern void moved_rows_passed(XLogRecPtr position);

/* The first commit that a restart has to begin before; Invalid: none. */
extern XLogRecPtr moved_rows_hold(void);

/* Is there nothing to be read, and nothing that may move on? */
extern bool moved_rows_settled(void);

#endif							/* FIREHOSE_DECODER_MOVED_ROWS_H */
