/*
 * compat.h
 *		The differences between the supported server versions (15 to 18), in
 *		one place, so that no other file needs a version check for them.
 */
#ifndef FIREHOSE_COMMON_COMPAT_H
#define FIREHOSE_COMMON_COMPAT_H

#include "access/genam.h"
#include "access/heapam.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_server.h"
#include "datatype/timestamp.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/wait_event.h"

/* EXPLAIN's state, and showing properties, have headers of their own in 18. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#else
#include "commands/explain.h"
#endif

/*
 * The number of this process's PGPROC: the only way another process may name
 * it.
 */
#if PG_VERSION_NUM >= 170000
#define MyProcNo() ((int) MyProcNumber)
#else
#define MyProcNo() (MyProc->pgprocno)
#endif

/* The number of a process's transaction among its own. */
#if PG_VERSION_NUM >= 170000
#define LocalXidOf(proc) ((proc)->vxid.lxid)
#else
#define LocalXidOf(proc) ((proc)->lxid)
#endif

/*
 * Named wait events for extensions exist from 17 on (15 and 16 show
 * "Extension").
 */
#if PG_VERSION_NUM >= 170000
#define WaitEventNamed(name) \
	({ static uint32 event_ = 0; \
	   if (event_ == 0) event_ = WaitEventExtensionNew(name); \
	   event_; })
#else
#define WaitEventNamed(name) PG_WAIT_EXTENSION
#endif

/*
 * Replication slots: 17 added failover and synced to creation, 18 an argument
 * to acquiring.
 */
#if PG_VERSION_NUM >= 170000
#define SERVER_HAS_FAILOVER_SLOTS	true
#define CreateLogicalSlot(name, persistency, failover) \
	ReplicationSlotCreate(name, true, persistency, false, failover, false)
#define SlotIsFailover(slot) ((slot)->data.failover)
#else
#define SERVER_HAS_FAILOVER_SLOTS	false
#define CreateLogicalSlot(name, persistency, failover) \
	ReplicationSlotCreate(name, true, persistency, false)
#define SlotIsFailover(slot) (false)
#endif
#if PG_VERSION_NUM >= 180000
#define AlterSlotFailover(name, failover) \
	do { bool failover_ = (failover); ReplicationSlotAlter(name, &failover_, NULL); } while (0)
#elif PG_VERSION_NUM >= 170000
#define AlterSlotFailover(name, failover) ReplicationSlotAlter(name, failover)
#else
#define AlterSlotFailover(name, failover) ((void) 0)
#endif
#if PG_VERSION_NUM >= 180000
#define AcquireLogicalSlot(name) ReplicationSlotAcquire(name, true, true)
#else
#define AcquireLogicalSlot(name) ReplicationSlotAcquire(name, true)
#endif

/*
 * Logical messages that no commit will flush can be flushed at once from 17
 * on; before that, the caller flushes them.
 */
#if PG_VERSION_NUM >= 170000
#define WriteLogicalMessage(prefix, message, size, transactional) \
	LogLogicalMessage(prefix, message, size, transactional, false)
#else
#define WriteLogicalMessage(prefix, message, size, transactional) \
	LogLogicalMessage(prefix, message, size, transactional)
#endif

/* 18 takes an argument that says whether a deferrable primary key will do. */
#if PG_VERSION_NUM >= 180000
#define PrimaryKeyIndexOf(rel) RelationGetPrimaryKeyIndex(rel, true)
#else
#define PrimaryKeyIndexOf(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* pgoutput leaves out what came by replication, if asked to, from 16 on. */
#if PG_VERSION_NUM >= 160000
#define PGOUTPUT_KNOWS_ORIGIN	true
#else
#define PGOUTPUT_KNOWS_ORIGIN	false
#endif

/*
 * A wait event set that lives as long as its process; 17 asks for a resource
 * owner.
 */
#if PG_VERSION_NUM >= 170000
#define CreateWorkerWaitEventSet(nevents) CreateWaitEventSet(NULL, nevents)
#else
#define CreateWorkerWaitEventSet(nevents) CreateWaitEventSet(TopMemoryContext, nevents)
#endif

/* One function for every kind of object from 16 on. */
#if PG_VERSION_NUM >= 160000
#define foreign_server_aclcheck(serverid, roleid, mode) \
	object_aclcheck(ForeignServerRelationId, serverid, roleid, mode)
#define schema_aclcheck(schema, roleid, mode) \
	object_aclcheck(NamespaceRelationId, schema, roleid, mode)
#else
#define foreign_server_aclcheck(serverid, roleid, mode) \
	pg_foreign_server_aclcheck(serverid, roleid, mode)
#define schema_aclcheck(schema, roleid, mode) \
	pg_namespace_aclcheck(schema, roleid, mode)
#endif

#if PG_VERSION_NUM >= 160000
#define IsDatabaseOwner(dboid, roleid) object_ownercheck(DatabaseRelationId, dboid, roleid)
#else
#define IsDatabaseOwner(dboid, roleid) pg_database_ownercheck(dboid, roleid)
#endif

/* The role whose rights a statement needs on the table that it writes to. */
#if PG_VERSION_NUM >= 160000
#define ResultRelCheckAsUser(target, estate) ExecGetResultRelCheckAsUser(target, estate)
#else
static inline Oid
ResultRelCheckAsUser(ResultRelInfo *target, EState *estate)
{
	/* a partition that rows are routed to has no entry of its own */
	ResultRelInfo *named = target->ri_RangeTableIndex != 0 ? target :
		target->ri_RootResultRelInfo;
	Oid			role = exec_rt_fetch(named->ri_RangeTableIndex, estate)->checkAsUser;

	return OidIsValid(role) ? role : GetUserId();
}
#endif

/* Index entries of a new row; 16 added an argument. */
#if PG_VERSION_NUM >= 160000
#define ExecInsertIndexEntries(rel, slot, estate) \
	list_free(ExecInsertIndexTuples(rel, slot, estate, false, false, NULL, NIL, false))
#else
#define ExecInsertIndexEntries(rel, slot, estate) \
	list_free(ExecInsertIndexTuples(rel, slot, estate, false, false, NULL, NIL))
#endif

/* New, empty storage for a relation; renamed in 16. */
#if PG_VERSION_NUM >= 160000
#define RelationSetNewStorage(rel) \
	RelationSetNewRelfilenumber(rel, (rel)->rd_rel->relpersistence)
#else
#define RelationSetNewStorage(rel) \
	RelationSetNewRelfilenode(rel, (rel)->rd_rel->relpersistence)
#endif

/* Rebuild all indexes of a relation; 17 added an argument. */
#if PG_VERSION_NUM >= 170000
#define ReindexAllOf(relid, flags, params) reindex_relation(NULL, relid, flags, params)
#else
#define ReindexAllOf(relid, flags, params) reindex_relation(relid, flags, params)
#endif

/*
 * Has a replication slot lost the WAL it needs?  Other causes exist from 16
 * on.
 */
#if PG_VERSION_NUM >= 160000
#define SlotIsInvalidated(slot) ((slot)->data.invalidated != RS_INVAL_NONE)
#else
#define SlotIsInvalidated(slot) \
	(XLogRecPtrIsInvalid((slot)->data.restart_lsn) && \
	 !XLogRecPtrIsInvalid((slot)->data.invalidated_at))
#endif

/* A standby takes over its primary's slots from 17 on. */
#if PG_VERSION_NUM >= 170000
#define SlotIsSynced(slot) ((slot)->data.synced)
#else
#define SlotIsSynced(slot) (false)
#endif

/* Arrays by type and number came with a minor version of 15. */
#ifndef palloc_array
#define palloc_array(type, count) ((type *) palloc(mul_size(sizeof(type), count)))
#endif

/*
 * Overwriting a row in place: the functions that lock it meanwhile came with
 * the minor versions 15.9, 16.5 and 17.1.  Before them the row is read, and
 * then written to, which is as good where no other process overwrites it: a
 * deletion touches only its header.
 */
#if PG_VERSION_NUM >= 170001 || \
	(PG_VERSION_NUM >= 160005 && PG_VERSION_NUM < 170000) || \
	(PG_VERSION_NUM >= 150009 && PG_VERSION_NUM < 160000)
#define overwrite_row_begin		systable_inplace_update_begin
#define overwrite_row_finish	systable_inplace_update_finish
#else
static inline void
overwrite_row_begin(Relation rel, Oid index, bool index_ok, Snapshot snapshot, int nkeys,
					const ScanKeyData *keys, HeapTuple *copy, void **state)
{
	SysScanDesc scan = systable_beginscan(rel, index, index_ok, snapshot, nkeys,
										  unconstify(ScanKeyData *, keys));
	HeapTuple	tuple = systable_getnext(scan);

	*copy = HeapTupleIsValid(tuple) ? heap_copytuple(tuple) : NULL;
	*state = rel;
	systable_endscan(scan);
}

static inline void
overwrite_row_finish(void *state, HeapTuple tuple)
{
	heap_inplace_update((Relation) state, tuple);
}
#endif

/* Intervals may be infinite from 17 on. */
#ifndef INTERVAL_NOT_FINITE
#define INTERVAL_NOT_FINITE(i) (false)
#define INTERVAL_IS_NOBEGIN(i) (false)
#endif

/* Generated columns may be virtual from 18 on: their tuples hold nothing. */
#ifndef ATTRIBUTE_GENERATED_VIRTUAL
#define ATTRIBUTE_GENERATED_VIRTUAL 'v'
#endif

#endif							/* FIREHOSE_COMMON_COMPAT_H */
