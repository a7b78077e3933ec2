/*
 * completion.h
 *		What became of records, on its way to those who want to know: status
 *		rows, dead letters, and the outcomes that firehose_wait looks at.
 *
 * Sender process only.  Everything is collected and written in bulk by
 * completion_flush; what cannot be written now is kept and tried again, and
 * does not hold up delivery.
 */
#ifndef FIREHOSE_SENDER_COMPLETION_H
#define FIREHOSE_SENDER_COMPLETION_H

#include "queue/reader.h"

typedef struct Delivery Delivery;

extern void completion_init(void);

/* A record was accepted, with this RecordId (not terminated). */
extern void completion_accepted(Delivery *d, const ClaimedRecord *claimed, const char *record_id,
							 int record_id_len, bool encrypted, TimestampTz now);

/*
 * A record can never be delivered: it goes to the dead letters, and stays owed
 * until it is durably there.
 */
extern void completion_failed(Delivery *d, const ClaimedRecord *claimed, const char *code,
						   const char *message);

/* A pipeline's change that is for the dead letters in the first place. */
extern void completion_dead_event(Delivery *d, const ClaimedRecord *claimed);

/*
 * Write what has been collected, if it is time to: it is due, or somebody
 * waits for it, or `now_or_never`.
 */
extern void completion_flush(int64 now, bool now_or_never);

/* Milliseconds until completion_flush has something to do, -1: nothing. */
extern long completion_timeout_ms(int64 now);

/*
 * The delivery is about to go: keep nothing that points to it.  Nothing of it
 * may be pending.
 */
extern void completion_forget(Delivery *d);

/* Dead letters of a stream that are not stored yet, and the first of them. */
extern int	completion_pending_failures(Delivery *d);
extern QueuePosition completion_first_failure(Delivery *d, QueuePosition otherwise);

#endif							/* FIREHOSE_SENDER_COMPLETION_H */
