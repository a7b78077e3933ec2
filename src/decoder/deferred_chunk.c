/*
 * deferred_chunk.c
 *		A chunk that waits for standbys; deferred_chunk.h says more.
 */
#include "postgres.h"

#include "decoder/deferred_chunk.h"
#include "wal/standby_gate.h"

static ReadChunk deferred;
static bool waits;

void
deferred_chunk_begin(const ReadChunk *read, ChangeBatch *batch, WalReader *wal)
{
	deferred = *read;
	waits = true;
	change_batch_defer(batch);
	wal->stop_at = read->position;
}

XLogRecPtr
deferred_chunk_awaits(void)
{
	return waits ? deferred.mark : InvalidXLogRecPtr;
}

bool
deferred_chunk_is_ready(void)
{
	return waits && standby_gate_has(deferred.mark);
}

bool
deferred_chunk_end(ChangeBatch *batch, WalReader *wal, bool forget,
				   void (*hand_over) (ReadChunk *))
{
	if (!waits)
		return true;
	if (!forget && !deferred_chunk_is_ready())
		return false;
	waits = false;
	wal->stop_at = InvalidXLogRecPtr;
	if (forget)
	{
		change_batch_drop_deferred(batch);
		return true;
	}
	change_batch_take_deferred(batch);
	hand_over(&deferred);
	return true;
}
