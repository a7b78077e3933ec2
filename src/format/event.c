/*
 * event.c
 *		Descriptions of tables for events, and a cache of them.
 *
 * All descriptions that a process has are in one list, in which invalidations
 * mark those they concern: a relcache invalidation of the table itself, or of
 * a composite type of one of its columns, and any change of a schema, whose
 * name may be part of the description.  Nothing is freed then: a description
 * never goes away under a record that is being written.
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

#include "common/compat.h"
#include "common/json_write.h"
#include "format/event.h"

typedef struct CachedRelation
{
	Oid			relid;			/* hash key */
	EventRelation *relation;
} CachedRelation;

static dlist_head relations = DLIST_STATIC_INIT(relations);
static HTAB *cache = NULL;		/* those that event_relation_get made */
static EventRelation *last_used = NULL;
static bool any_invalid = false;

static void add_to_list(EventRelation *relation);
static void remove_from_list(void *arg);
static void relation_changed(Datum arg, Oid relid);
static void namespace_changed(Datum arg, int cacheid, uint32 hashvalue);
static EventRelation *describe_relation(Relation rel);
static char *make_json_string(MemoryContext context, const char *text);
static void cache_init(void);
static void cache_sweep(void);

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
	add_to_list(relation);
	relation->schema = MemoryContextStrdup(context, schema);
	relation->table = MemoryContextStrdup(context, table);
	relation->schema_json = make_json_string(context, schema);
	relation->table_json = make_json_string(context, table);
	relation->schema_json_len = strlen(relation->schema_json);
	relation->table_json_len = strlen(relation->table_json);
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

/*
 * Describe an open relation.  Its key is the replica identity's index, as in
 * the WAL, else the primary key.
 */
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
 * Invalidation
 * ------------------------------------------------------------------------
 */
static void
add_to_list(EventRelation *relation)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_changed, (Datum) 0);
		registered = true;
	}

	/* from now on: what changes while we look must not be missed */
	relation->valid = true;
	dlist_push_tail(&relations, &relation->node);
	relation->unlink.func = remove_from_list;
	relation->unlink.arg = relation;
	MemoryContextRegisterResetCallback(relation->context, &relation->unlink);
}

/* The description's context is being deleted. */
static void
remove_from_list(void *arg)
{
	EventRelation *relation = arg;

	dlist_delete(&relation->node);
	if (last_used == relation)
		last_used = NULL;
}

/*
 * A relation has changed (InvalidOid: any may have): mark the descriptions it
 * is part of.
 */
static void
relation_changed(Datum arg, Oid relid)
{
	dlist_iter	iter;

	dlist_foreach(iter, &relations)
	{
		EventRelation *relation = dlist_container(EventRelation, node, iter.cur);

		if (!OidIsValid(relid) || relation->relid == relid ||
			list_member_oid(relation->relids, relid))
		{
			relation->valid = false;
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
 * The cache
 * ------------------------------------------------------------------------
 */
EventRelation *
event_relation_get(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	CachedRelation *entry;

	if (likely(last_used && last_used->relid == relid && last_used->valid))
		return last_used;

	if (cache == NULL)
		cache_init();
	if (any_invalid)
		cache_sweep();

	entry = hash_search(cache, &relid, HASH_FIND, NULL);
	if (entry == NULL)
	{
		EventRelation *relation = describe_relation(rel);

		entry = hash_search(cache, &relid, HASH_ENTER, NULL);
		entry->relation = relation;
		MemoryContextSetParent(relation->context, CacheMemoryContext);
	}
	last_used = entry->relation;
	return entry->relation;
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
}

/* Forget what has been marked. */
static void
cache_sweep(void)
{
	HASH_SEQ_STATUS scan;
	CachedRelation *entry;

	any_invalid = false;
	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		EventRelation *relation = entry->relation;

		if (relation->valid)
			continue;
		hash_search(cache, &entry->relid, HASH_REMOVE, NULL);
		MemoryContextDelete(relation->context);
	}
}

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */
const EventSource *
event_fill_source(void)
{
	static EventSource origin = {0};

	/*
	 * neither can change while a process lives: a database with sessions is
	 * not renamed
	 */
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
		origin.source_json_len = strlen(origin.source_json);
		origin.db_json_len = strlen(origin.db_json);
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
