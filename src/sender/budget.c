/*
 * budget.c
 *		The memory, connections and descriptors of all requests of a sender;
 *		budget.h has the rules.
 *
 * Sender process only.
 */
#include "postgres.h"

#include <limits.h>
#include <sys/resource.h>

#include "sender/budget.h"
#include "sender/http.h"
#include "sender/settings.h"

/* A connection with TLS, libcurl's part and OpenSSL's. */
#define CONNECTION_MEMORY	(64 * 1024)

/* Responses that turn out larger than expected may have so much together. */
#define RESPONSE_MEMORY		(2 * 1024 * 1024)

/*
 * Descriptors that are no connections: the server's files, libraries, the
 * epoll set, sockets of credentials.  While it is being made, a connection may
 * have two: a resolver's pair, or an address of each kind.
 */
#define OTHER_DESCRIPTORS	128
#define EACH_CONNECTION		2

/* After a refusal of the system; doubled while there are more (us). */
#define FIRST_PAUSE			INT64CONST(50000)
#define LONGEST_PAUSE		INT64CONST(2000000)

/* A stream that has waited so long says so (us). */
#define SHOW_AFTER			INT64CONST(1000000)

/*
 * Requests that may be under way however busy this process is, and how many
 * more are allowed in a turn: as many as it can deal with in one (http_drive).
 */
#define IN_ANY_CASE			32

static int	descriptors;		/* that connections may use */
static int	in_flight = 0;		/* requests */
static Size used = 0;			/* bytes they have */
static Size aside = 0;			/* bytes for what they share */
static dlist_head line = DLIST_STATIC_INIT(line);

/* what the system allows, learnt from what it refused */
static int	allowed = INT_MAX;	/* requests under way */
static int	allowed_open = INT_MAX; /* connections, idle ones included */
static int64 pause_until = 0;
static int64 pause_length = 0;
static char shortage[128];

/*
 * Requests under way beyond which others would only wait for this process,
 * which is behind with the responses; has it kept one from starting?
 */
static int	enough = INT_MAX;
static bool held_back = false;

/* when to ask again whether a connection may be made */
static int64 connections_at = PG_INT64_MAX;

void
budget_refresh(void)
{
	static int	known = 0;
	struct rlimit limit;
	rlim_t		wanted = (rlim_t) sender_max_connections * EACH_CONNECTION + OTHER_DESCRIPTORS;

	if (sender_max_connections == known)
		return;
	known = sender_max_connections;
	descriptors = sender_max_connections * EACH_CONNECTION;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted)
	{
		limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? wanted : Min(wanted, limit.rlim_max);
		(void) setrlimit(RLIMIT_NOFILE, &limit);
		(void) getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted)
		return;
	descriptors = limit.rlim_cur > 2 * OTHER_DESCRIPTORS ?
		limit.rlim_cur - OTHER_DESCRIPTORS : limit.rlim_cur / 2;
}

static Size
total_memory(void)
{
	return (Size) sender_request_memory * 1024;
}

int
budget_connections(void)
{
	int			n = Min(sender_max_connections, descriptors / EACH_CONNECTION);

	return Max(1, Min(n, (int) (total_memory() / 4 / CONNECTION_MEMORY)));
}

int
budget_open_connections(void)
{
	return Min(budget_connections(), allowed_open);
}

/* The bytes that requests may have together. */
static Size
request_memory(void)
{
	return total_memory() - (Size) budget_connections() * CONNECTION_MEMORY - RESPONSE_MEMORY -
		aside;
}

void
budget_set_aside(Size bytes)
{
	aside = bytes;
}

Size
budget_free(void)
{
	Size		all = request_memory();

	return all > used ? all - used : 0;
}

Size
budget_used(void)
{
	return used;
}

Size
budget_for_responses(void)
{
	return RESPONSE_MEMORY;
}

/* How many more requests may be under way. */
static int
free_requests(void)
{
	return Max(0, Min(budget_connections(), allowed) - in_flight);
}

Size
budget_room(const BudgetShare *share)
{
	Size		left = budget_free();

	if (share->requests > 0)
		left = left > share->memory ? left - share->memory : 0;
	return left / 2;
}

/* Is there room for the share's next request, the line aside? */
static bool
has_room(const BudgetShare *share, Size bytes, int64 now)
{
	if (!http_may_start(now, &connections_at))
		return false;
	if (in_flight >= enough)
	{
		held_back = true;
		return false;
	}
	if (share->requests == 0)
		return free_requests() > 0 && (bytes <= budget_free() || in_flight == 0);
	return share->requests < free_requests() && bytes <= budget_room(share);
}

/*
 * A thousand streams with a record each would have as many requests under way
 * as there may be, although a few are as many as this process can deal with:
 * each then costs more, since what it needs has left the CPU's cache until its
 * response is dealt with, here and at the other end.
 */
void
budget_heed_responses(void)
{
	if (http_is_behind())
		enough = Max(in_flight, IN_ANY_CASE);
	else if (held_back)
		enough = enough >= budget_connections() ? INT_MAX : enough + IN_ANY_CASE;
	held_back = false;
}

static void
stand_in_line(BudgetShare *share, Size bytes, int64 now)
{
	share->needed = bytes;
	if (share->in_line)
		return;
	share->in_line = true;
	share->since = now;
	share->shown = false;
	dlist_push_tail(&line, &share->node);
}

bool
budget_take(BudgetShare *share, Size bytes, int64 now)
{
	bool		is_next = dlist_is_empty(&line) || &share->node == dlist_head_node(&line);

	if (now < pause_until || !is_next || !has_room(share, bytes, now))
	{
		if (share->requests == 0)
			stand_in_line(share, bytes, now);
		return false;
	}
	budget_leave_line(share);
	share->requests++;
	share->memory += bytes;
	in_flight++;
	used += bytes;
	return true;
}

void
budget_give_back(BudgetShare *share, Size bytes)
{
	share->requests--;
	share->memory -= bytes;
	in_flight--;
	used -= bytes;
}

void
budget_leave_line(BudgetShare *share)
{
	if (!share->in_line)
		return;
	share->in_line = false;
	dlist_delete(&share->node);
}

/* The system refuses nothing for a while: let it have more again. */
static void
allow_more(int64 now)
{
	if (allowed == INT_MAX || now < pause_until + pause_length)
		return;
	allowed = allowed > budget_connections() ? INT_MAX : allowed + Max(1, allowed / 4);
	pause_until = now;
	allowed_open = Max(allowed_open, allowed);
	if (allowed == INT_MAX)
		pause_length = 0;
}

BudgetShare *
budget_first_served(int64 now)
{
	BudgetShare *share;

	allow_more(now);
	if (now < pause_until || dlist_is_empty(&line))
		return NULL;
	share = dlist_container(BudgetShare, node, dlist_head_node(&line));
	return has_room(share, share->needed, now) ? share : NULL;
}

BudgetShare *
budget_next_to_show(int64 now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &line)
	{
		BudgetShare *share = dlist_container(BudgetShare, node, iter.cur);

		if (now - share->since < SHOW_AFTER)
			break;
		if (!share->shown)
		{
			share->shown = true;
			return share;
		}
	}
	return NULL;
}

void
budget_shortage(const char *what, int64 now)
{
	strlcpy(shortage, what, sizeof(shortage));
	allowed = Max(1, Min(allowed, in_flight));

	/*
	 * An idle connection has what another may need: the next one that is made
	 * takes the place of one that is idle.
	 */
	allowed_open = Max(allowed, Min(allowed_open, http_open_connections() - 1));
	if (now < pause_until)
		return;					/* the same news */
	pause_length = Min(Max(pause_length * 2, FIRST_PAUSE), LONGEST_PAUSE);
	pause_until = now + pause_length;
}

const char *
budget_reason(void)
{
	static char reason[256];

	if (allowed != INT_MAX)
		snprintf(reason, sizeof(reason), "waits for the system, which refused more: %s", shortage);
	else if (held_back)
		snprintf(reason, sizeof(reason), "waits for the sender, which is busy with responses");
	else if (free_requests() == 0)
		snprintf(reason, sizeof(reason), "waits for one of %d connections (firehose.max_connections)",
				 budget_connections());
	else if (connections_at != PG_INT64_MAX)
		snprintf(reason, sizeof(reason), "waits for connections, of which few are made at once");
	else
		snprintf(reason, sizeof(reason), "waits for memory (firehose.request_memory)");
	return reason;
}

long
budget_timeout_ms(int64 now)
{
	dlist_iter	iter;
	int64		when = PG_INT64_MAX;

	if (dlist_is_empty(&line))
		return -1;
	if (allowed != INT_MAX)
		when = now < pause_until ? pause_until : pause_until + pause_length;
	if (held_back)
		when = now;
	if (connections_at != PG_INT64_MAX)
		when = Min(when, Max(connections_at, pause_until));
	dlist_foreach(iter, &line)
	{
		BudgetShare *share = dlist_container(BudgetShare, node, iter.cur);

		if (!share->shown)
		{
			when = Min(when, share->since + SHOW_AFTER);
			break;
		}
	}
	return when == PG_INT64_MAX ? -1 : Max(0, (when - now + 999) / 1000);
}
