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
static XLogRecPtr wanted = InvalidXLogRecPtr;	/* and are to have this */
static XLogRecPtr held_until = InvalidXLogRecPtr;	/* all of this first */

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

/* The names in the setting: of char *, that point into `buffer`. */
static List *
standby_slots(char **buffer)
{
	List	   *names = NIL;

	*buffer = pstrdup(synchronized_standby_slots ? synchronized_standby_slots : "");
	(void) SplitIdentifierString(*buffer, ',', &names);
	return names;
}

/*
 * How far the standby of a slot has confirmed; Invalid: that does not count.
 * *fault says why it holds the gate for a position.
 */
static XLogRecPtr
look_at_slot(const char *name, XLogRecPtr lsn, const char **fault)
{
	XLogRecPtr	restart = InvalidXLogRecPtr;
	ReplicationSlot *slot;

	*fault = NULL;
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot == NULL)
		*fault = "does not exist: create it for the standby, or take it out of the setting";
	else if (SlotIsLogical(slot))
		*fault = "is not a physical one";
	else if (SlotIsInvalidated(slot))
		*fault = "was invalidated: create it anew for the standby, or take it out of the setting";
	else
	{
		bool		active;

		SpinLockAcquire(&slot->mutex);
		restart = slot->data.restart_lsn;
		active = slot->active_pid != 0;
		SpinLockRelease(&slot->mutex);
		if (restart < lsn)
			*fault = active ? "has not confirmed the WAL yet" : "is not in use: its standby is not connected";
	}
	LWLockRelease(ReplicationSlotControlLock);
	return restart;
}

/* How far all standbys have confirmed. */
static XLogRecPtr
confirmed_by_all(void)
{
	char	   *buffer;
	List	   *names = standby_slots(&buffer);
	XLogRecPtr	first = names == NIL ? InvalidXLogRecPtr : PG_UINT64_MAX;
	ListCell   *cell;

	foreach(cell, names)
	{
		const char *fault;

		first = Min(first, look_at_slot(lfirst(cell), InvalidXLogRecPtr, &fault));
	}
	list_free(names);
	pfree(buffer);
	return first;
}

char *
standby_gate_reason(XLogRecPtr lsn)
{
	char	   *buffer;
	char	   *reason = NULL;
	List	   *names = standby_slots(&buffer);
	ListCell   *cell;

	foreach(cell, names)
	{
		const char *fault;

		(void) look_at_slot(lfirst(cell), lsn, &fault);
		if (fault == NULL)
			continue;
		reason = psprintf("slot \"%s\" of synchronized_standby_slots %s",
						  (char *) lfirst(cell), fault);
		break;
	}
	list_free(names);
	pfree(buffer);
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

static XLogRecPtr
confirmed_by_all(void)
{
	return InvalidXLogRecPtr;
}

#endif

XLogRecPtr
standby_gate_pass(XLogRecPtr flushed)
{
	XLogRecPtr	upto = flushed;

	if (!applies())
		return flushed;
	if (held_until != InvalidXLogRecPtr && !standby_gate_has(held_until))
		return Min(passed, flushed);
	held_until = InvalidXLogRecPtr;

	wanted = flushed;
	if (!standby_gate_has(upto))
		upto = Min(confirmed_by_all(), flushed);
	/* whether that counts is for core to say */
	if (upto > passed && standby_gate_has(upto))
		passed = upto;
	return Min(passed, flushed);
}

XLogRecPtr
standby_gate_passed(XLogRecPtr flushed)
{
	return applies() ? Min(passed, flushed) : flushed;
}

XLogRecPtr
standby_gate_lacks(void)
{
	return wanted > passed ? wanted : InvalidXLogRecPtr;
}

void
standby_gate_hold(XLogRecPtr from, XLogRecPtr lsn)
{
	if (!applies())
		return;
	passed = Min(passed, from);
	wanted = held_until = lsn;
}
