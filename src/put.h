/*
 * put.h
 *		The way from SQL into the queue: checks of a record, the transaction's
 *		buffers, and the transaction callbacks that publish or drop them.
 */
#ifndef FIREHOSE_PUT_H
#define FIREHOSE_PUT_H

#include "stream.h"

extern void put_define_settings(void);
extern void put_register_callbacks(void);

/*
 * Refuse to put where it cannot be done: library not preloaded, parallel
 * worker, recovery, stream disabled.  `what` names the function in errors.
 */
extern void put_check_allowed(const char *what);

/* The id that the next put_record of this process is to carry. */
extern uint64 put_next_id(void);

/*
 * Queue one record of `length` bytes (0 to 1,024,000, delimiter included)
 * under `id`.  Returns false when on_full = discard and there was no room
 * (counted in firehose_stat_stream).  May wait for room as the stream's
 * on_full says, at most firehose.queue_timeout; errors then, or when the
 * transaction could never fit (configuration_limit_exceeded), or the record
 * is too large (program_limit_exceeded).
 */
extern bool put_record(Stream *stream, uint64 id, const char *data, Size length,
					   bool transactional);

/* Is this id in the current transaction's buffers, not yet published? */
extern bool put_is_own_pending(uint64 id);

#endif							/* FIREHOSE_PUT_H */
