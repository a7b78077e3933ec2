/*
 * event.c
 *		Descriptions of tables for events, and a cache of them.
 *
 * A description becomes void by an invalidation of the table itself, of a
 * composite type of one of its columns, or of its schema, whose name is part
 * of it.  A hash table leads from what is invalidated to the descriptions that
 * watch it, so that an invalidation costs the same however many tables there
 * are.  Nothing is freed then, since a description must not go away under a
 * record that is being written: it moves to the list of invalid ones.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
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

typedef struct CachedKey
{
	Oid			relid;
	uint32		flags;			/* EVENT_RELATION_* */
	const ValueOptions *defaults;
} CachedKey;

typedef struct CachedRelation
{
	CachedKey	key;
	EventRelation *relation;
} CachedRelation;

/* A thing that can be invalidated, and the descriptions that it makes void. */
typedef enum WatchedKind
{
	WATCHED_RELATION,			/* by OID */
	WATCHED_SCHEMA				/* by its hash value in the syscache */
} WatchedKind;

typedef struct Watched
{
	struct
	{
		uint32		kind;
		uint32		value;
	}			key;
	dlist_head	watches;
} Watched;

/* One description's interest in one thing; lives in its context. */
typedef struct EventWatch
{
	EventRelation *relation;
	Watched    *watched;
	dlist_node	node;			/* in watched->watches */
	struct EventWatch *next;	/* of the same description */
} EventWatch;

static HTAB *watched_things = NULL;
static dlist_head valid_relations = DLIST_STATIC_INIT(valid_relations);
static dlist_head invalid_relations = DLIST_STATIC_INIT(invalid_relations);
static HTAB *cache = NULL;		/* those that event_relation_get made */
static EventRelation *last_used = NULL;

static void watch_init(void);
static void watch(EventRelation *relation, WatchedKind kind, uint32 value);
static void forget_relation(void *arg);

/* firehose.source */
static char *configured_source = NULL;
static void relation_changed(Datum arg, Oid relid);
static void namespace_changed(Datum arg, int cacheid, uint32 hashvalue);
static void invalidate(EventRelation *relation);
static void invalidate_watchers(WatchedKind kind, uint32 value);
static void invalidate_all(void);
static EventRelation *describe_relation(Relation rel, const CachedKey *key);
static void set_names(EventRelation *relation, const char *schema, const char *table);
static void name_after_root(EventRelation *relation);
static void order_columns(EventRelation *relation, Oid root);
static char *make_json_string(MemoryContext context, const char *text);
static void cache_init(void);
static void cache_sweep(void);

/* ------------------------------------------------------------------------
 * Making descriptions
 * ------------------------------------------------------------------------
 */
static void
set_names(EventRelation *relation, const char *schema, const char *table)
{
	relation->schema = MemoryContextStrdup(relation->context, schema);
	relation->table = MemoryContextStrdup(relation->context, table);
	relation->schema_json = make_json_string(relation->context, schema);
	relation->table_json = make_json_string(relation->context, table);
	relation->schema_json_len = strlen(relation->schema_json);
	relation->table_json_len = strlen(relation->table_json);
}

/*
 * A context with room for what a description of n columns takes as a rule: a
 * decoder may have thousands of them.
 */
static MemoryContext
create_context(MemoryContext parent, int n)
{
	Size		size = MAXALIGN(1280 + n * (sizeof(EventColumn) + 64));

	size = Min(size, ALLOCSET_SMALL_MAXSIZE);
	return AllocSetContextCreate(parent, "firehose relation", size, size,
								 ALLOCSET_SMALL_MAXSIZE);
}

EventRelation *
event_relation_create(MemoryContext parent, Oid relid, const char *schema,
					  const char *table, int ncolumns, const ValueOptions *options)
{
	MemoryContext context = create_context(parent, ncolumns);
	EventRelation *relation = MemoryContextAllocZero(context, sizeof(EventRelation) +
													 sizeof(EventColumn) * ncolumns);
	Oid			namespace;

	relation->context = context;
	relation->relid = relid;

	/* from now on: a change during the look-up must not be missed */
	watch_init();
	relation->valid = true;
	dlist_push_tail(&valid_relations, &relation->node);
	relation->unlink.func = forget_relation;
	relation->unlink.arg = relation;
	MemoryContextRegisterResetCallback(context, &relation->unlink);
	watch(relation, WATCHED_RELATION, relid);
	namespace = schema ? get_namespace_oid(schema, true) : get_rel_namespace(relid);
	if (OidIsValid(namespace))
		watch(relation, WATCHED_SCHEMA,
			  GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(namespace)));
	if (schema == NULL && (schema = get_namespace_name(namespace)) == NULL)
		elog(ERROR, "cache lookup failed for schema of relation %u", relid);

	set_names(relation, schema, table);
	relation->options = *options;
	relation->ncolumns = ncolumns;
	relation->columns = (EventColumn *) (relation + 1);
	return relation;
}

void
event_relation_set_column(EventRelation *relation, int i, const char *name, Oid typid,
						  int32 typmod, int attno, bool key)
{
	EventColumn *column = &relation->columns[i];
	int			nrelids = list_length(relation->relids);
	MemoryContext old;

	Assert(i >= 0 && i < relation->ncolumns);
	column->name = MemoryContextStrdup(relation->context, name);
	/* its buffer is not to enlarge the context, which is there for long */
	column->label = value_make_label(relation->context, name, &column->label_len);
	old = MemoryContextSwitchTo(relation->context);
	column->typid = typid;
	column->typmod = typmod;
	column->attno = attno;
	column->key = key;
	column->type = value_type_get(relation->context, typid, typmod, &relation->options,
								  &relation->relids);
	for (int n = nrelids; n < list_length(relation->relids); n++)
		watch(relation, WATCHED_RELATION, list_nth_oid(relation->relids, n));
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
describe_relation(Relation rel, const CachedKey *wanted)
{
	ValueOptions options = *wanted->defaults;
	Bitmapset  *key;
	EventRelation *relation;

	if (wanted->flags & EVENT_RELATION_BIGINT_STRINGS)
		options.bigints = BIGINTS_STRING;

	key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	if (key == NULL)
		key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);

	/* the context is a child of the caller's until all has gone well */
	relation = event_relation_from_tupdesc(CurrentMemoryContext, RelationGetRelid(rel), NULL,
										   RelationGetRelationName(rel), RelationGetDescr(rel),
										   key, &options);
	bms_free(key);
	relation->flags = wanted->flags;
	relation->defaults = wanted->defaults;
	if (wanted->flags & EVENT_RELATION_TYPES)
	{
		/* the names of types have a schema wherever the session looks */
		int			guard = value_guard_enter(VALUE_READS_SEARCH_PATH | VALUE_READS_QUOTING);

		event_relation_add_types(relation);
		value_guard_leave(guard);
	}
	if ((wanted->flags & EVENT_RELATION_ROOT) && rel->rd_rel->relispartition)
		name_after_root(relation);
	return relation;
}

/*
 * Describe a partition as the topmost table that it is part of.  That one is
 * not locked, since a session that writes to a partition alone has no lock on
 * it, and taking one here could be a deadlock.
 */
static void
name_after_root(EventRelation *relation)
{
	List	   *ancestors = get_partition_ancestors(relation->relid);
	List	   *again;
	ListCell   *cell;
	Oid			root;
	Oid			schema_oid;
	char	   *table;
	char	   *schema;

	foreach(cell, ancestors)
		watch(relation, WATCHED_RELATION, lfirst_oid(cell));
	/* one may have been attached or detached before it was watched */
	again = get_partition_ancestors(relation->relid);
	if (ancestors == NIL || !equal(ancestors, again))
	{
		invalidate(relation);
		return;
	}

	root = llast_oid(ancestors);
	schema_oid = get_rel_namespace(root);
	watch(relation, WATCHED_SCHEMA,
		  GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(schema_oid)));
	table = get_rel_name(root);
	schema = get_namespace_name(schema_oid);
	if (table == NULL || schema == NULL)
	{
		invalidate(relation);
		return;
	}
	set_names(relation, schema, table);
	order_columns(relation, root);
	list_free(ancestors);
	list_free(again);
}

/* Order the columns as in another table, which has the same. */
static void
order_columns(EventRelation *relation, Oid root)
{
	EventColumn *columns = relation->columns;
	AttrNumber *place = palloc(sizeof(AttrNumber) * Max(relation->ncolumns, 1));

	for (int i = 0; i < relation->ncolumns; i++)
	{
		EventColumn column = columns[i];
		AttrNumber	attnum = get_attnum(root, column.name);
		int			at = i;

		for (; at > 0 && place[at - 1] > attnum; at--)
		{
			columns[at] = columns[at - 1];
			place[at] = place[at - 1];
		}
		columns[at] = column;
		place[at] = attnum;
	}
	pfree(place);
}

static char *
make_json_string(MemoryContext context, const char *text)
{
	StringInfoData json;
	char	   *copy;

	initStringInfo(&json);
	json_put_string(&json, text, strlen(text));
	json_terminate(&json);
	copy = MemoryContextStrdup(context, json.data);
	pfree(json.data);
	return copy;
}

/* ------------------------------------------------------------------------
 * Invalidation
 * ------------------------------------------------------------------------
 */
static void
watch_init(void)
{
	HASHCTL		ctl = {0};

	if (watched_things != NULL)
		return;
	ctl.keysize = sizeof(((Watched *) NULL)->key);
	ctl.entrysize = sizeof(Watched);
	ctl.hcxt = CacheMemoryContext;
	watched_things = hash_create("firehose invalidations", 64, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_changed, (Datum) 0);
}

static Watched *
find_watched(WatchedKind kind, uint32 value, HASHACTION action)
{
	Watched		key = {.key = {kind, value}};
	bool		found;
	Watched    *watched = hash_search(watched_things, &key.key, action, &found);

	if (action == HASH_ENTER && !found)
		dlist_init(&watched->watches);
	return watched;
}

/* Have a description become void when this thing is invalidated. */
static void
watch(EventRelation *relation, WatchedKind kind, uint32 value)
{
	EventWatch *w = MemoryContextAlloc(relation->context, sizeof(EventWatch));

	w->relation = relation;
	w->watched = find_watched(kind, value, HASH_ENTER);
	dlist_push_tail(&w->watched->watches, &w->node);
	w->next = relation->watches;
	relation->watches = w;
}

/* The description's context is being deleted. */
static void
forget_relation(void *arg)
{
	EventRelation *relation = arg;

	dlist_delete(&relation->node);
	for (EventWatch *w = relation->watches; w != NULL; w = w->next)
	{
		dlist_delete(&w->node);
		if (dlist_is_empty(&w->watched->watches))
			(void) hash_search(watched_things, &w->watched->key, HASH_REMOVE, NULL);
	}
	if (last_used == relation)
		last_used = NULL;
}

static void
invalidate(EventRelation *relation)
{
	if (!relation->valid)
		return;
	relation->valid = false;
	dlist_delete(&relation->node);
	dlist_push_tail(&invalid_relations, &relation->node);
}

static void
invalidate_watchers(WatchedKind kind, uint32 value)
{
	Watched    *watched = find_watched(kind, value, HASH_FIND);
	dlist_iter	iter;

	if (watched == NULL)
		return;
	dlist_foreach(iter, &watched->watches)
		invalidate(dlist_container(EventWatch, node, iter.cur)->relation);
}

static void
invalidate_all(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &valid_relations)
		invalidate(dlist_container(EventRelation, node, iter.cur));
}

/* A relation has changed (InvalidOid: any may have). */
static void
relation_changed(Datum arg, Oid relid)
{
	if (OidIsValid(relid))
		invalidate_watchers(WATCHED_RELATION, relid);
	else
		invalidate_all();
}

/* A schema may have been renamed (0: any). */
static void
namespace_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	if (hashvalue != 0)
		invalidate_watchers(WATCHED_SCHEMA, hashvalue);
	else
		invalidate_all();
}

EventRelation *
event_relation_next_invalid(void)
{
	if (dlist_is_empty(&invalid_relations))
		return NULL;
	return dlist_head_element(EventRelation, node, &invalid_relations);
}

/* ------------------------------------------------------------------------
 * The cache
 * ------------------------------------------------------------------------
 */
EventRelation *
event_relation_get(Relation rel, uint32 flags, const ValueOptions *defaults)
{
	CachedKey	key = {RelationGetRelid(rel), flags, defaults};
	CachedRelation *entry;

	if (likely(last_used && last_used->relid == key.relid &&
			   last_used->flags == flags && last_used->defaults == defaults &&
			   last_used->valid))
		return last_used;

	if (cache == NULL)
		cache_init();
	cache_sweep();

	entry = hash_search(cache, &key, HASH_FIND, NULL);
	if (entry == NULL)
	{
		EventRelation *relation = describe_relation(rel, &key);

		entry = hash_search(cache, &key, HASH_ENTER, NULL);
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

	ctl.keysize = sizeof(CachedKey);
	ctl.entrysize = sizeof(CachedRelation);
	ctl.hcxt = CacheMemoryContext;
	cache = hash_create("firehose relations", 32, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Forget the descriptions that have become void. */
static void
cache_sweep(void)
{
	EventRelation *relation;

	while ((relation = event_relation_next_invalid()) != NULL)
	{
		CachedKey	key = {relation->relid, relation->flags, relation->defaults};
		CachedRelation *entry = hash_search(cache, &key, HASH_FIND, NULL);

		if (entry != NULL && entry->relation == relation)
			hash_search(cache, &key, HASH_REMOVE, NULL);
		MemoryContextDelete(relation->context);
	}
}

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */

/*
 * Not cluster_name, which many servers share.  It must not change while events
 * that carry it may be sent again, so only with the server's configuration.
 */
void
event_define_settings(void)
{
	DefineCustomStringVariable("firehose.source",
							   "Sets what change events name as their source.",
							   "Empty: the server's system identifier. Set the same on a server and its standbys.",
							   &configured_source, "", PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

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
		const char *source = configured_source;
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
event_values_from_arrays(const EventRelation *relation, const Datum *datums,
						 const bool *nulls, EventValue *values)
{
	for (int i = 0; i < relation->ncolumns; i++)
	{
		int			attno = relation->columns[i].attno;

		if (nulls[attno])
			values[i].kind = EVENT_VALUE_NULL;
		else
		{
			values[i].kind = EVENT_VALUE_DATUM;
			values[i].v.datum = datums[attno];
		}
	}
}

void
event_values_from_slot(const EventRelation *relation, TupleTableSlot *slot,
					   EventValue *values)
{
	slot_getallattrs(slot);
	event_values_from_arrays(relation, slot->tts_values, slot->tts_isnull, values);
}
