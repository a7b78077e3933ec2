/*
 * standbys.c
 *		Waiting for standbys; standbys.h says more.
 *
 * Nothing is looked at again and again: a standby's confirmation, a command, a
 * reload of the settings or a stop sets the latch.  Why it lasts may change
 * without an event, so that views find the reason anew (standby_gate_reason).
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "common/clock.h"
#include "decoder/deferred_chunk.h"
#include "decoder/standbys.h"
#include "wal/standby_gate.h"
#include "wal/wal_reader.h"

/*
 * Standbys that follow at once are not worth a word (ms).  It is also how long
 * a walsender may take to read settings that this process has read, see
 * standby_gate_want_wakeup.
 */
#define SHOW_AFTER_MS	1000

static bool waiting;
static bool shown;
static int64 show_at;			/* clock_ms; 0: it was */
static TimestampTz reloaded_at; /* PgReloadTime at the last look */

XLogRecPtr
standbys_lack(void)
{
	XLogRecPtr	lsn = standby_gate_lacks();

	return lsn != InvalidXLogRecPtr ? lsn : deferred_chunk_awaits();
}

bool
standbys_want_wakeup(void)
{
	XLogRecPtr	passed = standby_gate_passed(PG_UINT64_MAX);

	standby_gate_want_wakeup();
	return standby_gate_pass(wal_reader_limit()) != passed || deferred_chunk_is_ready();
}

long
standbys_show(PipelineEntry *entry, XLogRecPtr lsn)
{
	int64		now = clock_ms();
	char	   *reason;

	if (!waiting || reloaded_at != PgReloadTime)
		show_at = now + SHOW_AFTER_MS;
	waiting = true;
	reloaded_at = PgReloadTime;
	if (shown)
		pg_atomic_write_u64(&entry->standbys_lsn, lsn);
	if (show_at == 0)
		return -1;
	if (now < show_at)
		return show_at - now;

	show_at = 0;
	shown = true;
	pg_atomic_write_u64(&entry->standbys_lsn, lsn);
	reason = standby_gate_reason(lsn);
	pipeline_set_state(entry, PIPELINE_WAITING, reason);
	pfree(reason);
	return -1;
}

bool
standbys_end_show(PipelineEntry *entry)
{
	bool		was_shown = shown;

	waiting = shown = false;
	pg_atomic_write_u64(&entry->standbys_lsn, InvalidXLogRecPtr);
	return was_shown;
}
