/*
 * own_tables_trust.c
 *		May a table of the extension still be used?
 *
 * Expressions of indexes run with the powers of the inserting role, which in
 * the sender is the bootstrap superuser.  So a table is used only while it
 * belongs to the extension's owner and carries nothing that another role may
 * have added, even while it owned the table for a time.  Its locks are all
 * asked for at once, those of its indexes and its TOAST table included, so
 * that nothing that is done to the table later waits for one.
 *
 * And a role that may write to every table (pg_write_all_data) is not to have
 * pipelines run, or dead letters sent, with the rights of others: a trigger
 * keeps it out, which the writes of firehose itself do not fire.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "common/own_tables_trust.h"

static char *find_fault(Relation rel, Oid extension, Oid owner);
static Oid	untrusted_index(Relation rel);
static const char *untrusted_trigger(Relation rel, Oid extension);

PG_FUNCTION_INFO_V1(firehose_guard_table);

void
own_tables_check_trust(Relation rel, Oid extension, Oid owner)
{
	char	   *fault = find_fault(rel, extension, owner);

	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" of the extension firehose is not used: %s",
						RelationGetRelationName(rel), fault),
				 errhint("Undo that change, or drop and create the extension firehose anew.")));
}

/* Find what is wrong with a table; NULL: nothing. */
static char *
find_fault(Relation rel, Oid extension, Oid owner)
{
	Oid			index;
	const char *trigger;

	if (rel->rd_rel->relowner != owner)
		return psprintf("it does not belong to the extension's owner");
	if (rel->rd_rules != NULL)
		return psprintf("it has a rule");
	if (rel->rd_rel->relrowsecurity)
		return psprintf("it has row security policies");
	if ((trigger = untrusted_trigger(rel, extension)) != NULL)
		return psprintf("it has trigger \"%s\"", trigger);
	if (OidIsValid(index = untrusted_index(rel)))
		return psprintf("it has index \"%s\" on an expression or with a predicate",
						get_rel_name(index));
	return NULL;
}

/* An index of a table that has something evaluated; InvalidOid: none. */
static Oid
untrusted_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(tuple))
			continue;
		if (!heap_attisnull(tuple, Anum_pg_index_indexprs, NULL) ||
			!heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
			found = lfirst_oid(cell);
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

/*
 * A trigger of a table whose function is none of the extension's; NULL: none.
 */
static const char *
untrusted_trigger(Relation rel, Oid extension)
{
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];

		if (getExtensionOfObject(ProcedureRelationId, trigger->tgfoid) != extension)
			return trigger->tgname;
	}
	return NULL;
}

bool
own_tables_lock_parts(Relation rel, LOCKMODE lockmode)
{
	List	   *indexes = RelationGetIndexList(rel);
	Oid			toast_id = rel->rd_rel->reltoastrelid;
	bool		locked = true;
	ListCell   *cell;

	foreach(cell, indexes)
		locked = locked && ConditionalLockRelationOid(lfirst_oid(cell), lockmode);
	list_free(indexes);

	if (locked && OidIsValid(toast_id))
	{
		Relation	toast;

		if (!ConditionalLockRelationOid(toast_id, lockmode))
			return false;
		toast = table_open(toast_id, NoLock);
		locked = own_tables_lock_parts(toast, lockmode);
		table_close(toast, NoLock);
	}
	return locked;
}

/*
 * Trigger BEFORE all writes on the extension's tables: only the owner may
 * write.
 */
Datum
firehose_guard_table(PG_FUNCTION_ARGS)
{
	Relation	rel;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("firehose_guard_table() can only be called as a trigger")));

	rel = ((TriggerData *) fcinfo->context)->tg_relation;
	if (!has_privs_of_role(GetUserId(), rel->rd_rel->relowner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", RelationGetRelationName(rel)),
				 errdetail("Only the owner of the extension firehose writes to its tables.")));
	return PointerGetDatum(NULL);
}
