/*
 * table_cache.c
 *		Descriptions of the tables whose changes a decoder reads.
 *
 * Decoder process only. pgoutput describes a table before its first change,
 * and again before the next change after the table was altered.  A table that
 * was altered may also never change again, because it was dropped: once an
 * invalidation has said that it changed, the catalogs are asked whether it
 * still exists, and if not its description is freed.  So a database that
 * creates and drops tables all day costs no more memory than the tables it
 * has.
 *
 * Core's caches keep each table whose changes were decoded, and all that they
 * asked the catalogs for: three times as much memory as ours, which nothing
 * ever frees; and each invalidation of a table walks over all that have
 * changed.  So after some hundred tables all of them are forgotten, ours and
 * core's, as core does it when it has missed invalidations; pgoutput describes
 * each anew then.  Tables whose changes take turns would be read again at each
 * change.  Therefore those that are soon needed again are counted, and where
 * they are most of them, time after time, more tables are kept.
 *
 * Until then a description is kept as long as its table is there, even if it
 * is void: pgoutput does not repeat that of a partitioned table because the
 * table was altered, but because a partition was.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "common/clock.h"
#include "common/compat.h"
#include "common/json_write.h"
#include "common/own_tables.h"
#include "decoder/table_cache.h"
#include "wal/present_catalogs.h"

#define KEPT_TABLES		250		/* are never too many */
#define SOON_MS			600000	/* is too early to have been forgotten */
#define OFTEN			3		/* times is too often, 255 at most */
#define MANY_TOLD		100000	/* descriptions are told of again, at no loss */

struct TableCache
{
	MemoryContext context;
	MemoryContext descriptions; /* by pgoutput */
	const Pipeline *pipeline;
	ChangeBatch *batch;
	HTAB	   *tables;
	HTAB	   *told;			/* ToldTable; NULL: none is told of */
	uint32		telling;		/* changes when all are to be told of again */
	/*
	 * that was asked for; entries stay where they are until they are removed
	 */
	CachedTable *last_used;

	/* Since tables were forgotten: */
	uint64		described;		/* so many were described, */
	uint64		regretted;		/* of these had been forgotten too early; */
	uint64		kept;			/* so many are not too many */

	int			max_columns;	/* of the rows below */
	EventValue *new_row;
	EventValue *old_row;
};

/* The description that was sent last of a table. */
typedef struct ToldTable
{
	Oid			relid;			/* hash key */
	uint64		fingerprint;
} ToldTable;

TableCache *
table_cache_create(MemoryContext context, const Pipeline *pipeline, ChangeBatch *batch)
{
	TableCache *cache = MemoryContextAllocZero(context, sizeof(TableCache));
	HASHCTL		ctl = {0};

	cache->context = context;
	cache->descriptions = AllocSetContextCreate(context, "firehose table descriptions",
												ALLOCSET_DEFAULT_SIZES);
	cache->pipeline = pipeline;
	cache->batch = batch;
	cache->kept = KEPT_TABLES;
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CachedTable);
	ctl.hcxt = context;
	cache->tables = hash_create("firehose tables", 64, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (pipeline_describes(pipeline))
		table_cache_tell_again(cache);
	return cache;
}

void
table_cache_tell_again(TableCache *cache)
{
	HASHCTL		ctl = {0};

	if (!pipeline_describes(cache->pipeline))
		return;
	if (cache->told != NULL)
		hash_destroy(cache->told);
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(ToldTable);
	ctl.hcxt = cache->context;
	cache->told = hash_create("firehose described tables", 64, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache->telling++;
}

void
table_cache_tell_again_of(TableCache *cache, Oid relid)
{
	if (cache->told == NULL)
		return;
	(void) hash_search(cache->told, &relid, HASH_REMOVE, NULL);
	cache->telling++;
}

bool
table_cache_is_news(TableCache *cache, EventRelation *relation)
{
	ToldTable  *told;
	uint64		fingerprint;
	bool		found;

	if (likely(relation->told == cache->telling))
		return false;
	fingerprint = event_relation_fingerprint(relation);
	told = hash_search(cache->told, &relation->relid, HASH_ENTER, &found);
	if (found && told->fingerprint != fingerprint)
		cache->telling++;		/* a copy may see the table otherwise than its changes */
	relation->told = cache->telling;
	if (found && told->fingerprint == fingerprint)
		return false;
	told->fingerprint = fingerprint;
	return true;
}

EventValue *
table_cache_new_row(TableCache *cache)
{
	return cache->new_row;
}

EventValue *
table_cache_old_row(TableCache *cache)
{
	return cache->old_row;
}

/* Have rows of n columns. */
static void
enlarge_rows(TableCache *cache, int n)
{
	if (n <= cache->max_columns)
		return;
	if (cache->new_row != NULL)
	{
		pfree(cache->new_row);
		pfree(cache->old_row);
	}
	cache->max_columns = n;
	cache->new_row = MemoryContextAllocZero(cache->context, n * sizeof(EventValue));
	cache->old_row = MemoryContextAllocZero(cache->context, n * sizeof(EventValue));
}

/* Copy a string to where there is room, and move on behind it. */
static char *
place_string(char **to, const char *text)
{
	char	   *placed = *to;
	Size		size = strlen(text) + 1;

	memcpy(placed, text, size);
	*to += size;
	return placed;
}

/*
 * Keep a description in one piece, or two with a key: a decoder may know many
 * tables.
 */
static LogicalRepRelation *
keep_description(MemoryContext context, const LogicalRepRelation *described)
{
	int			n = described->natts;
	Size		size = MAXALIGN(sizeof(LogicalRepRelation)) + n * (sizeof(char *) + sizeof(Oid)) +
		strlen(described->nspname) + 1 + strlen(described->relname) + 1;
	MemoryContext old = MemoryContextSwitchTo(context);
	LogicalRepRelation *kept;
	char	   *to;

	for (int i = 0; i < n; i++)
		size += strlen(described->attnames[i]) + 1;
	kept = palloc(size);
	*kept = *described;
	kept->attkeys = bms_copy(described->attkeys);
	kept->attnames = (char **) ((char *) kept + MAXALIGN(sizeof(LogicalRepRelation)));
	kept->atttyps = (Oid *) (kept->attnames + n);
	to = (char *) (kept->atttyps + n);
	memcpy(kept->atttyps, described->atttyps, n * sizeof(Oid));
	kept->nspname = place_string(&to, described->nspname);
	kept->relname = place_string(&to, described->relname);
	for (int i = 0; i < n; i++)
		kept->attnames[i] = place_string(&to, described->attnames[i]);
	MemoryContextSwitchTo(old);
	return kept;
}

static void
free_description(LogicalRepRelation *described)
{
	bms_free(described->attkeys);
	pfree(described);
}

/* Free the plans that have become void, and all of tables that are gone. */
static void
sweep(TableCache *cache)
{
	EventRelation *relation;

	while ((relation = event_relation_next_invalid()) != NULL)
	{
		Oid			relid = relation->relid;
		CachedTable *table = hash_search(cache->tables, &relid, HASH_FIND, NULL);

		MemoryContextDelete(relation->context);
		if (table == NULL || table->relation != relation)
			continue;
		table->relation = NULL;
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
			continue;
		free_description(table->described);
		if (cache->last_used == table)
			cache->last_used = NULL;
		hash_search(cache->tables, &relid, HASH_REMOVE, NULL);
		if (cache->told != NULL)
			hash_search(cache->told, &relid, HASH_REMOVE, NULL);
	}
}

/* Core's caches have one table more; was it forgotten too early? */
static void
count_described(TableCache *cache, CachedTable *table)
{
	cache->described++;
	if (table->forgotten_at == 0)
		return;
	if (clock_ms() - table->forgotten_at > SOON_MS)
		table->missed = 0;
	else if (table->missed < OFTEN)
		table->missed++;
	else
		cache->regretted++;
	table->forgotten_at = 0;
}

static void
forget_tables(TableCache *cache)
{
	HASH_SEQ_STATUS status;
	CachedTable *table;
	int64		now = clock_ms();

	hash_seq_init(&status, cache->tables);
	while ((table = hash_seq_search(&status)) != NULL)
	{
		if (table->described == NULL)
		{
			/* dropped, or changed so rarely that it does not matter */
			if (now - table->forgotten_at > SOON_MS)
				hash_search(cache->tables, &table->relid, HASH_REMOVE, NULL);
			continue;
		}
		if (table->relation != NULL)
			MemoryContextDelete(table->relation->context);
		table->relation = NULL;
		table->described = NULL;
		table->forgotten_at = now;
	}
	MemoryContextReset(cache->descriptions);
	cache->last_used = NULL;

	/* most of those that were told of were dropped */
	if (cache->told != NULL && hash_get_num_entries(cache->told) > MANY_TOLD)
		table_cache_tell_again(cache);
}

void
table_cache_trim(TableCache *cache)
{
	if (likely(cache->described < cache->kept))
		return;
	if (cache->regretted > cache->described / 2)
	{
		cache->kept *= 2;
		return;
	}
	if (cache->regretted < cache->described / 8)
		cache->kept = Max(cache->kept / 2, KEPT_TABLES);
	cache->described = 0;
	cache->regretted = 0;
	forget_tables(cache);
	present_catalogs_empty_caches();
}

void
table_cache_describe(TableCache *cache, StringInfo message)
{
	LogicalRepRelation *described = logicalrep_read_rel(message);
	CachedTable *table;
	Oid			relid = described->remoteid;
	bool		found;

	sweep(cache);
	described = keep_description(cache->descriptions, described);
	enlarge_rows(cache, described->natts);

	table = hash_search(cache->tables, &relid, HASH_ENTER, &found);
	if (!found)
	{
		table->missed = 0;
		table->forgotten_at = 0;
		table->described = NULL;
	}
	if (table->described == NULL)
		count_described(cache, table);
	else
	{
		if (table->relation != NULL)
			MemoryContextDelete(table->relation->context);
		free_description(table->described);
	}
	table->relation = NULL;
	table->stream = NULL;
	table->described = described;
	/* nothing of the extension's own is ever sent */
	table->skipped = own_tables_has(relid);
}

BatchStream *
table_cache_route(TableCache *cache, const char *schema, const char *table)
{
	ListCell   *lc;

	foreach(lc, cache->pipeline->routes)
	{
		PipelineRoute *r = lfirst(lc);

		if (strcmp(r->schema, schema) == 0 && strcmp(r->table, table) == 0)
			return cache->batch->streams[foreach_current_index(lc)];
	}
	return cache->batch->streams[cache->batch->nstreams - 1];
}

/*
 * With REPLICA IDENTITY FULL every column is marked as part of the identity;
 * the key is that of the primary key then, if there is one.
 */
static bool
find_primary_key(Oid relid, const LogicalRepRelation *described, bool *key)
{
	Relation	rel = RelationIdGetRelation(relid);
	Oid			index = rel ? PrimaryKeyIndexOf(rel) : InvalidOid;
	HeapTuple	tuple;
	Form_pg_index form;

	if (rel)
		RelationClose(rel);
	tuple = OidIsValid(index) ? SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index)) : NULL;
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	memset(key, 0, described->natts * sizeof(bool));
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		char	   *name = get_attname(relid, form->indkey.values[i], true);

		for (int att = 0; name && att < described->natts; att++)
			key[att] |= strcmp(name, described->attnames[att]) == 0;
	}
	ReleaseSysCache(tuple);
	return true;
}

/*
 * Which generated columns of the key does pgoutput leave out (below 18 all,
 * then those that are not published)?  NULL: none.
 */
static char *
find_missing_key(const EventRelation *relation, char replident)
{
	Relation	rel = RelationIdGetRelation(relation->relid);
	Bitmapset  *key = NULL;
	StringInfoData names;
	int			att = -1;

	if (rel == NULL)
		return NULL;
	/* opens that one index, where RelationGetIndexAttrBitmap would open all */
	if (replident != REPLICA_IDENTITY_FULL)
		key = RelationGetIdentityKeyBitmap(rel);
	initStringInfo(&names);
	while ((att = bms_next_member(key, att)) >= 0)
	{
		AttrNumber	number = att + FirstLowInvalidHeapAttributeNumber;
		const char *name = NameStr(TupleDescAttr(RelationGetDescr(rel), number - 1)->attname);
		bool		found = false;

		for (int i = 0; i < relation->ncolumns; i++)
			found |= strcmp(relation->columns[i].name, name) == 0;
		if (!found)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "", name);
	}
	RelationClose(rel);
	return names.len > 0 ? MemoryContextStrdup(relation->context, names.data) : NULL;
}

const char *
table_cache_reserved_column(const Pipeline *pipeline, const EventRelation *relation)
{
	const char *reserved;

	if (pipeline->format != format_find("flat") ||
		pipeline->format_options.metadata == METADATA_NONE)
		return NULL;
	for (int i = 0; (reserved = flat_reserved_name(i)) != NULL; i++)
	{
		for (int column = 0; column < relation->ncolumns; column++)
		{
			if (strcmp(relation->columns[column].name, reserved) == 0)
				return reserved;
		}
	}
	return NULL;
}

/*
 * Make the plans of a table.  Its names are those of the catalogs: pgoutput of
 * 15 does not describe a table again after its schema was renamed.
 */
static void
build(TableCache *cache, CachedTable *table)
{
	LogicalRepRelation *described = table->described;
	bool	   *key = palloc(described->natts * sizeof(bool));
	char	   *schema = get_namespace_name(get_rel_namespace(table->relid));
	char	   *name = get_rel_name(table->relid);
	bool		key_is_row = false;
	EventRelation *relation;

	json_trouble = JSON_NO_TROUBLE;
	for (int i = 0; i < described->natts; i++)
		key[i] = bms_is_member(i, described->attkeys);
	if (described->replident == REPLICA_IDENTITY_FULL)
		key_is_row = !find_primary_key(table->relid, described, key);

	relation = event_relation_create(cache->context, table->relid,
									 schema ? schema : described->nspname,
									 name ? name : described->relname,
									 described->natts, &cache->pipeline->values);
	for (int i = 0; i < described->natts; i++)
		event_relation_set_column(relation, i, described->attnames[i],
								  described->atttyps[i], -1, -1, key[i]);
	relation->key_is_row = key_is_row;
	if (json_trouble != JSON_NO_TROUBLE)
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("a name in the definition of the table has no equivalent in UTF-8")));
	if (cache->pipeline->format->types || pipeline_describes(cache->pipeline))
		event_relation_add_types(relation);
	relation->missing_key = find_missing_key(relation, described->replident);
	relation->reserved_column = table_cache_reserved_column(cache->pipeline, relation);
	table->relation = relation;
	table->stream = table_cache_route(cache, relation->schema, relation->table);
	pfree(key);
}

CachedTable *
table_cache_get(TableCache *cache, Oid relid)
{
	CachedTable *table = cache->last_used;

	if (likely(table != NULL && table->relid == relid &&
			   table->relation != NULL && table->relation->valid))
		return table;

	table = hash_search(cache->tables, &relid, HASH_FIND, NULL);
	if (table == NULL || table->described == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a change of table %u came before its description", relid)));
	if (table->skipped)
		return table;
	if (table->relation != NULL && !table->relation->valid)
	{
		MemoryContextDelete(table->relation->context);
		table->relation = NULL;
	}
	if (table->relation == NULL)
		build(cache, table);
	cache->last_used = table;
	return table;
}
