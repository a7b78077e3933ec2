/*
 * copy_read.c
 *		The reading of a table for a copy, chunk by chunk; copy_table.h says
 *		more.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "decoder/copy_table.h"

/* Rows of one fetch. */
#define FETCH_ROWS		100

/* How long a chunk waits for a lock (ms). */
#define LOCK_TIMEOUT_MS	"20"

/* Blocks of one chunk of a table without a key. */
#define CHUNK_BLOCKS	64

/* Plans ------------------------------------------------------------------- */

static SPIPlanPtr
prepare(const char *query, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(query, nargs, types, CURSOR_OPT_NO_SCROLL);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare the reading of a table: %s", SPI_result_code_string(SPI_result));
	return plan;
}

/*
 * Append "(k1, k2) > ($1, $2)", written so that each column has its own
 * operator: k1 >= $1 AND (k1 > $1 OR (k2 > $2)).
 */
static void
append_after(StringInfo query, const CopyTable *table, int i)
{
	const KeyColumn *key = &table->keys[i];
	const char *name = quote_identifier(key->name);

	if (i == table->nkeys - 1)
	{
		appendStringInfo(query, "%s %s $%d", name, key->greater, i + 1);
		return;
	}
	appendStringInfo(query, "%s %s $%d AND (%s %s $%d OR (", name, key->greater_equal, i + 1,
					 name, key->greater, i + 1);
	append_after(query, table, i + 1);
	appendStringInfoString(query, "))");
}

/* Can the columns be compared as one row, which an index does at once? */
static bool
have_one_operator(const CopyTable *table)
{
	for (int i = 1; i < table->nkeys; i++)
	{
		if (strcmp(table->keys[i].greater, table->keys[0].greater) != 0)
			return false;
	}
	return true;
}

static void
append_row_comparison(StringInfo query, const CopyTable *table)
{
	if (table->nkeys == 1 || !have_one_operator(table))
	{
		append_after(query, table, 0);
		return;
	}
	appendStringInfoString(query, "ROW(");
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(query, "%s%s", i > 0 ? ", " : "", quote_identifier(table->keys[i].name));
	appendStringInfo(query, ") %s ROW(", table->keys[0].greater);
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(query, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(query, ')');
}

static void
begin_query(StringInfo query, const CopyTable *table, const char *from)
{
	initStringInfo(query);
	appendStringInfo(query, "SELECT %s FROM %s%s", table->columns,
					 table->nkeys > 0 && table->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ", from);
}

static SPIPlanPtr
prepare_by_key(const CopyTable *table, bool from_start)
{
	StringInfoData query;
	Oid			types[INDEX_MAX_KEYS];

	begin_query(&query, table, table->name);
	for (int i = 0; i < table->nkeys; i++)
		types[i] = table->keys[i].typid;
	if (!from_start)
	{
		appendStringInfoString(&query, " WHERE ");
		append_row_comparison(&query, table);
	}
	appendStringInfoString(&query, " ORDER BY ");
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&query, "%s%s", i > 0 ? ", " : "", quote_identifier(table->keys[i].name));
	appendStringInfo(&query, " LIMIT %d", COPY_CHUNK_ROWS);
	return prepare(query.data, from_start ? 0 : table->nkeys, types);
}

static SPIPlanPtr
prepare_one(const CopyTable *table)
{
	StringInfoData query;
	Oid			types[INDEX_MAX_KEYS];

	begin_query(&query, table, table->name);
	for (int i = 0; i < table->nkeys; i++)
	{
		types[i] = table->keys[i].typid;
		appendStringInfo(&query, " %s %s %s $%d", i > 0 ? "AND" : "WHERE",
						 quote_identifier(table->keys[i].name), table->keys[i].equal, i + 1);
	}
	return prepare(query.data, table->nkeys, types);
}

static SPIPlanPtr
prepare_by_blocks(const CopyTable *table, Oid leaf)
{
	StringInfoData query;
	Oid			types[] = {TIDOID, TIDOID};

	begin_query(&query, table, quote_qualified_identifier(get_namespace_name(get_rel_namespace(leaf)),
															get_rel_name(leaf)));
	appendStringInfoString(&query, " WHERE ctid > $1 AND ctid <= $2");
	return prepare(query.data, 2, types);
}

/* Have the planner read by the index, or by blocks, and no other way. */
void
copy_table_set_planner(void)
{
	static const char *const off[] = {
		"enable_seqscan", "enable_sort", "enable_bitmapscan", "enable_hashjoin", "jit"
	};

	for (int i = 0; i < lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
								 true, 0, false);
	(void) set_config_option("plan_cache_mode", "force_generic_plan", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	(void) set_config_option("max_parallel_workers_per_gather", "0", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	/* a partition that is locked must not stop the stream */
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT_MS, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/* Reading ----------------------------------------------------------------- */

/* The texts of a position as arguments. */
static void
key_arguments(const CopyTable *table, const CopyPosition *key, Datum *args)
{
	for (int i = 0; i < table->nkeys; i++)
		args[i] = OidInputFunctionCall(table->keys[i].input, key->texts[i],
									   table->keys[i].ioparam, -1);
}

/* Give a row that was fetched on, unless a filter leaves it out. */
static bool
take_tuple(CopyTable *table, HeapTuple tuple, TupleDesc desc, Datum *values, bool *nulls,
		   CopyTakeRow take, void *arg, int64 *rows)
{
	int			filter = desc->natts - 1;

	heap_deform_tuple(tuple, desc, values, nulls);
	if (nulls[filter] || !DatumGetBool(values[filter]))
		return true;
	for (int i = 0; i < table->ncolumns; i++)
	{
		table->row[i].kind = nulls[i] ? EVENT_VALUE_NULL : EVENT_VALUE_DATUM;
		table->row[i].v.datum = values[i];
	}
	(*rows)++;
	return take(table->relation, table->row, arg);
}

/*
 * Run a plan and give its rows on, until they are enough; true: it came to its
 * end.  *seen counts the rows, and *last becomes the position of the last one.
 */
static bool
run_plan(CopyTable *table, SPIPlanPtr plan, Datum *args, int npositions, CopyTakeRow take,
		 void *arg, CopyChunk *chunk, int *seen)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext per_row = AllocSetContextCreate(caller, "firehose row", ALLOCSET_DEFAULT_SIZES);
	Portal		portal = SPI_cursor_open(NULL, plan, args, NULL, true);
	int			natts = table->ncolumns + npositions + 1;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	bool		enough = false;

	*seen = 0;
	do
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed && !enough; i++)
		{
			int			guard = value_guard_enter(table->relation->reads);

			MemoryContextSwitchTo(per_row);
			enough = !take_tuple(table, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls,
								 take, arg, &chunk->rows);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(per_row);
			value_guard_leave(guard);
			(*seen)++;
			enough |= *seen >= table->max_rows;
			if (enough || i == SPI_processed - 1)
			{
				chunk->last.n = npositions;
				chunk->last.texts = palloc(npositions * sizeof(char *));
				for (int k = 0; k < npositions; k++)
					chunk->last.texts[k] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
														table->ncolumns + k + 1);
			}
		}
		SPI_freetuptable(SPI_tuptable);
	} while (!enough);
	SPI_cursor_close(portal);
	return !enough;
}

static void
read_by_key(CopyTable *table, const CopyPosition *from, CopyChunk *chunk, CopyTakeRow take, void *arg)
{
	Datum		args[INDEX_MAX_KEYS];
	SPIPlanPtr *plan = from->n == 0 ? &table->first : &table->next;

	if (*plan == NULL)
		*plan = prepare_by_key(table, from->n == 0);
	if (from->n > 0)
		key_arguments(table, from, args);
	chunk->all_read = run_plan(table, *plan, args, table->nkeys, take, arg, chunk, &chunk->seen) &&
		chunk->seen < COPY_CHUNK_ROWS;
}

/* The partition to go on with after one; InvalidOid: none. */
static Oid
leaf_after(const CopyTable *table, Oid leaf)
{
	ListCell   *cell;

	foreach(cell, table->leaves)
	{
		if (lfirst_oid(cell) > leaf)
			return lfirst_oid(cell);
	}
	return InvalidOid;
}

/* A table or partition as it lies in its file. */
typedef struct Leaf
{
	Oid			relid;
	Oid			file;			/* another one after its rows were moved */
	BlockNumber blocks;
} Leaf;

static Leaf
look_at_leaf(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Leaf		leaf = {relid, rel->rd_rel->relfilenode, RelationGetNumberOfBlocks(rel)};

	table_close(rel, NoLock);
	return leaf;
}

static CopyPosition
leaf_position(const Leaf *leaf, const char *ctid)
{
	CopyPosition position = {3, palloc(3 * sizeof(char *))};

	position.texts[0] = psprintf("%u", leaf->relid);
	position.texts[1] = pstrdup(ctid);
	position.texts[2] = psprintf("%u", leaf->file);
	return position;
}

/*
 * The leaf that a position is in, and where in it; false: all is read.  VACUUM
 * FULL and the like may have moved rows that are not read to where reading has
 * been: then the leaf is read from its beginning.
 */
static bool
find_leaf(const CopyTable *table, const CopyPosition *from, Leaf *leaf, char **ctid)
{
	bool		has_begun = from->n == 3;
	Oid			relid = has_begun ? (Oid) strtoul(from->texts[0], NULL, 10) : InvalidOid;

	*ctid = "(0,0)";
	if (!list_member_oid(table->leaves, relid))
	{
		has_begun = false;
		relid = leaf_after(table, relid);
		if (!OidIsValid(relid))
			return false;
	}
	*leaf = look_at_leaf(relid);
	if (has_begun && (Oid) strtoul(from->texts[2], NULL, 10) == leaf->file)
		*ctid = from->texts[1];
	return true;
}

static void
read_by_blocks(CopyTable *table, const CopyPosition *from, CopyChunk *chunk, CopyTakeRow take,
			   void *arg)
{
	Leaf		leaf;
	char	   *ctid;
	BlockNumber block;
	Datum		args[2];
	char	   *end;

	if (!find_leaf(table, from, &leaf, &ctid))
	{
		chunk->all_read = true;
		return;
	}
	block = strtoul(ctid + 1, NULL, 10);
	end = psprintf("(%u,65535)", Min(block + CHUNK_BLOCKS, MaxBlockNumber));
	if (table->next == NULL || table->leaf != leaf.relid)
	{
		if (table->next != NULL)
			SPI_freeplan(table->next);
		table->next = NULL;
		table->next = prepare_by_blocks(table, leaf.relid);
		table->leaf = leaf.relid;
	}
	args[0] = DirectFunctionCall1(tidin, CStringGetDatum(ctid));
	args[1] = DirectFunctionCall1(tidin, CStringGetDatum(end));
	if (!run_plan(table, table->next, args, 1, take, arg, chunk, &chunk->seen))
	{
		chunk->last = leaf_position(&leaf, chunk->last.texts[0]);
		return;
	}
	chunk->last = leaf_position(&leaf, end);
	if (block + CHUNK_BLOCKS >= leaf.blocks)
	{
		Oid			following = leaf_after(table, leaf.relid);

		chunk->all_read = !OidIsValid(following);
		if (OidIsValid(following))
		{
			leaf = look_at_leaf(following);
			chunk->last = leaf_position(&leaf, "(0,0)");
		}
	}
}

void
copy_table_read(CopyTable *table, const CopyPosition *from, int max_rows, CopyChunk *chunk,
				CopyTakeRow take, void *arg)
{
	table->max_rows = max_rows;
	memset(chunk, 0, sizeof(CopyChunk));
	chunk->last = *from;
	if (table->nkeys > 0)
		read_by_key(table, from, chunk, take, arg);
	else
		read_by_blocks(table, from, chunk, take, arg);
}

void
copy_table_read_one(CopyTable *table, const CopyPosition *key, CopyTakeRow take, void *arg)
{
	Datum		args[INDEX_MAX_KEYS];
	CopyChunk	chunk = {.rows = 0};
	int			seen;

	if (table->nkeys == 0 || key->n != table->nkeys)
		return;
	if (table->one == NULL)
		table->one = prepare_one(table);
	key_arguments(table, key, args);
	table->max_rows = INT_MAX;
	(void) run_plan(table, table->one, args, table->nkeys, take, arg, &chunk, &seen);
}
