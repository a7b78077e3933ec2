/*-------------------------------------------------------------------------
 *
 * test_response.c
 *	  A record is acknowledged only by the one form of entry that says so, in
 *	  a response that is sound as a whole.
 *
 * Verdicts are written as one letter per record: a = acknowledged, f = failed
 * with an ErrorCode, m = mismatch.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "aws/response.h"
#include "tap.h"

#define MAX_ENTRIES 8

typedef struct BatchCase
{
	const char *name;
	const char *body;
	int			nrecords;
	ResponseResult expected;
	const char *verdicts;		/* NULL unless RESPONSE_OK */
	bool		count_wrong;
} BatchCase;

#define OK_ENTRY	"{\"RecordId\":\"r1\"}"
#define BAD_ENTRY	"{\"ErrorCode\":\"ServiceUnavailableException\",\"ErrorMessage\":\"Slow down.\"}"
#define BATCH(count, entries) \
	"{\"Encrypted\":false,\"FailedPutCount\":" count ",\"RequestResponses\":[" entries "]}"

static const BatchCase batch_cases[] = {
	{"all accepted", BATCH("0", OK_ENTRY "," OK_ENTRY), 2, RESPONSE_OK, "aa", false},
	{"some failed", BATCH("1", OK_ENTRY "," BAD_ENTRY), 2, RESPONSE_OK, "af", false},
	{"all failed", BATCH("2", BAD_ENTRY "," BAD_ENTRY), 2, RESPONSE_OK, "ff", false},
	{"keys in another order, spaces, unknown keys",
		" {\n\"RequestResponses\" : [ { \"x\" : [1,{}], \"RecordId\" : \"r\" } ] , \"FailedPutCount\" : 0, \"Y\": {\"RecordId\": 1} }\r\n",
	1, RESPONSE_OK, "a", false},
	{"null ErrorCode is absent",
		BATCH("0", "{\"RecordId\":\"r\",\"ErrorCode\":null,\"ErrorMessage\":null}"),
	1, RESPONSE_OK, "a", false},
	{"null RecordId is absent",
		BATCH("1", "{\"RecordId\":null,\"ErrorCode\":\"X\"}"),
	1, RESPONSE_OK, "f", false},
	{"empty RecordId is absent",
		BATCH("1", "{\"RecordId\":\"\",\"ErrorCode\":\"X\"}"),
	1, RESPONSE_OK, "f", false},
	{"both", BATCH("1", "{\"RecordId\":\"r\",\"ErrorCode\":\"X\"}"),
	1, RESPONSE_OK, "m", false},
	{"neither", BATCH("1", "{}"), 1, RESPONSE_OK, "m", false},
	{"neither, but nulls", BATCH("1", "{\"RecordId\":null,\"ErrorCode\":null}"),
	1, RESPONSE_OK, "m", false},
	{"empty RecordId alone", BATCH("1", "{\"RecordId\":\"\"}"),
	1, RESPONSE_OK, "m", false},
	{"empty ErrorCode beside a RecordId",
		BATCH("1", "{\"RecordId\":\"r\",\"ErrorCode\":\"\"}"),
	1, RESPONSE_OK, "m", false},
	{"empty ErrorCode alone", BATCH("1", "{\"ErrorCode\":\"\"}"),
	1, RESPONSE_OK, "m", false},
	{"ErrorMessage alone", BATCH("1", "{\"ErrorMessage\":\"x\"}"),
	1, RESPONSE_OK, "m", false},
	{"RecordId with a message only",
		BATCH("0", "{\"RecordId\":\"r\",\"ErrorMessage\":\"x\"}"),
	1, RESPONSE_OK, "a", false},
	{"key of another case", BATCH("1", "{\"recordId\":\"r\"}"),
	1, RESPONSE_OK, "m", false},
	{"keys with escapes", BATCH("0", "{\"\\u0052ecordId\":\"r\"}"),
	1, RESPONSE_OK, "a", false},

	/* FailedPutCount is only cross-checked */
	{"count too high", BATCH("2", OK_ENTRY), 1, RESPONSE_OK, "a", true},
	{"count too low", BATCH("0", BAD_ENTRY), 1, RESPONSE_OK, "f", true},
	{"count is negative", BATCH("-1", OK_ENTRY), 1, RESPONSE_OK, "a", true},
	{"count is no integer", BATCH("0.0", OK_ENTRY), 1, RESPONSE_OK, "a", true},
	{"count is text", BATCH("\"0\"", OK_ENTRY), 1, RESPONSE_OK, "a", true},
	{"count is an object", BATCH("{\"a\":[]}", OK_ENTRY), 1, RESPONSE_OK, "a", true},
	{"count is huge", BATCH("99999999999999999999999", OK_ENTRY),
	1, RESPONSE_OK, "a", true},
	{"count is missing", "{\"RequestResponses\":[" OK_ENTRY "]}",
	1, RESPONSE_OK, "a", true},

	/* nothing is acknowledged */
	{"empty", "", 1, RESPONSE_EMPTY, NULL, false},
	{"blank", " \r\n\t", 1, RESPONSE_EMPTY, NULL, false},
	{"HTML", "<html>busy</html>", 1, RESPONSE_MALFORMED, NULL, false},
	{"truncated", "{\"FailedPutCount\":0,\"RequestResponses\":[" OK_ENTRY,
	1, RESPONSE_MALFORMED, NULL, false},
	{"truncated by one", "{\"FailedPutCount\":0,\"RequestResponses\":[" OK_ENTRY "]",
	1, RESPONSE_MALFORMED, NULL, false},
	{"trailing garbage", BATCH("0", OK_ENTRY) "x",
	1, RESPONSE_MALFORMED, NULL, false},
	{"two replies", BATCH("0", OK_ENTRY) BATCH("0", OK_ENTRY),
	1, RESPONSE_MALFORMED, NULL, false},
	{"garbage in an unknown key", "{\"x\":[1,],\"RequestResponses\":[" OK_ENTRY "]}",
	1, RESPONSE_MALFORMED, NULL, false},
	{"garbage behind the entries", "{\"RequestResponses\":[" OK_ENTRY "],}",
	1, RESPONSE_MALFORMED, NULL, false},
	{"garbage as the count", "{\"FailedPutCount\":[1,,],\"RequestResponses\":[" OK_ENTRY "]}",
	1, RESPONSE_MALFORMED, NULL, false},
	{"no comma between entries", BATCH("0", OK_ENTRY OK_ENTRY),
	2, RESPONSE_MALFORMED, NULL, false},
	{"missing RequestResponses", "{\"Encrypted\":false,\"FailedPutCount\":0}",
	1, RESPONSE_NO_ENTRIES, NULL, false},
	{"an error with status 200", "{\"__type\":\"InternalFailure\"}",
	1, RESPONSE_NO_ENTRIES, NULL, false},
	{"null RequestResponses", "{\"RequestResponses\":null}",
	1, RESPONSE_NO_ENTRIES, NULL, false},
	{"RequestResponses of another type", "{\"RequestResponses\":{}}",
	1, RESPONSE_WRONG_TYPE, NULL, false},
	{"empty RequestResponses", BATCH("0", ""), 1, RESPONSE_LENGTH_MISMATCH, NULL, false},
	{"one short", BATCH("0", OK_ENTRY), 2, RESPONSE_LENGTH_MISMATCH, NULL, false},
	{"one long", BATCH("0", OK_ENTRY "," OK_ENTRY), 1, RESPONSE_LENGTH_MISMATCH, NULL, false},
	{"many too long", BATCH("0", OK_ENTRY "," OK_ENTRY "," OK_ENTRY "," OK_ENTRY),
	1, RESPONSE_LENGTH_MISMATCH, NULL, false},
	{"an array at the top", "[" OK_ENTRY "]", 1, RESPONSE_WRONG_TYPE, NULL, false},
	{"a string at the top", "\"x\"", 1, RESPONSE_WRONG_TYPE, NULL, false},
	{"an entry of another type", BATCH("0", OK_ENTRY ",null"), 2, RESPONSE_WRONG_TYPE, NULL, false},
	{"a RecordId of another type", BATCH("0", "{\"RecordId\":1}"),
	1, RESPONSE_WRONG_TYPE, NULL, false},
	{"an ErrorCode of another type", BATCH("0", "{\"RecordId\":\"r\",\"ErrorCode\":false}"),
	1, RESPONSE_WRONG_TYPE, NULL, false},
	{"Encrypted of another type", "{\"Encrypted\":1,\"RequestResponses\":[" OK_ENTRY "]}",
	1, RESPONSE_WRONG_TYPE, NULL, false},
	{"RecordId twice", BATCH("0", "{\"RecordId\":\"r\",\"RecordId\":\"s\"}"),
	1, RESPONSE_DUPLICATE_KEY, NULL, false},
	{"ErrorCode twice", BATCH("0", "{\"ErrorCode\":\"X\",\"RecordId\":\"r\",\"ErrorCode\":null}"),
	1, RESPONSE_DUPLICATE_KEY, NULL, false},
	{"RequestResponses twice", "{\"RequestResponses\":[" OK_ENTRY "],\"RequestResponses\":[" OK_ENTRY "]}",
	1, RESPONSE_DUPLICATE_KEY, NULL, false},
	{"FailedPutCount twice", "{\"FailedPutCount\":0,\"FailedPutCount\":0,\"RequestResponses\":[" OK_ENTRY "]}",
	1, RESPONSE_DUPLICATE_KEY, NULL, false},
	{"Encrypted twice", "{\"Encrypted\":true,\"Encrypted\":true,\"RequestResponses\":[" OK_ENTRY "]}",
	1, RESPONSE_DUPLICATE_KEY, NULL, false},
};

static char *
copy(const char *text, size_t len)
{
	char	   *buf = malloc(len > 0 ? len : 1);

	memcpy(buf, text, len);
	return buf;
}

/* All blank: nothing of an unsound response may be used. */
static bool
all_blank(const ResponseEntry *entries, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (entries[i].acknowledged || entries[i].mismatch ||
			entries[i].record_id != NULL || entries[i].error_code != NULL)
			return false;
	}
	return true;
}

static void
test_batch_case(const BatchCase *c)
{
	ResponseEntry	entries[MAX_ENTRIES];
	ResponseSummary summary;
	char		verdicts[MAX_ENTRIES + 1] = "";
	char	   *body = copy(c->body, strlen(c->body));
	ResponseResult result;

	memset(entries, 0x5a, sizeof(entries));
	result = response_parse_put_batch(body, strlen(c->body), c->nrecords,
									  entries, &summary);
	is_int(result, c->expected, c->name);
	if (result == RESPONSE_OK)
	{
		for (int i = 0; i < c->nrecords; i++)
			verdicts[i] = entries[i].acknowledged ? 'a' :
				entries[i].mismatch ? 'm' : 'f';
		is_str(verdicts, c->verdicts, "  verdicts");
		ok(summary.failed_put_count_wrong == c->count_wrong,
		   "  FailedPutCount");
		is_int(summary.nacknowledged + summary.nfailed, c->nrecords, "  sum");
	}
	else
		ok(all_blank(entries, c->nrecords) && summary.nacknowledged == 0,
		   "  nothing acknowledged");
	free(body);
}

/* Every proper prefix of a good response acknowledges nothing. */
static void
test_prefixes(void)
{
	static const char response[] = BATCH("1", OK_ENTRY "," BAD_ENTRY);
	bool		good = true;

	for (size_t len = 0; len < sizeof(response) - 1; len++)
	{
		ResponseEntry	entries[2];
		ResponseSummary summary;
		char	   *body = copy(response, len);

		good = good &&
			response_parse_put_batch(body, len, 2, entries, &summary) != RESPONSE_OK &&
			all_blank(entries, 2);
		free(body);
	}
	ok(good, "no prefix of a response acknowledges anything");
}

static void
test_details(void)
{
	char		body[] = "{\"Encrypted\":true,\"FailedPutCount\":1,\"RequestResponses\":["
		"{\"RecordId\":\"49\\/abc\"},{\"ErrorCode\":\"InternalFailure\",\"ErrorMessage\":\"a\\u00e9\"}]}";
	ResponseEntry	entries[2];
	ResponseSummary summary;

	is_int(response_parse_put_batch(body, strlen(body), 2, entries, &summary),
		   RESPONSE_OK, "details: result");
	is_text(entries[0].record_id, entries[0].record_id_len, "49/abc", "RecordId");
	ok(entries[0].error_code == NULL && entries[0].error_message == NULL,
	   "absent texts are NULL");
	is_text(entries[1].error_code, entries[1].error_code_len,
			"InternalFailure", "ErrorCode");
	is_text(entries[1].error_message, entries[1].error_message_len,
			"a\xc3\xa9", "ErrorMessage");
	ok(summary.encrypted, "Encrypted");
	is_int(summary.nentries, 2, "nentries");
	is_int(summary.nacknowledged, 1, "nacknowledged");
	is_int(summary.nfailed, 1, "nfailed");
	is_int(summary.nmismatched, 0, "nmismatched");
	is_int(summary.failed_put_count, 1, "failed_put_count");
}

/*
 * Entries that consist of a RecordId alone are read as a whole.  Wherever in
 * an id something stands that is not plain, and whatever follows, it is read
 * as it would be otherwise: as with a blank in front of it.
 */
static void
test_whole_entries(void)
{
	static const char *const odd[] = {
		"x", "\\\"", "\\u00e9", "\xc3\xa9", "\x7f", "\x01", "\xff", "\"", "\",\"x\":\"", "\"}", "\",\"ErrorCode\":\"X"
	};
	char		text[400];
	ResponseEntry	entries[2][3];
	ResponseSummary summary[2];
	bool		same = true;

	for (int at = 0; at < 70; at++)
	{
		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		{
			ResponseResult result[2];

			for (int slow = 0; slow <= 1; slow++)
			{
				int			len = snprintf(text, sizeof(text),
										   "{\"FailedPutCount\":0,\"RequestResponses\":[%s{\"RecordId\":\"1\"},%s{\"RecordId\":\"%.*s%s%s\"}]}",
										   slow ? " " : "", slow ? " " : "", at,
										   "0123456789012345678901234567890123456789012345678901234567890123456789",
										   odd[i], at % 2 ? "" : "the rest");

				result[slow] = response_parse_put_batch(text, len, 2, entries[slow], &summary[slow]);
			}
			same = same && result[0] == result[1] &&
				memcmp(&summary[0], &summary[1], sizeof(summary[0])) == 0;
			for (int n = 0; n < 2; n++)
				same = same && entries[0][n].record_id_len == entries[1][n].record_id_len &&
					entries[0][n].error_code_len == entries[1][n].error_code_len &&
					entries[0][n].acknowledged == entries[1][n].acknowledged &&
					entries[0][n].mismatch == entries[1][n].mismatch;
			if (i == 0)
				same = same && result[0] == RESPONSE_OK && entries[0][1].acknowledged;
		}
	}
	ok(same, "an entry that is a RecordId alone is read as any other");
}

static void
test_hostile(void)
{
	size_t		len = 200000;
	char	   *body = malloc(len);
	char		with_nul[] = BATCH("0", "{\"RecordId\":\"r?1\"}");
	ResponseEntry	entry;
	ResponseSummary summary;

	memset(body, '[', len);
	is_int(response_parse_put_batch(body, len, 1, &entry, &summary),
		   RESPONSE_WRONG_TYPE, "200,000 deep");
	memcpy(body, "{\"RequestResponses\":", 20);
	is_int(response_parse_put_batch(body, len, 1, &entry, &summary),
		   RESPONSE_WRONG_TYPE, "200,000 deep in RequestResponses");
	memcpy(body, "{\"x\":               ", 20);
	is_int(response_parse_put_batch(body, len, 1, &entry, &summary),
		   RESPONSE_MALFORMED, "200,000 deep in an unknown key");
	is_str(summary.error, "nested too deeply", "the summary tells why");
	free(body);

	*strchr(with_nul, '?') = '\0';
	is_int(response_parse_put_batch(with_nul, sizeof(with_nul) - 1, 1,
									&entry, &summary),
		   RESPONSE_MALFORMED, "NUL in a RecordId");
}

typedef struct PutCase
{
	const char *name;
	const char *body;
	ResponseResult expected;
	char		verdict;
} PutCase;

static const PutCase put_cases[] = {
	{"put accepted", "{\"RecordId\":\"r\",\"Encrypted\":true}", RESPONSE_OK, 'a'},
	{"put: RecordId only", "{\"RecordId\":\"r\"}", RESPONSE_OK, 'a'},
	{"put: nothing", "{}", RESPONSE_OK, 'm'},
	{"put: empty RecordId", "{\"RecordId\":\"\"}", RESPONSE_OK, 'm'},
	{"put: both", "{\"RecordId\":\"r\",\"ErrorCode\":\"X\"}", RESPONSE_OK, 'm'},
	{"put: ErrorCode", "{\"ErrorCode\":\"X\"}", RESPONSE_OK, 'f'},
	{"put: response to a batch", BATCH("0", OK_ENTRY), RESPONSE_OK, 'm'},
	{"put: empty", "", RESPONSE_EMPTY, 'f'},
	{"put: truncated", "{\"RecordId\":\"r\"", RESPONSE_MALFORMED, 'f'},
	{"put: garbage behind", "{\"RecordId\":\"r\"} {}", RESPONSE_MALFORMED, 'f'},
	{"put: twice", "{\"RecordId\":\"r\",\"RecordId\":\"r\"}", RESPONSE_DUPLICATE_KEY, 'f'},
	{"put: number", "{\"RecordId\":7}", RESPONSE_WRONG_TYPE, 'f'},
};

static void
test_put_case(const PutCase *c)
{
	ResponseEntry	entry;
	ResponseSummary summary;
	char	   *body = copy(c->body, strlen(c->body));

	is_int(response_parse_put(body, strlen(c->body), &entry, &summary),
		   c->expected, c->name);
	ok((entry.acknowledged ? 'a' : entry.mismatch ? 'm' : 'f') == c->verdict &&
	   summary.nacknowledged == (c->verdict == 'a'), "  verdict");
	free(body);
}

typedef struct ErrorCase
{
	const char *name;
	const char *body;
	const char *header;
	const char *code;
	const char *message;
} ErrorCase;

static const ErrorCase error_cases[] = {
	{"Message", "{\"__type\":\"AccessDeniedException\",\"Message\":\"m\"}", NULL,
	"AccessDeniedException", "m"},
	{"message", "{\"__type\":\"ResourceNotFoundException\",\"message\":\"m\"}", NULL,
	"ResourceNotFoundException", "m"},
	{"namespace", "{\"__type\":\"com.amazonaws.firehose#SlowDown\"}", NULL,
	"SlowDown", ""},
	{"URL behind", "{\"__type\":\"SlowDown:http://internal/#x\"}", NULL,
	"SlowDown", ""},
	{"namespace and URL", "{\"__type\":\"aws.x#SlowDown:http://x/\"}", NULL,
	"SlowDown", ""},
	{"__type wins over code", "{\"code\":\"KMSDisabled\",\"__type\":\"InvalidKMSResourceException\",\"message\":\"m\"}",
	NULL, "InvalidKMSResourceException", "m"},
	{"__type wins over the header", "{\"__type\":\"A\"}", "B", "A", ""},
	{"the header wins over code", "{\"code\":\"A\"}", "B:http://x/", "B", ""},
	{"code alone", "{\"code\":\"A\"}", NULL, "A", ""},
	{"header alone", "", "aws#Throttling:http://x/", "Throttling", ""},
	{"header with blanks", "", " Throttling ", "Throttling", ""},
	{"empty __type", "{\"__type\":\"\",\"code\":\"A\"}", NULL, "A", ""},
	{"__type without a name", "{\"__type\":\"ns#:x\"}", "B", "B", ""},
	{"__type of another type", "{\"__type\":[\"A\"],\"message\":{}}", NULL, "", ""},
	{"__type that is no name", "{\"__type\":\"a b\"}", NULL, "", ""},
	{"header that is no name", "", "\xff\xfe", "", ""},
	{"message and Message", "{\"message\":\"\",\"Message\":\"M\"}", NULL, "", "M"},
	{"controls are blanked", "{\"message\":\"a\\u001b[2J\\r\\nb\\u007f\\u009bc\"}", NULL, "", "a [2J  b   c"},
	{"nested keys do not count", "{\"a\":{\"__type\":\"A\",\"message\":\"m\"}}", NULL, "", ""},
	{"XML", "<ErrorResponse><Code>X</Code></ErrorResponse>", NULL, "", ""},
	{"HTML", "<html><title>413</title></html>", NULL, "", ""},
	{"empty", "", NULL, "", ""},
	{"garbage behind", "{\"__type\":\"A\",\"message\":\"m\"}x", NULL, "", ""},
	{"truncated", "{\"__type\":\"A\",\"message\":\"m\"", "B", "B", ""},
	{"array", "[]", NULL, "", ""},
};

static void
test_errors(void)
{
	char		long_type[300];
	ErrorReport report;

	for (size_t i = 0; i < lengthof(error_cases); i++)
	{
		const ErrorCase *c = &error_cases[i];
		char	   *body = copy(c->body, strlen(c->body));

		response_parse_error(body, strlen(c->body), c->header, &report);
		ok(true, "error: %s", c->name);
		is_text(report.code, report.code_len, c->code, "  code");
		is_text(report.message, report.message_len, c->message, "  message");
		free(body);
	}

	memset(long_type, 'a', sizeof(long_type));
	long_type[sizeof(long_type) - 1] = '\0';
	response_parse_error(NULL, 0, long_type, &report);
	is_text(report.code, report.code_len, "", "overlong type");
}

/* Write a character in UTF-8, or as an escape. */
static int
print_character(char *dst, size_t size, int c, bool escaped)
{
	if (escaped)
		return snprintf(dst, size, "\\u%04x", (unsigned) c);
	if (c < 0x80)
		return snprintf(dst, size, "%c", c);
	return snprintf(dst, size, "%c%c", 0xC0 | c >> 6, 0x80 | (c & 0x3F));
}

/* Is this character right at this place of a text? */
static bool
control_is_blanked(int c, bool escaped, int place, int places)
{
	bool		control = c < ' ' || (c >= 0x7F && c < 0xA0);
	ErrorReport report;
	char		text[8];
	char		body[100];
	char		expected[100];
	int			len;

	print_character(text, sizeof(text), c, escaped);
	len = snprintf(body, sizeof(body), "{\"message\":\"%.*s%s%.*s\"}", place,
				   "aaaaaaaaaaaaaaaaaaaa", text, places - place, "zzzzzzzzzzzzzzzzzzzz");
	print_character(text, sizeof(text), c, false);
	snprintf(expected, sizeof(expected), "%.*s%s%.*s", place, "aaaaaaaaaaaaaaaaaaaa",
			 !control ? text : c < 0x80 ? " " : "  ", places - place, "zzzzzzzzzzzzzzzzzzzz");
	response_parse_error(body, len, NULL, &report);
	return report.message_len == strlen(expected) &&
		memcmp(report.message, expected, report.message_len) == 0;
}

/*
 * Each character, at each place of a text: control characters become blanks,
 * which are two for those of 8 bits, and all others stay.
 */
static void
test_controls(void)
{
	const int	places = 20;
	int			wrong = 0;

	for (int c = 1; c < 0x100; c++)
	{
		/* JSON has these as escapes only */
		bool		as_escape_only = c < ' ' || c == '"' || c == '\\';

		for (int place = 0; place <= places; place++)
			wrong += !control_is_blanked(c, true, place, places) +
				!(as_escape_only || control_is_blanked(c, false, place, places));
	}
	ok(wrong == 0, "control characters are blanked wherever they are, and no others: %d are wrong", wrong);
}

int
main(void)
{
	for (size_t i = 0; i < lengthof(batch_cases); i++)
		test_batch_case(&batch_cases[i]);
	test_prefixes();
	test_details();
	test_whole_entries();
	test_hostile();
	for (size_t i = 0; i < lengthof(put_cases); i++)
		test_put_case(&put_cases[i]);
	test_errors();
	test_controls();
	for (int i = RESPONSE_OK; i <= RESPONSE_LENGTH_MISMATCH; i++)
		ok(strncmp(response_result_message(i), "response ", 6) == 0,
		   "result %d has a message", i);
	return done_testing();
}
