/*-------------------------------------------------------------------------
 *
 * fuzz_settings.c
 *	  No credentials file, URL or list of endpoints, however odd, breaks what
 *	  reads it, and no URL that is accepted holds anything but a host and port.
 *
 * See fuzz.h for the two ways to run it.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "aws/endpoint.h"
#include "aws/profile.h"
#include "aws/retry.h"

/* Good files, URLs and lists to begin with */
static const char *const fuzz_samples[] = {
	"# x\n[default]\naws_access_key_id = AK ; x\n[p]\naws_secret_access_key=a#b\nregion = eu-west-1\ns3 =\n  region = x\n",
	"[default]\nregion=a\n[profile default]\nregion=b\n[profile \"p\"]\nendpoint_url = https://x:1/\r\nrole_arn=arn:aws:iam::1:role/x\n",
	"https://vpce-1-a.firehose.eu-west-1.vpce.amazonaws.com",
	"https://firehose.eu-west-1.amazonaws.com:443/",
	"http://127.0.0.1:7400/",
	"http://[::1]:7400",
	"aws, https://vpce-*.firehose.eu-west-1.vpce.amazonaws.com, http://127.0.0.1:*",
	"1500",
};

/* The characters and words that their grammars turn on */
static const char *const fuzz_tokens[] = {
	"[", "]", "=", " #", ";", "\n", "\r", "\t", " ", "\"", "'", "profile ",
	"default", "region", ".", "*", ":", "/", "@", "?", "%", ",", "-", "aws",
	"https://", "http://", "127.0.0.1", "::1", "localhost", "0", "99999",
	"firehose", "amazonaws.com", "vpce", "\xc3\xa9", "\x7f", "\x01",
};

#include "fuzz.h"

static void
fuzz_profile(const char *text, size_t len, ProfileFileKind kind)
{
	Profile		profile = {0};
	char		errmsg[100];

	if (profile_parse(text, len, kind, "p", &profile, errmsg, sizeof(errmsg)))
	{
		for (int i = 0; i < PROFILE_NKEYS; i++)
			REQUIRE(profile.values[i] == NULL ||
					(profile.found && (unsigned char) profile.values[i][0] > ' '));
	}
	else
		REQUIRE(!profile.found && strlen(errmsg) > 0);
	profile_free(&profile);
}

static void
fuzz_endpoint(const char *text)
{
	Endpoint	endpoint;
	Endpoint	again;
	char		errmsg[100];

	if (!endpoint_parse(text, &endpoint, errmsg, sizeof(errmsg)))
	{
		REQUIRE(strlen(errmsg) > 0);
		return;
	}
	REQUIRE(endpoint.port >= 1 && endpoint.port <= 65535);
	REQUIRE(strspn(endpoint.host, "abcdefghijklmnopqrstuvwxyz0123456789.-:") ==
			strlen(endpoint.host));
	REQUIRE(strstr(endpoint.url, endpoint.host_header) != NULL);

	/* The normal form is its own normal form */
	REQUIRE(endpoint_parse(endpoint.url, &again, errmsg, sizeof(errmsg)));
	REQUIRE(strcmp(endpoint.url, again.url) == 0 &&
			strcmp(endpoint.host_header, again.host_header) == 0);

	/* and a pattern that matches it, and nothing else does by default */
	REQUIRE(endpoint_allowed(&endpoint, endpoint.url));
	REQUIRE(!endpoint_allowed(&endpoint, ""));
	REQUIRE(!endpoint_allowed(&endpoint, "aws") ||
			(endpoint.https && strstr(endpoint.host, "firehose") != NULL));
}

static void
fuzz_list(const char *text)
{
	Endpoint	endpoint;
	char		errmsg[600];

	if (!endpoint_valid_allowed_list(text, errmsg, sizeof(errmsg)))
		REQUIRE(strlen(errmsg) > 0);
	REQUIRE(endpoint_parse("https://a.b-c.d:8443", &endpoint, errmsg,
						   sizeof(errmsg)));
	(void) endpoint_allowed(&endpoint, text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	int64_t		requested = 0;

	/* Files end where they end; the others are strings */
	memcpy(text, data, size);
	text[size] = '\0';
	fuzz_profile((const char *) data, size, PROFILE_CREDENTIALS_FILE);
	fuzz_profile((const char *) data, size, PROFILE_CONFIG_FILE);
	fuzz_profile((const char *) data, size, PROFILE_SSO_SESSIONS);
	fuzz_endpoint(text);
	fuzz_list(text);
	if (retry_after_parse(text, &requested))
		REQUIRE(requested >= 0);
	free(text);
	return 0;
}
