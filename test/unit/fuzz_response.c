/*-------------------------------------------------------------------------
 *
 * fuzz_response.c
 *	  No reply, however hostile, breaks the parsers or acknowledges a record
 *	  that it does not name.
 *
 * With USE_LIBFUZZER this is a target of libFuzzer ("make fuzz").  Otherwise it
 * is a test of its own that mutates good replies with a fixed seed; the number
 * of rounds may be given as its argument.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "response.h"
#include "tap.h"

#define MAX_RECORDS 4

/* The promises of response.h; a violation aborts. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "violated: %s\n", #condition); \
			abort(); \
		} \
	} while (0)

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
check_entries(ResponseResult result, const ReplyEntry *entries, int n,
			  const ReplySummary *summary, const char *body, size_t len)
{
	int			nacknowledged = 0;

	for (int i = 0; i < n; i++)
	{
		const ReplyEntry *entry = &entries[i];

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

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ReplyEntry	entries[MAX_RECORDS];
	ReplySummary summary;
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

#ifndef USE_LIBFUZZER

static const char *const samples[] = {
	"{\"Encrypted\":false,\"FailedPutCount\":1,\"RequestResponses\":[{\"RecordId\":\"abcdefghijklmnopqrstuvwxyz\"},{\"ErrorCode\":\"ServiceUnavailableException\",\"ErrorMessage\":\"Slow down.\"}]}",
	"{\"FailedPutCount\":0,\"RequestResponses\":[{\"RecordId\":\"\\u00e9\\ud83d\\ude00\",\"ErrorCode\":null}]}",
	"{\"RecordId\":\"x\\n\\\"y\\\"\",\"Encrypted\":true}",
	"{\"__type\":\"com.amazonaws#ResourceNotFoundException:http://x/\",\"message\":\"Firehose \xc3\xa9 not found\",\"code\":\"X\"}",
	"[[[[{\"a\":[1.5e+7,-0,true,false,null]}]]]]",
};

/* What mutations insert: the bytes and words that the grammar turns on */
static const char *const tokens[] = {
	"{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud800", "\\u0000",
	"null", "true", "-", "1e", "\xc3", "\xed\xa0\x80", "\x01", " ",
	"\"RecordId\":", "\"ErrorCode\":", "\"RequestResponses\":[", "{}",
};

static uint64_t state = UINT64_C(0x853c49e6748fea9b);

static size_t
pick(size_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 16) % n;
}

/* Change one thing; returns the new length. */
static size_t
mutate(char *buf, size_t len, size_t size)
{
	size_t		pos = len > 0 ? pick(len) : 0;
	const char *token = tokens[pick(lengthof(tokens))];
	size_t		n;

	switch (pick(5))
	{
		case 0:					/* another byte */
			if (len > 0)
				buf[pos] = pick(256);
			return len;
		case 1:					/* cut the end off */
			return pos;
		case 2:					/* take something out */
			n = len > 0 ? pick(len - pos) : 0;
			memmove(buf + pos, buf + pos + n, len - pos - n);
			return len - n;
		case 3:					/* repeat something */
			n = len > 0 ? pick(len - pos) : 0;
			if (len + n > size)
				return len;
			memmove(buf + pos + n, buf + pos, len - pos);
			return len + n;
		default:				/* put something in */
			n = strlen(token);
			if (len + n > size)
				return len;
			memmove(buf + pos + n, buf + pos, len - pos);
			memcpy(buf + pos, token, n);
			return len + n;
	}
}

int
main(int argc, char **argv)
{
	long		rounds = argc > 1 ? atol(argv[1]) : 1000000;
	char		buf[1024];

	for (long i = 0; i < rounds; i++)
	{
		const char *sample = samples[i % lengthof(samples)];
		size_t		len = strlen(sample);

		memcpy(buf, sample, len);
		for (size_t n = pick(6); n > 0; n--)
			len = mutate(buf, len, sizeof(buf));
		(void) LLVMFuzzerTestOneInput((const uint8_t *) buf, len);
	}
	ok(true, "%ld mutated replies", rounds);
	return done_testing();
}

#endif							/* USE_LIBFUZZER */
