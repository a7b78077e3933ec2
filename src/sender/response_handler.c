/*
 * response_handler.c
 *		What follows from the answer to a request; error_class.h says what the
 *		classes of errors mean.
 *
 * Sender process only.  The one rule for records: only an entry with a
 * RecordId and without an ErrorCode makes a record accepted.  Whatever else
 * happens, it goes back to the front of the stream's list, or, if it can never
 * be sent, to the dead letters.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "aws/error_class.h"
#include "aws/response.h"
#include "sender/completion.h"
#include "sender/response_handler.h"
#include "sender/settings.h"

/* Firehose bills each record as a multiple of this. */
#define BILLING_UNIT		5120

/* A text that is not terminated, for "%.*s". */
#define TEXT(text, length)	(int) Min(length, STATISTICS_MESSAGE_LEN - 1), text

static RetryRandom random_state;
static bool random_seeded = false;

static RetryRandom *
random_source(void)
{
	if (!random_seeded)
		retry_random_seed(&random_state, (uint64) GetCurrentTimestamp() ^ ((uint64) MyProcPid << 32));
	random_seeded = true;
	return &random_state;
}

/*
 * State of the stream ------------------------------------------------------
 */

/* Tell the log, once for each trouble. */
static void
log_trouble(Delivery *d, int elevel, const char *what, const char *code, const char *message)
{
	if (d->trouble_logged)
		return;
	d->trouble_logged = true;
	ereport(elevel,
			(errmsg("firehose sender: stream \"%s\" %s: %s: %s", d->name, what, code, message)));
}

void
response_handler_park(Delivery *d, int64 now, const char *code, const char *message)
{
	int64		interval = (int64) sender_probe_interval * 1000;

	if (!d->parked)
		d->trouble_logged = false;
	d->parked = true;
	d->failures++;
	d->next_attempt = now + interval + (int64) (retry_random(random_source()) * interval);
	stream_stats_set_error(&d->queue_stream->stats, code, message);
	stream_stats_set_state(&d->queue_stream->stats, STREAM_PARKED, psprintf("%s: %s", code, message));
	log_trouble(d, WARNING, "is parked", code, message);
}

void
response_handler_back_off(Delivery *d, int64 now, RetryKind kind, int64 requested,
				const char *code, const char *message)
{
	int64		delay = retry_delay(random_source(), kind, ++d->failures);

	if (requested >= 0)
		delay = retry_delay_with_request(delay, requested);
	d->next_attempt = Max(d->next_attempt, now + delay);
	stream_stats_set_error(&d->queue_stream->stats, code, message);
	if (d->parked)
		return;					/* a probe that failed in another way */
	stream_stats_set_state(&d->queue_stream->stats, STREAM_THROTTLED, psprintf("%s: %s", code, message));
	if (kind == RETRY_TRANSIENT)
		log_trouble(d, LOG, "request failed, retrying", code, message);
}

/* A request was accepted, wholly or in part: the stream lives. */
static void
mark_healthy(Delivery *d)
{
	if (d->parked || d->failures > 0)
		stream_stats_set_state(&d->queue_stream->stats, STREAM_ACTIVE, "");
	if (d->trouble_logged)
		ereport(LOG,
				(errmsg("firehose sender: stream \"%s\": delivery resumed", d->name)));
	d->trouble_logged = false;
	d->parked = false;
	d->failures = 0;
	d->next_attempt = 0;
}

/* Batches may grow again, after they were cut down. */
static void
grow_batches(Delivery *d)
{
	d->batch_limit = Min(d->options.max_batch_records, Max(1, d->batch_limit) * 2);
}

/* What a size rejection left to be tried has become less. */
static void
count_bisected(Delivery *d, int n)
{
	d->bisect_left = Max(0, d->bisect_left - n);
}

static int64
retry_after(const Request *request)
{
	int64_t		requested;

	if (request->http.retry_after[0] && retry_after_parse(request->http.retry_after, &requested))
		return requested;
	return -1;
}

/* A 200 ------------------------------------------------------------------- */

/* Sums over a response's entries. */
typedef struct Tally
{
	uint64		accepted;
	uint64		bytes;
	uint64		billed;
	int64		latency;
	int			throttled;
	const ResponseEntry *refused;	/* one of those not accepted */
} Tally;

static void
accept_record(Delivery *d, const ClaimedRecord *claimed, const ResponseEntry *entry,
			  bool encrypted, TimestampTz now, Tally *tally)
{
	completion_accepted(d, claimed, entry->record_id, entry->record_id_len, encrypted, now);
	queue_reader_settle(&d->reader, claimed);
	tally->accepted++;
	tally->bytes += claimed->length;
	tally->billed += Max(1, (claimed->length + BILLING_UNIT - 1) / BILLING_UNIT) * BILLING_UNIT;
	tally->latency += Max(0, now - claimed->queued_at);
}

static void
count_accepted(Delivery *d, const Tally *tally, TimestampTz now)
{
	StreamStatistics *stats = &d->queue_stream->stats;

	if (tally->accepted == 0)
		return;
	pg_atomic_fetch_add_u64(&stats->accepted, tally->accepted);
	pg_atomic_fetch_add_u64(&stats->bytes, tally->bytes);
	pg_atomic_fetch_add_u64(&stats->billed_bytes, tally->billed);
	pg_atomic_fetch_add_u64(&stats->latency_count, tally->accepted);
	pg_atomic_fetch_add_u64(&stats->latency_sum, tally->latency);
	pg_atomic_write_u64(&stats->last_accepted_at, (uint64) now);
}

/*
 * Some or all of the records were not accepted.  A service that took less than
 * half of them is short of quota, and what it took is its measure: the next
 * batch is twice that, so that the measure may grow, and the wait is that for
 * throttling.  One that took more is hardly short: the rest goes soon, and
 * batches may grow, or failures here and there would grind them down.
 */
static void
slow_down(Delivery *d, Request *request, const Tally *tally, int64 now)
{
	const ResponseEntry *entry = tally->refused;
	bool		short_of_quota = tally->throttled > 0 &&
		tally->accepted * 2 < request->nrecords;
	char		code[STATISTICS_CODE_LEN];
	char		message[STATISTICS_MESSAGE_LEN];

	snprintf(code, sizeof(code), "%.*s",
			 TEXT(entry->error_code ? entry->error_code : "NoRecordId",
				  entry->error_code ? entry->error_code_len : 10));
	snprintf(message, sizeof(message), "%.*s",
			 TEXT(entry->error_message ? entry->error_message : "", entry->error_message_len));
	if (tally->throttled > 0)
		pg_atomic_fetch_add_u64(&d->queue_stream->stats.throttled, tally->throttled);
	if (short_of_quota)
	{
		adaptive_limit_throttled(&d->limit, request->sent_at, now);
		d->batch_limit = Max(1, tally->accepted > 0 ? (int) tally->accepted * 2 :
							 request->nrecords / 2);
	}
	else
		d->batch_limit = Min(d->options.max_batch_records,
							 d->batch_limit + d->batch_limit / 4 + 1);
	response_handler_back_off(d, now, short_of_quota ? RETRY_THROTTLE : RETRY_TRANSIENT,
					retry_after(request), code, message);
}

/* Backwards, since what is put back goes to the front. */
static void
put_refused_back(Delivery *d, Request *request, const ResponseEntry *entries, Tally *tally)
{
	for (int i = request->nrecords; i-- > 0;)
	{
		const ResponseEntry *entry = &entries[i];

		if (entry->acknowledged)
			continue;
		delivery_put_back(d, &request->records[i]);
		tally->refused = entry;
		if (entry->error_code_len > 0 &&
			classify_entry(entry->error_code, entry->error_code_len) == ERROR_CLASS_THROTTLE)
			tally->throttled++;
	}
}

static void
take_entries(Delivery *d, Request *request, const ResponseEntry *entries,
			 const ResponseSummary *summary, int64 now)
{
	TimestampTz timestamp = GetCurrentTimestamp();
	Tally		tally = {0};

	for (int i = 0; i < request->nrecords; i++)
	{
		if (likely(entries[i].acknowledged))
			accept_record(d, &request->records[i], &entries[i], summary->encrypted,
						  timestamp, &tally);
	}
	if (tally.accepted < request->nrecords)
		put_refused_back(d, request, entries, &tally);
	count_accepted(d, &tally, timestamp);
	if (summary->nmismatched > 0 || summary->failed_put_count_wrong)
		pg_atomic_fetch_add_u64(&d->queue_stream->stats.mismatches, 1);
	count_bisected(d, tally.accepted);
	if (tally.accepted > 0)
		mark_healthy(d);
	if (tally.refused != NULL)
		slow_down(d, request, &tally, now);
	else
	{
		grow_batches(d);
		adaptive_limit_succeeded(&d->limit, now);
	}
}

/* A response that cannot be believed acknowledges nothing. */
static void
reject_response(Delivery *d, Request *request, const char *why, int64 now)
{
	pg_atomic_fetch_add_u64(&d->queue_stream->stats.mismatches, 1);
	delivery_put_all_back(d, request);
	response_handler_back_off(d, now, RETRY_TRANSIENT, retry_after(request), "MalformedReply", why);
}

static void
take_success(Delivery *d, Request *request, int64 now)
{
	static ResponseEntry entries[REQUEST_MAX_RECORDS];
	ResponseSummary summary;
	HttpRequest *http = &request->http;
	ResponseResult result;

	if (request->nrecords == 1)
		result = response_parse_put(http->response, http->response_length, entries, &summary);
	else
		result = response_parse_put_batch(http->response, http->response_length,
										  request->nrecords, entries, &summary);
	if (result == RESPONSE_OK)
		take_entries(d, request, entries, &summary, now);
	else
		reject_response(d, request, response_result_message(result), now);
}

/*
 * Any other status ---------------------------------------------------------
 */

/* The batch, or one record of it, is too large for the service. */
static void
bisect(Delivery *d, Request *request, const char *code, const char *message)
{
	if (request->nrecords > 1)
	{
		delivery_put_all_back(d, request);
		d->bisect_left = Max(d->bisect_left, request->nrecords);
		d->batch_limit = request->nrecords / 2;
		return;
	}
	completion_failed(d, &request->records[0], code, message);
	count_bisected(d, 1);
	grow_batches(d);
}

/* Try once more at once, the first time; later after a pause. */
static void
retry_soon(Delivery *d, Request *request, int64 now, const char *code, const char *message)
{
	if (d->failures > 0)
		response_handler_back_off(d, now, RETRY_TRANSIENT, -1, code, message);
	else
	{
		d->failures++;
		stream_stats_set_error(&d->queue_stream->stats, code, message);
	}
}

static void
take_error(Delivery *d, Request *request, int64 now)
{
	HttpRequest *http = &request->http;
	ErrorReport report;
	ErrorClass class;
	char		code[STATISTICS_CODE_LEN];
	char		message[STATISTICS_MESSAGE_LEN];

	response_parse_error(http->response, http->response_length, http->error_type, &report);
	class = classify_response(http->status, report.code, report.code_len,
						   report.message, report.message_len);
	if (report.code_len > 0)
		snprintf(code, sizeof(code), "%.*s", TEXT(report.code, report.code_len));
	else
		snprintf(code, sizeof(code), "HTTP %d", http->status);
	snprintf(message, sizeof(message), "%.*s%s%s%s", TEXT(report.message, report.message_len),
			 http->request_id[0] ? " (request " : "", http->request_id,
			 http->request_id[0] ? ")" : "");

	if (class == ERROR_CLASS_TOO_LARGE)
	{
		bisect(d, request, code, message);
		return;
	}
	delivery_put_all_back(d, request);
	switch (class)
	{
		case ERROR_CLASS_THROTTLE:
			pg_atomic_fetch_add_u64(&d->queue_stream->stats.throttled, 1);
			adaptive_limit_throttled(&d->limit, request->sent_at, now);
			response_handler_back_off(d, now, RETRY_THROTTLE, retry_after(request), code, message);
			break;
		case ERROR_CLASS_CLOCK_SKEW:
			if (signer_correct_clock(&d->endpoint, request->sent_at, now, http_date(http)))
				retry_soon(d, request, now, code, message);
			else
				response_handler_park(d, now, code, message);
			break;
		case ERROR_CLASS_CREDENTIALS:
		case ERROR_CLASS_ACCESS_DENIED:
			if (d->identity != NULL && identity_refused(d->identity, now, request->identity))
				retry_soon(d, request, now, code, message);
			else
				response_handler_park(d, now, code, message);
			break;
		case ERROR_CLASS_PARK:
		case ERROR_CLASS_OUR_BUG:
		case ERROR_CLASS_REDIRECT:
			response_handler_park(d, now, code, message);
			break;
		case ERROR_CLASS_NONE:
		case ERROR_CLASS_TRANSIENT:
		case ERROR_CLASS_MALFORMED_REPLY:
		case ERROR_CLASS_TOO_LARGE:
			response_handler_back_off(d, now, RETRY_TRANSIENT, retry_after(request), code, message);
			break;
	}
}

/*
 * No response at all
 * ----------------------------------------------------------
 */

/* Faults that do not pass by themselves: retrying fast would help nobody. */
static bool
is_lasting(CURLcode result)
{
	switch (result)
	{
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_URL_MALFORMAT:
		case CURLE_UNSUPPORTED_PROTOCOL:
			return true;
		default:
			return false;
	}
}

static void
take_failure(Delivery *d, Request *request, int64 now)
{
	HttpRequest *http = &request->http;

	delivery_put_all_back(d, request);
	if (is_lasting(http->result))
		response_handler_park(d, now, "Connection", http->error);
	else
		response_handler_back_off(d, now, RETRY_TRANSIENT, -1, "Connection", http->error);
}

void
response_handler_take(Delivery *d, Request *request, int64 now)
{
	if (request->http.result != CURLE_OK)
		take_failure(d, request, now);
	else if (request->http.status == 200)
		take_success(d, request, now);
	else
		take_error(d, request, now);
}
