/*
 * stream_stats.c
 *		Counters of a stream: how they are set up, written and reset.
 *
 * The counters lie in the queue's streams (queue.h); stream_stats.h says which
 * process writes which, and under which lock.  Runs in senders, which write,
 * and in a backend that resets. stat_stream.c shows them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "queue/stream_stats.h"

#define STATISTICS_TRANCHE	"FirehoseStatistics"

/* counters that a reset sets to zero */
static const size_t reset_counters[] = {
	offsetof(StreamStatistics, accepted),
	offsetof(StreamStatistics, failed),
	offsetof(StreamStatistics, discarded),
	offsetof(StreamStatistics, resent),
	offsetof(StreamStatistics, throttled),
	offsetof(StreamStatistics, mismatches),
	offsetof(StreamStatistics, requests),
	offsetof(StreamStatistics, bytes),
	offsetof(StreamStatistics, firehose_records),
	offsetof(StreamStatistics, sent_bytes),
	offsetof(StreamStatistics, billed_bytes),
	offsetof(StreamStatistics, latency_count),
	offsetof(StreamStatistics, latency_sum),
	offsetof(StreamStatistics, last_accepted_at),
	offsetof(StreamStatistics, last_error_at)
};

static LWLock *strings_lock = NULL;

static void put_string(char *dst, const char *src, size_t size);
static pg_atomic_uint64 *counter(StreamStatistics *stats, int i);

/* Ask for the lock of the strings. */
void
stream_stats_shmem_request(void)
{
	RequestNamedLWLockTranche(STATISTICS_TRANCHE, 1);
}

/* Find the lock of the strings. */
void
stream_stats_shmem_startup(void)
{
	strings_lock = &GetNamedLWLockTranche(STATISTICS_TRANCHE)->lock;
}

/* The lock of all streams' strings: they are short, and seldom written. */
LWLock *
stream_stats_lock(void)
{
	return strings_lock;
}

/* The i-th of the counters that a reset sets to zero. */
static pg_atomic_uint64 *
counter(StreamStatistics *stats, int i)
{
	return (pg_atomic_uint64 *) ((char *) stats + reset_counters[i]);
}

/* Set a new stream's statistics up. No other process knows the stream yet. */
void
stream_stats_init(StreamStatistics *stats)
{
	pg_atomic_init_u32(&stats->state, STREAM_ACTIVE);
	pg_atomic_init_u64(&stats->in_flight, 0);
	for (int i = 0; i < lengthof(reset_counters); i++)
		pg_atomic_init_u64(counter(stats, i), 0);
	pg_atomic_init_u64(&stats->stats_reset, GetCurrentTimestamp());
	pg_atomic_init_u64(&stats->last_response_at, 0);
	pg_atomic_init_u64(&stats->unreachable_since, 0);
	pg_atomic_init_u64(&stats->clock_offset, 0);

	stats->reason[0] = '\0';
	stats->last_error_code[0] = '\0';
	stats->last_error_message[0] = '\0';
	stats->table_error[0] = '\0';
}

/*
 * Set the counters to zero, but not the values that describe the present: the
 * state and the records in flight.  A sender that is just counting may
 * overwrite a zero; then it is as if its batch had come a moment later.
 */
void
stream_stats_reset(StreamStatistics *stats)
{
	for (int i = 0; i < lengthof(reset_counters); i++)
		pg_atomic_write_u64(counter(stats, i), 0);
	pg_atomic_write_u64(&stats->stats_reset, GetCurrentTimestamp());

	LWLockAcquire(strings_lock, LW_EXCLUSIVE);
	stats->last_error_code[0] = '\0';
	stats->last_error_message[0] = '\0';
	LWLockRelease(strings_lock);
}

/* Sender: the stream's state, and why (NULL or empty when active). */
void
stream_stats_set_state(StreamStatistics *stats, StreamState state, const char *reason)
{
	LWLockAcquire(strings_lock, LW_EXCLUSIVE);
	put_string(stats->reason, reason ? reason : "", sizeof(stats->reason));
	pg_atomic_write_u32(&stats->state, state);
	LWLockRelease(strings_lock);
}

/* Sender: the last error. */
void
stream_stats_set_error(StreamStatistics *stats, const char *code, const char *message)
{
	LWLockAcquire(strings_lock, LW_EXCLUSIVE);
	put_string(stats->last_error_code, code ? code : "",
			   sizeof(stats->last_error_code));
	put_string(stats->last_error_message, message ? message : "",
			   sizeof(stats->last_error_message));
	pg_atomic_write_u64(&stats->last_error_at, GetCurrentTimestamp());
	LWLockRelease(strings_lock);
}

/* Sender: why status rows or dead letters cannot be written; "": they can. */
void
stream_stats_set_table_error(StreamStatistics *stats, const char *message)
{
	LWLockAcquire(strings_lock, LW_EXCLUSIVE);
	put_string(stats->table_error, message, sizeof(stats->table_error));
	LWLockRelease(strings_lock);
}

/* Copy a string into a field, cut between characters if it is too long. */
static void
put_string(char *dst, const char *src, size_t size)
{
	int			len = strlen(src);

	if (len >= size)
		len = pg_mbcliplen(src, len, size - 1);
	memcpy(dst, src, len);
	dst[len] = '\0';
}
