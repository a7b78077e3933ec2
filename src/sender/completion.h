/*
 * completion.h
 *		Outcomes of records on their way into status rows, dead letters, and
 *		the ring that firehose_wait looks at.
 *
 * Sender process only.  Everything is collected and written in bulk by
 * completion_flush.  Rows that cannot be written now are kept and tried again,
 * and do not hold up delivery.
 */
#ifndef FIREHOSE_SENDER_COMPLETION_H
#define FIREHOSE_SENDER_COMPLETION_H

#include "aws/response.h"
#include "queue/reader.h"

/* A stream as far as its completions go; belongs to its delivery. */
typedef struct CompletionTarget
{
	Oid			serverid;
	char		name[NAMEDATALEN];
	int			status;			/* StreamStatusOption */
	QueueReader reader;
	StreamStatistics *stats;
	int			npending;		/* dead letters that are not stored yet */
} CompletionTarget;

extern void completion_init(void);

/* A record was accepted, with the RecordId of this entry. */
extern void completion_accepted(CompletionTarget *target, const ClaimedRecord *claimed,
								const ResponseEntry *entry, bool encrypted, TimestampTz now);

/*
 * A record can never be delivered: it goes to the dead letters, and stays
 * pending until it is durably there.
 */
extern void completion_failed(CompletionTarget *target, const ClaimedRecord *claimed, const char *code,
						   const char *message);

/* A pipeline's change that is for the dead letters in the first place. */
extern void completion_dead_event(CompletionTarget *target, const ClaimedRecord *claimed);

/*
 * Write what has been collected, if it is time to: it is due, or a session
 * waits for it, or `now_or_never`.
 */
extern void completion_flush(int64 now, bool now_or_never);

/*
 * Have room for the outcomes of a request, however many records it has: write
 * what has been collected if it is much.
 */
extern void completion_make_room(int64 now);

/* Milliseconds until completion_flush has something to do, -1: nothing. */
extern long completion_timeout_ms(int64 now);

/*
 * The delivery is about to go: keep nothing that points to it.  Nothing of it
 * may be pending.
 */
extern void completion_forget(CompletionTarget *target);

/* The first of a stream's dead letters that are not stored yet. */
extern QueuePosition completion_first_failure(CompletionTarget *target, QueuePosition otherwise);

#endif							/* FIREHOSE_SENDER_COMPLETION_H */
