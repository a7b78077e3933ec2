/*
 * turn.c
 *		Which deliveries have something to do; turn.h says when they have.
 *
 * Sender process only.  A process that publishes to a stream sets the stream's
 * bit among the news (wake.c) before it sets the sender's latch, so that a
 * look at the bits after the latch was reset misses nothing.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "sender/turn.h"

static Queue *queue;
static Turn **by_number;			/* Queue.max_streams of them */
static dlist_head marked = DLIST_STATIC_INIT(marked);
static int	nmarked = 0;
static pairingheap *timers;

/* The soonest first: a pairing heap has the greatest on top. */
static int
compare_timers(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64		at_a = pairingheap_const_container(Turn, timer, a)->at;
	int64		at_b = pairingheap_const_container(Turn, timer, b)->at;

	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}

void
turn_init(Queue *q)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	queue = q;
	by_number = palloc0(q->max_streams * sizeof(Turn *));
	timers = pairingheap_allocate(compare_timers, NULL);
	MemoryContextSwitchTo(old);
}

void
turn_add(Turn *turn, Delivery *delivery, QueueStream *stream)
{
	turn->delivery = delivery;
	by_number[queue_stream_number(queue, stream)] = turn;
	turn_mark(turn);
}

void
turn_remove(Turn *turn, QueueStream *stream)
{
	turn_set_timer(turn, PG_INT64_MAX);
	if (turn->marked)
	{
		dlist_delete(&turn->node);
		nmarked--;
	}
	turn->marked = false;
	by_number[queue_stream_number(queue, stream)] = NULL;
}

Delivery *
turn_delivery_of(QueueStream *stream)
{
	Turn	   *turn = by_number[queue_stream_number(queue, stream)];

	return turn != NULL ? turn->delivery : NULL;
}

void
turn_mark(Turn *turn)
{
	if (turn->marked)
		return;
	turn->marked = true;
	nmarked++;
	dlist_push_tail(&marked, &turn->node);
}

void
turn_set_timer(Turn *turn, int64 at)
{
	if (turn->timed && turn->at == at)
		return;
	if (turn->timed)
		pairingheap_remove(timers, &turn->timer);
	turn->timed = at != PG_INT64_MAX;
	turn->at = at;
	if (turn->timed)
		pairingheap_add(timers, &turn->timer);
}

/* Mark this sender's streams among the news of a word and clear their bits. */
static void
collect_word(int word)
{
	pg_atomic_uint32 *news = queue_news(queue, word * 32);
	uint32		bits = pg_atomic_read_u32(news);
	uint32		own = 0;

	while (bits != 0)
	{
		int			bit = pg_rightmost_one_pos32(bits);
		Turn	   *turn = by_number[word * 32 + bit];

		bits &= bits - 1;
		if (turn == NULL)
			continue;			/* another sender's, or not known yet */
		own |= (uint32) 1 << bit;
		turn_mark(turn);
	}
	if (own != 0)
		pg_atomic_fetch_and_u32(news, ~own);
}

void
turn_collect(int64 now)
{
	for (int word = 0; word * 32 < queue->max_streams; word++)
	{
		if (pg_atomic_read_u32(queue_news(queue, word * 32)) != 0)
			collect_word(word);
	}
	while (!pairingheap_is_empty(timers))
	{
		Turn	   *turn = pairingheap_container(Turn, timer, pairingheap_first(timers));

		if (turn->at > now)
			break;
		turn_set_timer(turn, PG_INT64_MAX);
		turn_mark(turn);
	}
}

int
turn_count(void)
{
	return nmarked;
}

Delivery *
turn_next(void)
{
	Turn	   *turn;

	if (dlist_is_empty(&marked))
		return NULL;
	turn = dlist_container(Turn, node, dlist_pop_head_node(&marked));
	turn->marked = false;
	nmarked--;
	return turn->delivery;
}

long
turn_timeout_ms(int64 now)
{
	int64		at;

	if (nmarked > 0)
		return 0;
	if (pairingheap_is_empty(timers))
		return -1;
	at = pairingheap_container(Turn, timer, pairingheap_first(timers))->at;
	return Max(0, (at - now + 999) / 1000);
}
