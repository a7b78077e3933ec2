/*
 * put.h
 *		The way from SQL into the queue: checks of a record, the transaction's
 *		buffers, and the transaction callbacks that publish or drop them.
 */
#ifndef FIREHOSE_PUT_H
#define FIREHOSE_PUT_H

#include "queue/record_shape.h"
#include "stream/stream.h"

extern void put_define_settings(void);

/*
 * Error where a put is impossible: library not preloaded, parallel worker,
 * recovery, stream disabled. `what` names the function in errors.
 */
extern void put_check_allowed(const char *what);

/* The id that the next put_record of this process is to carry. */
extern uint64 put_next_id(void);

/*
 * Put n records, under the ids from first_id on; all of them or none: into the
 * queue or the WAL, as firehose.put_durability says.  A record has 0 to
 * 1,024,000 bytes, its delimiter included.
 *
 * Returns false when on_full = discard and there was no room (counted in
 * firehose_stat_stream).  May wait for room as the stream's on_full says, at
 * most firehose.queue_timeout.  Errors: object_not_in_prerequisite_state (the
 * stream is disabled), program_limit_exceeded (a record is too large, or the
 * transaction could never fit into the queue: trying again does not help),
 * insufficient_resources (no room within the time: trying again later does);
 * durable_put has its own instead of what concerns the queue.
 */
extern bool put_records(Stream *stream, uint64 first_id, const RecordBytes *records,
						int n, RecordShape shape, bool transactional);

/* The same for one record whose bytes stay as they are. */
extern bool put_record(Stream *stream, uint64 id, const char *data, Size length,
					   bool transactional);

#endif							/* FIREHOSE_PUT_H */
