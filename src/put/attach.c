/*
 * attach.c
 *		firehose_attach and firehose_detach: the triggers that send a table to
 *		a stream, made and dropped by one call.
 *
 * Runs in backends.  They write the CREATE TRIGGER and DROP TRIGGER that one
 * would write by hand, and run them with the caller's rights, so that event
 * triggers, pg_dump and \d know them as any other.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "common/preload.h"
#include "common/sql_command.h"
#include "format/format.h"
#include "put/trigger.h"
#include "stream/stream.h"

/* The choices of firehose_attach, and the trigger's argument for each. */
typedef struct AttachChoice
{
	const char *argument;
	const char *plain;			/* the trigger needs no word for it */
	const char *other;
	const char *word;
} AttachChoice;

static const AttachChoice level_choice = {"level", "row", "statement", NULL};
static const AttachChoice names_choice = {"names", "leaf", "root", "root"};
static const AttachChoice bigints_choice = {"bigints", "number", "string", "bigint_string"};

/* The triggers of a statement-level attachment; truncate is of both levels. */
static const struct StatementTrigger
{
	const char *event;
	const char *suffix;
	const char *transition;
}			statement_triggers[] =
{
	{"INSERT", "insert", "REFERENCING NEW TABLE AS new_rows"},
	{"UPDATE", "update", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"},
	{"DELETE", "delete", "REFERENCING OLD TABLE AS old_rows"},
};

/* The triggers of one call: the same table, stream and arguments. */
typedef struct Attachment
{
	const char *stream;
	char	   *table;			/* qualified and quoted */
	char	   *call;			/* firehose_trigger(...) */
	bool		always;			/* fires for what a subscription applies, too */
	ArrayBuildState *names;		/* of the triggers made */
} Attachment;

PG_FUNCTION_INFO_V1(firehose_attach);
PG_FUNCTION_INFO_V1(firehose_detach);

static bool choose(FunctionCallInfo fcinfo, int argument, const AttachChoice *choice);
static const char *content_word(char *value);
static Form_pg_class lock_table(Oid relid, HeapTuple *tuple);
static char *qualified_name(Oid relid);
static List *find_triggers(Oid relid, const char *stream, bool *inherited);
static void create_trigger(Attachment *a, const char *suffix, const char *event,
						   const char *transition, const char *level);

/* ------------------------------------------------------------------------
 * Attach
 * ------------------------------------------------------------------------
 */
Datum
firehose_attach(PG_FUNCTION_ARGS)
{
	Attachment	a = {0};
	StringInfoData call;
	HeapTuple	tuple;
	Form_pg_class class;
	Stream	   *stream;
	bool		statement;
	const char *content;
	bool		row_only;
	bool		inherited;
	Oid			relid;

	firehose_check_preloaded();
	for (int i = 0; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("arguments of firehose_attach() must not be null")));
	}
	relid = PG_GETARG_OID(0);
	a.stream = text_to_cstring(PG_GETARG_TEXT_PP(1));

	initStringInfo(&call);
	appendStringInfo(&call, "%s.firehose_trigger(%s",
					 quote_identifier(get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid))),
					 quote_literal_cstr(a.stream));
	statement = choose(fcinfo, 2, &level_choice);
	content = content_word(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	row_only = content && strcmp(content, "row") == 0;
	if (content)
		appendStringInfo(&call, ", '%s'", content);
	if (choose(fcinfo, 4, &names_choice))
		appendStringInfo(&call, ", '%s'", names_choice.word);
	if (choose(fcinfo, 5, &bigints_choice))
		appendStringInfo(&call, ", '%s'", bigints_choice.word);
	appendStringInfoChar(&call, ')');
	a.call = call.data;
	a.always = PG_GETARG_BOOL(6);
	if (a.always && statement)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("always => true requires triggers of level row"),
				 errdetail("A subscription that applies changes fires no statement triggers for them."),
				 errhint("Leave out level => 'statement'.")));

	stream = stream_get(a.stream);
	class = lock_table(relid, &tuple);
	stream_check_usage(stream, class->relowner);
	ReleaseSysCache(tuple);
	a.table = qualified_name(relid);
	if (find_triggers(relid, a.stream, &inherited) != NIL || inherited)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("table %s is attached to stream \"%s\" already", a.table, a.stream),
				 inherited ? errhint("It sends as a partition of a table that is attached.") :
				 errhint("To attach it in another way, detach it first: SELECT firehose_detach(%s, %s);",
						 quote_literal_cstr(a.table), quote_literal_cstr(a.stream))));

	if (!statement)
		create_trigger(&a, NULL, "INSERT OR UPDATE OR DELETE", "", "ROW");
	for (int i = 0; statement && i < lengthof(statement_triggers); i++)
		create_trigger(&a, statement_triggers[i].suffix, statement_triggers[i].event,
					   statement_triggers[i].transition, "STATEMENT");
	/* a row alone has no way to say that all are gone */
	if (!row_only)
		create_trigger(&a, "truncate", "TRUNCATE", "", "STATEMENT");
	return makeArrayResult(a.names, CurrentMemoryContext);
}

/* Has the argument its second value? */
static bool
choose(FunctionCallInfo fcinfo, int argument, const AttachChoice *choice)
{
	const char *value = text_to_cstring(PG_GETARG_TEXT_PP(argument));

	if (strcmp(value, choice->plain) != 0 && strcmp(value, choice->other) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for %s: \"%s\"", choice->argument, value),
				 errhint("Valid values are: \"%s\", \"%s\".", choice->plain, choice->other)));
	return strcmp(value, choice->other) == 0;
}

/* The trigger's word for its content; NULL: it needs none. */
static const char *
content_word(char *value)
{
	const Format *format = format_find(value);

	if (strcmp(value, "change") == 0)
		return NULL;
	if (strcmp(value, "row") != 0 && (format == NULL || !format->triggers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for content: \"%s\"", value),
				 errhint("Valid values are: \"change\", \"row\", \"json\", \"wal2json\", \"debezium\", \"dms\".")));
	return value;
}

/*
 * Lock a table as CREATE TRIGGER does, so that it keeps its name and its
 * triggers.  The caller releases the tuple.
 */
static Form_pg_class
lock_table(Oid relid, HeapTuple *tuple)
{
	Form_pg_class class;
	AclResult	result = pg_class_aclcheck(relid, GetUserId(), ACL_TRIGGER);

	if (get_rel_name(relid) != NULL && result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, get_rel_name(relid));
	LockRelationOid(relid, ShareRowExclusiveLock);
	*tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(*tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table with OID %u does not exist", relid)));
	class = (Form_pg_class) GETSTRUCT(*tuple);
	if (class->relkind != RELKIND_RELATION && class->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", NameStr(class->relname)),
				 errhint("For other relations use CREATE TRIGGER ... EXECUTE FUNCTION firehose_trigger(...).")));
	return class;
}

static char *
qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/*
 * Create one of the triggers.  A name that is too long is cut where it matters
 * least.
 */
static void
create_trigger(Attachment *a, const char *suffix, const char *event,
			   const char *transition, const char *level)
{
	char	   *name = makeObjectName("firehose", a->stream, suffix);

	sql_command_execute(psprintf("CREATE TRIGGER %s AFTER %s ON %s %s FOR EACH %s EXECUTE FUNCTION %s",
								 quote_identifier(name), event, a->table, transition, level, a->call));
	if (a->always)
		sql_command_execute(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", a->table,
									 quote_identifier(name)));
	a->names = accumArrayResult(a->names, CStringGetTextDatum(name), false, TEXTOID,
								CurrentMemoryContext);
}

/* ------------------------------------------------------------------------
 * Detach
 * ------------------------------------------------------------------------
 */
Datum
firehose_detach(PG_FUNCTION_ARGS)
{
	ArrayBuildState *names = NULL;
	char	   *stream = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	HeapTuple	tuple;
	List	   *triggers;
	ListCell   *cell;
	bool		inherited;
	char	   *table;
	Oid			relid;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the relation of firehose_detach() must not be null")));
	relid = PG_GETARG_OID(0);
	(void) lock_table(relid, &tuple);
	ReleaseSysCache(tuple);
	table = qualified_name(relid);
	triggers = find_triggers(relid, stream, &inherited);
	if (triggers == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 stream ? errmsg("table %s is not attached to stream \"%s\"", table, stream) :
				 errmsg("table %s is not attached to any stream", table),
				 inherited ? errhint("It sends as a partition: detach the table that it is part of.") :
				 errhint("In psql, \\d shows the triggers of a table.")));

	foreach(cell, triggers)
	{
		char	   *name = lfirst(cell);

		sql_command_execute(psprintf("DROP TRIGGER %s ON %s", quote_identifier(name), table));
		names = accumArrayResult(names, CStringGetTextDatum(name), false, TEXTOID,
								 CurrentMemoryContext);
	}
	return makeArrayResult(names, CurrentMemoryContext);
}

/*
 * The names of a table's triggers that send to a stream, NULL: to any.  Those
 * that it has as a partition go with those of its parent: they are told of by
 * `inherited` alone.
 */
static List *
find_triggers(Oid relid, const char *stream, bool *inherited)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	List	   *names = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	*inherited = false;
	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
		const char *name = trigger_stream(rel, tuple);

		if (name == NULL || (stream && strcmp(name, stream) != 0))
			continue;
		if (OidIsValid(trigger->tgparentid))
			*inherited = true;
		else
			names = lappend(names, pstrdup(NameStr(trigger->tgname)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return names;
}
