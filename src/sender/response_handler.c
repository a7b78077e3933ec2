/*
 * response_handler.c
 *		Handling the response to a request; error_class.h says what the classes
 *		of errors mean.
 *
 * Sender process only.  The one rule for records: only an entry with a
 * RecordId and without an ErrorCode makes a record accepted.  In all other
 * cases it goes back to the front of the stream's list, or, if it can never be
 * sent, to the dead letters.  An entry is that of a group (group.h), and each
 * of the group's records gets its own outcome from it.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "aws/error_class.h"
#include "aws/response.h"
#include "sender/completion.h"
#include "sender/error_cause.h"
#include "sender/identity_refresh.h"
#include "sender/response_handler.h"

/* Firehose bills each record as a multiple of this. */
#define BILLING_UNIT		5120

/*
 * Records that Firehose refuses as too large are larger than this, or it says
 * so.
 */
#define RECORD_LIMIT	QUEUE_MAX_RECORD

static void note_failure(Delivery *d, Request *request, const Cause *cause, int64 requested,
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
	uint64		accepted;		/* groups: Firehose records */
	uint64		records;		/* their records */
	uint64		bytes;			/* of these */
	uint64		sent;			/* the same, as it was sent */
	uint64		billed;
	int64		latency;
	int			throttled;
	int			refused;		/* for another reason */
	bool		suspect_passed; /* one that was refused before */
	const ResponseEntry *example;	/* one of those not accepted */
} Tally;

/* The records of a group were accepted: each of them has its own outcome. */
static void
accept_group(Delivery *d, Request *request, const RecordGroup *group, const ResponseEntry *entry,
			 bool encrypted, TimestampTz now, Tally *tally)
{
	for (int i = 0; i < group->nrecords; i++)
	{
		const ClaimedRecord *claimed = &request->records[group->first + i];

		completion_accepted(&d->target, claimed, entry, encrypted, now);
		queue_reader_settle(&d->target.reader, claimed);
		tally->latency += Max(0, now - claimed->queued_at);
	}
	tally->accepted++;
	tally->records += group->nrecords;
	tally->bytes += group->bytes;
	tally->sent += group->sent;
	tally->billed += Max(1, (group->sent + BILLING_UNIT - 1) / BILLING_UNIT) * BILLING_UNIT;
}

static void
count_accepted(Delivery *d, const Tally *tally, TimestampTz now)
{
	StreamStatistics *stats = &d->queue_stream->stats;

	if (tally->accepted == 0)
		return;
	pg_atomic_fetch_add_u64(&stats->accepted, tally->records);
	pg_atomic_fetch_add_u64(&stats->firehose_records, tally->accepted);
	pg_atomic_fetch_add_u64(&stats->bytes, tally->bytes);
	pg_atomic_fetch_add_u64(&stats->sent_bytes, tally->sent);
	pg_atomic_fetch_add_u64(&stats->billed_bytes, tally->billed);
	pg_atomic_fetch_add_u64(&stats->latency_count, tally->records);
	pg_atomic_fetch_add_u64(&stats->latency_sum, tally->latency);
	pg_atomic_write_u64(&stats->last_accepted_at, (uint64) now);
}

/*
 * Firehose refuses this record, and it is its own fault: count that.  Is it
 * time to give it up?  Both limits must be reached, if both are set.  Attempts
 * that failed for everything, or with others in the same Firehose record, do
 * not count against it.
 */
static bool
is_last_refusal(Delivery *d, ClaimedRecord *claimed)
{
	const StreamOptions *o = &d->options;
	int64		age = (GetCurrentTimestamp() - claimed->queued_at) / USECS_PER_SEC;

	if (claimed->refused < PG_UINT16_MAX)
		claimed->refused++;
	if (o->max_attempts == 0 && o->max_age == 0)
		return false;
	return claimed->refused >= o->max_attempts && age >= o->max_age;
}

/*
 * A group is refused, and it is its own fault: later, or never again.  Of many
 * records one may be the reason: it is found by halving the group.
 */
static void
refuse_group(Delivery *d, Request *request, int g, const Cause *cause)
{
	const RecordGroup *group = &request->groups[g];
	ClaimedRecord *first = &request->records[group->first];

	if (group->nrecords == 1 && is_last_refusal(d, first))
		completion_failed(&d->target, first, cause->code, cause->message);
	else
		delivery_suspect(d, request, g);
}

/* Was this group refused for lack of quota? */
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
	for (int i = 0; i < request->ngroups; i++)
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
 * Give back the groups that were not accepted, in reverse order, because each
 * goes to the front.  One that was refused while others passed waits on its
 * own.
 */
static void
give_refused_back(Delivery *d, Request *request, const ResponseEntry *entries,
				  const Tally *tally, int64 now)
{
	bool		others_passed = tally->accepted > 0 && d->options.order != ORDER_STRICT;

	for (int i = request->ngroups; i-- > 0;)
	{
		Cause		cause;

		if (entries[i].acknowledged)
			continue;
		if (is_throttled(&entries[i]) || !others_passed)
		{
			delivery_put_back(d, request, i);
			continue;
		}
		error_cause_of_entry(&cause, &entries[i]);
		refuse_group(d, request, i, &cause);
	}
	if (tally->suspect_passed)
		pace_suspects_passed(&d->health.pace);
	if (others_passed && tally->refused > 0)
		pace_suspects_refused(&d->health.pace, request->nsuspects > 0 && !tally->suspect_passed,
							  now);
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
		pace_answered(&h->pace, &request->sent, tally->accepted, tally->sent,
					  tally->throttled, retry_after(request), now);
	if (tally->accepted > 0)
		health_refresh(h, now);
	if (tally->example == NULL)
		return;
	error_cause_of_entry(&cause, tally->example);
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

	for (int i = 0; i < request->ngroups; i++)
	{
		if (likely(entries[i].acknowledged))
			accept_group(d, request, &request->groups[i], &entries[i], summary->encrypted,
						 timestamp, &tally);
	}
	if (tally.accepted < request->ngroups || request->nsuspects > 0)
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
	delivery_put_all_back(d, request);
	note_failure(d, request, &cause, retry_after(request), now);
}

static void
take_success(Delivery *d, Request *request, int64 now)
{
	static ResponseEntry entries[REQUEST_MAX_GROUPS];
	ResponseSummary summary;
	HttpRequest *http = &request->http;
	ResponseResult result;

	if (request->single)
		result = response_parse_put(http->response, http->response_length, entries, &summary);
	else
		result = response_parse_put_batch(http->response, http->response_length,
										  request->ngroups, entries, &summary);
	if (result == RESPONSE_OK)
	{
		health_reached(&d->health, http_date(http));
		take_entries(d, request, entries, &summary, now);
	}
	else
		reject_response(d, request, response_result_message(result), now);
}

/* Any other status -------------------------------------------------------- */

/*
 * The request failed, for a reason that may pass.  Its records have been given
 * back.
 */
static void
note_failure(Delivery *d, Request *request, const Cause *cause, int64 requested, int64 now)
{
	pace_failed(&d->health.pace, &request->sent, requested, now);
	health_trouble(&d->health, cause, now);
}

/*
 * Is the one record of a request too large by the limit that Firehose names,
 * or by the one that is known?  A smaller number in a message ("exceeds 4 MB")
 * is not in bytes.  A response of Firehose has a request id, that of a proxy
 * has none, whatever its document looks like.
 */
static bool
is_over_limit(const Request *request, const Cause *cause)
{
	int64		named = cause->named;

	return cause->party == PARTY_AWS && request->http.request_id[0] &&
		request->groups[0].sent > (named >= 1000 ? named : RECORD_LIMIT);
}

/*
 * The request, or one record of it, is too large for the service, or for a
 * proxy.  Smaller ones are tried: fewer groups, then half a group, down to one
 * record.  That is given up only if it is over Firehose's limit; otherwise it
 * is not the record's fault.
 */
static void
bisect(Delivery *d, Request *request, const Cause *cause, int64 now)
{
	if (request->nrecords > 1)
	{
		if (request->ngroups > 1)
			delivery_put_all_back(d, request);
		else
			delivery_put_halves_back(d, request);
		pace_too_large(&d->health.pace, &request->sent, now);
		health_note_error(&d->health, cause);
	}
	else if (is_over_limit(request, cause))
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
 * Does Firehose refuse this very group?  It was refused before, while others
 * passed, and now it is alone, and nothing else fails.
 */
static bool
is_groups_fault(Delivery *d, Request *request, const Cause *cause)
{
	return d->options.order != ORDER_STRICT && request->ngroups == 1 &&
		cause->party == PARTY_AWS && request->nsuspects == 1 && d->health.pace.failures == 0;
}

/*
 * In strict order every group is alone, so that nothing tells its fault from
 * the service's: any error of AWS's counts.  Is the record to be given up?
 */
static bool
is_to_be_given_up(Delivery *d, Request *request, const Cause *cause)
{
	return d->options.order == ORDER_STRICT && request->nrecords == 1 &&
		cause->party == PARTY_AWS && is_last_refusal(d, &request->records[0]);
}

/*
 * In strict order a group that fails again and again holds up all that come
 * behind it.  If records may be given up, the one that is the reason is looked
 * for.
 */
static bool
is_to_be_halved(Delivery *d, Request *request, const Cause *cause)
{
	const StreamOptions *o = &d->options;

	return o->order == ORDER_STRICT && (o->max_attempts > 0 || o->max_age > 0) &&
		request->ngroups == 1 && request->nrecords > 1 && cause->party == PARTY_AWS &&
		request->records[0].attempts >= Max(2, o->max_attempts);
}

/*
 * Does a group that AWS refuses alone hold up those behind it?  If it is the
 * group's fault, others pass, and then it is known; so it makes way for them.
 */
static bool
is_to_make_way(Delivery *d, Request *request, const Cause *cause)
{
	return d->options.order != ORDER_STRICT && request->ngroups == 1 &&
		cause->party == PARTY_AWS && request->records[0].attempts > 1;
}

/* No response in time: the records at hand may take too long together. */
static void
take_timeout(Delivery *d, Request *request, const Cause *cause, int64 now)
{
	pace_timed_out(&d->health.pace, &request->sent, now);
	if (request->ngroups == 1 && request->sent_bytes > pace_max_bytes(&d->health.pace))
		delivery_put_records_back(d, request);
	else
		delivery_put_all_back(d, request);
	health_trouble(&d->health, cause, now);
}

/* An error that may pass: of the group, of the time it took, or any other. */
static void
take_transient(Delivery *d, Request *request, const Cause *cause, int64 now)
{
	int			status = request->http.status;

	if (is_to_be_given_up(d, request, cause))
	{
		completion_failed(&d->target, &request->records[0], cause->code, cause->message);
		/* it may be the service's fault: no other follows at once */
		note_failure(d, request, cause, retry_after(request), now);
	}
	else if (is_groups_fault(d, request, cause))
	{
		refuse_group(d, request, 0, cause);
		pace_suspects_refused(&d->health.pace, true, now);
		health_note_error(&d->health, cause);
	}
	else if (status == 408 || status == 504)
		take_timeout(d, request, cause, now);
	else
	{
		if (is_to_make_way(d, request, cause))
		{
			delivery_suspect(d, request, 0);
			pace_suspects_refused(&d->health.pace, true, now);
		}
		else if (is_to_be_halved(d, request, cause))
			delivery_put_halves_back(d, request);
		else
			delivery_put_all_back(d, request);
		note_failure(d, request, cause, retry_after(request), now);
	}
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
	error_cause_of_response(http, &report, &cause);
	if (cause.party == PARTY_AWS)
		health_reached(&d->health, http_date(http));
	else
		health_not_reached(&d->health);
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

	if (http->short_of_resources)
	{
		delivery_put_all_back(d, request);
		cause_set(&cause, PARTY_HERE, "Resources", "%s", http->error);
		budget_shortage(http->error, now);
		health_note_error(h, &cause);
		return;
	}
	cause_set(&cause, PARTY_NETWORK, "Connection", "%s", http->error);
	health_not_reached(h);
	/* before anything was sent, how much it was does not matter */
	if (http->result == CURLE_OPERATION_TIMEDOUT && http->sent > 0)
	{
		take_timeout(d, request, &cause, now);
		return;
	}
	delivery_put_all_back(d, request);
	if (is_lasting(http->result))
		health_park(h, &cause, now);
	else
		note_failure(d, request, &cause, -1, now);
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
	queue_reader_serve_waiters(firehose_queue);
}
