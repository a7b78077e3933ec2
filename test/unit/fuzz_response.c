/*-------------------------------------------------------------------------
 *
 * fuzz_response.c
 *	  No response, however hostile, breaks the parsers or acknowledges a record
 *	  that it does not name.
 *
 * See fuzz.h for the two ways to run it.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "aws/response.h"

/* Good replies to begin with */
static const char *const fuzz_samples[] = {
	"{\"Encrypted\":false,\"FailedPutCount\":1,\"RequestResponses\":[{\"RecordId\":\"abcdefghijklmnopqrstuvwxyz\"},{\"ErrorCode\":\"ServiceUnavailableException\",\"ErrorMessage\":\"Slow down.\"}]}",
	"{\"FailedPutCount\":0,\"RequestResponses\":[{\"RecordId\":\"\\u00e9\\ud83d\\ude00\",\"ErrorCode\":null}]}",
	"{\"RecordId\":\"x\\n\\\"y\\\"\",\"Encrypted\":true}",
	"{\"__type\":\"com.amazonaws#ResourceNotFoundException:http://x/\",\"message\":\"Firehose \xc3\xa9 not found\",\"code\":\"X\"}",
	"[[[[{\"a\":[1.5e+7,-0,true,false,null]}]]]]",
};

/* The bytes and words that the grammar turns on */
static const char *const fuzz_tokens[] = {
	"{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud800", "\\u0000",
	"null", "true", "-", "1e", "\xc3", "\xed\xa0\x80", "\x01", " ",
	"\"RecordId\":", "\"ErrorCode\":", "\"RequestResponses\":[", "{}",
};

#include "fuzz.h"

#define MAX_RECORDS 4

/* A text of a result lies within the body, and its bytes can be read. */
static void
check_text(const char *text, size_t text_len, const char *body, size_t len)
{
	if (text == NULL)
	{
		REQUIRE(text_len == 0);
		return;
	}
	REQUIRE(text >= body && text + text_len <= body + len);
	REQUIRE(memchr(text, '\0', text_len) == NULL);
}

static void
check_entries(ResponseResult result, const ResponseEntry *entries, int n,
			  const ResponseSummary *summary, const char *body, size_t len)
{
	int			nacknowledged = 0;

	for (int i = 0; i < n; i++)
	{
		const ResponseEntry *entry = &entries[i];

		check_text(entry->record_id, entry->record_id_len, body, len);
		check_text(entry->error_code, entry->error_code_len, body, len);
		check_text(entry->error_message, entry->error_message_len, body, len);
		REQUIRE(!(entry->acknowledged && entry->mismatch));
		if (entry->acknowledged)
			REQUIRE(result == RESPONSE_OK && entry->record_id_len > 0 &&
					entry->error_code == NULL);
		nacknowledged += entry->acknowledged;
	}
	REQUIRE(summary->nacknowledged == nacknowledged);
	if (result == RESPONSE_OK)
		REQUIRE(summary->nacknowledged + summary->nfailed == n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ResponseEntry	entries[MAX_RECORDS];
	ResponseSummary summary;
	ErrorReport report;
	ResponseResult result;
	char	   *body = malloc(size > 0 ? size : 1);
	int			nrecords = size % MAX_RECORDS + 1;

	memcpy(body, data, size);
	result = response_parse_put_batch(body, size, nrecords, entries, &summary);
	check_entries(result, entries, nrecords, &summary, body, size);

	memcpy(body, data, size);
	result = response_parse_put(body, size, entries, &summary);
	check_entries(result, entries, 1, &summary, body, size);

	memcpy(body, data, size);
	response_parse_error(body, size, NULL, &report);
	REQUIRE(report.code != NULL && report.message != NULL);
	if (report.code_len > 0)
		check_text(report.code, report.code_len, body, size);
	if (report.message_len > 0)
		check_text(report.message, report.message_len, body, size);
	free(body);
	return 0;
}
