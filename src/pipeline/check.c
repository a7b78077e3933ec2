/*
 * check.c
 *		The checks before a pipeline is created, changed or resumed.
 *
 * Runs in backends.  The checks are made for the current user: whoever creates
 * a pipeline must own its publications, must have the right to read their
 * tables, and may use its streams.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "common/compat.h"
#include "pipeline/check.h"
#include "pipeline/published.h"
#include "stream/destination.h"
#include "stream/stream.h"
#include "wal/durable_message.h"
#include "wal/replication_slot.h"

/* firehose.pipeline_role */
static char *pipeline_role;

static void check_choices(const PipelineRow *row);
static void check_format(const Pipeline *pipeline);
static void check_publications(const List *publications);
static void check_prefixes(const List *prefixes);
static void check_streams(const Pipeline *pipeline);
static void check_route(const Pipeline *pipeline, const PipelineRoute *route);
static void check_reserved_names(const PipelineRow *row);
static void warn_of_unchanged(const PipelineRow *row);
static void warn_of_missing_keys(const List *publications);
static char *query_list(const char *query, const List *publications, Oid oid);
static char *query_tables(const char *query, const List *publications, Oid oid,
						  const Oid *relids, int nrelids);

void
pipeline_check_define_settings(void)
{
	DefineCustomStringVariable("firehose.pipeline_role",
							   "Sets the role whose members may create pipelines and enable durable puts.",
							   "Superusers and roles with REPLICATION always may; if it is empty, no other role may.",
							   &pipeline_role, "", PGC_SUSET, 0, NULL, NULL, NULL);
}

void
pipeline_check_role(void)
{
	Oid			role = pipeline_role[0] ? get_role_oid(pipeline_role, true) : InvalidOid;

	if (superuser() || has_rolreplication(GetUserId()) ||
		(OidIsValid(role) && has_privs_of_role(GetUserId(), role)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to create a pipeline"),
			 errdetail("A pipeline has a replication slot, which retains WAL until its changes are delivered."),
			 pipeline_role[0] ?
			 errhint("Must be superuser, have REPLICATION, or be a member of role \"%s\", which firehose.pipeline_role names.",
					 pipeline_role) :
			 errhint("Must be superuser, have REPLICATION, or be a member of the role that firehose.pipeline_role names.")));
}

void
pipeline_check_server(void)
{
	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a pipeline requires wal_level to be logical"),
				 errhint("Set wal_level = logical and restart the server.")));
}

void
pipeline_check_name(const char *name)
{
	size_t		length = strlen(name);

	if (length == 0 || length >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("name of a pipeline must have 1 to %d bytes", NAMEDATALEN - 1)));
}

void
pipeline_check_row(const PipelineRow *row)
{
	char	   *format = pipeline_row_text(row, PIPELINE_FORMAT);
	char	   *origin = pipeline_row_text(row, PIPELINE_ORIGIN);
	Pipeline   *pipeline;

	if (!SERVER_HAS_FAILOVER_SLOTS && !row->nulls[PIPELINE_FAILOVER] &&
		DatumGetBool(row->values[PIPELINE_FAILOVER]))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("failover slots require PostgreSQL 17 or later"),
				 errhint("Leave failover out.")));
	/* it names neither publications nor streams */
	if (DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]))
		return;

	if (format_find(format) == NULL)
	{
		StringInfoData names;

		initStringInfo(&names);
		for (int i = 0; format_get(i); i++)
			appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "", format_get(i)->name);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" does not exist", format),
				 errhint("Valid values are: %s.", names.data)));
	}
	check_choices(row);

	if (strcmp(origin, "any") != 0 && strcmp(origin, "none") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for origin: \"%s\"", origin),
				 errhint("Valid values are: \"any\", \"none\".")));
	if (!PGOUTPUT_KNOWS_ORIGIN && strcmp(origin, "none") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("origin \"none\" requires PostgreSQL 16 or later")));

	pipeline = pipeline_from_row(row);
	check_format(pipeline);
	check_publications(pipeline->publications);
	pipeline_check_select(pipeline->publications, GetUserId(), NULL, 0);
	check_prefixes(pipeline->message_prefixes);
	check_streams(pipeline);
	warn_of_missing_keys(pipeline->publications);
	if (strcmp(format, "flat") == 0)
	{
		if (pipeline->format_options.metadata != METADATA_NONE)
			check_reserved_names(row);
		if (!pipeline->format_options.omit_unchanged)
			warn_of_unchanged(row);
	}
}

/* Error unless every option has one of its values. */
static void
check_choices(const PipelineRow *row)
{
	PipelineColumn column;
	const char *name;
	const char *const *values;

	for (int i = 0; pipeline_choice(i, &column, &name, &values); i++)
	{
		char	   *chosen = pipeline_row_text(row, column);
		StringInfoData hint;

		if (chosen == NULL || value_find_word(values, chosen) >= 0)
			continue;
		initStringInfo(&hint);
		for (int j = 0; values[j]; j++)
			appendStringInfo(&hint, "\"%s\", ", values[j]);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for %s: \"%s\"", name, chosen),
				 errhint("Valid values are: %s\"default\".", hint.data)));
	}
}

/* Error unless a format has what was chosen for it. */
static void
check_format(const Pipeline *pipeline)
{
	const Format *format = pipeline->format;

	if (format->timestamps != 0 && (format->timestamps & 1 << pipeline->values.timestamps) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" does not have this form of timestamps", format->name),
				 errhint("Use timestamps => 'epoch_us' or 'epoch_ms', or leave it out.")));
	if (pipeline->values.numerics == NUMERICS_PRECISE && format->values.dialect != VALUES_DEBEZIUM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" does not have this form of numerics", format->name),
				 errhint("Use numerics => 'string' or 'number', or the format \"debezium\".")));
	if (pipeline->format_options.metadata == METADATA_SCHEMA && !format->schema)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" does not have records that describe tables", format->name),
				 errhint("Use the format \"json\" or \"dms\", or another value of metadata.")));
}

/* Error unless the publications are there and the user's. */
static void
check_publications(const List *publications)
{
	ListCell   *cell;

	if (publications == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a pipeline needs a publication"),
				 errhint("Name at least one, as in '{orders_pub}'.")));

	foreach(cell, publications)
	{
		const char *name = lfirst(cell);
		HeapTuple	tuple = SearchSysCache1(PUBLICATIONNAME, CStringGetDatum(name));
		Oid			owner;

		if (!HeapTupleIsValid(tuple))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("publication \"%s\" does not exist", name),
					 errhint("Create it first, as in: CREATE PUBLICATION %s FOR TABLE ...;",
							 quote_identifier(name))));
		owner = ((Form_pg_publication) GETSTRUCT(tuple))->pubowner;
		ReleaseSysCache(tuple);

		if (!has_privs_of_role(GetUserId(), owner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("must be owner of publication %s", name)));
		for (int i = 0; i < foreach_current_index(cell); i++)
		{
			if (strcmp(list_nth(publications, i), name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("publication name \"%s\" used more than once", name)));
		}
	}
}

/* Error if the pipeline asks for the messages that are durable puts. */
static void
check_prefixes(const List *prefixes)
{
	ListCell   *cell;

	foreach(cell, prefixes)
	{
		if (strcmp(lfirst(cell), DURABLE_MESSAGE_PREFIX) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_RESERVED_NAME),
					 errmsg("message prefix \"%s\" is reserved", DURABLE_MESSAGE_PREFIX),
					 errdetail("Messages of this prefix are durable puts, and go to the streams they were put into.")));
	}
}

/*
 * Error unless a stream is there, may be used, and goes to where the
 * pipeline's records fit.
 */
static void
check_stream(const Pipeline *pipeline, const char *name)
{
	Stream	   *stream = stream_get(name);

	stream_check_usage(stream, GetUserId());
	destination_check_format(&stream->options, name, pipeline->format->name, &pipeline->values);
}

/* Error unless the streams are there and may be used. */
static void
check_streams(const Pipeline *pipeline)
{
	ListCell   *cell;

	/* durable puts name their streams themselves */
	if (pipeline->durable_puts)
		return;

	check_stream(pipeline, pipeline->stream);
	foreach(cell, pipeline->routes)
	{
		PipelineRoute *route = lfirst(cell);

		check_route(pipeline, route);
		check_stream(pipeline, route->stream);
	}
}

/*
 * Error unless a route names a table as the publications publish it: of a
 * partitioned one either its root or its leaves.
 */
static void
check_route(const Pipeline *pipeline, const PipelineRoute *route)
{
	Oid			schema = get_namespace_oid(route->schema, true);
	Oid			relid = OidIsValid(schema) ? get_relname_relid(route->table, schema) : InvalidOid;
	char		relkind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" of a route does not exist",
						route->schema, route->table)));
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s.%s\" of a route is not a table",
						route->schema, route->table)));
	if (query_list("SELECT string_agg('x', '') " PUBLISHED_COLUMNS " AND c.oid = $3",
				   pipeline->publications, relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" of a route is not published by the pipeline's publications",
						route->schema, route->table),
				 relkind == RELKIND_PARTITIONED_TABLE ?
				 errhint("Name its partitions, or publish it with publish_via_partition_root.") :
				 errhint("Add the table to a publication first, or leave out the route. Of a table that is published by its root, name the root.")));
}

/*
 * Format flat: error if a column has the name of a key that the format adds.
 */
static void
check_reserved_names(const PipelineRow *row)
{
	char	   *columns = query_list("SELECT string_agg(DISTINCT format('%I.%I.%I', n.nspname, c.relname, a.attname), ', ') "
									 PUBLISHED_COLUMNS " AND a.attname = ANY ($2)",
									 pipeline_row_texts(row, PIPELINE_PUBLICATIONS), InvalidOid);

	if (columns != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("column names are reserved by format \"flat\""),
				 errdetail("Columns: %s.", columns),
				 errhint("Rename them, leave them out of the publication with a column list, or use metadata => 'none'.")));
}

/* Format flat: warn of tables whose updates may come without a column. */
static void
warn_of_unchanged(const PipelineRow *row)
{
	char	   *tables = query_list("SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.relname), ', ') "
									PUBLISHED_COLUMNS " AND b.pubupdate AND c.relreplident <> 'f'"
									" AND a.attstorage <> 'p' AND NOT $2 IS NULL",
								   pipeline_row_texts(row, PIPELINE_PUBLICATIONS), InvalidOid);

	if (tables != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("updates that leave a large value unchanged cannot be sent in format \"flat\""),
				 errdetail("They come without that value, and go to the dead letters. This can happen with: %s.",
						   tables),
				 errhint("Use ALTER TABLE ... REPLICA IDENTITY FULL, or unchanged => 'omit' if the destination keeps columns that a record lacks.")));
}

/* Warn of tables whose deletes come without a column of the key. */
static void
warn_of_missing_keys(const List *publications)
{
	char	   *tables = query_list("SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.relname), ', ') "
									PUBLISHED_COLUMNS " AND b.pubdelete AND EXISTS (SELECT"
									" FROM pg_index i JOIN pg_attribute g ON g.attrelid = i.indrelid AND g.attnum = ANY (i.indkey)"
									" WHERE i.indrelid = c.oid AND g.attgenerated <> ''"
									" AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END"
									" AND (current_setting('server_version_num')::int < 180000 OR g.attname <> ALL (p.attnames)))",
									publications, InvalidOid);

	if (tables != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("deletes of tables whose key has generated columns cannot be sent"),
				 errdetail("They come without these columns, and go to the dead letters. This happens with: %s.", tables),
				 errhint("Use ALTER TABLE ... REPLICA IDENTITY FULL, or another unique index.")));
}

void
pipeline_check_select(List *publications, Oid role, const Oid *relids, int nrelids)
{
	char	   *tables;

	if (superuser_arg(role))
		return;
	tables = query_tables("SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.relname), ', ') "
						  PUBLISHED_COLUMNS
						  " AND (cardinality($4) = 0 OR p.relid = ANY ($4))"
						  " AND NOT has_column_privilege($3, c.oid, a.attnum, 'SELECT')",
						  publications, role, relids, nrelids);
	if (tables != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not read all that the pipeline sends: %s",
						GetUserNameFromId(role, false), tables),
				 errhint("Grant it SELECT, or leave them out of the publications.")));
}

/*
 * Run a query on the catalogs with publications, flat's keys and an OID;
 * returns its text or NULL.
 */
static char *
query_list(const char *query, const List *publications, Oid oid)
{
	return query_tables(query, publications, oid, NULL, 0);
}

/* The same, with the OIDs of tables, too. */
static char *
query_tables(const char *query, const List *publications, Oid oid, const Oid *relids,
			 int nrelids)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[] = {TEXTARRAYOID, TEXTARRAYOID, OIDOID, OIDARRAYOID};
	Datum		args[lengthof(types)];
	Datum	   *names = palloc(list_length(publications) * sizeof(Datum));
	Datum	   *tables = palloc(Max(nrelids, 1) * sizeof(Datum));
	ListCell   *cell;
	Datum		keys[16];
	char	   *result = NULL;
	int			nkeys = 0;
	int			nest_level = NewGUCNestLevel();

	for (const char *key; (key = flat_reserved_name(nkeys)) != NULL; nkeys++)
		keys[nkeys] = CStringGetTextDatum(key);
	foreach(cell, publications)
		names[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	args[0] = PointerGetDatum(construct_array(names, list_length(publications), TEXTOID, -1,
											  false, TYPALIGN_INT));
	args[1] = PointerGetDatum(construct_array(keys, nkeys, TEXTOID, -1, false, TYPALIGN_INT));
	args[2] = ObjectIdGetDatum(oid);
	for (int i = 0; i < nrelids; i++)
		tables[i] = ObjectIdGetDatum(relids[i]);
	args[3] = PointerGetDatum(construct_array(tables, nrelids, OIDOID, sizeof(Oid), true,
											  TYPALIGN_INT));

	/* names mean the same, whichever search_path the caller has */
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(query, lengthof(types), types, args, NULL, true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "query on catalogs failed");
	result = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (result != NULL)
		result = MemoryContextStrdup(caller, result);
	SPI_finish();
	AtEOXact_GUC(false, nest_level);

	return result;
}

void
pipeline_check_slot(Relation rel, const char *name, bool take_over_slot)
{
	List	   *rows = pipeline_catalog_rows(rel);
	ListCell   *cell;
	SlotInfo	info;
	bool		exists;

	ReplicationSlotValidateName(name, ERROR);
	foreach(cell, rows)
	{
		PipelineRow *row = lfirst(cell);

		if (strcmp(pipeline_row_slot_name(row), name) != 0)
			continue;
		if (DatumGetBool(row->values[PIPELINE_DROPPED]))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("replication slot \"%s\" of a dropped pipeline is not dropped yet", name),
					 errhint("Try again in a moment, or choose another name.")));
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("replication slot \"%s\" is used by another pipeline", name)));
	}

	exists = replication_slot_look(name, &info);
	if (!take_over_slot)
	{
		if (exists)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("replication slot \"%s\" already exists", name),
					 errhint("Choose another name, or take it over with create_slot => false.")));
		if (replication_slots_left() == 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("all replication slots are in use"),
					 errhint("Free one or increase max_replication_slots.")));
		return;
	}

	/* as pg_logical_slot_get_changes, which could read it too */
	if (!superuser() && !has_rolreplication(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser or replication role to take over a replication slot")));
	if (!exists)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("replication slot \"%s\" does not exist", name),
				 errhint("Omit create_slot => false to create it.")));
	if (info.database != MyDatabaseId || strcmp(info.plugin, "pgoutput") != 0 ||
		!info.persistent)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" cannot be taken over", name),
				 errdetail("Only a permanent logical slot of this database with the plugin pgoutput can.")));
	if (info.lost)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" was invalidated", name)));
	if (info.active_pid != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("replication slot \"%s\" is active for PID %d",
						name, info.active_pid)));
}

List *
pipeline_published_tables(List *publications)
{
	char	   *list = query_list("SELECT string_agg(DISTINCT c.oid::text, ' ') " PUBLISHED_COLUMNS,
								  publications, InvalidOid);
	List	   *relids = NIL;

	for (char *end; list != NULL && *list != '\0'; list = end)
	{
		relids = lappend_oid(relids, strtoul(list, &end, 10));
		while (*end == ' ')
			end++;
	}
	return relids;
}
