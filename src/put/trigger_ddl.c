/*
 * trigger_ddl.c
 *		CREATE TRIGGER ... EXECUTE FUNCTION firehose_trigger('stream').
 *
 * Runs in backends, as object access hook.  A trigger sends with the rights of
 * the table's owner, and a role that holds TRIGGER on a table need not be its
 * owner.  So whoever creates the trigger needs USAGE on the stream, unless
 * that role has the privileges of the owner, whose right is checked whenever
 * the trigger fires.  Otherwise a role could have another's table send to a
 * stream that it may not use itself.
 *
 * A trigger names its stream by a text, of which core knows no dependency: a
 * trigger on a stream that does not exist, and DROP and RENAME of a stream
 * that triggers name, are told by a WARNING.  Records that do not fit where
 * the stream goes to are an error, whichever of the two comes last.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "common/utility.h"
#include "format/format.h"
#include "put/trigger.h"
#include "stream/destination.h"
#include "stream/stream.h"

static object_access_hook_type prev_object_access = NULL;
static ProcessUtility_hook_type next_process_utility;

static void object_access(ObjectAccessType access, Oid class_id, Oid object_id,
						  int sub_id, void *arg);
static void check_trigger(Relation triggers, HeapTuple tuple);
static const char *trigger_format(Relation triggers, HeapTuple tuple);
static void process_utility(UTILITY_PARAMETERS);
static List *lost_streams(Node *statement);
static void warn_of_triggers(const char *stream);
static void check_destination(const char *name);
static bool is_firehose_trigger(Oid function);
static bool owns_table(Oid relid);

void
trigger_install_hook(void)
{
	prev_object_access = object_access_hook;
	object_access_hook = object_access;
	next_process_utility = utility_install_hook(process_utility);
}

/* ProcessUtility hook: whose stream has gone under its name? */
static void
process_utility(UTILITY_PARAMETERS)
{
	/* core may free or scribble on the statement, so look at it before */
	List	   *names = lost_streams(pstmt->utilityStmt);
	char	   *stream = destination_set_by(pstmt->utilityStmt);
	ListCell   *cell;

	next_process_utility(UTILITY_ARGUMENTS);

	foreach(cell, names)
		warn_of_triggers(lfirst(cell));
	if (stream != NULL)
		check_destination(stream);
}

/* The names of servers that a statement drops or renames. */
static List *
lost_streams(Node *statement)
{
	List	   *names = NIL;
	ListCell   *cell;

	if (IsA(statement, RenameStmt) &&
		((RenameStmt *) statement)->renameType == OBJECT_FOREIGN_SERVER)
		return list_make1(pstrdup(strVal(((RenameStmt *) statement)->object)));
	if (!IsA(statement, DropStmt) ||
		((DropStmt *) statement)->removeType != OBJECT_FOREIGN_SERVER)
		return NIL;
	foreach(cell, ((DropStmt *) statement)->objects)
		names = lappend(names, pstrdup(strVal(lfirst(cell))));
	return names;
}

/* Warn if triggers of ours name a stream that has gone. */
static void
warn_of_triggers(const char *stream)
{
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(triggers, InvalidOid, false, NULL, 0, NULL);
	StringInfoData names;
	HeapTuple	tuple;

	initStringInfo(&names);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
		const char *name = trigger_stream(triggers, tuple);

		if (name == NULL || strcmp(name, stream) != 0)
			continue;
		appendStringInfo(&names, "%s\"%s\" on %s.%s", names.len > 0 ? ", " : "",
						 NameStr(trigger->tgname),
						 quote_identifier(get_namespace_name(get_rel_namespace(trigger->tgrelid))),
						 quote_identifier(get_rel_name(trigger->tgrelid)));
	}
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	if (names.len > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("triggers name stream \"%s\", which does not exist any more", stream),
				 errdetail("Changes of their tables are errors from now on. The triggers are: %s.", names.data),
				 errhint("Drop these triggers, or create them anew for another stream.")));
}

static void
name_trigger(void *trigger)
{
	errcontext("trigger \"%s\" of table \"%s\", which sends to the stream",
			   NameStr(((Form_pg_trigger) trigger)->tgname),
			   get_rel_name(((Form_pg_trigger) trigger)->tgrelid));
}

/* Error unless the records of all triggers of a stream fit its destination. */
static void
check_destination(const char *name)
{
	Stream	   *stream = stream_get_changed(name);
	ErrorContextCallback context = {error_context_stack, name_trigger, NULL};
	Relation	triggers;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (stream == NULL)
		return;
	triggers = table_open(TriggerRelationId, AccessShareLock);
	scan = systable_beginscan(triggers, InvalidOid, false, NULL, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		const char *of = trigger_stream(triggers, tuple);

		if (of == NULL || strcmp(of, name) != 0)
			continue;
		context.arg = GETSTRUCT(tuple);
		error_context_stack = &context;
		destination_check_format(&stream->options, name, trigger_format(triggers, tuple), NULL);
		error_context_stack = context.previous;
	}
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
}

/* Object access hook: look at a trigger that is being created. */
static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id,
			  int sub_id, void *arg)
{
	Relation	triggers;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (prev_object_access)
		prev_object_access(access, class_id, object_id, sub_id, arg);
	if (access != OAT_POST_CREATE || class_id != TriggerRelationId)
		return;

	/* the command counter has not made it visible yet */
	triggers = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object_id));
	scan = systable_beginscan(triggers, TriggerOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		check_trigger(triggers, tuple);
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
}

/*
 * Error if a trigger calls firehose_trigger and its creator may not have it,
 * or its records do not fit where the stream goes to; a warning if it names no
 * stream that exists.
 */
static void
check_trigger(Relation triggers, HeapTuple tuple)
{
	Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
	const char *name = trigger_stream(triggers, tuple);
	bool		exists;

	if (name == NULL)
		return;
	exists = OidIsValid(get_foreign_server_oid(name, true));
	if (exists)
		destination_check_format(&stream_get(name)->options, name,
								 trigger_format(triggers, tuple), NULL);
	if (owns_table(trigger->tgrelid))
	{
		if (!exists)
			ereport(WARNING,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("stream \"%s\" of trigger \"%s\" does not exist",
							name, NameStr(trigger->tgname)),
					 errdetail("Changes of table \"%s\" are errors until it does.",
							   get_rel_name(trigger->tgrelid)),
					 errhint("Create it as in: CREATE SERVER %s FOREIGN DATA WRAPPER firehose;",
							 quote_identifier(name))));
		return;
	}

	/* a stream that is created later would never have been checked */
	if (!exists)
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(trigger->tgrelid));
	stream_check_usage(stream_get(name), GetUserId());
}

/* The format of a trigger's records: the words behind its stream tell. */
static const char *
trigger_format(Relation triggers, HeapTuple tuple)
{
	bool		isnull;
	Datum		args = heap_getattr(tuple, Anum_pg_trigger_tgargs, RelationGetDescr(triggers), &isnull);
	bytea	   *words = DatumGetByteaPP(args);
	const char *end = VARDATA_ANY(words) + VARSIZE_ANY_EXHDR(words);

	/* the first word is the stream; the catalog has no trigger without it */
	for (const char *word = VARDATA_ANY(words); (word += strlen(word) + 1) < end;)
	{
		if (strcmp(word, "row") == 0)
			return "row";
		if (format_find(word) != NULL)
			return word;
	}
	return "json";
}

const char *
trigger_stream(Relation triggers, HeapTuple tuple)
{
	Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
	bool		isnull;
	Datum		args;

	if (trigger->tgisinternal || trigger->tgnargs < 1 ||
		!is_firehose_trigger(trigger->tgfoid))
		return NULL;
	args = heap_getattr(tuple, Anum_pg_trigger_tgargs, RelationGetDescr(triggers), &isnull);
	return isnull ? NULL : VARDATA_ANY(DatumGetByteaPP(args));
}

static bool
is_firehose_trigger(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		result = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		bool		isnull;
		Datum		source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);

		result = !isnull && strcmp(TextDatumGetCString(source), "firehose_trigger") == 0;
	}
	ReleaseSysCache(tuple);
	return result;
}

/* Has the user the privileges of a table's owner? */
static bool
owns_table(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return has_privs_of_role(GetUserId(), owner);
}
