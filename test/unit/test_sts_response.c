/*-------------------------------------------------------------------------
 *
 * test_sts_response.c
 *	  STS's XML is read, whatever is around what matters, and nothing that is
 *	  not well-formed is believed.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "aws/sts_response.h"
#include "tap.h"

static StsResponse sts;
static char errmsg[200];
static char buf[2000];

static bool
parse(const char *text)
{
	snprintf(buf, sizeof(buf), "%s", text);
	return sts_response_parse(buf, strlen(buf), &sts, errmsg, sizeof(errmsg));
}

static const char good[] =
"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- x -->\n"
"<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>\n"
"  <AssumeRoleResult>\n"
"    <SourceIdentity/>\n"
"    <AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId>"
"<Arn>arn:aws:sts::1:assumed-role/r/firehose</Arn></AssumedRoleUser>\n"
"    <Credentials><AccessKeyId>ASIA1</AccessKeyId>"
"<SecretAccessKey>a&amp;b&lt;&#67;&#x44;</SecretAccessKey>"
"<SessionToken>t/+==</SessionToken>"
"<Expiration>2026-11-27T02:20:15.5Z</Expiration></Credentials>\n"
"  </AssumeRoleResult>\n"
"  <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\n"
"</AssumeRoleResponse>\n";

static const char *const bad[] = {
	"plain text",
	"{\"json\": true}",
	"<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>",
	"<a><b></a></b>",
	"<a>&nbsp;</a>",
	"<a>&#0;</a>", "<a>&#xd800;</a>", "<a>&#1114112;</a>", "<a>&#;</a>",
	"<a", "<a>", "<a x='>", "</a>", "<>", "<a><", "<a>x</a>y",
	"<!-- x",
	"<Credentials><Expiration>soon</Expiration></Credentials>",
	"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>",
};

int
main(void)
{
	ok(parse(good), "a good response");
	is_str(sts.access_key_id, "ASIA1", "  access key id");
	is_str(sts.secret_access_key, "a&b<CD", "  entities");
	is_str(sts.session_token, "t/+==", "  token");
	is_str(sts.arn, "arn:aws:sts::1:assumed-role/r/firehose", "  principal");
	is_int(sts.expiration, 1795746015, "  expiration with a fraction");
	is_str(sts.error_code, NULL, "  no error");

	ok(parse("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
			 "<Message>not \xc3\xa9 &quot;allowed&quot;</Message></Error><RequestId>r</RequestId></ErrorResponse>"),
	   "an error");
	is_str(sts.error_code, "AccessDenied", "  code");
	is_str(sts.error_message, "not \xc3\xa9 \"allowed\"", "  message");

	ok(parse("<a><AccessKeyId>x</AccessKeyId></a>"), "the same names elsewhere");
	is_str(sts.access_key_id, NULL, "  say nothing");

	for (size_t i = 0; i < lengthof(bad); i++)
		ok(!parse(bad[i]) && errmsg[0] != '\0' && sts.access_key_id == NULL,
		   "bad: %s", bad[i]);
	for (size_t len = 0; len < strlen(good) - 1; len++)
	{
		char	   *copy = malloc(len + 1);

		memcpy(copy, good, len);
		if (sts_response_parse(copy, len, &sts, errmsg, sizeof(errmsg)) &&
			sts.session_token != NULL)
			ok(false, "cut at %zu", len);
		free(copy);
	}
	ok(true, "cut anywhere");
	return done_testing();
}
