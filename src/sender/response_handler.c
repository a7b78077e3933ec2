/*
 * response_handler.c
 *		Handling the response to a request; error_class.h says what the classes
 *		of errors mean.
 *
 * Sender process only.  The one rule for records: only an entry with a
 * RecordId and without an ErrorCode makes a record accepted.  In all other
 * cases it goes back to the front of the stream's list, or, if it can never be
 * sent, to the dead letters.
 */
#include "postgres.h"

#include <ctype.h>

#include "utils/timestamp.h"

#include "aws/error_class.h"
#include "aws/response.h"
#include "common/sanitize.h"
#include "sender/completion.h"
#include "sender/identity_refresh.h"
#include "sender/response_handler.h"

/* Firehose bills each record as a multiple of this. */
#define BILLING_UNIT		5120

/*
 * The length of the part that is shown of a response that is not Firehose's.
 */
#define FOREIGN_WORDS	128

/* A text that is not terminated, for "%.*s". */
#define TEXT(text, length)	(int) Min(length, STATISTICS_MESSAGE_LEN - 1), text

/*
 * Records that Firehose refuses as too large are larger than this, or it says
 * so.
 */
#define RECORD_LIMIT	QUEUE_MAX_RECORD

static void fail_request(Delivery *d, Request *request, const Cause *cause, int64 requested,
						 int64 now);

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
	int			refused;		/* for another reason */
	bool		suspect_passed; /* one that was refused before */
	const ResponseEntry *example;	/* one of those not accepted */
} Tally;

static void
accept_record(Delivery *d, const ClaimedRecord *claimed, const ResponseEntry *entry,
			  bool encrypted, TimestampTz now, Tally *tally)
{
	completion_accepted(&d->target, claimed, entry->record_id, entry->record_id_len, encrypted, now);
	queue_reader_settle(&d->target.reader, claimed);
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

/* Why one of the records was not accepted, in Firehose's words. */
static void
entry_cause(Cause *cause, const ResponseEntry *entry)
{
	char		code[STATISTICS_CODE_LEN];

	snprintf(code, sizeof(code), "%.*s",
			 TEXT(entry->error_code ? entry->error_code : "NoRecordId",
				  entry->error_code ? entry->error_code_len : 10));
	cause_set(cause, PARTY_AWS, code, "%.*s",
			  TEXT(entry->error_message ? entry->error_message : "", entry->error_message_len));
}

/*
 * Is it time to give up a record that is refused while others pass?  Both
 * limits must be reached, if both are set.
 */
static bool
is_hopeless(Delivery *d, const ClaimedRecord *claimed)
{
	const StreamOptions *o = &d->options;
	int64		age = (GetCurrentTimestamp() - claimed->queued_at) / USECS_PER_SEC;

	if (o->max_attempts == 0 && o->max_age == 0)
		return false;
	return claimed->attempts >= o->max_attempts && age >= o->max_age;
}

/*
 * A record is refused, and it is the record's own fault: later, or never
 * again.
 */
static void
refuse_record(Delivery *d, const ClaimedRecord *claimed, const Cause *cause)
{
	if (is_hopeless(d, claimed))
		completion_failed(&d->target, claimed, cause->code, cause->message);
	else
		delivery_suspect(d, claimed);
}

/* Was this record refused for lack of quota? */
static inline bool
is_throttled(const ResponseEntry *entry)
{
	return entry->error_code_len > 0 &&
		classify_entry(entry->error_code, entry->error_code_len) == ERROR_CLASS_THROTTLE;
}

/* Count those that were not accepted, by kind. */
static void
count_refused(Request *request, const ResponseEntry *entries, Tally *tally)
{
	for (int i = 0; i < request->nrecords; i++)
	{
		const ResponseEntry *entry = &entries[i];

		if (entry->acknowledged)
		{
			tally->suspect_passed |= i < request->nsuspects;
			continue;
		}
		if (is_throttled(entry))
			tally->throttled++;
		else
			tally->refused++;
		if (tally->example == NULL)
			tally->example = entry;
	}
}

/*
 * Give back the records that were not accepted, in reverse order, because each
 * goes to the front.  A record that was refused while others passed waits on
 * its own.
 */
static void
give_refused_back(Delivery *d, Request *request, const ResponseEntry *entries,
				  const Tally *tally, int64 now)
{
	bool		others_passed = tally->accepted > 0 && d->options.order != ORDER_STRICT;

	for (int i = request->nrecords; i-- > 0;)
	{
		Cause		cause;

		if (entries[i].acknowledged)
			continue;
		if (is_throttled(&entries[i]) || !others_passed)
		{
			delivery_put_back(d, &request->records[i]);
			continue;
		}
		entry_cause(&cause, &entries[i]);
		refuse_record(d, &request->records[i], &cause);
	}
	if (tally->suspect_passed)
		delivery_suspects_passed(d);
	if (others_passed && tally->refused > 0)
		delivery_suspects_refused(d, now);
}

/*
 * Report the results of a request's records to the pace, the view and the log.
 */
static void
report_entries(Delivery *d, Request *request, const Tally *tally, int64 now)
{
	Health	   *h = &d->health;
	Cause		cause;

	if (tally->accepted > 0 || tally->throttled > 0)
		pace_answered(&h->pace, &request->sent, tally->accepted, tally->bytes,
					  tally->throttled, retry_after(request), now);
	if (tally->accepted > 0)
		health_refresh(h, now);
	if (tally->example == NULL)
		return;
	entry_cause(&cause, tally->example);
	if (tally->throttled > 0)
	{
		pg_atomic_fetch_add_u64(&d->queue_stream->stats.throttled, tally->throttled);
		health_trouble(h, &cause, now);
	}
	else if (tally->accepted == 0)
	{
		pace_failed(&h->pace, &request->sent, retry_after(request), now);
		health_trouble(h, &cause, now);
	}
	else
		health_note_error(h, &cause);
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
	if (tally.accepted < request->nrecords || request->nsuspects > 0)
	{
		count_refused(request, entries, &tally);
		give_refused_back(d, request, entries, &tally, now);
	}
	count_accepted(d, &tally, timestamp);
	if (summary->nmismatched > 0 || summary->failed_put_count_wrong)
		pg_atomic_fetch_add_u64(&d->queue_stream->stats.mismatches, 1);
	report_entries(d, request, &tally, now);
}

/* A response that cannot be believed acknowledges nothing. */
static void
reject_response(Delivery *d, Request *request, const char *why, int64 now)
{
	Cause		cause;

	pg_atomic_fetch_add_u64(&d->queue_stream->stats.mismatches, 1);
	cause_set(&cause, request->http.request_id[0] ? PARTY_AWS : PARTY_PROXY,
			  "MalformedReply", "%s", why);
	fail_request(d, request, &cause, retry_after(request), now);
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

/* Any other status -------------------------------------------------------- */

/*
 * The first words of a response that is not Firehose's, without the tags of
 * HTML or XML.
 */
static void
foreign_words(const char *body, size_t length, char *words, size_t size)
{
	bool		in_tag = false;
	size_t		n = 0;

	for (size_t i = 0; i < length && n < size - 1; i++)
	{
		char		c = body[i];

		if (c == '<' || c == '>')
		{
			in_tag = c == '<';
			c = ' ';
		}
		if (in_tag)
			continue;
		if (isspace((unsigned char) c) || c == '\0')
			c = ' ';
		if (c == ' ' && (n == 0 || words[n - 1] == ' '))
			continue;
		words[n++] = c;
	}
	while (n > 0 && words[n - 1] == ' ')
		n--;
	words[n] = '\0';
	sanitize_text(words, n);
}

/* The largest number in a text, 0 if there is none. */
static int64
largest_number(const char *text, size_t length)
{
	int64		largest = 0;
	int64		number = 0;

	for (size_t i = 0; i < length; i++)
	{
		number = isdigit((unsigned char) text[i]) ?
			Min(number * 10 + (text[i] - '0'), PG_INT32_MAX) : 0;
		largest = Max(largest, number);
	}
	return largest;
}

/* Name an error and its party: Firehose's errors have a code. */
static void
error_cause(HttpRequest *http, const ErrorReport *report, Cause *cause)
{
	char		code[STATISTICS_CODE_LEN];
	char		words[FOREIGN_WORDS] = "";

	if (report->code_len > 0)
	{
		snprintf(code, sizeof(code), "%.*s", TEXT(report->code, report->code_len));
		cause_set(cause, PARTY_AWS, code, "%.*s%s%s%s", TEXT(report->message, report->message_len),
				  http->request_id[0] ? " (request " : "", http->request_id,
				  http->request_id[0] ? ")" : "");
		cause->named = largest_number(report->message, report->message_len);
		return;
	}
	snprintf(code, sizeof(code), "HTTP %d", http->status);
	foreign_words(http->response, http->response_length, words, sizeof(words));
	cause_set(cause, http->request_id[0] ? PARTY_AWS : PARTY_PROXY, code, "%s%s%s",
			  http->location[0] ? "it points to " : "", http->location,
			  http->location[0] ? "" : words);
}

/* The request failed, for a reason that may pass. */
static void
fail_request(Delivery *d, Request *request, const Cause *cause, int64 requested, int64 now)
{
	delivery_put_all_back(d, request);
	pace_failed(&d->health.pace, &request->sent, requested, now);
	health_trouble(&d->health, cause, now);
}

/*
 * Is this record too large by the limit that Firehose names, or by the one
 * that is known?  A smaller number in a message ("exceeds 4 MB") is not in
 * bytes.
 */
static bool
is_over_limit(const ClaimedRecord *claimed, const Cause *cause)
{
	int64		named = cause->named;

	return cause->party == PARTY_AWS &&
		claimed->length > (named >= 1000 ? named : RECORD_LIMIT);
}

/*
 * The request, or one record of it, is too large for the service, or for a
 * proxy.  Smaller ones are tried, down to one record.  That is given up only
 * if it is over Firehose's limit; otherwise it is not the record's fault.
 */
static void
bisect(Delivery *d, Request *request, const Cause *cause, int64 now)
{
	if (request->nrecords > 1)
	{
		delivery_put_all_back(d, request);
		pace_too_large(&d->health.pace, &request->sent, now);
		health_note_error(&d->health, cause);
	}
	else if (is_over_limit(&request->records[0], cause))
	{
		completion_failed(&d->target, &request->records[0], cause->code, cause->message);
		pace_gave_up(&d->health.pace, 1);
	}
	else
	{
		delivery_put_all_back(d, request);
		health_park(&d->health, cause, now);
	}
}

/* Try once more at once, the first time; later after a pause. */
static void
retry_soon(Delivery *d, Request *request, const Cause *cause, int64 now)
{
	pace_failed(&d->health.pace, &request->sent, -1, now);
	if (d->health.pace.failures > 1)
		health_trouble(&d->health, cause, now);
	else
	{
		d->health.pace.next_attempt = now;
		health_note_error(&d->health, cause);
	}
}

/*
 * Does Firehose refuse this very record?  It was refused before, while others
 * passed, and now it is alone, and nothing else fails.  In strict order every
 * record is alone.
 */
static bool
is_records_fault(Delivery *d, Request *request, const Cause *cause)
{
	return request->nrecords == 1 && cause->party == PARTY_AWS &&
		((request->nsuspects == 1 && d->health.pace.failures == 0) ||
		 (d->options.order == ORDER_STRICT && is_hopeless(d, &request->records[0])));
}

/* An error that may pass: of the record, of the time it took, or any other. */
static void
take_transient(Delivery *d, Request *request, const Cause *cause, int64 now)
{
	int			status = request->http.status;

	if (is_records_fault(d, request, cause))
	{
		refuse_record(d, &request->records[0], cause);
		delivery_suspects_refused(d, now);
		health_note_error(&d->health, cause);
		return;
	}
	if (status != 408 && status != 504)
	{
		fail_request(d, request, cause, retry_after(request), now);
		return;
	}
	delivery_put_all_back(d, request);
	pace_timed_out(&d->health.pace, &request->sent, now);
	health_trouble(&d->health, cause, now);
}

/* React to an error, after the records were given back. */
static void
follow_error(Delivery *d, Request *request, ErrorClass class, const Cause *cause, int64 now)
{
	HttpRequest *http = &request->http;
	int64		sent_at = request->sent.sent_at;

	switch (class)
	{
		case ERROR_CLASS_THROTTLE:
			pg_atomic_fetch_add_u64(&d->queue_stream->stats.throttled, 1);
			pace_throttled(&d->health.pace, &request->sent, retry_after(request), now);
			health_trouble(&d->health, cause, now);
			break;
		case ERROR_CLASS_CLOCK_SKEW:
			if (signer_correct_clock(&d->endpoint, sent_at, request->headers.time, now,
									 http_date(http)))
				retry_soon(d, request, cause, now);
			else
				health_park(&d->health, cause, now);
			break;
		case ERROR_CLASS_CREDENTIALS:
		case ERROR_CLASS_ACCESS_DENIED:
			if (d->identity != NULL && identity_refresh_refused(d->identity, now, request->identity))
				retry_soon(d, request, cause, now);
			else
				health_park(&d->health, cause, now);
			break;
		default:
			health_park(&d->health, cause, now);
			break;
	}
}

static void
take_error(Delivery *d, Request *request, int64 now)
{
	HttpRequest *http = &request->http;
	ErrorReport report;
	ErrorClass class;
	Cause		cause;

	response_parse_error(http->response, http->response_length, http->error_type, &report);
	class = classify_response(http->status, report.code, report.code_len,
							  report.message, report.message_len);
	error_cause(http, &report, &cause);
	switch (class)
	{
		case ERROR_CLASS_TOO_LARGE:
			bisect(d, request, &cause, now);
			break;
		case ERROR_CLASS_NONE:
		case ERROR_CLASS_TRANSIENT:
		case ERROR_CLASS_MALFORMED_REPLY:
			take_transient(d, request, &cause, now);
			break;
		default:
			delivery_put_all_back(d, request);
			follow_error(d, request, class, &cause, now);
			break;
	}
}

/* No response at all ------------------------------------------------------ */

/* Faults that do not pass by themselves: retrying fast would not help. */
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
	Health	   *h = &d->health;
	Cause		cause;

	delivery_put_all_back(d, request);
	if (http->short_of_resources)
	{
		cause_set(&cause, PARTY_HERE, "Resources", "%s", http->error);
		budget_shortage(http->error, now);
		health_note_error(h, &cause);
		return;
	}
	cause_set(&cause, PARTY_NETWORK, "Connection", "%s", http->error);
	if (is_lasting(http->result))
	{
		health_park(h, &cause, now);
		return;
	}
	/* before anything was sent, how much it was does not matter */
	if (http->result == CURLE_OPERATION_TIMEDOUT && http->sent > 0)
		pace_timed_out(&h->pace, &request->sent, now);
	else
		pace_failed(&h->pace, &request->sent, -1, now);
	health_trouble(h, &cause, now);
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
