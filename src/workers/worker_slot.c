/*
 * worker_slot.c
 *		The place of a worker; seat.h has the contract.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"

#include "common/compat.h"
#include "workers/worker.h"
#include "workers/worker_slot.h"

#define RESTART_MS			1000	/* after an orderly exit */
#define MIN_BACKOFF_MS		1000	/* after a failure, doubled each time ... */
#define MAX_BACKOFF_MS		60000	/* ... up to this */
#define LONG_LIFE_MS		60000	/* who lived so long did not fail at once */

void
seat_init(Seat *seat)
{
	memset(seat, 0, sizeof(Seat));
	seat->procno = NO_PROC;
	pg_atomic_init_u32(&seat->requests, 0);
}

void
seat_begin_start(Seat *seat)
{
	Assert(seat->state == SEAT_EMPTY);
	seat->state = SEAT_STARTING;
	seat->generation++;
}

void
seat_give_up_start(Seat *seat)
{
	if (seat->state == SEAT_STARTING)
		seat->state = SEAT_EMPTY;
}

bool
seat_attach(Seat *seat, uint16 generation)
{
	if (seat->state != SEAT_STARTING || seat->generation != generation)
		return false;

	seat->state = SEAT_TAKEN;
	seat->procno = MyProcNo();
	seat->pid = MyProcPid;
	seat->attached_at = worker_clock_ms();
	pg_atomic_write_u32(&seat->requests, 0);
	return true;
}

void
seat_detach(Seat *seat, int exit_code)
{
	int64		now = worker_clock_ms();

	Assert(seat->state == SEAT_TAKEN && seat->pid == MyProcPid);
	seat->state = SEAT_EMPTY;
	seat->procno = NO_PROC;
	seat->pid = 0;

	if (exit_code == 0 || now - seat->attached_at >= LONG_LIFE_MS)
		seat->backoff_ms = 0;
	if (exit_code == 0)
		seat->start_at = now + RESTART_MS;
	else
	{
		seat->backoff_ms = Min(Max(seat->backoff_ms * 2, MIN_BACKOFF_MS),
							   MAX_BACKOFF_MS);
		seat->start_at = now + seat->backoff_ms;
	}
}

void
seat_ask_exit(Seat *seat)
{
	pg_atomic_fetch_or_u32(&seat->requests, REQUEST_EXIT);
	seat_wake(seat);
}

void
seat_hurry(Seat *seat)
{
	seat->start_at = 0;
	seat->backoff_ms = 0;
}

void
seat_wake(const Seat *seat)
{
	if (seat->procno != NO_PROC)
		SetLatch(&GetPGProcByNumber(seat->procno)->procLatch);
}
