/*
 * stream_stats.h
 *		Counters of a stream in shared memory, and the views over them.
 *
 * Counters are atomics, so that a reader never sees half a value.  All but
 * `discarded` have one writer, the sender of the stream's database.  The
 * strings are written by the sender and read by the views, both under
 * stream_stats_lock() (exclusive and shared).
 */
#ifndef FIREHOSE_QUEUE_STREAM_STATS_H
#define FIREHOSE_QUEUE_STREAM_STATS_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

typedef enum StreamState
{
	STREAM_ACTIVE,
	STREAM_THROTTLED,			/* the service asks for less; data is kept */
	STREAM_RETRYING,			/* requests fail; data is kept */
	/* cannot be sent to; probed slowly, data is kept */
	STREAM_PARKED,
	STREAM_DISABLED,			/* option enabled = false */
	STREAM_AUTHENTICATING,		/* waits for its first credentials */
	STREAM_PAUSED,				/* option paused = true; data is kept */
	STREAM_WAITING,				/* the sender's budget is used up for now */
	STREAM_STOPPED				/* no sender can start; never stored */
} StreamState;

/*
 * The beginning of a reason whose rest names files and profiles of the server.
 * Only superusers may read such a reason.
 */
#define NO_CREDENTIALS			"no credentials: "

#define STATISTICS_CODE_LEN		64
#define STATISTICS_MESSAGE_LEN	256

typedef struct StreamStatistics
{
	pg_atomic_uint32 state;		/* StreamState */
	pg_atomic_uint64 in_flight; /* records in requests that are under way */
	pg_atomic_uint64 accepted;	/* records acknowledged by their RecordId */
	pg_atomic_uint64 failed;	/* records that went to the dead letters */
	pg_atomic_uint64 discarded; /* puts discarded under on_full = discard */
	pg_atomic_uint64 resent;	/* records sent once more */
	pg_atomic_uint64 throttled; /* throttling responses (requests or entries)
								 * */
	pg_atomic_uint64 mismatches;	/* responses that contradict themselves */
	pg_atomic_uint64 requests;	/* requests sent */
	pg_atomic_uint64 bytes;		/* payload bytes accepted */
	/* Firehose records that they were in: fewer with pack */
	pg_atomic_uint64 firehose_records;
	/* bytes of these, before base64: fewer with compression */
	pg_atomic_uint64 sent_bytes;
	/* the same, each Firehose record rounded up to 5 KiB */
	pg_atomic_uint64 billed_bytes;
	pg_atomic_uint64 latency_count; /* records in latency_sum */
	pg_atomic_uint64 latency_sum;	/* microseconds from put to acknowledged */
	pg_atomic_uint64 last_accepted_at;	/* TimestampTz, 0: never */
	pg_atomic_uint64 last_error_at; /* TimestampTz, 0: never */
	pg_atomic_uint64 stats_reset;	/* TimestampTz */

	/* the endpoint, as the sender last saw it, also after a reset */
	pg_atomic_uint64 last_response_at;	/* TimestampTz, 0: never */
	/* first request since then without a response of Firehose, 0: none */
	pg_atomic_uint64 unreachable_since;
	pg_atomic_uint64 clock_offset;	/* s that its clock is ahead of this
									 * machine's; negative: behind */

	/* under stream_stats_lock() */
	/* of state, empty when active */
	char		reason[STATISTICS_MESSAGE_LEN];
	char		last_error_code[STATISTICS_CODE_LEN];
	char		last_error_message[STATISTICS_MESSAGE_LEN];
	/* why nothing is written of it into tables, empty when it is */
	char		table_error[STATISTICS_MESSAGE_LEN];
} StreamStatistics;

extern PGDLLEXPORT LWLock *stream_stats_lock(void);
extern PGDLLEXPORT void stream_stats_init(StreamStatistics *stats);
extern PGDLLEXPORT void stream_stats_reset(StreamStatistics *stats);
extern PGDLLEXPORT void stream_stats_set_state(StreamStatistics *stats, StreamState state,
											 const char *reason);
extern PGDLLEXPORT void stream_stats_set_error(StreamStatistics *stats, const char *code,
											 const char *message);
extern PGDLLEXPORT void stream_stats_set_table_error(StreamStatistics *stats, const char *message);
extern void stream_stats_shmem_request(void);
extern void stream_stats_shmem_startup(void);

#endif							/* FIREHOSE_QUEUE_STREAM_STATS_H */
