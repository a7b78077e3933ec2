/*
 * retried.c
 *		Forgetting the outcome of a dead letter that is queued again.
 *
 * Runs in backends.  From the commit on the record is pending, and
 * firehose_wait must not find that it has failed.  Until then it has failed:
 * the retry may yet be rolled back.  So its outcome is taken out of the ring
 * at PRE_COMMIT, before a sender can see the record, and put back should the
 * commit fail.
 *
 * The list is in order of nesting: what a subtransaction retried is at its
 * end.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "status/recent.h"
#include "status/retried.h"

typedef struct Retried
{
	uint64		id;
	int			level;			/* of the subtransaction */
	RecordOutcome forgotten;	/* what the ring said of it */
} Retried;

static Retried *retried = NULL; /* in TopTransactionContext */
static int	nretried = 0;
static int	max_retried = 0;

static void at_transaction_event(XactEvent event, void *arg);
static void at_subtransaction_event(SubXactEvent event, SubTransactionId my_subid,
									SubTransactionId parent_subid, void *arg);

void
retried_register_callbacks(void)
{
	RegisterXactCallback(at_transaction_event, NULL);
	RegisterSubXactCallback(at_subtransaction_event, NULL);
}

void
retried_add(uint64 id)
{
	if (nretried == max_retried)
	{
		int			n = Max(64, max_retried * 2);

		if (retried == NULL)
			retried = MemoryContextAlloc(TopTransactionContext, n * sizeof(Retried));
		else
			retried = repalloc_huge(retried, n * sizeof(Retried));
		max_retried = n;
	}
	retried[nretried++] = (Retried) {id, GetCurrentTransactionNestLevel(), OUTCOME_NONE};
}

/* Their memory goes with the transaction. */
static void
forget_list(void)
{
	retried = NULL;
	nretried = max_retried = 0;
}

static void
at_transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			for (int i = 0; i < nretried; i++)
				retried[i].forgotten = recent_forget(retried[i].id);
			break;
		case XACT_EVENT_ABORT:
			for (int i = 0; i < nretried; i++)
			{
				if (retried[i].forgotten != OUTCOME_NONE)
					recent_restore(retried[i].id, retried[i].forgotten);
			}
			forget_list();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			forget_list();
			break;
		default:
			break;
	}
}

static void
at_subtransaction_event(SubXactEvent event, SubTransactionId my_subid,
						SubTransactionId parent_subid, void *arg)
{
	int			level;

	if (nretried == 0)
		return;
	level = GetCurrentTransactionNestLevel();
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (nretried > 0 && retried[nretried - 1].level >= level)
			nretried--;
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = nretried; i-- > 0 && retried[i].level >= level;)
			retried[i].level = level - 1;
	}
}
