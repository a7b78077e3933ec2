/*
 * firehose.c
 *		The library's entry: module magic, and the set-up of every module.
 *
 * Loaded by the postmaster (shared_preload_libraries), so that every process
 * has it.  Each module defines its own settings, asks for its own shared
 * memory and registers its own hooks; this file only has the order.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "common/build.h"
#include "common/home.h"
#include "common/names.h"
#include "common/preload.h"
#include "decoder/copy_rate.h"
#include "format/event.h"
#include "pipeline/check.h"
#include "pipeline/rights.h"
#include "pipeline/stat.h"
#include "put/durable.h"
#include "put/put.h"
#include "put/put_xact.h"
#include "put/trigger.h"
#include "queue/ids.h"
#include "queue/queue.h"
#include "queue/save.h"
#include "queue/set_aside.h"
#include "sender/settings.h"
#include "status/recent.h"
#include "status/retried.h"
#include "status/status.h"
#include "stream/identity_stats.h"
#include "stream/stream.h"
#include "wal/run_epoch.h"
#include "workers/database_table.h"
#include "workers/ddl_hooks.h"
#include "workers/launcher.h"
#include "workers/pipeline_table.h"
#include "workers/sender_absence.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static shmem_request_hook_type prev_shmem_request = NULL;
static shmem_startup_hook_type prev_shmem_startup = NULL;

static void firehose_shmem_request(void);
static void firehose_shmem_startup(void);

void
_PG_init(void)
{
	/*
	 * Shared memory, and settings that belong to it, can be asked for only
	 * while the postmaster starts.  In a session that loads the library later,
	 * CREATE EXTENSION and CREATE SERVER work, and puts raise an error that
	 * says what is missing.
	 */
	if (!process_shared_preload_libraries_in_progress)
	{
		if (creating_extension)
			ereport(WARNING,
					(errmsg("nothing can be put or sent until %s is loaded via shared_preload_libraries",
							FIREHOSE_NAME),
					 errhint("Add %s to shared_preload_libraries and restart the server.",
							 FIREHOSE_NAME)));
		return;
	}

	firehose_preloaded = true;

	event_define_settings();
	queue_define_settings();
	queue_set_aside_define_settings();
	stream_define_settings();
	put_define_settings();
	durable_define_settings();
	pipeline_table_define_settings();
	pipeline_check_define_settings();
	pipeline_stat_define_settings();
	copy_rate_define_settings();
	sender_define_settings();
	status_define_settings();
	database_table_define_settings();
	MarkGUCPrefixReserved(FIREHOSE_NAME);

	put_xact_register_callbacks();
	durable_register_callbacks();
	retried_register_callbacks();
	pipeline_register_wakeup();
	run_epoch_register();
	sender_absence_register();

	prev_shmem_request = shmem_request_hook;
	shmem_request_hook = firehose_shmem_request;
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = firehose_shmem_startup;

	ddl_hooks_install();
	trigger_install_hook();
	pipeline_install_hooks();
	launcher_register_worker();
}

static void
firehose_shmem_request(void)
{
	if (prev_shmem_request)
		prev_shmem_request();

	build_shmem_request();
	home_shmem_request();
	queue_shmem_request();
	ids_shmem_request();
	stream_stats_shmem_request();
	identity_stats_shmem_request();
	recent_shmem_request();
	database_table_shmem_request();
	pipeline_table_shmem_request();
	run_epoch_shmem_request();
}

static void
firehose_shmem_startup(void)
{
	if (prev_shmem_startup)
		prev_shmem_startup();

	build_shmem_startup();
	home_shmem_startup();
	queue_shmem_startup();
	ids_shmem_startup();
	stream_stats_shmem_startup();
	identity_stats_shmem_startup();
	recent_shmem_startup();
	database_table_shmem_startup();
	pipeline_table_shmem_startup();
	run_epoch_shmem_startup();

	/* last: it fills the queue; then this start is noted */
	queue_save_startup();
	home_note();
}
