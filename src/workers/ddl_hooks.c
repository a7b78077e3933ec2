/*
 * ddl_hooks.c
 *		Hooks into DDL.  Runs in backends.
 *
 * Statements that need a database without connections (DROP DATABASE, ALTER
 * DATABASE RENAME TO and SET TABLESPACE, and CREATE DATABASE for its template)
 * would wait 5 s for the worker there and then fail.  If the user may run such
 * a statement, the worker is asked to leave first, and is kept away until the
 * locks of the transaction are gone: a new one would only wait for them.
 *
 * CREATE, ALTER and DROP of the extension and of its foreign servers, noticed
 * by the object access hook, and changes of pipelines are told to launcher and
 * sender when the transaction has committed and released its locks, because
 * its changes must be visible to them.  The request of a rolled-back
 * subtransaction is passed on as well if the rest commits: to look once too
 * often does no harm.
 *
 * Everything pending is in this process's memory and ends with the top-level
 * transaction, in the resource-release callback, which COMMIT, ROLLBACK, ERROR
 * and FATAL all come through.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_server.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "common/catalog_row.h"
#include "common/extension_version.h"
#include "common/names.h"
#include "common/utility.h"
#include "stream/stream.h"
#include "wal/run_epoch.h"
#include "workers/database_control.h"
#include "workers/ddl_hooks.h"
#include "workers/extension_drop.h"

/*
 * A sender leaves well within this.  Core then waits 5 s more and lists the
 * sessions that are left.
 */
#define VACATE_TIMEOUT_MS	5000

/* A database this transaction keeps workers out of. */
typedef struct ExcludedDatabase
{
	Oid			dboid;
	int			nest_level;		/* of the subtransaction that wants it */
	struct ExcludedDatabase *next;
} ExcludedDatabase;

/* The work to be done when the transaction ends. */
static struct
{
	ExcludedDatabase *held;			/* in TopTransactionContext */
	Oid			dropped;		/* a database; DROP DATABASE is alone in its
								 * transaction */
	bool		databases;		/* some were created, altered or dropped */
	bool		extension;		/* this extension: created, altered or dropped
								 * here */
	bool		servers;		/* of the wrapper "firehose", likewise */
	bool		pipelines;		/* likewise */
	bool		undone;			/* a prepared transaction was rolled back */
}			pending;

static ProcessUtility_hook_type next_process_utility;
static object_access_hook_type prev_object_access = NULL;

static void process_utility(UTILITY_PARAMETERS);
static void note_committed_prepared(uint64 streams_before);
static Oid	database_to_empty(Node *statement);
static Oid	own_database(const char *name);
static Oid	template_database(const CreatedbStmt *statement);
static bool is_owner(Oid dboid, bool *is_template);
static bool may_create_databases(void);
static const DefElem *find_option(const List *options, const char *name);
static void exclude_database_workers(Oid dboid);
static void object_access(ObjectAccessType access, Oid class_id, Oid object_id,
						  int sub_id, void *arg);
static void note_extension(ObjectAccessType access, Oid extension);
static void note_server(ObjectAccessType access, Oid server_id);
static bool is_our_extension(Oid extension_id);
static bool is_stream(Oid server_id);
static void at_transaction_event(XactEvent event, void *arg);
static void at_subtransaction_event(SubXactEvent event, SubTransactionId my_subid,
									SubTransactionId parent_subid, void *arg);
static void at_resource_release(ResourceReleasePhase phase, bool is_commit,
								bool is_top_level, void *arg);

/* Chain the hooks and callbacks in. */
void
ddl_hooks_install(void)
{
	next_process_utility = utility_install_hook(process_utility);
	prev_object_access = object_access_hook;
	object_access_hook = object_access;

	RegisterXactCallback(at_transaction_event, NULL);
	RegisterSubXactCallback(at_subtransaction_event, NULL);
	RegisterResourceReleaseCallback(at_resource_release, NULL);
}

/* ProcessUtility hook: see to the statements on databases. */
static void
process_utility(UTILITY_PARAMETERS)
{
	/* core may free or scribble on the statement, so look at it before */
	NodeTag		tag = nodeTag(pstmt->utilityStmt);
	Oid			dboid = database_to_empty(pstmt->utilityStmt);
	TransactionStmtKind ending = tag == T_TransactionStmt ?
		((TransactionStmt *) pstmt->utilityStmt)->kind : TRANS_STMT_BEGIN;
	uint64		streams_before = ending == TRANS_STMT_COMMIT_PREPARED ?
		stream_cache_generation() : 0;

	if (OidIsValid(dboid))
		exclude_database_workers(dboid);

	/* SET TABLESPACE commits on its way, so this cannot wait until after it */
	if (tag == T_CreatedbStmt || tag == T_AlterDatabaseStmt)
		pending.databases = true;

	/* its commit record comes before the commit of its transaction */
	if (ending == TRANS_STMT_COMMIT_PREPARED)
		run_epoch_say();

	next_process_utility(UTILITY_ARGUMENTS);

	if (ending == TRANS_STMT_COMMIT_PREPARED)
		note_committed_prepared(streams_before);
	else if (ending == TRANS_STMT_ROLLBACK_PREPARED)
		pending.undone = true;
}

/*
 * Only its invalidations, which reach this session as all others do, tell how
 * the prepared transaction changed streams.
 */
static void
note_committed_prepared(uint64 streams_before)
{
	AcceptInvalidationMessages();
	if (stream_cache_generation() != streams_before)
		pending.servers = true;
}

/*
 * The database that a statement needs without connections, if this user may
 * run it; else InvalidOid, and core will raise the error that is due.
 */
static Oid
database_to_empty(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return own_database(((DropdbStmt *) statement)->dbname);

		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE &&
				may_create_databases())
				return own_database(((RenameStmt *) statement)->subname);
			break;

		case T_AlterDatabaseStmt:
			if (find_option(((AlterDatabaseStmt *) statement)->options,
							"tablespace"))
				return own_database(((AlterDatabaseStmt *) statement)->dbname);
			break;

		case T_CreatedbStmt:
			if (may_create_databases())
				return template_database((CreatedbStmt *) statement);
			break;

		default:
			break;
	}

	return InvalidOid;
}

/* A database that the user owns and is not connected to. */
static Oid
own_database(const char *name)
{
	Oid			dboid = get_database_oid(name, true);
	bool		is_template;

	if (OidIsValid(dboid) && dboid != MyDatabaseId &&
		is_owner(dboid, &is_template))
		return dboid;

	return InvalidOid;
}

/* The template of CREATE DATABASE, if the user may copy it. */
static Oid
template_database(const CreatedbStmt *statement)
{
	const DefElem *option = find_option(statement->options, "template");
	const char *name = "template1";
	Oid			dboid;
	bool		is_template;

	if (option && option->arg)
		name = defGetString((DefElem *) option);
	dboid = get_database_oid(name, true);

	if (OidIsValid(dboid) && (is_owner(dboid, &is_template) || is_template))
		return dboid;

	return InvalidOid;
}

/*
 * Is the user an owner of the database, and is it one that all may copy?
 * (Core's check of ownership has another name in every other version.)
 */
static bool
is_owner(Oid dboid, bool *is_template)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	Form_pg_database form;
	bool		result;

	*is_template = false;
	if (!HeapTupleIsValid(tuple))
		return false;

	form = (Form_pg_database) GETSTRUCT(tuple);
	*is_template = form->datistemplate;
	result = has_privs_of_role(GetUserId(), form->datdba);
	ReleaseSysCache(tuple);

	return result;
}

/* Has the user CREATEDB?  (Core's own function is static in 15.) */
static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		result = false;

	if (superuser())
		return true;

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}

	return result;
}

/* Find an option of a statement by name. */
static const DefElem *
find_option(const List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		const DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return option;
	}

	return NULL;
}

/*
 * Have the worker leave a database, and keep it away until the transaction
 * ends.
 */
static void
exclude_database_workers(Oid dboid)
{
	ExcludedDatabase *held = MemoryContextAlloc(TopTransactionContext,
												sizeof(ExcludedDatabase));

	/* no error may come between the hold and its entry in the list */
	if (!database_exclude_workers(dboid))
		return;
	held->dboid = dboid;
	held->nest_level = GetCurrentTransactionNestLevel();
	held->next = pending.held;
	pending.held = held;

	database_await_vacant(dboid, VACATE_TIMEOUT_MS);
}

/* Object access hook: note changes of the extension and of streams. */
static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id,
			  int sub_id, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, class_id, object_id, sub_id, arg);

	/* called for every function and schema that is used: be quick */
	if (access != OAT_POST_CREATE && access != OAT_POST_ALTER &&
		access != OAT_DROP)
		return;

	switch (class_id)
	{
		case ExtensionRelationId:
			if (is_our_extension(object_id))
				note_extension(access, object_id);
			break;
		case ForeignServerRelationId:
			if (is_stream(object_id))
				note_server(access, object_id);
			break;
		case DatabaseRelationId:
			if (access == OAT_DROP)
			{
				pending.dropped = object_id;
				pending.databases = true;
			}
			break;
		default:
			break;
	}
}

/* The extension was created, altered or dropped. */
static void
note_extension(ObjectAccessType access, Oid extension)
{
	pending.extension = true;
	if (access == OAT_DROP)
		extension_drop_follow();
	else
		extension_version_check(extension);

	/*
	 * A sender that finds no extension discards the queue of its database, and
	 * must not do so when a transaction is about to commit both the extension
	 * and a record.  For that it takes a lock that conflicts with this one
	 * until then (core has released its own already).
	 */
	if (access == OAT_POST_CREATE)
		LockRelationOid(ExtensionRelationId, RowExclusiveLock);
}

/* A pipeline was made, changed or dropped. */
void
ddl_hooks_request_recheck(void)
{
	pending.pipelines = true;
}

/*
 * A stream was created, altered or dropped.  A new one can be put into before
 * the transaction commits; the sender, which then finds its entry but no
 * server, sees by this lock that a server may yet appear.
 */
static void
note_server(ObjectAccessType access, Oid server_id)
{
	pending.servers = true;
	if (access == OAT_POST_CREATE)
		LockDatabaseObject(ForeignServerRelationId, server_id, 0, RowExclusiveLock);
}

/*
 * Is this extension firehose?  The hook comes before the command counter has
 * made a new row visible, so look with SnapshotSelf.
 */
static bool
is_our_extension(Oid extension_id)
{
	HeapTuple	row = catalog_row(ExtensionRelationId, ExtensionOidIndexId,
								  Anum_pg_extension_oid, extension_id, SnapshotSelf);
	bool		result;

	if (row == NULL)
		return false;
	result = strcmp(NameStr(((Form_pg_extension) GETSTRUCT(row))->extname),
					FIREHOSE_NAME) == 0;
	heap_freetuple(row);
	return result;
}

/*
 * Is this foreign server one of the wrapper "firehose"?  SnapshotSelf as
 * above.
 */
static bool
is_stream(Oid server_id)
{
	HeapTuple	row = catalog_row(ForeignServerRelationId, ForeignServerOidIndexId,
								  Anum_pg_foreign_server_oid, server_id, SnapshotSelf);
	Oid			wrapper;

	if (row == NULL)
		return false;
	wrapper = ((Form_pg_foreign_server) GETSTRUCT(row))->srvfdw;
	heap_freetuple(row);
	return wrapper == stream_wrapper_oid();
}

/*
 * A prepared transaction may be committed by another session, which would not
 * know of the pending requests.
 */
static void
at_transaction_event(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && pending.extension)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has created, altered or dropped the extension \"%s\"",
						FIREHOSE_NAME),
				 errhint("Commit it without PREPARE.")));
	if (event == XACT_EVENT_PRE_PREPARE && pending.pipelines)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has created, changed or dropped a pipeline"),
				 errhint("Commit it without PREPARE.")));
}

/*
 * A subtransaction's holds end with its rollback, and become its parent's with
 * its commit.
 */
static void
at_subtransaction_event(SubXactEvent event, SubTransactionId my_subid,
						SubTransactionId parent_subid, void *arg)
{
	int			nest_level;

	if (pending.held == NULL)
		return;

	/* the list is ordered by level, the innermost first */
	nest_level = GetCurrentTransactionNestLevel();
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (pending.held && pending.held->nest_level >= nest_level)
		{
			database_readmit_workers(pending.held->dboid);
			pending.held = pending.held->next;
		}
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (ExcludedDatabase *held = pending.held;
			 held && held->nest_level >= nest_level;
			 held = held->next)
			held->nest_level = nest_level - 1;
	}
}

/*
 * The transaction has ended and its locks are gone: pass on what is pending.
 */
static void
at_resource_release(ResourceReleasePhase phase, bool is_commit,
					bool is_top_level, void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;

	if (is_commit)
	{
		if (OidIsValid(pending.dropped))
			database_forget(pending.dropped);
		if (pending.databases)
			database_request_check(InvalidOid);
		if (pending.extension || pending.pipelines || pending.undone)
			database_request_check(MyDatabaseId);
		else if (pending.servers)
			database_wake_sender(MyDatabaseId);
	}
	else if (pending.servers)
		/* a stream put into immediately is not there after all */
		database_request_check(MyDatabaseId);

	/* last, for the launcher to find the rest done */
	for (ExcludedDatabase *held = pending.held; held; held = held->next)
		database_readmit_workers(held->dboid);

	memset(&pending, 0, sizeof(pending));
}
