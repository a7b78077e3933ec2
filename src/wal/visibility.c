/*
 * visibility.c
 *		When commits become visible; visibility.h says more.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_control.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/standby.h"

#include "common/clock.h"
#include "common/compat.h"
#include "wal/visibility.h"

/*
 * How long a wait lasts (us), at first, and how many times as long nothing is
 * waited for after it.
 */
#define PATIENCE_US		20000
#define PATIENCE_MAX_US	1000000
#define PAUSE_TIMES		5

/* How often those that are waited for are looked at (us). */
#define POLL_US		50

XLogRecPtr
visibility_write_mark(void)
{
	uint32		nothing = 0;

	XLogBeginInsert();
	XLogRegisterData((char *) &nothing, sizeof(nothing));
	return XLogInsert(RM_XLOG_ID, XLOG_NOOP);
}

static bool
pause_until(int64 deadline)
{
	if (clock_us() > deadline)
		return false;
	CHECK_FOR_INTERRUPTS();
	pg_usleep(POLL_US);
	return true;
}

/* Those that have their commit record, and are not visible. */
static List *
hidden_commits(void)
{
	RunningTransactions running = GetRunningTransactionData();
	List	   *hidden = NIL;
	TransactionId *xids = palloc(Max(running->xcnt, 1) * sizeof(TransactionId));
	int			n = running->xcnt;

	memcpy(xids, running->xids, n * sizeof(TransactionId));
	LWLockRelease(ProcArrayLock);
	LWLockRelease(XidGenLock);
	for (int i = 0; i < n; i++)
	{
		if (TransactionIdDidCommit(xids[i]))
			hidden = lappend_int(hidden, (int) xids[i]);
	}
	return hidden;
}

/* Wait until all that committed is visible; false: it lasts too long. */
static bool
await_until(int64 deadline)
{
	int			n;
	VirtualTransactionId *committing = GetVirtualXIDsDelayingChkpt(&n, DELAY_CHKPT_START);
	ListCell   *cell;

	while (n > 0 && HaveVirtualXIDsDelayingChkpt(committing, n, DELAY_CHKPT_START))
	{
		if (!pause_until(deadline))
			return false;
	}
	foreach(cell, hidden_commits())
	{
		while (TransactionIdIsInProgress((TransactionId) lfirst_int(cell)))
		{
			if (!pause_until(deadline))
				return false;
		}
	}
	return true;
}

long
visibility_await(void)
{
	static long patience = PATIENCE_US;
	long		waited = patience;

	if (await_until(clock_us() + patience))
	{
		patience = PATIENCE_US;
		return 0;
	}
	patience = Min(patience * 2, PATIENCE_MAX_US);
	return waited / 1000 * PAUSE_TIMES;
}
