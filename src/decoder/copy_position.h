/*
 * copy_position.h
 *		Positions of copies, and lists of texts, in memory that lasts.
 */
#ifndef FIREHOSE_DECODER_COPY_POSITION_H
#define FIREHOSE_DECODER_COPY_POSITION_H

#include "nodes/pg_list.h"
#include "pipeline/copies.h"

/* A copy of one in a memory context. */
extern CopyPosition copy_position_keep(MemoryContext context, const CopyPosition *position);

/* Free one, and set it to the beginning. */
extern void copy_position_free(CopyPosition *position);

/* The same of lists of char *. */
extern List *copy_texts_keep(MemoryContext context, const List *texts);
extern bool copy_texts_equal(const List *a, const List *b);

/* The earlier of two positions of the WAL, of which Invalid is none. */
static inline XLogRecPtr
copy_earlier(XLogRecPtr a, XLogRecPtr b)
{
	if (a == InvalidXLogRecPtr || b == InvalidXLogRecPtr)
		return Max(a, b);
	return Min(a, b);
}

#endif							/* FIREHOSE_DECODER_COPY_POSITION_H */
