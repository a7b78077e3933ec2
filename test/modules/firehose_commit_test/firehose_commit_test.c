/*
 * firehose_commit_test.c
 *		A session that stays in its commit: others see what it has changed, and
 *		are not told of it.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(stay_in_commit);

static char path[MAXPGPATH];

static void
at_transaction_event(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT || path[0] == '\0')
		return;
	while (access(path, F_OK) == 0)
		pg_usleep(10000);
	path[0] = '\0';
}

/* stay_in_commit(file): stay in the commit until the file is gone. */
Datum
stay_in_commit(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(at_transaction_event, NULL);
	registered = true;
	strlcpy(path, text_to_cstring(PG_GETARG_TEXT_PP(0)), sizeof(path));
	PG_RETURN_VOID();
}
