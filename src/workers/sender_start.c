/*
 * sender_start.c
 *		The first steps of a sender's process, in the library that the server
 *		runs with: it attaches, loads firehose_sender.so, and enters it only
 *		if it is of the same build.
 *
 * The library on disk may be of another version than the one in memory,
 * because a package was upgraded and the server not restarted.  Its code would
 * misread shared memory.  So nothing of it runs before its build has been
 * compared, and neither a wrong build nor a library that cannot be loaded goes
 * unseen: all streams without a sender show why.
 */
#include "postgres.h"

#include "fmgr.h"
#include "storage/ipc.h"

#include "common/build.h"
#include "common/names.h"
#include "queue/queue.h"
#include "workers/sender_lifecycle.h"

#define SENDER_LIBRARY	FIREHOSE_NAME "_sender"
#define UPGRADE_TROUBLE	"restart the server to finish the upgrade of " FIREHOSE_NAME

typedef void (*SenderMain) (Oid dboid);

extern PGDLLEXPORT void firehose_sender_start(Datum arg);

/*
 * Senders cannot start: log that once, and exit so that it is tried again
 * later.  A sender that failed may have left its number with its streams.
 */
static void
give_up(Oid dboid, const char *trouble, const char *detail)
{
	for (int i = 0; i < firehose_queue->max_streams; i++)
	{
		QueueStream *s = queue_stream(firehose_queue, i);

		LWLockAcquire(s->lock, LW_SHARED);
		if (s->in_use && s->dboid == dboid)
			pg_atomic_write_u32(&s->sender_procno, PG_UINT32_MAX);
		LWLockRelease(s->lock);
	}
	if (build_set_trouble(trouble))
		ereport(LOG,
				(errmsg("firehose: %s", trouble),
				 errdetail_internal("%s", detail)));
	proc_exit(1);
}

/*
 * Load the library; NULL, and why, if that cannot be.  Symbols that it misses
 * are a sign of another version, too.
 */
static void *
load_sender(char **error)
{
	MemoryContext context = CurrentMemoryContext;
	void	   *volatile handle = NULL;

	PG_TRY();
	{
		void	   *loaded;

		(void) load_external_function(SENDER_LIBRARY, "firehose_sender_build", false, &loaded);
		handle = loaded;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		*error = edata->message;
	}
	PG_END_TRY();
	return handle;
}

/* Entry point of the process. */
void
firehose_sender_start(Datum arg)
{
	Oid			dboid;
	void	   *library;
	char	   *error = NULL;
	const char *build;
	SenderMain	sender_main;

	if (!sender_attach(arg, &dboid))
		return;

	library = load_sender(&error);
	if (library == NULL)
		give_up(dboid, strstr(error, "undefined symbol") ? UPGRADE_TROUBLE :
				psprintf("senders cannot start: %s", error), error);
	build = lookup_external_function(library, "firehose_sender_build");
	sender_main = (SenderMain) lookup_external_function(library, "firehose_sender_main");
	if (!build_matches(build) || sender_main == NULL)
		give_up(dboid, UPGRADE_TROUBLE,
				psprintf("The server runs build %s, and the installed library %s is build %s.",
						 build_running(), SENDER_LIBRARY, build ? build : "unknown"));
	(void) build_set_trouble("");
	sender_main(dboid);
}
