/*-------------------------------------------------------------------------
 *
 * test_json_scan.c
 *	  The scanner accepts exactly JSON, decodes strings in place, and bears
 *	  hostile input.
 *
 * Every text is copied to a buffer of its exact size, so that the address
 * sanitizer sees a read past its end.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "aws/json_scan.h"
#include "tap.h"

/* Scan everything; JSON_SCAN_END or JSON_SCAN_ERROR. */
static JsonScanToken
scan_all(const char *json, size_t len, char *last_text)
{
	char	   *buf = malloc(len > 0 ? len : 1);
	JsonScan	scan;
	JsonScanToken token;

	memcpy(buf, json, len);
	json_scan_init(&scan, buf, len);
	while ((token = json_scan_next(&scan)) > JSON_SCAN_END)
	{
		if (last_text != NULL && token == JSON_SCAN_STRING)
		{
			memcpy(last_text, scan.text, scan.text_len);
			last_text[scan.text_len] = '\0';
		}
	}
	if ((token == JSON_SCAN_ERROR) != (scan.error != NULL) ||
		json_scan_next(&scan) != token)
		token = -1;				/* not sticky */
	free(buf);
	return token;
}

static void
test_valid(void)
{
	static const char *const texts[] = {
		"{}", "[]", "null", "true", "false", "0", "-0", "10", "-1.5e+10",
		"1E2", "0.25", "1e-7", "\"\"", " \t\r\n[ ] \n", "[[],{}]",
		"{\"a\":1,\"b\":[1,2,{\"c\":null}],\"d\":\"e\"}",
		"{ \"a\" : 1 , \"a\" : 2 }", "[\"\\ud83d\\ude00\"]",
		"\"0123456789abcdef0123456789abcdef\"",
	};

	for (size_t i = 0; i < lengthof(texts); i++)
		ok(scan_all(texts[i], strlen(texts[i]), NULL) == JSON_SCAN_END,
		   "valid: %zu", i);
}

static void
test_invalid(void)
{
	static const char *const texts[] = {
		"", " ", "{", "[", "}", "]", "{]", "[}", "[1", "[1,", "[1,]", "[,1]",
		"[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{\"a\" 1}",
		"{1:2}", "{\"a\":1 \"b\":2}", "{,}", "{null:1}", "[1}", "{\"a\":1]",
		"nul", "nulll", "True", "tru", "fals", "truefalse", "NaN", "Infinity",
		"01", "-", "+1", "1.", ".5", "1e", "1e+", "0x10", "1-", "--1",
		"\"", "\"abc", "\"\\\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
		"\"\\u0000\"", "\"\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"",
		"\"\\udc00\"", "\"\\ud800\\ud800\"", "\"\\ud83d\\ude0\"",
		"\"\n\"", "\"\x01\"", "\"\x1f\"", "'a'", "// c\n1", "/**/1", "1 1",
		"{}{}", "[] x", "\xef\xbb\xbf{}", "<html></html>", "\x80", "#",
		"\"\x80\"", "\"\xc0\x80\"", "\"\xc3\"", "\"\xe0\x80\x80\"",
		"\"\xed\xa0\x80\"", "\"\xf0\x80\x80\x80\"", "\"\xf4\x90\x80\x80\"",
		"\"\xf5\x80\x80\x80\"", "\"\xff\"", "\"\xe2\x82\"", "\"\xe2\x82",
		"\"0123456789abcdef\x7f\x01\"",
	};

	for (size_t i = 0; i < lengthof(texts); i++)
		ok(scan_all(texts[i], strlen(texts[i]), NULL) == JSON_SCAN_ERROR,
		   "invalid: %zu", i);

	ok(scan_all("{}\0", 3, NULL) == JSON_SCAN_ERROR, "NUL behind the value");
	ok(scan_all("[\0]", 3, NULL) == JSON_SCAN_ERROR, "NUL between tokens");
	ok(scan_all("\"a\0b\"", 5, NULL) == JSON_SCAN_ERROR, "NUL in a string");
}

static void
test_strings(void)
{
	static const char *const texts[][2] = {
		{"\"\"", ""},
		{"\"plain\"", "plain"},
		{"\"\x7f\"", "\x7f"},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
		{"\"a\\u0041b\\u00e9\\u20AC\\ud83d\\uDE00z\"",
		"aAb\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"},
		{"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
		"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"",
		"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
		{"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"",
		"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"},
		{"\"0123456789abcdef\\n0123456789abcdef0123456789abcdef\\\"x\"",
		"0123456789abcdef\n0123456789abcdef0123456789abcdef\"x"},
	};
	char		text[256];

	for (size_t i = 0; i < lengthof(texts); i++)
	{
		text[0] = '\0';
		if (ok(scan_all(texts[i][0], strlen(texts[i][0]), text) ==
			   JSON_SCAN_END, "string scanned"))
			is_str(text, texts[i][1], "string decoded");
	}
}

/* An escape or a control character at every offset of a vector. */
static void
test_offsets(void)
{
	bool		good = true;

	for (int n = 0; n < 40; n++)
	{
		for (int m = 0; m < 40; m++)
		{
			char		json[100];
			char		text[100];
			char		expected[100];
			int			len = n + m + 4;

			memset(json, 'x', sizeof(json));
			memset(expected, 'x', sizeof(expected));
			json[0] = '"';
			json[n + 1] = '\\';
			json[n + 2] = 'n';
			json[len - 1] = '"';
			expected[n] = '\n';
			expected[n + m + 1] = '\0';
			good = good && scan_all(json, len, text) == JSON_SCAN_END &&
				strcmp(text, expected) == 0;
			json[n + 1] = '\x1f';
			good = good && scan_all(json, len, NULL) == JSON_SCAN_ERROR;
		}
	}
	ok(good, "special bytes at every offset");
}

static void
test_depth(void)
{
	size_t		len = 200000;
	char	   *buf = malloc(2 * len);

	memset(buf, '[', len);
	memset(buf + len, ']', len);
	ok(scan_all(buf, 2 * len, NULL) == JSON_SCAN_ERROR, "200,000 deep");
	ok(scan_all(buf + len - JSON_SCAN_MAX_DEPTH, 2 * JSON_SCAN_MAX_DEPTH,
				NULL) == JSON_SCAN_END, "as deep as is allowed");
	ok(scan_all(buf + len - JSON_SCAN_MAX_DEPTH - 1,
				2 * JSON_SCAN_MAX_DEPTH + 2, NULL) == JSON_SCAN_ERROR,
	   "one level deeper");
	free(buf);
}

static void
test_tokens(void)
{
	char		json[] = "{\"a\":[1,true,false,null],\"b\":{\"c\":{}},\"d\":-2.5}";
	JsonScan	scan;

	json_scan_init(&scan, json, strlen(json));
	is_int(json_scan_next(&scan), JSON_SCAN_OBJECT_START, "object");
	is_int(json_scan_next(&scan), JSON_SCAN_KEY, "key");
	ok(json_scan_text_is(&scan, "a"), "its name");
	ok(!json_scan_text_is(&scan, "ab"), "and no other");
	is_int(json_scan_next(&scan), JSON_SCAN_ARRAY_START, "array");
	is_int(json_scan_next(&scan), JSON_SCAN_NUMBER, "number");
	is_text(scan.text, scan.text_len, "1", "its text");
	is_int(json_scan_next(&scan), JSON_SCAN_TRUE, "true");
	is_int(json_scan_next(&scan), JSON_SCAN_FALSE, "false");
	is_int(json_scan_next(&scan), JSON_SCAN_NULL, "null");
	is_int(json_scan_next(&scan), JSON_SCAN_ARRAY_END, "end of array");
	is_int(json_scan_next(&scan), JSON_SCAN_KEY, "second key");
	ok(json_scan_skip(&scan, json_scan_next(&scan)), "object skipped");
	is_int(json_scan_next(&scan), JSON_SCAN_KEY, "third key");
	ok(json_scan_skip(&scan, json_scan_next(&scan)), "scalar skipped");
	is_int(json_scan_next(&scan), JSON_SCAN_OBJECT_END, "end of object");
	is_int(json_scan_next(&scan), JSON_SCAN_END, "end");

	json_scan_init(&scan, json, strlen(json) - 1);
	ok(!json_scan_skip(&scan, json_scan_next(&scan)), "truncated, not skipped");
	is_str(scan.error, "unexpected end", "the error tells why");
}

int
main(void)
{
	test_valid();
	test_invalid();
	test_strings();
	test_offsets();
	test_depth();
	test_tokens();
	return done_testing();
}
