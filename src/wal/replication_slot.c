/*
 * replication_slot.c
 *		Replication slots of pipelines, as processes other than their decoders
 *		see them: looking at them, and dropping those that are no longer
 *		needed.
 *
 * Slots take no part in transactions, and a slot without a reader holds back
 * WAL until the disk is full.  So a slot is dropped only once it is certain
 * that its pipeline is gone, by the launcher and by senders.  A slot that they
 * miss (after a crash) is found again by its name, which tells database and
 * pipeline.
 *
 * Locking: core's ReplicationSlotControlLock, and each slot's mutex.
 */
#include "postgres.h"

#include "access/xact.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "wal/replication_slot.h"

static bool parse_default_name(const char *name, Oid *database, int32 *id);
static void read_slot(ReplicationSlot *slot, SlotInfo *info);
static bool try_drop(const char *name);

char *
replication_slot_default_name(Oid database, int32 id)
{
	return psprintf("firehose_%u_%d", database, id);
}

/* Take a default name to pieces. */
static bool
parse_default_name(const char *name, Oid *database, int32 *id)
{
	char		again[NAMEDATALEN];

	if (sscanf(name, "firehose_%u_%d", database, id) != 2)
		return false;

	/* no signs, spaces or zeros in front, and nothing after it */
	snprintf(again, sizeof(again), "firehose_%u_%d", *database, *id);
	return *id > 0 && strcmp(again, name) == 0;
}

bool
replication_slot_is_default_name(const char *name)
{
	Oid			database;
	int32		id;

	return parse_default_name(name, &database, &id);
}

static void
read_slot(ReplicationSlot *slot, SlotInfo *info)
{
	SpinLockAcquire(&slot->mutex);
	info->database = slot->data.database;
	strlcpy(info->plugin, NameStr(slot->data.plugin), NAMEDATALEN);
	info->persistent = slot->data.persistency == RS_PERSISTENT;
	info->lost = SlotIsInvalidated(slot);
	info->synced = SlotIsSynced(slot);
	info->failover = SlotIsFailover(slot);
	info->active_pid = slot->active_pid;
	info->confirmed = slot->data.confirmed_flush;
	info->restart = slot->data.restart_lsn;
	SpinLockRelease(&slot->mutex);
}

bool
replication_slot_look(const char *name, SlotInfo *info)
{
	ReplicationSlot *slot;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot != NULL)
		read_slot(slot, info);
	LWLockRelease(ReplicationSlotControlLock);

	return slot != NULL;
}

int
replication_slots_left(void)
{
	int			room = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		if (!ReplicationSlotCtl->replication_slots[i].in_use)
			room++;
	}
	LWLockRelease(ReplicationSlotControlLock);

	return room;
}

SlotDrop
replication_slot_drop(const char *name, Oid database)
{
	SlotInfo	info;

	/* in the common cases without an error */
	if (!replication_slot_look(name, &info) || info.database != database)
		return SLOT_ABSENT;
	if (info.active_pid != 0)
		return SLOT_BUSY;

	if (try_drop(name))
	{
		ereport(LOG, (errmsg("firehose: dropped replication slot \"%s\"", name)));
		return SLOT_DROPPED;
	}
	return replication_slot_look(name, &info) ? SLOT_BUSY : SLOT_ABSENT;
}

/* Drop a slot; false, and nothing in the log, if that fails. */
static bool
try_drop(const char *name)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	/* only for what its abort cleans up */
	StartTransactionCommand();
	PG_TRY();
	{
		ReplicationSlotDrop(name, true);
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();

	if (done)
		CommitTransactionCommand();
	else
		AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(caller);
	return done;
}

void
replication_slot_set_failover(const char *name, bool failover)
{
	SlotInfo	info;

	if (!SERVER_HAS_FAILOVER_SLOTS || !replication_slot_look(name, &info) ||
		info.failover == failover || info.active_pid != 0)
		return;
	AlterSlotFailover(name, failover);
}

void
replication_slot_drop_lost(const char *name)
{
	ReplicationSlotDrop(name, true);
}

void
replication_slot_drop_orphans(Oid database, const List *ids)
{
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		char		name[NAMEDATALEN];
		Oid			named_database;
		int32		id;
		bool		in_use;

		LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
		in_use = slot->in_use;
		strlcpy(name, NameStr(slot->data.name), NAMEDATALEN);
		LWLockRelease(ReplicationSlotControlLock);

		if (in_use && parse_default_name(name, &named_database, &id) &&
			named_database == database && !list_member_int(ids, id))
			(void) replication_slot_drop(name, database);
	}
}
