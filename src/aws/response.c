/*-------------------------------------------------------------------------
 *
 * response.c
 *	  Read the outcome of each record from a response of Firehose.
 *
 * Called by the sender once per response.  Everything is read to the end
 * before anything is believed, so that a truncated or contradictory response
 * acknowledges nothing: a record sent twice is a nuisance, a record believed
 * sent is lost.  Keys that are not known are skipped; key order and spacing
 * are not fixed.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "aws/json_scan.h"
#include "aws/response.h"

/* No code of AWS is nearly as long; a longer text is not a code. */
#define MAX_CODE_LEN	128

/* The keys that matter, in an entry and at the top. */
typedef enum Key
{
	KEY_RECORD_ID,
	KEY_ERROR_CODE,
	KEY_ERROR_MESSAGE,
	KEY_ENCRYPTED,
	KEY_FAILED_PUT_COUNT,
	KEY_REQUEST_RESPONSES,
	KEY_UNKNOWN
} Key;

static const struct
{
	const char *name;
	size_t		len;
}			key_names[KEY_UNKNOWN] =
{
	[KEY_RECORD_ID] = {"RecordId", 8},
	[KEY_ERROR_CODE] = {"ErrorCode", 9},
	[KEY_ERROR_MESSAGE] = {"ErrorMessage", 12},
	[KEY_ENCRYPTED] = {"Encrypted", 9},
	[KEY_FAILED_PUT_COUNT] = {"FailedPutCount", 14},
	[KEY_REQUEST_RESPONSES] = {"RequestResponses", 16},
};

#define KEY_BIT(key)	(1u << (key))

/* Which of them an object has; the others are unknown there. */
#define ENTRY_KEYS	(KEY_BIT(KEY_RECORD_ID) | KEY_BIT(KEY_ERROR_CODE) | \
					 KEY_BIT(KEY_ERROR_MESSAGE))
#define PUT_KEYS	(ENTRY_KEYS | KEY_BIT(KEY_ENCRYPTED))
#define BATCH_KEYS	(KEY_BIT(KEY_ENCRYPTED) | KEY_BIT(KEY_FAILED_PUT_COUNT) | \
					 KEY_BIT(KEY_REQUEST_RESPONSES))

/* The places for the values of a response */
typedef struct ResponseTarget
{
	ResponseEntry *entries;
	int			nrecords;
	ResponseSummary *summary;
} ResponseTarget;

static void blank_controls(const JsonScan *scan);
static ResponseResult parse_object(JsonScan *scan, unsigned int keys,
								   const ResponseTarget *target,
								   ResponseEntry *entry, unsigned int *seen);
static ResponseResult parse_value(JsonScan *scan, Key key,
								  const ResponseTarget *target,
								  ResponseEntry *entry);
static ResponseResult parse_entries(JsonScan *scan, JsonScanToken token,
									const ResponseTarget *target);
static void judge_entry(ResponseEntry *entry);

/*
 * Read the one JSON object that the body has to be.
 */
static ResponseResult
parse_body(JsonScan *scan, unsigned int keys, const ResponseTarget *target,
		   ResponseEntry *entry, unsigned int *seen)
{
	ResponseResult result;
	JsonScanToken token = json_scan_next(scan);

	if (token == JSON_SCAN_ERROR)
		return RESPONSE_MALFORMED;
	if (token != JSON_SCAN_OBJECT_START)
		return RESPONSE_WRONG_TYPE;
	result = parse_object(scan, keys, target, entry, seen);
	if (result == RESPONSE_OK && json_scan_next(scan) != JSON_SCAN_END)
		return RESPONSE_MALFORMED;
	return result;
}

/* Is there anything but white space? */
static bool
is_blank(const char *body, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (memchr(" \t\r\n", body[i], 4) == NULL)
			return false;
	}
	return true;
}

/*
 * Count the verdicts, or withdraw all of them if the response is not sound.
 */
static ResponseResult
finish(ResponseResult result, const JsonScan *scan, const ResponseTarget *target)
{
	ResponseSummary *summary = target->summary;

	if (result != RESPONSE_OK)
	{
		memset(target->entries, 0, sizeof(ResponseEntry) * target->nrecords);
		if (result == RESPONSE_MALFORMED)
			summary->error = scan->error;
		return result;
	}
	for (int i = 0; i < target->nrecords; i++)
	{
		ResponseEntry *entry = &target->entries[i];

		judge_entry(entry);
		summary->nacknowledged += entry->acknowledged;
		summary->nmismatched += entry->mismatch;
	}
	summary->nfailed = target->nrecords - summary->nacknowledged;
	return RESPONSE_OK;
}

static void
init_summary(ResponseSummary *summary)
{
	memset(summary, 0, sizeof(*summary));
	summary->failed_put_count = -1;
}

ResponseResult
response_parse_put_batch(char *body, size_t len, int nrecords,
						 ResponseEntry *entries, ResponseSummary *summary)
{
	ResponseTarget target = {entries, nrecords, summary};
	unsigned int seen = 0;
	ResponseResult result;
	JsonScan	scan;

	init_summary(summary);
	json_scan_init(&scan, body, len);
	result = is_blank(body, len) ? RESPONSE_EMPTY :
		parse_body(&scan, BATCH_KEYS, &target, NULL, &seen);

	if (result == RESPONSE_OK)
	{
		if (!(seen & KEY_BIT(KEY_REQUEST_RESPONSES)))
			result = RESPONSE_NO_ENTRIES;
		else if (summary->nentries != nrecords)
			result = RESPONSE_LENGTH_MISMATCH;
	}
	result = finish(result, &scan, &target);
	summary->failed_put_count_wrong = result == RESPONSE_OK &&
		summary->failed_put_count != summary->nfailed;
	return result;
}

ResponseResult
response_parse_put(char *body, size_t len, ResponseEntry *entry,
				   ResponseSummary *summary)
{
	ResponseTarget target = {entry, 1, summary};
	unsigned int seen = 0;
	ResponseResult result;
	JsonScan	scan;

	init_summary(summary);
	memset(entry, 0, sizeof(*entry));
	json_scan_init(&scan, body, len);
	result = is_blank(body, len) ? RESPONSE_EMPTY :
		parse_body(&scan, PUT_KEYS, &target, entry, &seen);
	if (result == RESPONSE_OK)
		summary->nentries = 1;
	return finish(result, &scan, &target);
}

const char *
response_result_message(ResponseResult result)
{
	switch (result)
	{
		case RESPONSE_OK:
			return "response is sound";
		case RESPONSE_EMPTY:
			return "response is empty";
		case RESPONSE_MALFORMED:
			return "response is not valid JSON";
		case RESPONSE_WRONG_TYPE:
			return "response has a value of an unexpected type";
		case RESPONSE_DUPLICATE_KEY:
			return "response has a duplicate key";
		case RESPONSE_NO_ENTRIES:
			return "response has no RequestResponses";
		case RESPONSE_LENGTH_MISMATCH:
			return "response does not have one entry per record";
	}
	return "unknown result";
}

/* Which key was just scanned, among those that the object may have? */
static Key
find_key(const JsonScan *scan, unsigned int keys)
{
	for (int key = 0; key < KEY_UNKNOWN; key++)
	{
		if ((keys & KEY_BIT(key)) != 0 &&
			scan->text_len == key_names[key].len &&
			memcmp(scan->text, key_names[key].name, scan->text_len) == 0)
			return key;
	}
	return KEY_UNKNOWN;
}

/*
 * Read an object of which the opening brace has been scanned.
 */
static ResponseResult
parse_object(JsonScan *scan, unsigned int keys, const ResponseTarget *target,
			 ResponseEntry *entry, unsigned int *seen)
{
	JsonScanToken token;

	while ((token = json_scan_next(scan)) == JSON_SCAN_KEY)
	{
		Key			key = find_key(scan, keys);
		ResponseResult result;

		if (key == KEY_UNKNOWN)
		{
			if (!json_scan_skip(scan, json_scan_next(scan)))
				return RESPONSE_MALFORMED;
			continue;
		}
		if (*seen & KEY_BIT(key))
			return RESPONSE_DUPLICATE_KEY;
		*seen |= KEY_BIT(key);
		result = parse_value(scan, key, target, entry);
		if (result != RESPONSE_OK)
			return result;
	}
	return token == JSON_SCAN_OBJECT_END ? RESPONSE_OK : RESPONSE_MALFORMED;
}

/* A string or null. */
static ResponseResult
set_text(const JsonScan *scan, JsonScanToken token,
		 const char **text, uint32_t *len)
{
	if (token == JSON_SCAN_NULL)
		return RESPONSE_OK;
	if (token != JSON_SCAN_STRING || scan->text_len > UINT32_MAX)
		return RESPONSE_WRONG_TYPE;
	blank_controls(scan);
	*text = scan->text;
	*len = (uint32_t) scan->text_len;
	return RESPONSE_OK;
}

/*
 * Text of an endpoint goes into the log and into views, and thus to terminals.
 * So replace line breaks and escape sequences, those of 8 bits (C1) included.
 * Nearly all text is plain: an accepted record has an id of 220 characters.
 */
static void
blank_controls(const JsonScan *scan)
{
	char	   *text = scan->text;
	size_t		len = scan->text_len;

	if (scan->text_is_plain)
		return;
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = text[i];

		if (c == 0xC2 && i + 1 < len && (unsigned char) text[i + 1] < 0xA0)
			text[i] = text[i + 1] = ' ';
		else if (c < ' ' || c == 0x7F)
			text[i] = ' ';
	}
}

/* A non-negative integer, or -1 for any other number. */
static int64_t
scan_count(const JsonScan *scan)
{
	int64_t		count = 0;

	if (scan->text_len > 18)	/* more might overflow */
		return -1;
	for (size_t i = 0; i < scan->text_len; i++)
	{
		if (scan->text[i] < '0' || scan->text[i] > '9')
			return -1;
		count = count * 10 + (scan->text[i] - '0');
	}
	return count;
}

/*
 * Read the value of a key into its place.
 */
static ResponseResult
parse_value(JsonScan *scan, Key key, const ResponseTarget *target,
			ResponseEntry *entry)
{
	JsonScanToken token = json_scan_next(scan);

	if (token == JSON_SCAN_ERROR)
		return RESPONSE_MALFORMED;

	switch (key)
	{
		case KEY_RECORD_ID:
			return set_text(scan, token, &entry->record_id,
							&entry->record_id_len);
		case KEY_ERROR_CODE:
			return set_text(scan, token, &entry->error_code,
							&entry->error_code_len);
		case KEY_ERROR_MESSAGE:
			return set_text(scan, token, &entry->error_message,
							&entry->error_message_len);
		case KEY_ENCRYPTED:
			target->summary->encrypted = token == JSON_SCAN_TRUE;
			return (token == JSON_SCAN_TRUE || token == JSON_SCAN_FALSE ||
					token == JSON_SCAN_NULL) ? RESPONSE_OK :
				RESPONSE_WRONG_TYPE;
		case KEY_FAILED_PUT_COUNT:
			/*
			 * Only cross-checked, so nonsense is no reason to doubt the rest
			 */
			if (token == JSON_SCAN_NUMBER)
				target->summary->failed_put_count = scan_count(scan);
			return json_scan_skip(scan, token) ? RESPONSE_OK :
				RESPONSE_MALFORMED;
		case KEY_REQUEST_RESPONSES:
			return parse_entries(scan, token, target);
		case KEY_UNKNOWN:
			break;
	}
	return RESPONSE_MALFORMED;
}

/*
 * Read the array of entries.  Those beyond the request's records are read as
 * well, to tell how many there are, but kept nowhere.
 */
static ResponseResult
parse_entries(JsonScan *scan, JsonScanToken token, const ResponseTarget *target)
{
	int			n = 0;

	if (token != JSON_SCAN_ARRAY_START)
		return token == JSON_SCAN_NULL ? RESPONSE_NO_ENTRIES :
			RESPONSE_WRONG_TYPE;

	for (;;)
	{
		ResponseEntry	surplus;
		ResponseEntry *entry = n < target->nrecords ? &target->entries[n] : &surplus;
		unsigned int seen = 0;
		ResponseResult result;

		/* as nearly all of them are */
		if (json_scan_only_member(scan, "RecordId", 8) && scan->text_len <= UINT32_MAX)
		{
			memset(entry, 0, sizeof(*entry));
			entry->record_id = scan->text;
			entry->record_id_len = (uint32_t) scan->text_len;
			entry->record_id_is_ascii = true;
			n++;
			continue;
		}
		if ((token = json_scan_next(scan)) != JSON_SCAN_OBJECT_START)
			break;
		memset(entry, 0, sizeof(*entry));
		result = parse_object(scan, ENTRY_KEYS, target, entry, &seen);
		if (result != RESPONSE_OK)
			return result;
		n++;
	}
	target->summary->nentries = n;
	if (token == JSON_SCAN_ARRAY_END)
		return RESPONSE_OK;
	return token == JSON_SCAN_ERROR ? RESPONSE_MALFORMED :
		RESPONSE_WRONG_TYPE;
}

/*
 * The one form that acknowledges is a RecordId without an ErrorCode; the one
 * form that is a sound refusal is an ErrorCode without a RecordId.
 */
static void
judge_entry(ResponseEntry *entry)
{
	bool		has_id = entry->record_id_len > 0;
	bool		has_code = entry->error_code_len > 0;

	entry->acknowledged = has_id && entry->error_code == NULL;
	entry->mismatch = !entry->acknowledged && !(has_code && !has_id);
}

/*
 * Take the error's name out of a __type, which may be "namespace#Name" and may
 * carry ":http://..." behind it; the header has the same form.  Anything that
 * does not look like a name then is none, since it goes to logs and views.
 */
static bool
extract_code(const char *text, size_t len, ErrorReport *report)
{
	const char *end = memchr(text, ':', len);
	const char *hash;

	if (end == NULL)
		end = text + len;
	hash = memchr(text, '#', end - text);
	if (hash != NULL)
		text = hash + 1;
	while (text < end && *text == ' ')
		text++;
	while (text < end && end[-1] == ' ')
		end--;

	if (text == end || end - text > MAX_CODE_LEN)
		return false;
	for (const char *p = text; p < end; p++)
	{
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			  (*p >= '0' && *p <= '9') ||
			  *p == '.' || *p == '_' || *p == '-'))
			return false;
	}
	report->code = text;
	report->code_len = end - text;
	return true;
}

/* The strings that an error body may have, and how they are found */
typedef struct ErrorBody
{
	const char *text[4];
	size_t		len[4];
} ErrorBody;

enum
{
	ERROR_TYPE, ERROR_CODE, ERROR_MESSAGE, ERROR_CAPITAL_MESSAGE, ERROR_NKEYS
};

static const char *const error_keys[ERROR_NKEYS] =
{
	[ERROR_TYPE] = "__type",
	[ERROR_CODE] = "code",
	[ERROR_MESSAGE] = "message",
	[ERROR_CAPITAL_MESSAGE] = "Message",
};

/*
 * Collect the strings of an error body.  False if it is not one whole JSON
 * object: then it is not Firehose's, and nothing in it is to be trusted.
 */
static bool
parse_error_body(JsonScan *scan, ErrorBody *error)
{
	JsonScanToken token;

	if (json_scan_next(scan) != JSON_SCAN_OBJECT_START)
		return false;
	while ((token = json_scan_next(scan)) == JSON_SCAN_KEY)
	{
		int			key = 0;

		while (key < ERROR_NKEYS &&
			   (strlen(error_keys[key]) != scan->text_len ||
				memcmp(error_keys[key], scan->text, scan->text_len) != 0))
			key++;

		token = json_scan_next(scan);
		if (key < ERROR_NKEYS && token == JSON_SCAN_STRING)
		{
			blank_controls(scan);
			error->text[key] = scan->text;
			error->len[key] = scan->text_len;
		}
		else if (!json_scan_skip(scan, token))
			return false;
	}
	return token == JSON_SCAN_OBJECT_END &&
		json_scan_next(scan) == JSON_SCAN_END;
}

/*
 * __type wins over the header, and both over a body's code: an
 * InvalidKMSResourceException has the code of KMS there.
 */
void
response_parse_error(char *body, size_t len, const char *error_type,
					 ErrorReport *report)
{
	ErrorBody	error = {{NULL}, {0}};
	JsonScan	scan;
	int			message;

	report->code = "";
	report->code_len = 0;
	report->message = "";
	report->message_len = 0;

	json_scan_init(&scan, body, len);
	if (!parse_error_body(&scan, &error))
		memset(&error, 0, sizeof(error));

	message = error.len[ERROR_MESSAGE] > 0 ? ERROR_MESSAGE :
		ERROR_CAPITAL_MESSAGE;
	if (error.len[message] > 0)
	{
		report->message = error.text[message];
		report->message_len = error.len[message];
	}

	if (error.len[ERROR_TYPE] > 0 &&
		extract_code(error.text[ERROR_TYPE], error.len[ERROR_TYPE], report))
		return;
	if (error_type != NULL &&
		extract_code(error_type, strlen(error_type), report))
		return;
	if (error.len[ERROR_CODE] > 0)
		(void) extract_code(error.text[ERROR_CODE], error.len[ERROR_CODE],
							report);
}
