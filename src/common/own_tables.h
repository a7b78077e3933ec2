/*
 * own_tables.h
 *		Shared by the status ring and the dead letters: the extension's own
 *		tables, and the short transactions in which the sender writes them.
 */
#ifndef FIREHOSE_COMMON_OWN_TABLES_H
#define FIREHOSE_COMMON_OWN_TABLES_H

#include "executor/tuptable.h"
#include "storage/block.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

#define STATUS_TABLES	8

/* The extension's tables. */
typedef enum OwnTable
{
	TABLE_STATUS_FIRST,
	TABLE_DEAD_LETTERS = TABLE_STATUS_FIRST + STATUS_TABLES,
	TABLE_PIPELINES,
	TABLE_POSITIONS,
	TABLE_COPIES,
	OWN_TABLES
} OwnTable;

/*
 * The OID of one of them: InvalidOid when the extension is not there, or an
 * administrator has dropped the table.  Needs a transaction.
 */
extern Oid	own_tables_table_oid(OwnTable table);

/*
 * Is this any table of the extension, by the catalogs as they are asked (those
 * of a historic snapshot, too)?  Needs a transaction.
 */
extern bool own_tables_has(Oid relid);

/*
 * Open one of them if its lock, and those of its indexes and TOAST table, can
 * be had at once; NULL otherwise.  Error unless its columns have the types
 * given, and it is still the extension's alone (own_tables_trust.c).
 */
extern Relation own_tables_open_table(OwnTable table, LOCKMODE lockmode,
								  const Oid *types, int ntypes);

/*
 * The same for a caller that may wait for the lock; error if the table is not
 * there.
 */
extern Relation own_tables_require_table(OwnTable table, LOCKMODE lockmode,
									 const Oid *types, int ntypes);

/* A kind of work that can get into trouble. */
typedef struct OwnTableError
{
	const char *what;			/* "writing of status rows" */
	int			sqlerrcode;		/* 0: none */
	char		message[256];	/* for a view: could not ..., or "" */
} OwnTableError;

/* Log when work gets into trouble, into other trouble, or (0) out of it. */
extern void own_tables_report(OwnTableError *trouble, int sqlerrcode, const char *message);

/* Work to be done in a transaction; false: not now. */
typedef bool (*WriterWork) (const void *arg);

/*
 * Do work in a transaction of its own, with the given synchronous_commit.
 * Never raises an error: false if it failed or could not be done; reported.
 */
extern bool own_tables_transaction(WriterWork work, const void *arg,
							   const char *synchronous_commit,
							   OwnTableError *trouble);

/* Index entries for a row below triggers and constraints. */
typedef struct OwnIndexes OwnIndexes;
extern OwnIndexes *own_tables_open_indexes(Relation rel);
extern void own_tables_insert_index_entries(OwnIndexes *indexes, TupleTableSlot *slot);

/*
 * If there is one index, of no other columns than these, and all it keeps is
 * the least and the greatest value of each in a range of pages (BRIN): how
 * many pages a range has.  Then two entries, of the least and of the greatest
 * values of rows in one range, stand for them all.  0: each row needs its own.
 */
extern BlockNumber own_tables_index_range(const OwnIndexes *indexes,
										  const AttrNumber *columns, int ncolumns);
extern void own_tables_close_indexes(OwnIndexes *indexes);

/*
 * A text, made valid in the database's encoding and cut to a length; NULL
 * stays NULL.
 */
extern Datum own_tables_text(const char *s, int max_len, bool *isnull);
extern Datum own_tables_text_len(const char *s, int len, int max_len, bool *isnull);

#endif							/* FIREHOSE_COMMON_OWN_TABLES_H */
