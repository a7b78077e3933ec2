/*
 * standby_gate.c
 *		WAL that standbys have; standby_gate.h says what for.
 *
 * Runs in decoders, with their slot acquired.  Core decides
 * (StandbySlotsHaveCaughtup), and its condition variable wakes; what is
 * written here besides only says whom we wait for.
 */
#include "postgres.h"

#include "replication/slot.h"
#include "replication/walsender_private.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "common/compat.h"
#include "wal/standby_gate.h"

static XLogRecPtr passed = InvalidXLogRecPtr;	/* standbys have all before it */
static XLogRecPtr target = InvalidXLogRecPtr;	/* and are to have this */

#if PG_VERSION_NUM >= 170000

static bool
applies(void)
{
	return MyReplicationSlot != NULL && MyReplicationSlot->data.failover;
}

bool
standby_gate_has(XLogRecPtr lsn)
{
	return !applies() || StandbySlotsHaveCaughtup(lsn, DEBUG5);
}

void
standby_gate_want_wakeup(void)
{
	ConditionVariablePrepareToSleep(&WalSndCtl->wal_confirm_rcv_cv);
}

void
standby_gate_cancel_wakeup(void)
{
	(void) ConditionVariableCancelSleep();
}

/* Why a slot that the setting names holds the gate; NULL: it does not. */
static char *
find_fault(const char *name, XLogRecPtr lsn)
{
	char	   *fault = NULL;
	ReplicationSlot *slot;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot == NULL)
		fault = "does not exist: create it for the standby, or take it out of the setting";
	else if (SlotIsLogical(slot))
		fault = "is not a physical one";
	else if (SlotIsInvalidated(slot))
		fault = "was invalidated: create it anew for the standby, or take it out of the setting";
	else
	{
		XLogRecPtr	restart;
		bool		active;

		SpinLockAcquire(&slot->mutex);
		restart = slot->data.restart_lsn;
		active = slot->active_pid != 0;
		SpinLockRelease(&slot->mutex);
		if (restart < lsn)
			fault = active ? "has not confirmed the WAL yet" : "is not in use: its standby is not connected";
	}
	LWLockRelease(ReplicationSlotControlLock);
	return fault;
}

char *
standby_gate_reason(XLogRecPtr lsn)
{
	char	   *names = pstrdup(synchronized_standby_slots ? synchronized_standby_slots : "");
	char	   *reason = NULL;
	List	   *list = NIL;
	ListCell   *cell;

	(void) SplitIdentifierString(names, ',', &list);
	foreach(cell, list)
	{
		char	   *fault = find_fault(lfirst(cell), lsn == InvalidXLogRecPtr ? target : lsn);

		if (fault == NULL)
			continue;
		reason = psprintf("slot \"%s\" of synchronized_standby_slots %s",
						  (char *) lfirst(cell), fault);
		break;
	}
	list_free(list);
	pfree(names);
	return reason ? reason :
		pstrdup("a standby of synchronized_standby_slots has not confirmed the WAL yet");
}

#else

static bool
applies(void)
{
	return false;
}

bool
standby_gate_has(XLogRecPtr lsn)
{
	return true;
}

void
standby_gate_want_wakeup(void)
{
}

void
standby_gate_cancel_wakeup(void)
{
}

char *
standby_gate_reason(XLogRecPtr lsn)
{
	return pstrdup("");
}

#endif

XLogRecPtr
standby_gate_pass(XLogRecPtr flushed)
{
	if (!applies())
		return flushed;
	if (target <= passed)
		target = flushed;
	if (target > passed && standby_gate_has(target))
		passed = target;
	return Min(passed, flushed);
}

XLogRecPtr
standby_gate_passed(XLogRecPtr flushed)
{
	return applies() ? Min(passed, flushed) : flushed;
}

bool
standby_gate_is_closed(void)
{
	return target > passed;
}
