/*
 * standbys.c
 *		Waiting for standbys; standbys.h says what for.
 *
 * A standby's confirmation, a command, a reload of the settings or a stop sets
 * the latch.
 */
#include "postgres.h"

#include "storage/ipc.h"
#include "utils/snapmgr.h"

#include "common/clock.h"
#include "common/compat.h"
#include "decoder/standbys.h"
#include "wal/standby_gate.h"
#include "workers/decoder_lifecycle.h"
#include "workers/worker.h"

/* Standbys that follow at once are not worth a word (ms). */
#define SHOW_AFTER_MS	1000

/*
 * A walsender wakes us by the settings that it has read, and a slot that is
 * created wakes nothing: look now and then (ms).
 */
#define LOOK_AGAIN_MS	10000

static int64 closed_at;			/* clock_ms; 0: the gate is open */
static char shown[PIPELINE_TEXT_LEN];	/* reason; empty: none is shown */

long
standbys_show(PipelineEntry *entry, XLogRecPtr lsn)
{
	int64		now = clock_ms();
	char	   *reason;

	if (closed_at == 0)
		closed_at = now;
	if (now - closed_at < SHOW_AFTER_MS)
		return closed_at + SHOW_AFTER_MS - now;
	reason = standby_gate_reason(lsn);
	if (strncmp(reason, shown, sizeof(shown) - 1) != 0)
	{
		strlcpy(shown, reason, sizeof(shown));
		pipeline_set_state(entry, PIPELINE_WAITING, shown);
	}
	pfree(reason);
	return LOOK_AGAIN_MS;
}

void
standbys_passed(void)
{
	closed_at = 0;
	shown[0] = '\0';
}

bool
standbys_end_show(void)
{
	bool		was_shown = shown[0] != '\0';

	standbys_passed();
	return was_shown;
}

void
standbys_await(PipelineEntry *entry, XLogRecPtr lsn)
{
	if (standby_gate_has(lsn))
		return;

	/* a snapshot of catalogs, kept meanwhile, would hold back VACUUM */
	InvalidateCatalogSnapshot();
	for (;;)
	{
		standby_gate_want_wakeup();
		if (standby_gate_has(lsn))
			break;
		worker_wait(NULL, standbys_show(entry, lsn), WaitEventNamed("FirehoseStandbys"), NULL, 0);
		if (worker_shutdown_requested() || decoder_must_exit(entry) ||
			pg_atomic_read_u32(&entry->reread) != 0)
			proc_exit(0);
	}
	standby_gate_cancel_wakeup();
}
