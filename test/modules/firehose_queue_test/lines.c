/*
 * lines.c
 *		Processes that stand in line for space: none is overtaken, and none
 *		sleeps although it could have its space.
 */
#include "postgres.h"

#include "simulation.h"

/* Who stands first in a stream's line?  NULL: none. */
Waiter *
first_in_line(const ModelStream *s)
{
	Waiter	   *first = NULL;

	for (int i = 0; i < WAITERS; i++)
	{
		if (sim.waiters[i].stream == s && (first == NULL || sim.waiters[i].ticket < first->ticket))
			first = &sim.waiters[i];
	}
	return first;
}

static QueueWaiterState
state_of(const Waiter *w)
{
	return pg_atomic_read_u32(&queue_waiter(sim.model.q, w - sim.waiters)->state);
}

/*
 * Take note of those who were served.  They must have been the first of their
 * line, one after the other.  Several lines may have been served by turns, so
 * whether the accounts allowed it shows in that they agree in the end.
 */
void
note_served(void)
{
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &sim.model.streams[i];
		Waiter	   *w;

		while ((w = first_in_line(s)) != NULL && state_of(w) == QUEUE_WAITER_SERVED)
		{
			s->reserved += w->bytes;
			sim.tally.served++;
			queue_leave_line(sim.model.q, w - sim.waiters);
			/* it has no use for it: another one may have it */
			w->stream = NULL;
			s->reserved -= w->bytes;
			queue_unreserve(sim.model.q, s->queue_stream, w->bytes);
			i = -1;				/* which may have served any of them */
			break;
		}
	}
}

/* Is a stream marked as one with a line? */
static bool
is_marked(const ModelStream *s)
{
	Queue	   *q = sim.model.q;
	int			number = queue_stream_number(q, s->queue_stream);
	const uint32 *words = (const uint32 *) ((char *) q + q->lines_offset);

	return (words[number / 32] & (1U << (number % 32))) != 0;
}

/*
 * None is overtaken, and none sleeps that could have what it waits for.
 */
void
check_lines(void)
{
	note_served();
	for (int i = 0; i < WAITERS; i++)
	{
		if (sim.waiters[i].stream != NULL && state_of(&sim.waiters[i]) != QUEUE_WAITER_IN_LINE)
			MISMATCH(&sim.model, "waiter %d is in state %d behind another one", i, state_of(&sim.waiters[i]));
	}
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &sim.model.streams[i];
		Waiter	   *w = first_in_line(s);

		if (OidIsValid(s->serverid) && is_marked(s) != (w != NULL))
			MISMATCH(&sim.model, "entry %d is marked wrong", queue_stream_number(sim.model.q, s->queue_stream));
		if (w != NULL && model_may_reserve(&sim.model, s, w->bytes))
			MISMATCH(&sim.model, "waiter %d sleeps although there is space", (int) (w - sim.waiters));
	}
}

/* The entry changed hands: all in its line are told so. */
void
dismiss_line(ModelStream *s)
{
	for (int i = 0; i < WAITERS; i++)
	{
		if (sim.waiters[i].stream != s)
			continue;
		if (state_of(&sim.waiters[i]) != QUEUE_WAITER_STALE ||
			queue_leave_line(sim.model.q, i) != QUEUE_STALE)
			MISMATCH(&sim.model, "waiter %d does not know that its stream is gone", i);
		sim.waiters[i].stream = NULL;
	}
}

/* One comes with what it knew of an entry before it changed hands. */
static void
join_too_late(ModelStream *s, int waiter)
{
	if (queue_join_line(sim.model.q, s->queue_stream, waiter, s->generation - 1, 100))
		MISMATCH(&sim.model, "waiter %d stands in the line of another stream", waiter);
	sim.tally.stale++;
}

/* One joins a line, or leaves it without having got anything. */
void
join_or_leave(void)
{
	Waiter	   *w = &sim.waiters[below(WAITERS)];
	ModelStream *s = &sim.model.streams[below(MODEL_STREAMS)];

	if (w->stream != NULL)
	{
		w->stream = NULL;
		if (queue_leave_line(sim.model.q, w - sim.waiters) != QUEUE_FULL)
			MISMATCH(&sim.model, "waiter %d was served unseen", (int) (w - sim.waiters));
		sim.tally.cancelled++;
		return;
	}
	if (!OidIsValid(s->serverid) || s->dropped)
		return;
	if (chance(0.05))
	{
		join_too_late(s, w - sim.waiters);
		return;
	}
	w->stream = s;
	w->bytes = 1 + below(chance(0.5) ? 1000 : 20 * QUEUE_PAGE_DATA);
	w->ticket = sim.next_ticket++;
	sim.tally.waited++;
	if (!queue_join_line(sim.model.q, s->queue_stream, w - sim.waiters, s->generation, w->bytes))
		MISMATCH(&sim.model, "waiter %d may not join a line", (int) (w - sim.waiters));
}
