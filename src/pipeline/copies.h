/*
 * copies.h
 *		The copies of tables that pipelines make of the rows that are there
 *		already, as the table firehose_copies has them: which there are to be,
 *		and how far each is.
 *
 * Commands add and remove rows, and hold ShareRowExclusiveLock on the table to
 * the end of their transaction; a pipeline's decoder alone writes how far its
 * own are.  Rows go in and out as those of the other tables of ours do.
 */
#ifndef FIREHOSE_PIPELINE_COPIES_H
#define FIREHOSE_PIPELINE_COPIES_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/block.h"

typedef enum CopyPhase
{
	COPY_WAITING,
	COPY_READING,				/* all may be read, and not yet delivered */
	COPY_DONE,
	COPY_FAILED,				/* `error` says why */
	COPY_SKIPPED				/* was to be left out (copy_data => false) */
} CopyPhase;

/*
 * Where a copy stands: the texts of a key; or a table's or partition's OID, a
 * ctid in it, and its file.
 */
typedef struct CopyPosition
{
	int			n;				/* 0: at the beginning */
	char	  **texts;
} CopyPosition;

typedef struct CopyRow
{
	Oid			relid;
	CopyPhase	phase;
	char	   *condition;		/* NULL: all rows */
	List	   *key_columns;	/* of char *; NIL: by blocks */
	List	   *key_types;		/* of char *: what the key's order hangs on */
	CopyPosition last;
	int64		rows;
	int64		bytes;
	int64		chunks;
	XLogRecPtr	end;			/* Invalid: not all is read */
	TimestampTz requested_at;	/* set by copies_add; tells it from others */
	TimestampTz started_at;		/* 0: not yet */
	TimestampTz finished_at;
	char	   *error;
	BlockNumber blocks;			/* of the table; not stored */
} CopyRow;

/* In a transaction: the copies of a pipeline, in the order of their making. */
extern List *copies_read(int32 pipeline);	/* of CopyRow * */

/* The same, of those that are to be read or delivered. */
extern List *copies_read_unfinished(int32 pipeline);

/* The next one of a list: one that has begun, or else the smallest. */
extern CopyRow *copies_choose(const List *copies);

/*
 * In a command's transaction: add a copy, in the place of one of the same
 * table, or take it away (InvalidOid: all of the pipeline's).
 */
extern void copies_add(int32 pipeline, CopyRow *copy);
extern bool copies_remove(int32 pipeline, Oid relid);

/* The same without waiting for a lock; false: not now. */
extern bool copies_forget(int32 pipeline);

/*
 * Decoder, in a transaction of its own: write how far a copy is.  False: not
 * now.  Nothing is written of a copy that a command has taken away, ended, or
 * asked for anew.
 */
extern bool copies_store(int32 pipeline, const CopyRow *copy);

/*
 * In a command's transaction: have copies that are under way begin anew,
 * because changes since their beginning are lost.
 */
extern void copies_start_over(int32 pipeline);

/*
 * In a command's transaction: have the tables of publications that have no row
 * yet copied, or noted as left out.  Returns how many there were.
 */
extern int	copies_add_published(int32 pipeline, List *publications, bool copy_data);

#endif							/* FIREHOSE_PIPELINE_COPIES_H */
