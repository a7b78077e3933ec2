/*
 * health.c
 *		The state of a stream in the view and in the log.
 *
 * Sender process only.  The log has a line when trouble begins, when it
 * becomes another, and when it is over; each kind at most once a minute, and
 * less often when the lines keep coming, with the number of those left out.
 */
#include "postgres.h"

#include <stdarg.h>

#include "utils/timestamp.h"

#include "sender/health.h"
#include "sender/settings.h"

/*
 * Between two lines of a kind (us); the pause doubles while they keep coming.
 */
#define LINE_PAUSE		INT64CONST(60000000)
#define MAX_LINE_PAUSE	(60 * LINE_PAUSE)

static const char *const party_names[] = {
	[PARTY_AWS] = "AWS",
	[PARTY_PROXY] = "proxy",
	[PARTY_NETWORK] = "network",
	[PARTY_HERE] = "this server"
};

static const StreamState stream_states[] = {
	[PACE_ACTIVE] = STREAM_ACTIVE,
	[PACE_THROTTLED] = STREAM_THROTTLED,
	[PACE_RETRYING] = STREAM_RETRYING,
	[PACE_PARKED] = STREAM_PARKED
};

static const struct
{
	int			elevel;
	const char *text;
}			lines[HEALTH_LINES] = {
	[LINE_RETRYING] = {LOG, "request failed, retrying"},
	[LINE_PARKED] = {WARNING, "is parked"},
	[LINE_RESUMED] = {LOG, "delivery resumed"}
};

void
cause_set(Cause *cause, Party party, const char *code, const char *format,...)
{
	va_list		args;

	cause->party = party;
	cause->named = 0;
	strlcpy(cause->code, code, sizeof(cause->code));
	va_start(args, format);
	vsnprintf(cause->message, sizeof(cause->message), format, args);
	va_end(args);
}

/* The party, code and message of a cause, as far as there are any. */
static char *
cause_text(const Cause *cause)
{
	return psprintf("%s: %s%s%s", party_names[cause->party], cause->code,
					cause->message[0] ? ": " : "", cause->message);
}

/* Write a line, or count it if the last of its kind is not long ago. */
static void
write_line(Health *h, HealthLine line, const char *text, int64 now)
{
	char	   *left_out = "";

	if (now < h->line_at[line])
	{
		h->unlogged[line]++;
		return;
	}
	if (h->line_pause[line] > 0 && now < h->line_at[line] + h->line_pause[line])
		h->line_pause[line] = Min(h->line_pause[line] * 2, MAX_LINE_PAUSE);
	else
		h->line_pause[line] = LINE_PAUSE;
	h->line_at[line] = now + h->line_pause[line];
	if (h->unlogged[line] > 0)
		left_out = psprintf(" (and %d more since the last such line)", h->unlogged[line]);
	h->unlogged[line] = 0;
	ereport(lines[line].elevel,
			(errmsg("firehose sender: stream \"%s\": %s%s%s%s", h->name,
					lines[line].text, *text ? ": " : "", text, left_out)));
}

/* Tell the view a state, unless it is to be told another one. */
static void
show_state(Health *h, StreamState state, const char *reason)
{
	if (!h->held)
		stream_stats_set_state(h->stats, state, reason);
}

void
health_note_error(Health *h, const Cause *cause)
{
	stream_stats_set_error(h->stats, cause->code, cause->message);
}

void
health_trouble(Health *h, const Cause *cause, int64 now)
{
	PaceState	state = pace_state(&h->pace);
	HealthLine	line = state == PACE_PARKED ? LINE_PARKED : LINE_RETRYING;
	char	   *text = cause_text(cause);

	health_note_error(h, cause);
	if (state != PACE_ACTIVE)
		show_state(h, stream_states[state], text);
	if (state == PACE_THROTTLED)
		strlcpy(h->throttle, text, sizeof(h->throttle));

	/* a service that asks for less is not trouble */
	if (state == PACE_RETRYING || state == PACE_PARKED)
	{
		if (!h->troubled || state != h->shown || h->unlogged[line] > 0 ||
			strcmp(h->logged_code, cause->code) != 0)
			write_line(h, line, text, now);
		h->troubled = true;
		strlcpy(h->logged_code, cause->code, sizeof(h->logged_code));
	}
	h->shown = state;
	pfree(text);
}

void
health_park(Health *h, const Cause *cause, int64 now)
{
	pace_park(&h->pace, (int64) sender_probe_interval * 1000, now);
	health_trouble(h, cause, now);
}

void
health_refresh(Health *h, int64 now)
{
	PaceState	state = pace_state(&h->pace);

	if (state != PACE_ACTIVE && state != PACE_THROTTLED)
		return;
	/* behind a failure may be that the service had asked for less */
	if (state != h->shown)
		show_state(h, stream_states[state], state == PACE_ACTIVE ? "" : h->throttle);
	h->shown = state;
	if (h->troubled)
	{
		h->troubled = false;
		write_line(h, LINE_RESUMED, "", now);
	}
}

/*
 * A stream that is slowed down or fails shows that instead; a sender that has
 * no room is the least of its troubles.
 */
void
health_waits(Health *h, const char *reason)
{
	bool		waiting = reason != NULL && !h->held && pace_state(&h->pace) == PACE_ACTIVE;

	if (waiting)
		stream_stats_set_state(h->stats, STREAM_WAITING, reason);
	else if (h->waiting)
		health_show(h);
	h->waiting = waiting;
}

void
health_reached(Health *h, time_t server_time)
{
	if (server_time != 0)
		pg_atomic_write_u64(&h->stats->clock_offset, (uint64) (server_time - time(NULL)));
	pg_atomic_write_u64(&h->stats->last_response_at, (uint64) GetCurrentTimestamp());
	pg_atomic_write_u64(&h->stats->unreachable_since, 0);
}

void
health_not_reached(Health *h)
{
	if (pg_atomic_read_u64(&h->stats->unreachable_since) == 0)
		pg_atomic_write_u64(&h->stats->unreachable_since, (uint64) GetCurrentTimestamp());
}

void
health_hold(Health *h, StreamState state, const char *reason)
{
	h->held = true;
	h->waiting = false;
	stream_stats_set_state(h->stats, state, reason);
}

void
health_show(Health *h)
{
	PaceState	state = pace_state(&h->pace);

	if (h->held)
		h->shown = state;
	if (h->held || state == PACE_ACTIVE)
		stream_stats_set_state(h->stats, stream_states[state], "");
	h->held = false;
}
