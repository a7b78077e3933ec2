/*
 * progress.c
 *		How far this decoder's pipeline has got; progress.h says what for.
 *
 * The note in the table is made first, and the slot follows it, one note
 * behind: WAL that a slot releases has been noted, durably, as delivered, and
 * most likely on standbys as well.  So the slot's restart position is never
 * ahead of the note, unless the slot is another one than it was.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "common/clock.h"
#include "common/compat.h"
#include "decoder/progress.h"
#include "pipeline/position.h"
#include "queue/ids.h"
#include "wal/replication_slot.h"
#include "wal/run_epoch.h"
#include "wal/standby_gate.h"
#include "wal/wal_reader.h"
#include "workers/worker.h"

/*
 * How often the delivered position is noted (ms): after a crash of the server
 * everything after it is sent again.
 */
#define NOTE_INTERVAL_MS	5000

/*
 * WAL read since that is worth a note of its own, and how often at most (ms).
 */
#define NOTE_WAL			(1024 * 1024)
#define NOTE_WAL_AT_ONCE	(4 * 1024 * 1024)
#define NOTE_AT_ONCE_MS		50

static int32 my_id;
static PipelineEntry *my_entry;
static PipelinePosition position;	/* as it is in the table */
static XLogRecPtr released;		/* the position that the slot was confirmed to
								 * */
static int64 noted_at;			/* clock_ms */

static bool read_position(int32 id);
static const char *find_fault(const SlotInfo *slot);
static void raise_ids_of_puts(void);
static void store_position(void);
static void let_slot_go(XLogRecPtr upto);

/* Read the note, in a transaction of its own. */
static bool
read_position(int32 id)
{
	MemoryContext old = CurrentMemoryContext;
	bool		known;
	Epoch	   *epochs;

	memset(&position, 0, sizeof(position));
	StartTransactionCommand();
	known = pipeline_position_read(id, &position);
	epochs = MemoryContextAlloc(TopMemoryContext, Max(position.nepochs, 1) * sizeof(Epoch));
	if (known)
		memcpy(epochs, position.epochs, position.nepochs * sizeof(Epoch));
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	position.epochs = epochs;
	return known;
}

XLogRecPtr
progress_noted(const Pipeline *pipeline)
{
	return read_position(pipeline->id) ? position.confirmed : InvalidXLogRecPtr;
}

/* Compare a slot with the note: what is wrong with it; NULL: nothing. */
static const char *
find_fault(const SlotInfo *slot)
{
	if (position.confirmed > wal_reader_limit())
		return psprintf("ends before %X/%X, up to where changes were delivered: this is not the WAL they came from",
						LSN_FORMAT_ARGS(position.confirmed));

	/* one that was made by synchronization has moved with the primary's */
	if (slot->restart <= position.confirmed || slot->synced)
		return NULL;
	return psprintf("begins at %X/%X, but changes were delivered only up to %X/%X: it was re-created or moved meanwhile",
					LSN_FORMAT_ARGS(slot->confirmed), LSN_FORMAT_ARGS(position.confirmed));
}

const char *
progress_start(const Pipeline *pipeline, PipelineEntry *entry, XLogRecPtr *start)
{
	SlotInfo	slot;
	bool		known = read_position(pipeline->id);
	bool		anew;

	my_id = pipeline->id;
	my_entry = entry;
	if (!replication_slot_look(pipeline->slot_name, &slot))
		return "is gone";
	if (slot.lost)
		return "was invalidated";
	if (slot.database != MyDatabaseId || strcmp(slot.plugin, "pgoutput") != 0)
		return psprintf("is not one of pgoutput in this database (its plugin is \"%s\")",
						slot.plugin);

	/* never run, or brought here by pg_upgrade, which moves slots */
	anew = !known || position.confirmed == InvalidXLogRecPtr ||
		(position.system != 0 && position.system != GetSystemIdentifier());
	if (!anew)
	{
		const char *fault = find_fault(&slot);

		if (fault != NULL)
			return fault;
		if (slot.restart > position.confirmed)
			position.confirmed = slot.confirmed;
	}
	else
		position.confirmed = slot.confirmed;
	if (anew || position.system == 0 || position.nepochs == 0)
	{
		/* the command that has set the position may have known its epoch */
		if (anew || position.nepochs == 0 ||
			position.epochs[position.nepochs - 1].from != position.confirmed)
			(void) pipeline_position_add_epoch(&position, position.confirmed,
											   run_epoch_at(slot.restart, position.confirmed));
		store_position();
	}
	raise_ids_of_puts();

	released = Min(slot.confirmed, position.confirmed);
	noted_at = clock_ms();
	*start = Max(position.confirmed, pg_atomic_read_u64(&entry->queued_upto));
	if (pg_atomic_read_u64(&entry->confirmed_lsn) < position.confirmed)
		pg_atomic_write_u64(&entry->confirmed_lsn, position.confirmed);
	return NULL;
}

/* Epochs ------------------------------------------------------------------ */

/* The ids of puts, microseconds since 2000, ascend through epochs, too. */
static void
raise_ids_of_puts(void)
{
	uint64		number = position.epochs[position.nepochs - 1].number;

	ids_raise(firehose_queue, EPOCH_SECOND(number) * USECS_PER_SEC);
}

/* Write all of it, as of this server. */
static void
store_position(void)
{
	position.system = GetSystemIdentifier();
	position.timeline = GetWALInsertionTimeLine();
	pipeline_position_store(my_id, &position);
}

void
progress_on_server_start(XLogRecPtr lsn)
{
	if (lsn <= position.epochs[position.nepochs - 1].from ||
		!pipeline_position_add_epoch(&position, lsn, run_epoch_at(lsn, lsn)))
		return;
	raise_ids_of_puts();
	store_position();

	/* a standby that has the slot is to have the epoch, too */
	standby_gate_hold(lsn, XactLastCommitEnd);
}

uint64
progress_epoch(XLogRecPtr lsn)
{
	int			i = position.nepochs - 1;

	while (i > 0 && position.epochs[i].from > lsn)
		i--;
	return position.epochs[i].number;
}

/* Notes ------------------------------------------------------------------- */

/* Is there something to be noted, when its time has come? */
static bool
is_worth_noting(XLogRecPtr confirmed)
{
	return confirmed > position.confirmed &&
		(pg_atomic_read_u64(&my_entry->accepted_lsn) > position.confirmed ||
		 confirmed - position.confirmed >= NOTE_WAL);
}

static void
let_slot_go(XLogRecPtr upto)
{
	if (upto <= released)
		return;
	wal_reader_confirm(upto);
	wal_reader_save();
	released = upto;
}

long
progress_due(void)
{
	XLogRecPtr	confirmed = pg_atomic_read_u64(&my_entry->confirmed_lsn);
	int64		elapsed = clock_ms() - noted_at;
	int64		interval = NOTE_INTERVAL_MS;

	if (!is_worth_noting(confirmed) && released >= position.confirmed)
		return -1;
	if (confirmed >= position.confirmed + NOTE_WAL_AT_ONCE)
		interval = NOTE_AT_ONCE_MS;
	return Max(0, interval - elapsed);
}

void
progress_note(bool now)
{
	XLogRecPtr	confirmed = pg_atomic_read_u64(&my_entry->confirmed_lsn);
	XLogRecPtr	last = position.confirmed;

	if (!now && progress_due() != 0)
		return;
	noted_at = clock_ms();
	if (now ? confirmed > last : is_worth_noting(confirmed))
	{
		if (!pipeline_position_advance(my_id, confirmed))
			return;
		position.confirmed = confirmed;
	}
	let_slot_go(now ? position.confirmed : last);
}
