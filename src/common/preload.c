/*
 * preload.c
 *		Was the library loaded when the server started?
 */
#include "postgres.h"

#include "common/names.h"
#include "common/preload.h"

bool		firehose_preloaded = false;

void
firehose_check_preloaded(void)
{
	if (unlikely(!firehose_preloaded))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s must be loaded via shared_preload_libraries", FIREHOSE_NAME),
				 errhint("Add %s to shared_preload_libraries and restart the server.",
						 FIREHOSE_NAME)));
}
