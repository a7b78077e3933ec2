/*
 * trigger_ddl.c
 *		CREATE TRIGGER ... EXECUTE FUNCTION firehose_trigger('stream').
 *
 * Runs in backends, as object access hook.  A trigger sends with the rights of
 * the table's owner, and who holds TRIGGER on a table need not be its owner.
 * So that no one has another's table send where he may not send himself,
 * whoever creates the trigger needs USAGE on the stream, unless he has the
 * privileges of the owner, whose right is asked for whenever it fires.
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

#include "put/trigger.h"
#include "stream/stream.h"

static object_access_hook_type prev_object_access = NULL;

static void object_access(ObjectAccessType access, Oid class_id, Oid object_id,
						  int sub_id, void *arg);
static void check_trigger(Relation triggers, HeapTuple tuple);
static bool is_firehose_trigger(Oid function);
static bool owns_table(Oid relid);

void
trigger_install_hook(void)
{
	prev_object_access = object_access_hook;
	object_access_hook = object_access;
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

/* Error if a trigger is ours and its creator may not have it. */
static void
check_trigger(Relation triggers, HeapTuple tuple)
{
	Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
	bool		isnull;
	Datum		args;
	const char *name;

	if (!is_firehose_trigger(trigger->tgfoid) || owns_table(trigger->tgrelid))
		return;

	/* without argument it is an error whenever it fires */
	args = heap_getattr(tuple, Anum_pg_trigger_tgargs, RelationGetDescr(triggers), &isnull);
	if (isnull || trigger->tgnargs < 1)
		return;
	name = VARDATA_ANY(DatumGetByteaPP(args));

	/* a stream that is created later would be one that nobody has checked */
	if (!OidIsValid(get_foreign_server_oid(name, true)))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(trigger->tgrelid));
	stream_check_usage(stream_get(name), GetUserId());
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
