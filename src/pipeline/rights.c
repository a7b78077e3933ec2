/*
 * rights.c
 *		Do the publications and streams of a pipeline still exist, and may its
 *		owner still use them?
 *
 * Runs in decoders, and in backends for pipeline_remember_oids.  Decoding
 * checks no privileges, so a decoder checks those of the pipeline's owner:
 * when it starts, and after every invalidation that may concern them, between
 * transactions.  Publications and streams are known by OID, because another
 * one may have the name meanwhile.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "pipeline/check.h"
#include "pipeline/rights.h"
#include "stream/stream.h"

/* Catalogs that rights depend on. */
static const int watched_caches[] = {
	PUBLICATIONOID, PUBLICATIONRELMAP, FOREIGNSERVEROID, AUTHOID, AUTHMEMROLEMEM, RELOID, ATTNUM
};

static bool rights_changed = false;

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
	trouble = check_publications(pipeline);
	if (trouble == NULL)
		trouble = check_streams(pipeline);
	if (trouble == NULL)
		pipeline_check_select(pipeline->publications, pipeline->owner);
	return trouble;
}

/* The owner owns the publications. */
static const char *
check_publications(Pipeline *pipeline)
{
	ListCell   *cell;

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

/* Syscache callback. */
static void
note_change(Datum arg, int cacheid, uint32 hashvalue)
{
	rights_changed = true;
}

bool
pipeline_rights_changed(void)
{
	static bool registered = false;
	bool		changed = rights_changed;

	for (int i = 0; !registered && i < lengthof(watched_caches); i++)
		CacheRegisterSyscacheCallback(watched_caches[i], note_change, (Datum) 0);
	registered = true;
	rights_changed = false;
	return changed;
}
