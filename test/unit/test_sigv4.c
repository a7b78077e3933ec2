/*-------------------------------------------------------------------------
 *
 * test_sigv4.c
 *	  Signatures are those of AWS's own test suite, and those that two other
 *	  implementations agree on for requests to Firehose.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "aws/sha256.h"
#include "aws/sigv4.h"
#include "tap.h"

#define KEY_ID	"AKIDEXAMPLE"
#define SECRET	"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define NOW		1440938160		/* 2015-08-30 12:36:00 UTC */

/* The token of the suite's case post-sts-header-before */
#define STS_TOKEN \
	"AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="

#define BATCH_BODY "{\"DeliveryStreamName\":\"t1\",\"Records\":[{\"Data\":\"YQo=\"}]}"
#define PUT_BODY "{\"DeliveryStreamName\":\"t1\",\"Record\":{\"Data\":\"\"}}"

/* What Firehose gets besides the implied headers */
#define FIREHOSE_HEADERS(operation) \
	{{"Content-Type", "application/x-amz-json-1.1"}, \
	{"X-Amz-Target", "Firehose_20150804." operation}}

typedef struct Case
{
	const char *name;
	const char *host;
	const char *region;
	const char *service;
	const char *token;
	const char *body;
	SigV4Header headers[4];
	const char *signed_headers;
	const char *signature;
} Case;

static const Case cases[] = {
	{"post-vanilla", "example.amazonaws.com", "us-east-1", "service", NULL, "",
		{{NULL, NULL}}, "host;x-amz-date",
	"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"post-header-key-sort", "example.amazonaws.com", "us-east-1", "service", NULL, "",
		{{"My-Header1", "value1"}}, "host;my-header1;x-amz-date",
	"c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
	{"post-header-value-case", "example.amazonaws.com", "us-east-1", "service", NULL, "",
		{{"My-Header1", "VALUE1"}}, "host;my-header1;x-amz-date",
	"cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
	{"post-sts-header-before", "example.amazonaws.com", "us-east-1", "service", STS_TOKEN, "",
		{{NULL, NULL}}, "host;x-amz-date;x-amz-security-token",
	"85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
	{"PutRecordBatch", "firehose.us-east-1.amazonaws.com", "us-east-1", "firehose", NULL,
		BATCH_BODY, FIREHOSE_HEADERS("PutRecordBatch"),
		"content-type;host;x-amz-date;x-amz-target",
	"49db2ff603e7567ac777d5fa87e4b0c2ddf2e6a70e6b52f7c095b6297eea3f7b"},
	{"PutRecordBatch with a token", "firehose.us-east-1.amazonaws.com", "us-east-1",
		"firehose", "AQoDYXdzEPT//////////wEXAMPLE+/=", BATCH_BODY,
		FIREHOSE_HEADERS("PutRecordBatch"),
		"content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
	"1bcca2ecc801a5fd2a571f3321dd39bcf907aecc4c3eacf879ecb8dbd2ff18d7"},
	{"PutRecord in China", "firehose.cn-north-1.amazonaws.com.cn", "cn-north-1",
		"firehose", NULL, PUT_BODY, FIREHOSE_HEADERS("PutRecord"),
		"content-type;host;x-amz-date;x-amz-target",
	"421aa1457fa74a7a3904fed912a05f4eca68159b3b3dfa2bd6ea27f5100cca7a"},
	{"a host with a port", "127.0.0.1:7400", "us-east-1", "firehose", NULL,
		BATCH_BODY, FIREHOSE_HEADERS("PutRecordBatch"),
		"content-type;host;x-amz-date;x-amz-target",
	"535297a134db627d446229a13544d8466625c68f6095ae5dddb17524a87782dc"},

	/* The canonical forms of header values, each the same as above */
	{"outer blanks", "example.amazonaws.com", "us-east-1", "service", NULL, "",
		{{"my-header1", "  value1 "}}, "host;my-header1;x-amz-date",
	"c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
	{"headers in another order", "firehose.us-east-1.amazonaws.com", "us-east-1",
		"firehose", NULL, BATCH_BODY,
		{{"x-amz-target", "Firehose_20150804.PutRecordBatch"},
		{"content-type", "application/x-amz-json-1.1"}},
		"content-type;host;x-amz-date;x-amz-target",
	"49db2ff603e7567ac777d5fa87e4b0c2ddf2e6a70e6b52f7c095b6297eea3f7b"},
	{"an empty token is none", "example.amazonaws.com", "us-east-1", "service", "", "",
		{{NULL, NULL}}, "host;x-amz-date",
	"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
};

static unsigned char digest[SIGV4_SHA256_LEN];
static char amz_date[SIGV4_DATE_SIZE];
static char authorization[SIGV4_AUTHORIZATION_SIZE];
static char errmsg[128];

/* Sign a case with the given key cache; false with errmsg set. */
static bool
sign(const Case *c, SigV4Key *key, const char *secret, time_t now)
{
	SigV4Identity identity = {KEY_ID, secret, c->token, c->region, c->service};
	SigV4Request request = {"POST", c->host, "/", "", c->headers, 0, digest, now};

	while (request.nheaders < 4 && c->headers[request.nheaders].name != NULL)
		request.nheaders++;
	EVP_Digest(c->body, strlen(c->body), digest, NULL, EVP_sha256(), NULL);
	errmsg[0] = '\0';
	return sigv4_sign(key, &identity, &request, amz_date, authorization,
					  sizeof(authorization), errmsg, sizeof(errmsg));
}

static const char *
signature(void)
{
	return strstr(authorization, "Signature=") + strlen("Signature=");
}

static void
test_cases(void)
{
	SigV4Key	key = {0};

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		const Case *c = &cases[i];
		char		expected[1024];

		snprintf(expected, sizeof(expected),
				 "AWS4-HMAC-SHA256 Credential=" KEY_ID "/20150830/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
				 c->region, c->service, c->signed_headers, c->signature);
		ok(sign(c, &key, SECRET, NOW), "%s", c->name);
		is_str(authorization, expected, "  authorization");
		is_str(amz_date, "20150830T123600Z", "  x-amz-date");
	}
	sigv4_key_clear(&key);
}

/* Same signature for "a b" and "a   b"; another for "a,b" as two headers. */
static void
test_canonical_values(void)
{
	Case		c = {"", "h", "r", "s", NULL, "", {{"a", "x y"}}, NULL, NULL};
	SigV4Key	key = {0};
	char		expected[65];

	ok(sign(&c, &key, SECRET, NOW), "a value with a blank");
	strcpy(expected, signature());
	c.headers[0].value = "  x    y ";
	ok(sign(&c, &key, SECRET, NOW), "with many");
	is_str(signature(), expected, "  the same signature");

	c.headers[0].value = "x,y";
	ok(sign(&c, &key, SECRET, NOW), "a value with a comma");
	strcpy(expected, signature());
	c.headers[0].value = "x";
	c.headers[1] = (SigV4Header) {"A", " y"};
	ok(sign(&c, &key, SECRET, NOW), "the same name twice");
	is_str(signature(), expected, "  is joined with a comma, in order");
	ok(strstr(authorization, "SignedHeaders=a;host;x-amz-date,") != NULL,
	   "  and named once");
	c.headers[0].value = "y";
	c.headers[1].value = "x";
	ok(sign(&c, &key, SECRET, NOW) && strcmp(signature(), expected) != 0,
	   "  the order counts");
	sigv4_key_clear(&key);
}

static void
test_key(void)
{
	static const unsigned char expected[SIGV4_SHA256_LEN] = {
		0xac, 0x5f, 0x86, 0xe6, 0x87, 0x90, 0x0d, 0x77,
		0xc2, 0xda, 0xc5, 0xaa, 0x69, 0xe4, 0xc9, 0xa9,
		0x8d, 0x1a, 0x11, 0x68, 0xfa, 0x3d, 0x97, 0x58,
		0xdd, 0x85, 0xa3, 0x47, 0x6b, 0xcd, 0x09, 0x6b
	};
	SigV4Key	key = {0};
	SigV4Key	blank = {0};
	Case		c = cases[4];
	char		first[65];

	ok(sign(&c, &key, SECRET, NOW), "a key is derived");
	ok(memcmp(key.key, expected, sizeof(expected)) == 0, "and is the right one");
	strcpy(first, signature());

	key.key[0] ^= 1;
	ok(sign(&c, &key, SECRET, NOW) && strcmp(signature(), first) != 0,
	   "it is not derived again");
	ok(sign(&c, &key, SECRET, NOW + 86400) && key.key[0] != (0xac ^ 1),
	   "unless the day changes");
	is_str(amz_date, "20150831T123600Z", "  to this");
	ok(sign(&c, &key, SECRET, NOW) && strcmp(signature(), first) == 0,
	   "and back");
	ok(sign(&c, &key, "other", NOW) && strcmp(signature(), first) != 0,
	   "or the secret");
	ok(sign(&c, &key, SECRET, NOW) && strcmp(signature(), first) == 0,
	   "and back");
	c.region = "eu-west-1";
	ok(sign(&c, &key, SECRET, NOW) && strcmp(key.region, "eu-west-1") == 0,
	   "or the region");
	c.service = "sts";
	ok(sign(&c, &key, SECRET, NOW) && strcmp(key.service, "sts") == 0,
	   "or the service");

	sigv4_key_clear(&key);
	ok(memcmp(&key, &blank, sizeof(key)) == 0, "nothing is left of it");
}

static void
test_errors(void)
{
	SigV4Key	key = {0};
	Case		c = cases[4];
	char		long_text[300];
	SigV4Header many[SIGV4_MAX_HEADERS];
	SigV4Identity identity = {KEY_ID, SECRET, NULL, "r", "s"};
	SigV4Request request = {"POST", "h", "/", "", many, SIGV4_MAX_HEADERS - 2,
	digest, NOW};

	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';

	c.host = "a\r\nb";
	ok(!sign(&c, &key, SECRET, NOW), "line break in the host");
	is_str(errmsg, "header value contains a control character", "  message");
	c = cases[4];
	c.token = "a\nb";
	ok(!sign(&c, &key, SECRET, NOW), "line break in the token");
	c = cases[4];
	c.region = "us\neast";
	ok(!sign(&c, &key, SECRET, NOW), "line break in the region");
	c.region = long_text;
	ok(!sign(&c, &key, SECRET, NOW), "a region that is too long");
	is_str(errmsg, "region is too long to sign", "  message");
	c = cases[4];
	c.headers[0].name = long_text;
	ok(!sign(&c, &key, SECRET, NOW), "a header name that is too long");
	c.headers[0].name = "";
	ok(!sign(&c, &key, SECRET, NOW), "a header without a name");
	c = cases[4];
	ok(!sign(&c, &key, long_text, NOW), "a secret that is too long");
	ok(strstr(errmsg, "xxx") == NULL, "  which the message does not tell");
	ok(!sign(&c, &key, SECRET, (time_t) 1 << 50), "a year beyond 9999");

	for (size_t i = 0; i < lengthof(many); i++)
		many[i] = (SigV4Header) {"n", "v"};
	ok(sigv4_sign(&key, &identity, &request, amz_date, authorization,
				  sizeof(authorization), errmsg, sizeof(errmsg)),
	   "as many headers as there may be");
	request.nheaders++;
	ok(!sigv4_sign(&key, &identity, &request, amz_date, authorization,
				   sizeof(authorization), errmsg, sizeof(errmsg)),
	   "one more");
	request.nheaders = 0;
	ok(!sigv4_sign(&key, &identity, &request, amz_date, authorization, 100,
				   errmsg, sizeof(errmsg)), "a buffer that is too small");
	sigv4_key_clear(&key);
}

/* Keys shorter than a block of the hash, as long, and longer. */
static void
test_hmac(void)
{
	unsigned char key[200];
	char		text[200];
	unsigned char ours[SHA256_LEN];
	unsigned char openssl[SHA256_LEN];
	bool		same = true;

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (unsigned char) (i * 37 + 11);
	for (size_t i = 0; i <= sizeof(key); i++)
	{
		memset(text, 'a' + i % 26, sizeof(text));
		text[sizeof(text) - 1 - i % sizeof(text)] = '\0';
		same = same && sha256_hmac(ours, key, i, text) &&
			HMAC(EVP_sha256(), key, (int) i, (unsigned char *) text, strlen(text), openssl,
				 NULL) != NULL &&
			memcmp(ours, openssl, sizeof(ours)) == 0;
	}
	ok(same, "HMAC is that of OpenSSL, whatever the key's length");
}

int
main(void)
{
	test_hmac();
	test_cases();
	test_canonical_values();
	test_key();
	test_errors();
	return done_testing();
}
