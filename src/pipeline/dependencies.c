/*
 * dependencies.c
 *		DROP and RENAME of publications and streams that pipelines need.
 *
 * Runs in backends, as hooks.  Pipelines are rows of a table, for which core
 * keeps no dependencies.  So DROP PUBLICATION and DROP SERVER are refused, as
 * that of a table with a view is.  With CASCADE, or as part of another drop,
 * it happens with a notice: the decoder finds that the OID has gone, and the
 * pipeline fails with a reason.  A rename changes the name in the row.  A
 * destination that the records of a stream's pipelines do not fit is refused.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "common/own_tables.h"
#include "common/utility.h"
#include "pipeline/rights.h"
#include "stream/destination.h"
#include "stream/stream.h"

static ProcessUtility_hook_type next_process_utility;
static object_access_hook_type prev_object_access = NULL;

/*
 * The catalog of the objects that a DROP ...  RESTRICT drops; InvalidOid: none
 * is running.
 */
static Oid	restricted_class = InvalidOid;

static void process_utility(UTILITY_PARAMETERS);
static Oid	class_of(ObjectType type);
static void object_access(ObjectAccessType access, Oid class_id, Oid object_id,
						  int sub_id, void *arg);
static void check_destination(const char *name);
static void rename_in_rows(Oid class_id, const char *from, const char *to);
static bool rename_in_publications(PipelineRow *row, const char *from, const char *to);
static bool rename_in_streams(PipelineRow *row, const char *from, const char *to);

void
pipeline_install_hooks(void)
{
	next_process_utility = utility_install_hook(process_utility);
	prev_object_access = object_access_hook;
	object_access_hook = object_access;
}

/* ProcessUtility hook: note how drops are meant, and follow renames. */
static void
process_utility(UTILITY_PARAMETERS)
{
	Node	   *statement = pstmt->utilityStmt;
	Oid			outer_class = restricted_class;
	Oid			renamed_class = InvalidOid;
	char	   *from = NULL;
	char	   *to = NULL;
	char	   *stream = destination_set_by(statement);

	/* core may free or scribble on the statement, so look at it before */
	restricted_class = InvalidOid;
	if (IsA(statement, DropStmt) && ((DropStmt *) statement)->behavior == DROP_RESTRICT)
		restricted_class = class_of(((DropStmt *) statement)->removeType);
	if (IsA(statement, RenameStmt))
		renamed_class = class_of(((RenameStmt *) statement)->renameType);
	if (OidIsValid(renamed_class))
	{
		from = pstrdup(strVal(((RenameStmt *) statement)->object));
		to = pstrdup(((RenameStmt *) statement)->newname);
	}

	PG_TRY();
	{
		next_process_utility(UTILITY_ARGUMENTS);
	}
	PG_FINALLY();
	{
		restricted_class = outer_class;
	}
	PG_END_TRY();

	if (OidIsValid(renamed_class))
		rename_in_rows(renamed_class, from, to);
	if (stream != NULL)
		check_destination(stream);
}

/*
 * The catalog of a kind of objects that pipelines need; InvalidOid: another.
 */
static Oid
class_of(ObjectType type)
{
	switch (type)
	{
		case OBJECT_PUBLICATION:
			return PublicationRelationId;
		case OBJECT_FOREIGN_SERVER:
			return ForeignServerRelationId;
		default:
			return InvalidOid;
	}
}

/* Object access hook: does a pipeline need the object that is dropped? */
static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id,
			  int sub_id, void *arg)
{
	PipelineColumn column = class_id == PublicationRelationId ?
		PIPELINE_PUBLICATION_OIDS : PIPELINE_STREAM_OIDS;
	const char *what = class_id == PublicationRelationId ? "publication" : "stream";
	Relation	rel;
	ListCell   *cell;

	if (prev_object_access)
		prev_object_access(access, class_id, object_id, sub_id, arg);
	if (access != OAT_DROP ||
		(class_id != PublicationRelationId && class_id != ForeignServerRelationId))
		return;
	rel = pipeline_catalog_open_at_once(AccessShareLock);
	if (rel == NULL)
		return;

	foreach(cell, pipeline_catalog_rows(rel))
	{
		PipelineRow *row = lfirst(cell);
		bool		refuse = restricted_class == class_id;

		if (DatumGetBool(row->values[PIPELINE_DROPPED]) || pipeline_row_is_detached(row) ||
			!list_member_oid(pipeline_row_oids(row, column), object_id))
			continue;
		ereport(refuse ? ERROR : NOTICE,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 refuse ? errmsg("cannot drop %s because pipeline \"%s\" needs it", what,
								 pipeline_row_text(row, PIPELINE_NAME)) :
				 errmsg("pipeline \"%s\" stops because a %s of it is dropped",
						pipeline_row_text(row, PIPELINE_NAME), what),
				 refuse ? errhint("Alter or drop the pipeline first, or use DROP ... CASCADE to have it stop.") : 0));
	}
	table_close(rel, AccessShareLock);
}

/* Does a pipeline send to a stream? */
static bool
feeds(const Pipeline *pipeline, const char *stream)
{
	ListCell   *cell;

	if (strcmp(pipeline->stream, stream) == 0)
		return true;
	foreach(cell, pipeline->routes)
	{
		if (strcmp(((PipelineRoute *) lfirst(cell))->stream, stream) == 0)
			return true;
	}
	return false;
}

static void
name_pipeline(void *pipeline)
{
	errcontext("pipeline \"%s\", which sends to the stream", ((Pipeline *) pipeline)->name);
}

/*
 * Error unless the records of all pipelines of a stream fit its destination.
 */
static void
check_destination(const char *name)
{
	Stream	   *stream = stream_get_changed(name);
	ErrorContextCallback context = {error_context_stack, name_pipeline, NULL};
	Relation	rel;
	ListCell   *cell;

	if (stream == NULL || !OidIsValid(own_tables_table_oid(TABLE_PIPELINES)))
		return;
	rel = pipeline_catalog_open(AccessShareLock);
	foreach(cell, pipeline_catalog_rows(rel))
	{
		PipelineRow *row = lfirst(cell);
		Pipeline   *pipeline;

		if (DatumGetBool(row->values[PIPELINE_DROPPED]) || pipeline_row_is_detached(row) ||
			DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]))
			continue;
		pipeline = pipeline_from_row(row);
		if (!feeds(pipeline, name))
			continue;
		context.arg = pipeline;
		error_context_stack = &context;
		destination_check_format(&stream->options, name, pipeline->format->name,
								 &pipeline->values);
		error_context_stack = context.previous;
	}
	table_close(rel, NoLock);
}

/* Have the rows that name an object name it anew. */
static void
rename_in_rows(Oid class_id, const char *from, const char *to)
{
	Relation	rel;
	ListCell   *cell;

	if (!OidIsValid(own_tables_table_oid(TABLE_PIPELINES)))
		return;
	rel = pipeline_catalog_open(PIPELINE_WRITE_LOCK);
	foreach(cell, pipeline_catalog_rows(rel))
	{
		PipelineRow *row = lfirst(cell);

		if (pipeline_row_is_detached(row) || DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]))
			continue;
		if (class_id == PublicationRelationId ? rename_in_publications(row, from, to) :
			rename_in_streams(row, from, to))
			pipeline_catalog_store(rel, row);
	}
	table_close(rel, NoLock);
}

static bool
rename_in_publications(PipelineRow *row, const char *from, const char *to)
{
	List	   *names = pipeline_row_texts(row, PIPELINE_PUBLICATIONS);
	Datum	   *elements = palloc(list_length(names) * sizeof(Datum));
	bool		found = false;
	ListCell   *cell;

	foreach(cell, names)
	{
		bool		same = strcmp(lfirst(cell), from) == 0;

		elements[foreach_current_index(cell)] = CStringGetTextDatum(same ? to : lfirst(cell));
		found |= same;
	}
	row->values[PIPELINE_PUBLICATIONS] =
		PointerGetDatum(construct_array(elements, list_length(names), TEXTOID, -1, false,
										TYPALIGN_INT));
	return found;
}

static bool
rename_in_streams(PipelineRow *row, const char *from, const char *to)
{
	Jsonb	   *routes = DatumGetJsonbP(row->values[PIPELINE_ROUTES]);
	JsonbIterator *it = JsonbIteratorInit(&routes->root);
	StringInfoData json;
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		found = strcmp(pipeline_row_text(row, PIPELINE_STREAM), from) == 0;

	if (found)
		row->values[PIPELINE_STREAM] = CStringGetTextDatum(to);
	initStringInfo(&json);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char	   *string = token == WJB_KEY || token == WJB_VALUE ?
			pnstrdup(value.val.string.val, value.val.string.len) : NULL;

		if (token == WJB_BEGIN_OBJECT || token == WJB_END_OBJECT)
			appendStringInfoChar(&json, token == WJB_BEGIN_OBJECT ? '{' : '}');
		if (string == NULL)
			continue;
		if (token == WJB_KEY && json.len > 1)
			appendStringInfoChar(&json, ',');
		if (token == WJB_VALUE && strcmp(string, from) == 0)
		{
			found = true;
			string = pstrdup(to);
		}
		escape_json(&json, string);
		if (token == WJB_KEY)
			appendStringInfoChar(&json, ':');
	}
	row->values[PIPELINE_ROUTES] = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	return found;
}
