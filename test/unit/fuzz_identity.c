/*-------------------------------------------------------------------------
 *
 * fuzz_identity.c
 *	  Nothing that hands out credentials breaks what reads it, however odd.
 *
 * See fuzz.h for the two ways to run it.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "aws/command_line.h"
#include "aws/credential_chain.h"
#include "aws/json_fields.h"
#include "aws/sts_response.h"
#include "aws/timestamp.h"

/* Good responses, URLs and commands to begin with */
static const char *const fuzz_samples[] = {
	"<?xml version=\"1.0\"?><AssumeRoleResponse xmlns=\"x\"><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>b&amp;</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-11-27T02:20:15Z</Expiration></Credentials><AssumedRoleUser><Arn>arn</Arn></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>",
	"<ErrorResponse><Error><Code>AccessDenied</Code><Message>&#x20;no</Message></Error></ErrorResponse>",
	"{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"b\",\"Token\":\"t\",\"Expiration\":\"2026-11-27T02:20:15Z\"}",
	"{\"roleCredentials\":{\"accessKeyId\":\"A\",\"expiration\":1795746015000}}",
	"2026-11-27T02:20:15.123+01:00",
	"/usr/bin/x --profile 'a b' \"c\\\"d\" e\\ f",
	"http://169.254.170.2/v2/credentials/x",
	"http://[fd00:ec2::23]:80/v1/credentials",
	"https://example.com/x?y=z",
};

static const char *const fuzz_tokens[] = {
	"<", ">", "</", "/>", "<!--", "-->", "<?", "?>", "&", "&amp;", "&#", ";",
	"\"", "'", "\\", " ", "{", "}", ":", ",", "[", "]", "null", "AccessKeyId",
	"roleCredentials", "Credentials", "T", "Z", "+", "-", "2026", "http://",
	"https://", "127.0.0.1", "localhost", "@", "%", "\xc3\xa9", "\x01",
};

#include "fuzz.h"

static void
fuzz_sts(char *copy, size_t size)
{
	StsResponse sts;
	char		errmsg[100];

	if (sts_response_parse(copy, size, &sts, errmsg, sizeof(errmsg)))
		REQUIRE(sts.access_key_id == NULL ||
				(sts.access_key_id >= copy &&
				 sts.access_key_id + strlen(sts.access_key_id) < copy + size));
	else
		REQUIRE(strlen(errmsg) > 0 && sts.access_key_id == NULL);
}

static void
fuzz_json(char *copy, size_t size, const char *inside)
{
	JsonField	fields[] = {{"AccessKeyId", NULL}, {"expiration", NULL}};
	char		errmsg[100];

	if (json_fields_read(copy, size, inside, fields, 2, errmsg, sizeof(errmsg)))
		REQUIRE(fields[0].value == NULL ||
				fields[0].value + strlen(fields[0].value) < copy + size);
	else
		REQUIRE(strlen(errmsg) > 0 && fields[0].value == NULL);
}

static void
fuzz_texts(char *text)
{
	char	   *argv[COMMAND_LINE_MAX_WORDS + 1];
	char		errmsg[100];
	bool		direct;

	if (credential_url_allowed(text, &direct, errmsg, sizeof(errmsg)))
		REQUIRE(strncmp(text, "http", 4) == 0 && strpbrk(text, " \r\n") == NULL &&
				(direct || text[4] == 's'));
	if (command_line_split(text, argv, errmsg, sizeof(errmsg)))
		REQUIRE(argv[0] != NULL && argv[0][0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *copy = malloc(size + 1);
	time_t		result;

	/* a copy of the exact size, so that a step over the end is seen */
	char	   *exact = malloc(size > 0 ? size : 1);

	if (timestamp_parse((const char *) data, size, &result))
		REQUIRE(result >= 0);
	memcpy(exact, data, size);
	fuzz_sts(exact, size);
	memcpy(exact, data, size);
	fuzz_json(exact, size, NULL);
	memcpy(exact, data, size);
	fuzz_json(exact, size, "roleCredentials");
	memcpy(copy, data, size);
	copy[size] = '\0';
	fuzz_texts(copy);
	free(copy);
	free(exact);
	return 0;
}
