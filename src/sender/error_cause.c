/*
 * error_cause.c
 *		Why records were not accepted, in the words of whoever refused them.
 *
 * Sender process only.
 */
#include "postgres.h"

#include <ctype.h>

#include "common/sanitize.h"
#include "sender/error_cause.h"

/*
 * The length of the part that is shown of a response that is not Firehose's.
 */
#define FOREIGN_WORDS	128

/* A text that is not terminated, for "%.*s". */
#define TEXT(text, length)	(int) Min(length, STATISTICS_MESSAGE_LEN - 1), text

/* Why one of the records was not accepted, in Firehose's words. */
void
error_cause_of_entry(Cause *cause, const ResponseEntry *entry)
{
	char		code[STATISTICS_CODE_LEN];

	snprintf(code, sizeof(code), "%.*s",
			 TEXT(entry->error_code ? entry->error_code : "NoRecordId",
				  entry->error_code ? entry->error_code_len : 10));
	cause_set(cause, PARTY_AWS, code, "%.*s",
			  TEXT(entry->error_message ? entry->error_message : "", entry->error_message_len));
}

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

/* Is this character a part of a name, next to a number? */
static inline bool
is_in_name(char c)
{
	return isalpha((unsigned char) c) || c == '_' || c == '-';
}

/*
 * The largest number in a text that is not a part of a name, which may be the
 * stream's; 0 if there is none.
 */
static int64
largest_number(const char *text, size_t length)
{
	int64		largest = 0;
	size_t		end;

	for (size_t begin = 0; begin < length; begin = Max(end, begin + 1))
	{
		int64		number = 0;

		for (end = begin; end < length && isdigit((unsigned char) text[end]); end++)
			number = Min(number * 10 + (text[end] - '0'), PG_INT32_MAX);
		if ((begin > 0 && (is_in_name(text[begin - 1]) || text[begin - 1] == '.')) ||
			(end < length && is_in_name(text[end])))
			continue;
		largest = Max(largest, number);
	}
	return largest;
}

/* Name an error and its party: Firehose's errors have a code. */
void
error_cause_of_response(HttpRequest *http, const ErrorReport *report, Cause *cause)
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
