/*
 * copy_table.h
 *		How one table is read for a copy: its published columns, the row
 *		filter, and the order; and the reading of a chunk.
 *
 * Decoder process only, between transactions of the WAL, in a transaction of
 * its own with an active snapshot and the rights of the pipeline's owner.
 *
 * A table with a key is read in the order of the key, so that a row that an
 * update moves to another page is met all the same.  One without is read by
 * blocks: its updates are not published, or with the whole row.
 */
#ifndef FIREHOSE_DECODER_COPY_TABLE_H
#define FIREHOSE_DECODER_COPY_TABLE_H

#include "executor/spi.h"
#include "format/event.h"
#include "pipeline/copies.h"
#include "pipeline/definition.h"

/* A column of the key that a table is read by. */
typedef struct KeyColumn
{
	char	   *name;
	Oid			typid;
	Oid			collation;
	Oid			input;			/* function, and its parameter */
	Oid			ioparam;
	char	   *greater;		/* qualified operators: schema."name" */
	char	   *greater_equal;
	char	   *equal;
} KeyColumn;

typedef struct CopyTable
{
	MemoryContext context;
	Oid			relid;
	char		relkind;
	EventRelation *relation;	/* NULL once it is void and gone */
	MemoryContextCallback gone;
	int			ncolumns;
	EventValue *row;
	char	   *columns;		/* the select list: columns, keys, filter */
	char	   *name;			/* schema.table, quoted */
	int			nkeys;			/* 0: by blocks */
	KeyColumn	keys[INDEX_MAX_KEYS];
	SPIPlanPtr	first;			/* from the beginning */
	SPIPlanPtr	next;			/* after a key */
	SPIPlanPtr	one;			/* of a key */
	List	   *leaves;			/* OIDs, of what is read by blocks */
	Oid			leaf;			/* that the plan `next` reads */
	int			max_rows;		/* of the chunk that is being read */
} CopyTable;

/* The result of reading a chunk. */
typedef struct CopyChunk
{
	CopyPosition last;			/* where the next one begins */
	int64		rows;			/* that were taken */
	int			seen;			/* those that a filter left out, too */
	bool		all_read;
} CopyChunk;

/* Is given a row, as a new row of CopyTable's relation; false: enough. */
typedef bool (*CopyTakeRow) (EventRelation *relation, const EventValue *row, void *arg);

/*
 * Describe a table, in a new child context of `context`.  NULL: it cannot be
 * copied, *fault says why.
 */
extern CopyTable *copy_table_describe(MemoryContext context, const Pipeline *pipeline,
									  const CopyRow *copy, const char **fault);
extern void copy_table_free(CopyTable *table);

/* Is the description still that of the table? */
extern bool copy_table_is_valid(const CopyTable *table);

/*
 * The columns of the key that it is read by, and what else their order hangs
 * on, of char *; NIL: by blocks.
 */
extern void copy_table_key(const CopyTable *table, List **columns, List **types);

/* How large a table is, without waiting for a lock; if it is locked, very. */
extern BlockNumber copy_table_blocks(Oid relid);

/* Rows of one chunk at most, whether they are sent or not. */
#define COPY_CHUNK_ROWS	5000

/*
 * Read the chunk that follows a position, of so many rows at most.  The
 * memory that *chunk points at is of the current memory context.
 */
extern void copy_table_read(CopyTable *table, const CopyPosition *from, int max_rows,
							CopyChunk *chunk, CopyTakeRow take, void *arg);

/* In the transaction, before: have the planner read by the index. */
extern void copy_table_set_planner(void);

/* Read the row of a key, if it is there. */
extern void copy_table_read_one(CopyTable *table, const CopyPosition *key,
								CopyTakeRow take, void *arg);

#endif							/* FIREHOSE_DECODER_COPY_TABLE_H */
