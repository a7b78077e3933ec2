/*
 * firehose_queue_test.c
 *		queue_model_test(seed, operations): random operations on a small queue
 *		in private memory, each compared with a simple model (model.h).
 *
 * One process plays all the parts: transactions that interleave, and the
 * senders of two databases, which are restarted at any time.  So this shows
 * that the queue's logic is right, not that its locking is.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "simulation.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(queue_model_test);

Simulation	sim;

/* Set-up ------------------------------------------------------------------ */

/* Memory at a multiple of `alignment`. */
static void *
allocate_aligned(Size size, Size alignment)
{
	return (void *) TYPEALIGN(alignment,
							  MemoryContextAllocHuge(CurrentMemoryContext, size + alignment));
}

/* A queue whose locks and memory are this function's own. */
static Queue *
make_queue(void)
{
	int			tranche = firehose_queue->table_lock->tranche;
	uint32		npages = 12 + below(MAX_PAGES - 12);
	/* often there are too few */
	int			max_streams = 3 + below(chance(0.5) ? 6 : 20);
	Size		size = queue_memory_size(npages, max_streams, WAITERS);
	LWLockPadded *locks = allocate_aligned(sizeof(LWLockPadded) * (max_streams + 1),
										   LWLOCK_PADDED_SIZE);
	Queue	   *q = allocate_aligned(size, QUEUE_PAGE_DATA);

	for (int i = 0; i <= max_streams; i++)
		LWLockInitialize(&locks[i].lock, tranche);
	/* what is not initialized shows as such */
	memset(q, 0x5a, size);
	queue_init(q, npages, max_streams, WAITERS, &locks[0].lock, locks + 1);
	/* no file is needed for so few ids */
	pg_atomic_write_u64(&q->id_limit, PG_INT64_MAX);
	return q;
}

static void
start(uint64 seed)
{
	pg_prng_seed(&sim.prng, seed);
	memset(&sim.model, 0, sizeof(sim.model));
	memset(&sim.tally, 0, sizeof(sim.tally));
	memset(sim.transactions, 0, sizeof(sim.transactions));
	memset(sim.waiters, 0, sizeof(sim.waiters));
	sim.next_serverid = 1000;
	sim.model.seed = seed;
	sim.model.q = make_queue();
	for (int i = 0; i < MODEL_SENDERS; i++)
		sim.model.senders[i].dboid = i + 1;
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		sim.model.streams[i].dboid = sim.model.senders[i % MODEL_SENDERS].dboid;
		dlist_init(&sim.model.streams[i].runs);
	}
}

/* The test ---------------------------------------------------------------- */

static void
do_something(void)
{
	Transaction *t = &sim.transactions[below(TRANSACTIONS)];
	ModelStream *s = &sim.model.streams[below(MODEL_STREAMS)];
	ModelSender *sender = &sim.model.senders[below(MODEL_SENDERS)];
	double		dice = pg_prng_double(&sim.prng);

	if (dice < 0.1)
		join_or_leave();
	else if (dice < 0.11)
		crowd_line();
	else if (dice < 0.5)
		put_some(t);
	else if (dice < 0.55)
		roll_back_part(t);
	else if (dice < 0.62)
		append_parts(t);
	else if (dice < 0.72)
		end_transaction(t, chance(0.75));
	else if (dice < 0.97)
		consume_some(s);
	else if (dice < 0.98 && sender->alive)
	{
		stop_sender(sender);
		if (chance(0.1))
			discard_database(sender);
	}
	else if (OidIsValid(s->serverid))
		release_stream(s);
}

/* All transactions end, all is delivered: nothing may be left but tails. */
static void
finish(void)
{
	uint32		tails = 0;

	for (int i = 0; i < WAITERS; i++)
	{
		note_served();
		if (sim.waiters[i].stream != NULL)
			queue_leave_line(sim.model.q, i);
		sim.waiters[i].stream = NULL;
	}
	for (int i = 0; i < TRANSACTIONS; i++)
		end_transaction(&sim.transactions[i], chance(0.75));
	for (int i = 0; i < MODEL_SENDERS; i++)
	{
		if (!sim.model.senders[i].alive)
			start_sender(&sim.model.senders[i]);
	}
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &sim.model.streams[i];

		if (!OidIsValid(s->serverid))
			continue;
		while (take_record(s))
			;
		/* an aborted run met on the way is only deferred then */
		(void) take_record(s);
		while (s->claimed != NIL)
			settle_record(s);
		queue_reader_serve_waiters(sim.model.q);
		model_check_stream(&sim.model, s);
		if (model_pending(s) != 0 || s->queue_stream->npages > 1)
			MISMATCH(&sim.model, "entry %d keeps %u pages", queue_stream_number(sim.model.q, s->queue_stream), s->queue_stream->npages);
		tails += s->queue_stream->npages;
	}
	model_check_reservations(&sim.model);
	if (sim.model.q->promised != 0 || sim.model.q->free_pages + tails != sim.model.q->npages)
		MISMATCH(&sim.model, "%u pages of %u are free at the end", sim.model.q->free_pages, sim.model.q->npages);

	/* the next senders find nothing */
	for (int i = 0; i < MODEL_SENDERS; i++)
	{
		stop_sender(&sim.model.senders[i]);
		start_sender(&sim.model.senders[i]);
	}
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		if (OidIsValid(sim.model.streams[i].serverid))
			(void) take_record(&sim.model.streams[i]);
	}
}

Datum
queue_model_test(PG_FUNCTION_ARGS)
{
	uint64		seed = PG_GETARG_INT64(0);
	int			operations = PG_GETARG_INT32(1);
	MemoryContext context;
	MemoryContext old;

	if (firehose_queue == NULL)
		elog(ERROR, "firehose is not preloaded");
	context = AllocSetContextCreate(CurrentMemoryContext, "queue model test",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	start(seed);
	for (sim.model.step = 1; sim.model.step <= operations; sim.model.step++)
	{
		ModelStream *s = &sim.model.streams[below(MODEL_STREAMS)];

		CHECK_FOR_INTERRUPTS();
		do_something();
		check_lines();
		model_check_reservations(&sim.model);
		if (OidIsValid(s->serverid))
		{
			model_check_stream(&sim.model, s);
			model_prune(s);
		}
	}
	finish();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);

	PG_RETURN_TEXT_P(cstring_to_text(psprintf(
		"put " INT64_FORMAT ", full " INT64_FORMAT ", settled " INT64_FORMAT
		", dropped " INT64_FORMAT ", restarts " INT64_FORMAT ", releases " INT64_FORMAT
		", crowded " INT64_FORMAT ", evicted " INT64_FORMAT ", asked " INT64_FORMAT
		", stale " INT64_FORMAT ", discarded " INT64_FORMAT
		", waited " INT64_FORMAT ", served " INT64_FORMAT ", crowds " INT64_FORMAT
		", cancelled " INT64_FORMAT,
		sim.tally.put, sim.tally.full, sim.tally.settled, sim.tally.dropped, sim.tally.restarts,
		sim.tally.releases, sim.tally.crowded, sim.tally.evicted, sim.tally.asked, sim.tally.stale, sim.tally.discarded,
		sim.tally.waited, sim.tally.served, sim.tally.crowds, sim.tally.cancelled)));
}
