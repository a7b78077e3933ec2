/*
 * rights.c
 *		Do the publications and streams of a pipeline still exist, and may its
 *		owner still use them?
 *
 * Runs in decoders, and in backends for pipeline_remember_oids.  Decoding
 * checks no privileges, so a decoder checks those of the pipeline's owner:
 * when it starts, and after every change that may concern them, between
 * transactions.  Publications and streams are known by OID, because another
 * one may have the name meanwhile.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/sinval.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "common/catalog_row.h"
#include "pipeline/check.h"
#include "pipeline/rights.h"
#include "stream/stream.h"
#include "wal/present_catalogs.h"

/* Catalogs that rights depend on, besides those of tables. */
static const int watched_caches[] = {
	PUBLICATIONOID, PUBLICATIONRELMAP, PUBLICATIONNAMESPACEMAP, FOREIGNSERVEROID,
	AUTHOID, AUTHMEMROLEMEM, DATABASEOID
};

/* More tables than this that were changed count as all. */
#define MAX_CHANGED		256

/* Told of since the last look; decoder only. */
static bool rights_changed = false;
static Oid	changed[MAX_CHANGED];
static int	nchanged = 0;
static uint64 looked_at;		/* SharedInvalidMessageCounter */

/* The tables that the next check is about; none: it is about everything. */
static Oid	suspects[MAX_CHANGED];
static int	nsuspects = 0;

/* As of the last check. */
static bool reads_all = true;	/* the owner is a superuser */
static bool sends_unnamed;		/* a publication has all tables, or a schema's */

static Datum oid_array(List *oids);
static const char *check_publications(Pipeline *pipeline);
static const char *check_streams(Pipeline *pipeline);

void
pipeline_remember_oids(PipelineRow *row)
{
	List	   *routes = pipeline_parse_routes(DatumGetJsonbP(row->values[PIPELINE_ROUTES]));
	List	   *oids = NIL;
	ListCell   *cell;

	/* they have neither */
	if (DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]))
		return;
	foreach(cell, pipeline_row_texts(row, PIPELINE_PUBLICATIONS))
		oids = lappend_oid(oids, get_publication_oid(lfirst(cell), false));
	row->values[PIPELINE_PUBLICATION_OIDS] = oid_array(oids);

	oids = NIL;
	foreach(cell, routes)
		oids = lappend_oid(oids, stream_get(((PipelineRoute *) lfirst(cell))->stream)->serverid);
	oids = lappend_oid(oids, stream_get(pipeline_row_text(row, PIPELINE_STREAM))->serverid);
	row->values[PIPELINE_STREAM_OIDS] = oid_array(oids);
	row->nulls[PIPELINE_PUBLICATION_OIDS] = row->nulls[PIPELINE_STREAM_OIDS] = false;
}

static Datum
oid_array(List *oids)
{
	Datum	   *elements = palloc(list_length(oids) * sizeof(Datum));
	ListCell   *cell;

	foreach(cell, oids)
		elements[foreach_current_index(cell)] = ObjectIdGetDatum(lfirst_oid(cell));
	return PointerGetDatum(construct_array(elements, list_length(oids), OIDOID,
										   sizeof(Oid), true, TYPALIGN_INT));
}

const char *
pipeline_check_rights(Pipeline *pipeline)
{
	const char *trouble;

	/* the rights to put were checked when the records were put */
	if (pipeline->durable_puts)
		return NULL;
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(pipeline->owner)))
		return psprintf("its owner was dropped; a superuser takes it over with SELECT firehose_resume_pipeline(%s)",
						quote_literal_cstr(pipeline->name));
	if (nsuspects > 0)
	{
		pipeline_check_select(pipeline->publications, pipeline->owner, suspects, nsuspects);
		return NULL;
	}
	reads_all = superuser_arg(pipeline->owner);
	trouble = check_publications(pipeline);
	if (trouble == NULL)
		trouble = check_streams(pipeline);
	if (trouble == NULL)
		pipeline_check_select(pipeline->publications, pipeline->owner, NULL, 0);
	return trouble;
}

bool
pipeline_is_well_now(int32 id)
{
	Pipeline   *now;

	/* as new as the catalogs that the trouble was seen in */
	PushActiveSnapshot(GetLatestSnapshot());
	now = pipeline_read(id);
	PopActiveSnapshot();
	return now != NULL && pipeline_check_rights(now) == NULL;
}

/* The owner owns the publications. */
static const char *
check_publications(Pipeline *pipeline)
{
	ListCell   *cell;

	sends_unnamed = false;
	foreach(cell, pipeline->publications)
	{
		char	   *name = lfirst(cell);
		Oid			oid = pipeline->publication_oids != NIL ?
			list_nth_oid(pipeline->publication_oids, foreach_current_index(cell)) :
			get_publication_oid(name, true);
		HeapTuple	tuple = SearchSysCache1(PUBLICATIONOID, ObjectIdGetDatum(oid));
		Form_pg_publication form;
		bool		owned;

		if (!HeapTupleIsValid(tuple))
			return psprintf("publication \"%s\" was dropped; name what to send instead with SELECT firehose_alter_pipeline(%s, publications => '{...}')",
							name, quote_literal_cstr(pipeline->name));
		form = (Form_pg_publication) GETSTRUCT(tuple);
		sends_unnamed |= form->puballtables || GetPublicationSchemas(oid) != NIL;
		if (strcmp(name, NameStr(form->pubname)) != 0)
			lfirst(cell) = name = MemoryContextStrdup(GetMemoryChunkContext(pipeline),
													  NameStr(form->pubname));
		owned = has_privs_of_role(pipeline->owner, form->pubowner);
		ReleaseSysCache(tuple);
		if (!owned)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("role \"%s\", owner of the pipeline, is not owner of publication \"%s\"",
							GetUserNameFromId(pipeline->owner, false), name)));
	}
	return NULL;
}

/* The owner may use the streams. */
static const char *
check_streams(Pipeline *pipeline)
{
	int			nroutes = list_length(pipeline->routes);

	for (int i = 0; i <= nroutes; i++)
	{
		PipelineRoute *route = i < nroutes ? list_nth(pipeline->routes, i) : NULL;
		char	  **name = route ? &route->stream : &pipeline->stream;
		Stream	   *stream = pipeline->stream_oids != NIL ?
			stream_get_by_id(list_nth_oid(pipeline->stream_oids, i)) : stream_get(*name);

		if (stream == NULL)
			return psprintf("stream \"%s\" was dropped; name another one with SELECT firehose_alter_pipeline(%s, %s)",
							*name, quote_literal_cstr(pipeline->name),
							route ? "routes => '{...}'" : "stream => '...'");
		stream_check_usage(stream, pipeline->owner);
		if (strcmp(*name, stream->name) != 0)
			*name = MemoryContextStrdup(GetMemoryChunkContext(pipeline), stream->name);
	}
	return NULL;
}

/* Changes ----------------------------------------------------------------- */

/*
 * Is this callback called because another session has told of a change?  Those
 * that are decoded were told by their sessions, too.
 */
static bool
is_told(void)
{
	return !present_catalogs_forgetting && SharedInvalidMessageCounter != looked_at;
}

/* Syscache callback. */
static void
note_change(Datum arg, int cacheid, uint32 hashvalue)
{
	rights_changed |= is_told();
}

/*
 * Relcache callback: a row of a relation in pg_class, or of its columns in
 * pg_attribute, which have the privileges, or anything else of it has changed.
 */
static void
note_relation(Datum arg, Oid relid)
{
	if (rights_changed || !is_told())
		return;
	if (!OidIsValid(relid) || nchanged == lengthof(changed))
		rights_changed = true;
	else
		changed[nchanged++] = relid;
}

void
pipeline_watch_rights(void)
{
	for (int i = 0; i < lengthof(watched_caches); i++)
		CacheRegisterSyscacheCallback(watched_caches[i], note_change, (Datum) 0);
	CacheRegisterRelcacheCallback(note_relation, (Datum) 0);
}

/* Is a table, or one that it is a partition of, named in a publication? */
static bool
is_named(Oid relid, bool is_partition)
{
	List	   *tables = is_partition ? get_partition_ancestors(relid) : NIL;
	Relation	rel = table_open(PublicationRelRelationId, AccessShareLock);
	ListCell   *cell;
	bool		found = false;

	foreach(cell, lappend_oid(tables, relid))
	{
		ScanKeyData key;
		SysScanDesc scan;

		ScanKeyInit(&key, Anum_pg_publication_rel_prrelid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(lfirst_oid(cell)));
		scan = systable_beginscan(rel, PublicationRelPrrelidPrpubidIndexId, true, NULL, 1, &key);
		found |= HeapTupleIsValid(systable_getnext(scan));
		systable_endscan(scan);
	}
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * May the pipeline send this relation?  No cache is asked, so that nothing has
 * to be forgotten for the sake of a temporary table.
 */
static bool
may_be_sent(Oid relid)
{
	HeapTuple	row = catalog_row(RelationRelationId, ClassOidIndexId, Anum_pg_class_oid,
								  relid, NULL);
	Form_pg_class form = row ? (Form_pg_class) GETSTRUCT(row) : NULL;

	return form != NULL && form->relpersistence == RELPERSISTENCE_PERMANENT &&
		(form->relkind == RELKIND_RELATION || form->relkind == RELKIND_PARTITIONED_TABLE) &&
		(sends_unnamed || is_named(relid, form->relispartition));
}

bool
pipeline_rights_changed(void)
{
	bool		all = rights_changed;
	int			n = nchanged;

	/* from now on: what is told while we look is looked at the next time */
	memcpy(suspects, changed, n * sizeof(Oid));
	nchanged = 0;
	rights_changed = false;
	looked_at = SharedInvalidMessageCounter;

	/* a superuser may read every table */
	nsuspects = 0;
	for (int i = 0; i < n && !all && !reads_all; i++)
	{
		if (may_be_sent(suspects[i]))
			suspects[nsuspects++] = suspects[i];
	}
	return all || nsuspects > 0;
}
