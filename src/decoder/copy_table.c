/*
 * copy_table.c
 *		How one table is read for a copy; copy_table.h says more.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "common/compat.h"
#include "decoder/copy_table.h"
#include "decoder/table_cache.h"
#include "pipeline/published.h"

/*
 * Columns that the publication has, and pgoutput leaves out all the same:
 * generated ones, below 18.
 */
#if PG_VERSION_NUM >= 180000
#define NOT_LEFT_OUT	""
#else
#define NOT_LEFT_OUT	" AND a.attgenerated = ''"
#endif

static bool read_columns(CopyTable *table, const Pipeline *pipeline, const CopyRow *copy,
						 Relation rel, const Bitmapset *identity);
static bool is_usable(Relation index, Relation rel);
static void read_key(CopyTable *table, Relation rel);

/* Description ------------------------------------------------------------- */

static void
forget_relation(void *arg)
{
	((CopyTable *) arg)->relation = NULL;
}

static const char *
qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* The columns that tell a row in the stream's events (table_cache.c). */
static Bitmapset *
identity_columns(Relation rel)
{
	Bitmapset  *columns = NULL;

	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	else
		columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	return columns;
}

CopyTable *
copy_table_describe(MemoryContext context, const Pipeline *pipeline, const CopyRow *copy,
					const char **fault)
{
	/* of the transaction, in case of an error, until it is complete */
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "firehose copy",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	CopyTable  *table = palloc0(sizeof(CopyTable));
	Relation	rel = table_open(copy->relid, NoLock);

	table->context = own;
	table->relid = copy->relid;
	table->relkind = rel->rd_rel->relkind;
	table->name = pstrdup(qualified_name(copy->relid));
	read_key(table, rel);
	if (!read_columns(table, pipeline, copy, rel, identity_columns(rel)))
	{
		*fault = "the publications of the pipeline do not have the table any more";
		table_close(rel, NoLock);
		MemoryContextSwitchTo(old);
		copy_table_free(table);
		return NULL;
	}
	if (table->nkeys == 0)
	{
		ListCell   *cell;

		foreach(cell, find_all_inheritors(copy->relid, AccessShareLock, NULL))
		{
			if (table->relkind != RELKIND_PARTITIONED_TABLE && lfirst_oid(cell) != copy->relid)
				continue;
			if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
				table->leaves = lappend_oid(table->leaves, lfirst_oid(cell));
		}
		list_sort(table->leaves, list_oid_cmp);
	}
	table_close(rel, NoLock);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(own, context);
	return table;
}

/*
 * The columns that the publications have of the table, in its order, and their
 * row filters; false: they do not have it.
 */
static bool
read_columns(CopyTable *table, const Pipeline *pipeline, const CopyRow *copy, Relation rel,
			 const Bitmapset *identity)
{
	static const char *const query =
		"WITH p AS (SELECT attnames, pg_get_expr(qual, relid) AS rowfilter FROM " PUBLISHED_TABLES " t"
		" WHERE relid = $2)"
		" SELECT a.attname::text, a.atttypid, a.attnum, (SELECT CASE WHEN bool_and(rowfilter IS NOT NULL)"
		" THEN string_agg(format('(%s)', rowfilter), ' OR ') END FROM p)"
		" FROM pg_attribute a WHERE a.attrelid = $2 AND a.attnum > 0 AND NOT a.attisdropped"
		" AND a.attname = ANY (SELECT unnest(attnames) FROM p)" NOT_LEFT_OUT " ORDER BY a.attnum";
	Oid			types[] = {TEXTARRAYOID, OIDOID};
	Datum		args[2];
	Datum	   *names = palloc(list_length(pipeline->publications) * sizeof(Datum));
	ListCell   *cell;
	StringInfoData list;
	char	   *filter;

	foreach(cell, pipeline->publications)
		names[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	args[0] = PointerGetDatum(construct_array(names, list_length(pipeline->publications), TEXTOID,
											  -1, false, TYPALIGN_INT));
	args[1] = ObjectIdGetDatum(table->relid);
	if (SPI_execute_with_args(query, 2, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "query on catalogs failed");
	if (SPI_processed == 0)
		return false;

	MemoryContextSwitchTo(table->context);
	initStringInfo(&list);
	table->ncolumns = SPI_processed;
	table->row = palloc0(table->ncolumns * sizeof(EventValue));
	table->relation = event_relation_create(table->context, table->relid, NULL,
											RelationGetRelationName(rel), table->ncolumns,
											&pipeline->values);
	table->gone.func = forget_relation;
	table->gone.arg = table;
	MemoryContextRegisterResetCallback(table->relation->context, &table->gone);
	for (int i = 0; i < table->ncolumns; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		isnull;
		char	   *name = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1);
		Oid			typid = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		int			attnum = DatumGetInt16(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));

		event_relation_set_column(table->relation, i, name, typid, -1, i,
								  bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, identity));
		appendStringInfo(&list, "%s, ", quote_identifier(name));
	}
	if (pipeline->format->types || pipeline_describes(pipeline))
		event_relation_add_types(table->relation);
	table->relation->reserved_column = table_cache_reserved_column(pipeline, table->relation);
	filter = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4);
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&list, "%s, ", quote_identifier(table->keys[i].name));
	if (table->nkeys == 0)
		appendStringInfoString(&list, "ctid, ");
	appendStringInfo(&list, "(%s\n) AND (%s\n)", filter ? filter : "true",
					 copy->condition ? copy->condition : "true");
	table->columns = list.data;
	return true;
}

static char *
qualified_operator(Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}

/*
 * Does an index have the order that ORDER BY its columns asks for, forward or
 * backward?
 */
static bool
is_usable(Relation index, Relation rel)
{
	int16		order = index->rd_indoption[0];

	if (index->rd_rel->relam != BTREE_AM_OID ||
		(order != 0 && order != (INDOPTION_DESC | INDOPTION_NULLS_FIRST)))
		return false;
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
											  index->rd_index->indkey.values[i] - 1);
		Oid			default_class = GetDefaultOpClass(att->atttypid, BTREE_AM_OID);

		if (index->rd_indoption[i] != order || !OidIsValid(default_class) ||
			get_opclass_family(default_class) != index->rd_opfamily[i] ||
			index->rd_indcollation[i] != att->attcollation)
			return false;
	}
	return true;
}

/* The key that the table is read by, if it has one that will do. */
static void
read_key(CopyTable *table, Relation rel)
{
	Oid			oid = RelationGetReplicaIndex(rel);
	Relation	index;

	if (!OidIsValid(oid))
		oid = PrimaryKeyIndexOf(rel);
	if (!OidIsValid(oid))
		return;
	index = index_open(oid, AccessShareLock);
	if (is_usable(index, rel))
	{
		table->nkeys = index->rd_index->indnkeyatts;
		for (int i = 0; i < table->nkeys; i++)
		{
			KeyColumn  *key = &table->keys[i];
			Oid			family = index->rd_opfamily[i];
			Oid			type = index->rd_opcintype[i];
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
												  index->rd_index->indkey.values[i] - 1);

			key->name = pstrdup(NameStr(att->attname));
			key->typid = att->atttypid;
			key->collation = att->attcollation;
			getTypeInputInfo(key->typid, &key->input, &key->ioparam);
			key->greater = qualified_operator(get_opfamily_member(family, type, type, BTGreaterStrategyNumber));
			key->greater_equal = qualified_operator(get_opfamily_member(family, type, type, BTGreaterEqualStrategyNumber));
			key->equal = qualified_operator(get_opfamily_member(family, type, type, BTEqualStrategyNumber));
		}
	}
	index_close(index, AccessShareLock);
}

void
copy_table_free(CopyTable *table)
{
	SPIPlanPtr	plans[] = {table->first, table->next, table->one};

	for (int i = 0; i < lengthof(plans); i++)
	{
		if (plans[i] != NULL)
			SPI_freeplan(plans[i]);
	}
	MemoryContextDelete(table->context);
}

bool
copy_table_is_valid(const CopyTable *table)
{
	return table->relation != NULL && table->relation->valid;
}

void
copy_table_key(const CopyTable *table, List **columns, List **types)
{
	*columns = *types = NIL;
	for (int i = 0; i < table->nkeys; i++)
	{
		const KeyColumn *key = &table->keys[i];

		*columns = lappend(*columns, key->name);
		*types = lappend(*types, psprintf("%u %u", key->typid, key->collation));
	}
}

/* The size of one relation. */
static BlockNumber
blocks_of(Oid relid)
{
	Relation	rel;
	BlockNumber n = 0;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return MaxBlockNumber;
	rel = try_relation_open(relid, NoLock);
	if (rel != NULL)
	{
		if (RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
			n = RelationGetNumberOfBlocks(rel);
		relation_close(rel, AccessShareLock);
	}
	else
		UnlockRelationOid(relid, AccessShareLock);
	return n;
}

BlockNumber
copy_table_blocks(Oid relid)
{
	uint64		sum = 0;
	ListCell   *cell;

	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return blocks_of(relid);
	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
		sum += blocks_of(lfirst_oid(cell));
	return (BlockNumber) Min(sum, (uint64) MaxBlockNumber);
}
