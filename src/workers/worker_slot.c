/*
 * worker_slot.c
 *		The place of a worker; worker_slot.h has the contract.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"

#include "common/clock.h"
#include "common/compat.h"
#include "workers/worker.h"
#include "workers/worker_slot.h"

#define RESTART_MS			1000	/* after an orderly exit */
#define MIN_BACKOFF_MS		1000	/* after a failure, then doubled ... */
#define MAX_BACKOFF_MS		60000	/* ... up to this */
#define LONG_LIFE_MS		60000	/* a worker that lived longer did not fail
									 * at once */

void
worker_slot_init(WorkerSlot *worker_slot)
{
	memset(worker_slot, 0, sizeof(WorkerSlot));
	worker_slot->procno = NO_PROC;
	pg_atomic_init_u32(&worker_slot->requests, 0);
}

void
worker_slot_begin_start(WorkerSlot *worker_slot)
{
	Assert(worker_slot->state == WORKER_SLOT_EMPTY);
	worker_slot->state = WORKER_SLOT_STARTING;
	worker_slot->generation++;
}

void
worker_slot_give_up_start(WorkerSlot *worker_slot)
{
	if (worker_slot->state == WORKER_SLOT_STARTING)
		worker_slot->state = WORKER_SLOT_EMPTY;
}

bool
worker_slot_attach(WorkerSlot *worker_slot, uint16 generation)
{
	if (worker_slot->state != WORKER_SLOT_STARTING || worker_slot->generation != generation)
		return false;

	worker_slot->state = WORKER_SLOT_TAKEN;
	worker_slot->procno = MyProcNo();
	worker_slot->pid = MyProcPid;
	worker_slot->attached_at = clock_ms();
	pg_atomic_write_u32(&worker_slot->requests, 0);
	return true;
}

void
worker_slot_detach(WorkerSlot *worker_slot, int exit_code)
{
	int64		now = clock_ms();

	Assert(worker_slot->state == WORKER_SLOT_TAKEN && worker_slot->pid == MyProcPid);
	worker_slot->state = WORKER_SLOT_EMPTY;
	worker_slot->procno = NO_PROC;
	worker_slot->pid = 0;

	if (exit_code == 0 || now - worker_slot->attached_at >= LONG_LIFE_MS)
		worker_slot->backoff_ms = 0;
	if (exit_code == 0)
		worker_slot->start_at = now + RESTART_MS;
	else
	{
		worker_slot->backoff_ms = Min(Max(worker_slot->backoff_ms * 2, MIN_BACKOFF_MS),
							   MAX_BACKOFF_MS);
		worker_slot->start_at = now + worker_slot->backoff_ms;
	}
}

/*
 * The signal is for a worker that waits for a lock, or works for long in
 * core's code, which looks only at signals.  A worker clears its pid under the
 * lock before its process is gone.
 */
void
worker_slot_request_exit(WorkerSlot *worker_slot)
{
	pg_atomic_fetch_or_u32(&worker_slot->requests, REQUEST_EXIT);
	worker_slot_wake(worker_slot);
	if (worker_slot->pid != 0)
		(void) kill(worker_slot->pid, SIGTERM);
}

void
worker_slot_start_now(WorkerSlot *worker_slot)
{
	worker_slot->start_at = 0;
	worker_slot->backoff_ms = 0;
}

void
worker_slot_wake(const WorkerSlot *worker_slot)
{
	if (worker_slot->procno != NO_PROC)
		SetLatch(&GetPGProcByNumber(worker_slot->procno)->procLatch);
}
