/*
 * event.c
 *		Descriptions of tables for events, and their cache.
 *
 * The cache belongs to one process.  A relcache invalidation marks what it
 * concerns (the table itself, or the composite types of its columns), renaming
 * a schema marks everything.  What is marked is forgotten when the next
 * description is asked for, never under a record that is being written.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/xlog.h"
#include "catalog/pg_attribute.h"
#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "event.h"
#include "json_write.h"

typedef struct CachedRelation
{
	Oid			relid;			/* hash key */
	bool		valid;
	EventRelation *relation;	/* NULL: being made, or that failed */
} CachedRelation;

static HTAB *cache = NULL;
static CachedRelation *last_used = NULL;
static bool any_invalid = false;

static void cache_init(void);
static void cache_sweep(void);
static void relation_changed(Datum arg, Oid relid);
static void namespace_changed(Datum arg, int cacheid, uint32 hashvalue);
static EventRelation *describe_relation(Relation rel);
static char *make_json_string(MemoryContext context, const char *text);

/* ------------------------------------------------------------------------
 * Making descriptions
 * ------------------------------------------------------------------------
 */
EventRelation *
event_relation_create(MemoryContext parent, Oid relid, const char *schema,
					  const char *table, int ncolumns, const ValueOptions *options)
{
	MemoryContext context = AllocSetContextCreate(parent, "firehose relation",
												  ALLOCSET_SMALL_SIZES);
	EventRelation *relation = MemoryContextAllocZero(context, sizeof(EventRelation));

	relation->context = context;
	relation->relid = relid;
	relation->schema = MemoryContextStrdup(context, schema);
	relation->table = MemoryContextStrdup(context, table);
	relation->schema_json = make_json_string(context, schema);
	relation->table_json = make_json_string(context, table);
	relation->options = *options;
	relation->ncolumns = ncolumns;
	relation->columns = MemoryContextAllocZero(context, sizeof(EventColumn) * Max(ncolumns, 1));
	return relation;
}

void
event_relation_set_column(EventRelation *relation, int i, const char *name, Oid typid,
						  int32 typmod, int attno, bool key)
{
	EventColumn *column = &relation->columns[i];
	MemoryContext old = MemoryContextSwitchTo(relation->context);

	Assert(i >= 0 && i < relation->ncolumns);
	column->name = pstrdup(name);
	column->label = value_make_label(relation->context, name, &column->label_len);
	column->typid = typid;
	column->typmod = typmod;
	column->attno = attno;
	column->key = key;
	column->type = value_type_create(relation->context, typid, &relation->options,
									 &relation->relids);
	relation->has_key |= key;
	relation->reads |= column->type->reads;
	MemoryContextSwitchTo(old);
}

/* Is there a value of this attribute in tuples? */
static bool
is_stored(Form_pg_attribute att)
{
	return !att->attisdropped && att->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL;
}

EventRelation *
event_relation_from_tupdesc(MemoryContext parent, Oid relid, const char *schema,
							const char *table, TupleDesc tupdesc, const Bitmapset *key,
							const ValueOptions *options)
{
	EventRelation *relation;
	int			ncolumns = 0;

	for (int i = 0; i < tupdesc->natts; i++)
	{
		if (is_stored(TupleDescAttr(tupdesc, i)))
			ncolumns++;
	}

	relation = event_relation_create(parent, relid, schema, table, ncolumns, options);
	ncolumns = 0;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);

		if (is_stored(att))
			event_relation_set_column(relation, ncolumns++, NameStr(att->attname),
									  att->atttypid, att->atttypmod, i,
									  bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, key));
	}
	return relation;
}

/* Describe an open relation.  Its key is the replica identity's index, as in the WAL, else the primary key. */
static EventRelation *
describe_relation(Relation rel)
{
	static const ValueOptions defaults = {0};
	Bitmapset  *key;
	char	   *schema;
	EventRelation *relation;

	key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	if (key == NULL)
		key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);

	/* the context is below ours until all has gone well */
	schema = get_namespace_name(RelationGetNamespace(rel));
	relation = event_relation_from_tupdesc(CurrentMemoryContext, RelationGetRelid(rel), schema,
										   RelationGetRelationName(rel), RelationGetDescr(rel),
										   key, &defaults);
	pfree(schema);
	bms_free(key);
	return relation;
}

static char *
make_json_string(MemoryContext context, const char *text)
{
	StringInfoData json;
	MemoryContext old = MemoryContextSwitchTo(context);

	initStringInfo(&json);
	json_put_string(&json, text, strlen(text));
	json_terminate(&json);
	MemoryContextSwitchTo(old);
	return json.data;
}

/* ------------------------------------------------------------------------
 * The cache
 * ------------------------------------------------------------------------
 */
EventRelation *
event_relation_get(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	CachedRelation *entry = last_used;
	bool		found;

	if (likely(entry && entry->relid == relid && entry->valid))
		return entry->relation;

	if (cache == NULL)
		cache_init();
	if (any_invalid)
		cache_sweep();

	last_used = NULL;
	entry = hash_search(cache, &relid, HASH_ENTER, &found);
	if (!found)
	{
		/* an invalidation that comes while we look must not be lost */
		entry->relation = NULL;
		entry->valid = true;
		PG_TRY();
		{
			entry->relation = describe_relation(rel);
		}
		PG_CATCH();
		{
			entry->valid = false;
			any_invalid = true;
			PG_RE_THROW();
		}
		PG_END_TRY();
		MemoryContextSetParent(entry->relation->context, CacheMemoryContext);
	}
	last_used = entry;
	return entry->relation;
}

/* Forget what has been marked. */
static void
cache_sweep(void)
{
	HASH_SEQ_STATUS scan;
	CachedRelation *entry;

	any_invalid = false;
	last_used = NULL;
	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->valid)
			continue;
		if (entry->relation)
			MemoryContextDelete(entry->relation->context);
		hash_search(cache, &entry->relid, HASH_REMOVE, NULL);
	}
}

static void
cache_init(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CachedRelation);
	ctl.hcxt = CacheMemoryContext;
	cache = hash_create("firehose relations", 32, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_changed, (Datum) 0);
}

/* A relation has changed (InvalidOid: any may have): mark the tables it is part of. */
static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	CachedRelation *entry;

	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		/* one that is being made may turn out to contain the relation */
		if (!OidIsValid(relid) || entry->relid == relid || entry->relation == NULL ||
			list_member_oid(entry->relation->relids, relid))
		{
			entry->valid = false;
			any_invalid = true;
		}
	}
}

/* A schema may have been renamed. */
static void
namespace_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed(arg, InvalidOid);
}

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */
const EventOrigin *
event_origin(void)
{
	static EventOrigin origin = {NULL, NULL};

	/* neither can change while a process lives: a database with sessions is not renamed */
	if (origin.db_json == NULL)
	{
		char		identifier[32];
		const char *source = cluster_name;
		char	   *database = get_database_name(MyDatabaseId);

		if (source == NULL || source[0] == '\0')
		{
			snprintf(identifier, sizeof(identifier), UINT64_FORMAT, GetSystemIdentifier());
			source = identifier;
		}
		if (origin.source_json == NULL)
			origin.source_json = make_json_string(TopMemoryContext, source);
		origin.db_json = make_json_string(TopMemoryContext, database);
		pfree(database);
	}
	return &origin;
}

void
event_values_from_slot(const EventRelation *relation, TupleTableSlot *slot,
					   EventValue *values)
{
	slot_getallattrs(slot);
	for (int i = 0; i < relation->ncolumns; i++)
	{
		int			attno = relation->columns[i].attno;

		if (slot->tts_isnull[attno])
			values[i].kind = EVENT_VALUE_NULL;
		else
		{
			values[i].kind = EVENT_VALUE_DATUM;
			values[i].v.datum = slot->tts_values[attno];
		}
	}
}
