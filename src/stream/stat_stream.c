/*
 * stat_stream.c
 *		Statistics of the streams in shared memory: the functions behind
 *		firehose_stat_stream and firehose_stat_queue, and firehose_stat_reset.
 *
 * Runs in backends.  The identity of the streams in use is copied under the
 * queue's table lock, and everything else is read afterwards without it,
 * because catalogs cannot be read under a lock.  An entry that has changed
 * hands meanwhile is known by its generation and left out.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/build.h"
#include "common/compat.h"
#include "common/preload.h"
#include "common/sanitize.h"
#include "common/srf_row.h"
#include "queue/chain.h"
#include "queue/queue.h"
#include "stream/stat_stream.h"
#include "stream/stream.h"

#define STAT_STREAM_COLUMNS	31
#define STAT_QUEUE_COLUMNS	12

/* The numbers of the pool that belong together. */
typedef struct PoolNumbers
{
	uint32		free_pages;
	uint32		promised;
	uint32		lowest_free;
} PoolNumbers;

static const char *const state_names[] = {
	[STREAM_ACTIVE] = "active",
	[STREAM_THROTTLED] = "throttled",
	[STREAM_RETRYING] = "retrying",
	[STREAM_PARKED] = "parked",
	[STREAM_DISABLED] = "disabled",
	[STREAM_STOPPED] = "stopped",
	[STREAM_AUTHENTICATING] = "authenticating",
	[STREAM_PAUSED] = "paused",
	[STREAM_WAITING] = "waiting"
};

const char *(*stat_stream_sender_absence) (Oid dboid);

static void add_stream_pending(ResultRow *row, const ListedStream *id);
static void add_stream_counters(ResultRow *row, StreamStatistics *stats);
static void add_stream_error(ResultRow *row, StreamStatistics *stats);
static void add_table_error(ResultRow *row, StreamStatistics *stats);
static void add_stream_endpoint(ResultRow *row, StreamStatistics *stats);
static PoolNumbers read_pool(Queue *q, bool reset);

PG_FUNCTION_INFO_V1(firehose_stat_stream);
PG_FUNCTION_INFO_V1(firehose_stat_queue);
PG_FUNCTION_INFO_V1(firehose_stat_reset);

int
stat_stream_list(Oid dboid, Oid serverid, ListedStream **list)
{
	Queue	   *q = firehose_queue;
	int			n = 0;

	*list = palloc(sizeof(ListedStream) * q->max_streams);

	LWLockAcquire(q->table_lock, LW_SHARED);
	for (int i = 0; i < q->max_streams; i++)
	{
		QueueStream *s = queue_stream(q, i);
		ListedStream *id = &(*list)[n];

		if (!s->in_use ||
			(OidIsValid(dboid) && s->dboid != dboid) ||
			(OidIsValid(serverid) && s->serverid != serverid))
			continue;

		id->stream = s;
		id->generation = pg_atomic_read_u32(&s->generation);
		id->dboid = s->dboid;
		id->serverid = s->serverid;
		id->dropped = s->dropped;
		strlcpy(id->name, NameStr(s->name), NAMEDATALEN);
		n++;
	}
	LWLockRelease(q->table_lock);

	/* a name is in the encoding of its database */
	for (int i = 0; i < n; i++)
		sanitize_text((*list)[i].name, strlen((*list)[i].name));

	return n;
}

bool
stat_stream_is_current(const ListedStream *id)
{
	return pg_atomic_read_u32(&id->stream->generation) == id->generation;
}

bool
stat_stream_may_read(const ListedStream *id)
{
	ForeignServer *server;

	if (has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
		return true;
	if (id->dboid != MyDatabaseId)
		return false;
	server = GetForeignServerExtended(id->serverid, FSV_MISSING_OK);
	return server != NULL && has_privs_of_role(GetUserId(), server->owner);
}

bool
stat_stream_may_see(const ListedStream *id)
{
	if (stat_stream_may_read(id))
		return true;
	return id->dboid == MyDatabaseId &&
		GetForeignServerExtended(id->serverid, FSV_MISSING_OK) != NULL &&
		foreign_server_aclcheck(id->serverid, GetUserId(), ACL_USAGE) == ACLCHECK_OK;
}

/* Leave the columns that tell a user of a stream why it takes nothing. */
static void
hide_counters(ResultRow *row)
{
	/* stream to in_flight; oldest_queued_at; dropped */
	static const char shown[] = "+++++++........+........+......";

	StaticAssertStmt(lengthof(shown) == STAT_STREAM_COLUMNS + 1, "one for each column");
	for (int i = 0; i < STAT_STREAM_COLUMNS; i++)
		row->nulls[i] |= shown[i] == '.';
}

/*
 * Cut off the part that only superusers may read: the files and profiles of
 * the server that were searched for credentials.
 */
static void
hide_paths(char *text)
{
	char	   *found = strstr(text, NO_CREDENTIALS);

	if (found != NULL && !superuser())
		found[strlen(NO_CREDENTIALS) - 2] = '\0';
}

/*
 * No sender can tell that there is none.  Returns whether the state is another
 * one for that, and the reason; a pause that was asked for is one with or
 * without a sender.
 */
static bool
is_stopped(const ListedStream *id, uint32 state, char *reason)
{
	const char *absence;

	if (pg_atomic_read_u32(&id->stream->sender_procno) == PG_UINT32_MAX &&
		build_get_trouble(reason))
		return true;
	if (state == STREAM_PAUSED || state == STREAM_DISABLED)
		return false;
	absence = stat_stream_sender_absence(id->dboid);
	if (absence == NULL)
		return false;
	strlcpy(reason, absence, STATISTICS_MESSAGE_LEN);
	return true;
}

const char *
stat_stream_state(const ListedStream *id, char **reason)
{
	StreamStatistics *stats = &id->stream->stats;
	uint32		state;

	*reason = palloc(STATISTICS_MESSAGE_LEN);
	LWLockAcquire(stream_stats_lock(), LW_SHARED);
	state = pg_atomic_read_u32(&stats->state);
	strlcpy(*reason, stats->reason, STATISTICS_MESSAGE_LEN);
	LWLockRelease(stream_stats_lock());
	if (is_stopped(id, state, *reason))
		state = STREAM_STOPPED;
	sanitize_text(*reason, strlen(*reason));
	hide_paths(*reason);

	return state < lengthof(state_names) ? state_names[state] : "unknown";
}

/* The rows of firehose_stat_stream. */
Datum
firehose_stat_stream(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListedStream *streams;
	int			n;

	firehose_check_preloaded();
	InitMaterializedSRF(fcinfo, 0);

	n = stat_stream_list(InvalidOid, InvalidOid, &streams);
	for (int i = 0; i < n; i++)
	{
		ListedStream *id = &streams[i];
		StreamStatistics *stats = &id->stream->stats;
		const char *state;
		char	   *reason;
		ResultRow	row = {.ncolumns = 0};

		CHECK_FOR_INTERRUPTS();
		if (!stat_stream_may_see(id))
			continue;

		state = stat_stream_state(id, &reason);
		row_name(&row, id->name);
		row_text(&row, state);
		row_text(&row, reason);
		row_name(&row, get_database_name(id->dboid));
		add_stream_pending(&row, id);
		add_stream_counters(&row, stats);
		row_time(&row, queue_oldest(firehose_queue, id->stream));
		row_time(&row, pg_atomic_read_u64(&stats->last_accepted_at));
		add_stream_error(&row, stats);
		row_counter(&row, &stats->latency_count);
		row_datum(&row,
				  Float8GetDatum(pg_atomic_read_u64(&stats->latency_sum) / 1000.0),
				  false);
		row_time(&row, pg_atomic_read_u64(&stats->stats_reset));
		row_counter(&row, &stats->mismatches);
		row_bool(&row, id->dropped);
		add_table_error(&row, stats);
		row_counter(&row, &stats->firehose_records);
		row_counter(&row, &stats->sent_bytes);
		add_stream_endpoint(&row, stats);
		Assert(row.ncolumns == STAT_STREAM_COLUMNS);
		if (!stat_stream_may_read(id))
			hide_counters(&row);

		if (stat_stream_is_current(id))
			row_return(&row, rsinfo);
	}

	return (Datum) 0;
}

/*
 * queued, queued_bytes and in_flight.  The finished counters are read before
 * the published ones, so that queued + in_flight may be too large for a
 * moment, but is never zero while something is pending.
 */
static void
add_stream_pending(ResultRow *row, const ListedStream *id)
{
	QueueStream *s = id->stream;
	int64		in_flight = pg_atomic_read_u64(&s->stats.in_flight);
	int64		records = pg_atomic_read_u64(&s->finished_records);
	int64		bytes = pg_atomic_read_u64(&s->finished_bytes);

	pg_read_barrier();
	records = (int64) pg_atomic_read_u64(&s->published_records) - records;
	bytes = (int64) pg_atomic_read_u64(&s->published_bytes) - bytes;

	row_int64(row, Max(records - in_flight, 0));
	row_int64(row, Max(bytes, 0));
	row_int64(row, in_flight);
}

/* accepted to billed_bytes. */
static void
add_stream_counters(ResultRow *row, StreamStatistics *stats)
{
	row_counter(row, &stats->accepted);
	row_counter(row, &stats->failed);
	row_counter(row, &stats->discarded);
	row_counter(row, &stats->resent);
	row_counter(row, &stats->throttled);
	row_counter(row, &stats->requests);
	row_counter(row, &stats->bytes);
	row_counter(row, &stats->billed_bytes);
}

/* last_error_code, last_error_message and last_error_at. */
static void
add_stream_error(ResultRow *row, StreamStatistics *stats)
{
	char		code[STATISTICS_CODE_LEN];
	char		message[STATISTICS_MESSAGE_LEN];
	TimestampTz at;

	LWLockAcquire(stream_stats_lock(), LW_SHARED);
	strlcpy(code, stats->last_error_code, sizeof(code));
	strlcpy(message, stats->last_error_message, sizeof(message));
	at = pg_atomic_read_u64(&stats->last_error_at);
	LWLockRelease(stream_stats_lock());

	sanitize_text(code, strlen(code));
	sanitize_text(message, strlen(message));
	hide_paths(message);
	row_text(row, code);
	row_text(row, message);
	row_time(row, at);
}

/* table_error */
static void
add_table_error(ResultRow *row, StreamStatistics *stats)
{
	char		message[STATISTICS_MESSAGE_LEN];

	LWLockAcquire(stream_stats_lock(), LW_SHARED);
	strlcpy(message, stats->table_error, sizeof(message));
	LWLockRelease(stream_stats_lock());
	sanitize_text(message, strlen(message));
	row_text(row, message);
}

/* last_response_at, unreachable_since and clock_offset */
static void
add_stream_endpoint(ResultRow *row, StreamStatistics *stats)
{
	TimestampTz responded = pg_atomic_read_u64(&stats->last_response_at);

	row_time(row, responded);
	row_time(row, pg_atomic_read_u64(&stats->unreachable_since));
	row_datum(row, Int64GetDatum((int64) pg_atomic_read_u64(&stats->clock_offset)),
			  responded == 0);
}

/* The row of firehose_stat_queue. */
Datum
firehose_stat_queue(PG_FUNCTION_ARGS)
{
	Queue	   *q = firehose_queue;
	PoolNumbers pool;
	ListedStream *streams;
	TupleDesc	tupdesc;
	ResultRow	row = {.ncolumns = 0};

	firehose_check_preloaded();
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	pool = read_pool(q, false);
	row_int64(&row, (int64) q->npages * QUEUE_PAGE_DATA);
	row_int32(&row, QUEUE_PAGE_DATA);
	row_int64(&row, q->npages);
	row_int64(&row, pool.free_pages);
	row_int64(&row, pool.promised);
	row_datum(&row,
			  Float8GetDatum((double) (q->npages - pool.free_pages + pool.promised) /
							 q->npages), false);
	row_int64(&row, pool.lowest_free);
	row_int32(&row, pg_atomic_read_u32(&q->waiters));
	row_int32(&row, stat_stream_list(InvalidOid, InvalidOid, &streams));
	row_int32(&row, q->max_streams);
	row_int64(&row, queue_largest_transaction(q));
	row_counter(&row, &q->next_id);
	Assert(row.ncolumns == STAT_QUEUE_COLUMNS);

	PG_RETURN_DATUM(row_result(&row, tupdesc));
}

/* Read the pool's numbers, and set its low-water mark anew if asked to. */
static PoolNumbers
read_pool(Queue *q, bool reset)
{
	PoolNumbers pool;

	SpinLockAcquire(&q->pool_lock);
	if (reset)
		q->lowest_free = q->free_pages;
	pool.free_pages = q->free_pages;
	pool.promised = q->promised;
	pool.lowest_free = q->lowest_free;
	SpinLockRelease(&q->pool_lock);

	return pool;
}

/*
 * Set to zero the counters of one stream of this database, or all there are.
 */
Datum
firehose_stat_reset(PG_FUNCTION_ARGS)
{
	Oid			dboid = InvalidOid;
	Oid			serverid = InvalidOid;
	ListedStream *streams;
	int			n;

	firehose_check_preloaded();
	if (PG_ARGISNULL(0))
		(void) read_pool(firehose_queue, true);
	else
	{
		dboid = MyDatabaseId;
		serverid = stream_get(text_to_cstring(PG_GETARG_TEXT_PP(0)))->serverid;
	}

	n = stat_stream_list(dboid, serverid, &streams);
	for (int i = 0; i < n; i++)
		stream_stats_reset(&streams[i].stream->stats);

	PG_RETURN_VOID();
}
