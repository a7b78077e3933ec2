/*
 * own_tables.c
 *		Shared by the status ring and the dead letters: finding the extension's
 *		own tables, and short transactions to write them.
 *
 * Runs in the sender, as bootstrap superuser; own_tables_table_oid in backends
 * too.  Nothing is found by name through a search path, where another user may
 * have put a table of that name: the tables are members of the extension.
 * Rows go in below triggers, rules and policies, so that nothing a user may
 * have attached to a table is run with the sender's powers.  No function waits
 * for a lock.
 */
#include "postgres.h"

#include "access/brin.h"
#include "access/brin_internal.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/catalog_row.h"
#include "common/caught_error.h"
#include "common/compat.h"
#include "common/extension_version.h"
#include "common/names.h"
#include "common/own_tables.h"
#include "common/own_tables_trust.h"
#include "common/sanitize.h"

#ifndef FIREHOSE_NAME
#endif

struct OwnIndexes
{
	EState	   *estate;
	ResultRelInfo *rel;
};

static const char *const table_names[OWN_TABLES] = {
	"firehose_status_0", "firehose_status_1", "firehose_status_2",
	"firehose_status_3", "firehose_status_4", "firehose_status_5",
	"firehose_status_6", "firehose_status_7",
	[TABLE_DEAD_LETTERS] = "firehose_dead_letters",
	[TABLE_PIPELINES] = "firehose_pipelines",
	[TABLE_POSITIONS] = "firehose_positions",
	[TABLE_COPIES] = "firehose_copies"
};

/* OIDs of the tables; looked up anew after a change to one of them */
static Oid	table_oids[OWN_TABLES];
static bool table_oids_valid = false;

/* The extension and its owner, valid with them. */
static Oid	extension_id;
static Oid	extension_owner;

static void find_tables(void);
static void find_members(Oid extension);
static Oid	owner_of_extension(Oid extension);
static void table_changed(Datum arg, Oid relid);
static void check_columns(Relation rel, const Oid *types, int ntypes);
static void report_error(OwnTableError *trouble, const ErrorData *error);
static bool is_harmless(int sqlerrcode);

Oid
own_tables_table_oid(OwnTable table)
{
	if (!table_oids_valid)
		find_tables();
	return table_oids[table];
}

/* Look the tables up among the members of the extension. */
static void
find_tables(void)
{
	static bool registered = false;
	Oid			extension;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
		registered = true;
	}

	memset(table_oids, 0, sizeof(table_oids));
	extension = get_extension_oid(FIREHOSE_NAME, true);
	if (!OidIsValid(extension))
		return;

	/* before the search, which may meet a change */
	table_oids_valid = true;
	find_members(extension);
	extension_id = extension;
	extension_owner = owner_of_extension(extension);

	/* if one is missing, the extension may have been created anew meanwhile */
	for (int i = 0; i < OWN_TABLES; i++)
		table_oids_valid = table_oids_valid && OidIsValid(table_oids[i]);
}

bool
own_tables_has(Oid relid)
{
	Oid			extension = get_extension_oid(FIREHOSE_NAME, true);

	return OidIsValid(extension) &&
		getExtensionOfObject(RelationRelationId, relid) == extension;
}

static Oid
owner_of_extension(Oid extension)
{
	HeapTuple	row = catalog_row(ExtensionRelationId, ExtensionOidIndexId,
								  Anum_pg_extension_oid, extension, NULL);
	Oid			owner;

	if (row == NULL)
		return InvalidOid;
	owner = ((Form_pg_extension) GETSTRUCT(row))->extowner;
	heap_freetuple(row);
	return owner;
}

static void
find_members(Oid extension)
{
	Relation	depend;
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple	tuple;

	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(extension));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL,
							  lengthof(keys), keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend member = (Form_pg_depend) GETSTRUCT(tuple);
		char	   *name;

		if (member->classid != RelationRelationId ||
			member->deptype != DEPENDENCY_EXTENSION ||
			get_rel_relkind(member->objid) != RELKIND_RELATION)
			continue;

		name = get_rel_name(member->objid);
		for (int i = 0; name != NULL && i < OWN_TABLES; i++)
		{
			if (strcmp(name, table_names[i]) == 0)
				table_oids[i] = member->objid;
		}
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

/*
 * A relation has changed: if it is one of the extension's tables, or may be,
 * look again.
 */
static void
table_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid))
		table_oids_valid = false;

	for (int i = 0; i < OWN_TABLES; i++)
	{
		if (table_oids[i] == relid)
			table_oids_valid = false;
	}
}

Relation
own_tables_open_table(OwnTable table, LOCKMODE lockmode, const Oid *types, int ntypes)
{
	Oid			oid = own_tables_table_oid(table);
	Relation	rel;

	if (!OidIsValid(oid) || !ConditionalLockRelationOid(oid, lockmode))
		return NULL;

	/* it may have gone before we had the lock */
	rel = try_table_open(oid, NoLock);
	if (rel == NULL)
	{
		UnlockRelationOid(oid, lockmode);
		return NULL;
	}
	check_columns(rel, types, ntypes);
	own_tables_check_trust(rel, extension_id, extension_owner);
	if (!own_tables_lock_parts(rel, lockmode))
	{
		table_close(rel, lockmode);
		return NULL;
	}
	return rel;
}

Relation
own_tables_require_table(OwnTable table, LOCKMODE lockmode, const Oid *types, int ntypes)
{
	Oid			oid = own_tables_table_oid(table);
	Relation	rel;

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" of the extension firehose does not exist",
						table_names[table]),
				 errhint("%s", extension_version_remedy("Drop the extension firehose and create it again."))));

	rel = table_open(oid, lockmode);
	check_columns(rel, types, ntypes);
	own_tables_check_trust(rel, extension_id, extension_owner);
	return rel;
}

/* Error unless a table has the columns that are about to be written. */
static void
check_columns(Relation rel, const Oid *types, int ntypes)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		matches = (desc->natts == ntypes);

	for (int i = 0; matches && i < ntypes; i++)
		matches = (TupleDescAttr(desc, i)->atttypid == types[i]);

	if (!matches)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has been altered", RelationGetRelationName(rel)),
				 errhint("%s", extension_version_remedy("Drop the extension firehose and create it again."))));
}

bool
own_tables_transaction(WriterWork work, const void *arg, const char *synchronous_commit,
					   OwnTableError *trouble)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		StartTransactionCommand();
		(void) set_config_option("synchronous_commit", synchronous_commit,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
								 true, 0, false);
		PushActiveSnapshot(GetTransactionSnapshot());
		done = work(arg);
		PopActiveSnapshot();
		CommitTransactionCommand();
		if (done)
			own_tables_report(trouble, 0, NULL);
		else
			own_tables_report(trouble, ERRCODE_LOCK_NOT_AVAILABLE,
							  "a table is locked or gone");
	}
	PG_CATCH();
	{
		ErrorData  *error = caught_error_abort(caller);

		report_error(trouble, error);
		FreeErrorData(error);
		done = false;
	}
	PG_END_TRY();

	MemoryContextSwitchTo(caller);
	pgstat_report_stat(false);
	return done;
}

void
own_tables_report(OwnTableError *trouble, int sqlerrcode, const char *message)
{
	if (sqlerrcode == 0)
		trouble->message[0] = '\0';
	else
		snprintf(trouble->message, sizeof(trouble->message), "could not %s: %s",
				 trouble->what, message);
	if (sqlerrcode == trouble->sqlerrcode)
		return;

	if (sqlerrcode == 0)
		ereport(LOG, (errmsg("firehose: can %s again", trouble->what)));
	else
		ereport(LOG,
				(errcode(sqlerrcode),
				 errmsg("firehose: could not %s: %s", trouble->what, message),
				 errdetail("It will be tried again. Delivery is not affected.")));
	trouble->sqlerrcode = sqlerrcode;
}

/*
 * Report an error.  Messages of errors that a value may have caused are left
 * out, since they may quote it.
 */
static void
report_error(OwnTableError *trouble, const ErrorData *error)
{
	own_tables_report(trouble, error->sqlerrcode,
					  is_harmless(error->sqlerrcode) ? error->message :
					  psprintf("SQLSTATE %s", unpack_sql_state(error->sqlerrcode)));
}

/* Errors of these classes tell of the system, not of values. */
static bool
is_harmless(int sqlerrcode)
{
	static const int classes[] = {
		ERRCODE_INSUFFICIENT_RESOURCES,
		ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
		ERRCODE_OPERATOR_INTERVENTION,
		ERRCODE_SYSTEM_ERROR,
		ERRCODE_INTERNAL_ERROR
	};

	for (int i = 0; i < lengthof(classes); i++)
	{
		if (ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_TO_CATEGORY(classes[i]))
			return true;
	}
	return false;
}

/* Open a table's indexes; NULL if it has none. */
OwnIndexes *
own_tables_open_indexes(Relation rel)
{
	OwnIndexes *indexes;

	if (!rel->rd_rel->relhasindex)
		return NULL;

	indexes = palloc(sizeof(OwnIndexes));
	indexes->estate = CreateExecutorState();
	indexes->rel = makeNode(ResultRelInfo);
	InitResultRelInfo(indexes->rel, rel, 0, NULL, 0);
	ExecOpenIndices(indexes->rel, false);
	return indexes;
}

/* Enter a row that was just written into the indexes. */
void
own_tables_insert_index_entries(OwnIndexes *indexes, TupleTableSlot *slot)
{
	if (indexes == NULL)
		return;
	ExecInsertIndexEntries(indexes->rel, slot, indexes->estate);
	ResetPerTupleExprContext(indexes->estate);
}

/* Is a column one of these? */
static bool
is_among(AttrNumber column, const AttrNumber *columns, int ncolumns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		if (columns[i] == column)
			return true;
	}
	return false;
}

BlockNumber
own_tables_index_range(const OwnIndexes *indexes, const AttrNumber *columns, int ncolumns)
{
	Relation	index;

	if (indexes == NULL || indexes->rel->ri_NumIndices != 1)
		return 0;
	index = indexes->rel->ri_IndexRelationDescs[0];
	if (index->rd_rel->relam != BRIN_AM_OID)
		return 0;
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		if (!is_among(index->rd_index->indkey.values[i], columns, ncolumns) ||
			index_getprocid(index, i + 1, BRIN_PROCNUM_ADDVALUE) != F_BRIN_MINMAX_ADD_VALUE)
			return 0;
	}
	return BrinGetPagesPerRange(index);
}

void
own_tables_close_indexes(OwnIndexes *indexes)
{
	if (indexes == NULL)
		return;
	ExecCloseIndices(indexes->rel);
	FreeExecutorState(indexes->estate);
}

Datum
own_tables_text(const char *s, int max_len, bool *isnull)
{
	return own_tables_text_len(s, s ? strlen(s) : 0, max_len, isnull);
}

Datum
own_tables_text_len(const char *s, int len, int max_len, bool *isnull)
{
	text	   *result;

	*isnull = (s == NULL);
	if (s == NULL)
		return (Datum) 0;

	if (len > max_len)
		len = pg_mbcliplen(s, len, max_len);
	result = cstring_to_text_with_len(s, len);
	sanitize_text(VARDATA(result), len);
	return PointerGetDatum(result);
}
