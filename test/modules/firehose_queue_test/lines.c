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
static int
count_served(void)
{
	int			n = 0;

	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		ModelStream *s = &sim.model.streams[i];
		Waiter	   *w;

		while ((w = first_in_line(s)) != NULL && state_of(w) == QUEUE_WAITER_SERVED)
		{
			s->reserved += w->bytes;
			queue_leave_line(sim.model.q, w - sim.waiters);
			w->stream = NULL;
			w->served_by = s;
			n++;
		}
	}
	return n;
}

/* None sleeps that could have what it waits for. */
static void
check_sleepers(void)
{
	for (int i = 0; i < MODEL_STREAMS; i++)
	{
		Waiter	   *w = first_in_line(&sim.model.streams[i]);

		if (w != NULL && model_may_reserve(&sim.model, w->stream, w->bytes))
			MISMATCH(&sim.model, "waiter %d sleeps although there is space", (int) (w - sim.waiters));
	}
}

/*
 * Those who were served have no use for their space: others may have it.  But
 * that is no help to one that should have been served with them.
 */
void
note_served(void)
{
	int			n;

	while ((n = count_served()) > 0)
	{
		sim.tally.served += n;
		sim.tally.crowds += n > SERVED_AT_ONCE;
		check_sleepers();
		for (int i = 0; i < WAITERS; i++)
		{
			Waiter	   *w = &sim.waiters[i];
			ModelStream *s = w->served_by;

			if (s == NULL)
				continue;
			w->served_by = NULL;
			s->reserved -= w->bytes;
			queue_unreserve(sim.model.q, s->queue_stream, w->bytes);
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

/* None is overtaken, and none sleeps in vain. */
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
	}
	check_sleepers();
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

static void
join(Waiter *w, ModelStream *s, Size bytes)
{
	w->stream = s;
	w->bytes = bytes;
	w->ticket = sim.next_ticket++;
	sim.tally.waited++;
	if (!queue_join_line(sim.model.q, s->queue_stream, w - sim.waiters, s->generation, w->bytes))
		MISMATCH(&sim.model, "waiter %d may not join a line", (int) (w - sim.waiters));
}

static bool
has_line(const ModelStream *s)
{
	return OidIsValid(s->serverid) && !s->dropped;
}

/* It leaves without having got anything. */
static void
leave(Waiter *w)
{
	w->stream = NULL;
	if (queue_leave_line(sim.model.q, w - sim.waiters) != QUEUE_FULL)
		MISMATCH(&sim.model, "waiter %d was served unseen", (int) (w - sim.waiters));
	sim.tally.cancelled++;
}

/* One of a few joins a line, or leaves it. */
void
join_or_leave(void)
{
	Waiter	   *w = &sim.waiters[below(LONERS)];
	ModelStream *s = &sim.model.streams[below(MODEL_STREAMS)];

	if (w->stream != NULL)
		leave(w);
	else if (has_line(s) && chance(0.05))
		join_too_late(s, w - sim.waiters);
	else if (has_line(s))
		join(w, s, 1 + below(chance(0.5) ? 1000 : 20 * QUEUE_PAGE_DATA));
}

/*
 * All others join one line, behind one that wants more than there is, and want
 * so little that all may be served when it leaves.  Then they leave as well.
 */
void
crowd_line(void)
{
	ModelStream *s = &sim.model.streams[below(MODEL_STREAMS)];

	if (!has_line(s))
		return;
	for (int i = LONERS; i < WAITERS; i++)
		join(&sim.waiters[i], s, i == LONERS ? MAX_PAGES * QUEUE_PAGE_DATA : 1 + below(50));
	for (int i = LONERS; i < WAITERS; i++)
	{
		check_lines();
		if (sim.waiters[i].stream != NULL)
			leave(&sim.waiters[i]);
	}
	check_lines();
}
