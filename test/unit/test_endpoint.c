/*-------------------------------------------------------------------------
 *
 * test_endpoint.c
 *	  Endpoints are derived, parsed and refused as endpoint.h says, and none
 *	  gets past the list of allowed ones in disguise.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "aws/endpoint.h"
#include "tap.h"

static char errmsg[400];

static void
test_regions(void)
{
	static const struct
	{
		const char *region;
		int			flags;
		const char *host;		/* NULL = refused */
	}			cases[] = {
		{"us-east-1", 0, "firehose.us-east-1.amazonaws.com"},
		{"eu-west-1", ENDPOINT_FIPS, "firehose-fips.eu-west-1.amazonaws.com"},
		{"eu-west-1", ENDPOINT_DUALSTACK, "firehose.eu-west-1.api.aws"},
		{"us-west-2", ENDPOINT_FIPS | ENDPOINT_DUALSTACK, "firehose-fips.us-west-2.api.aws"},
		{"us-gov-west-1", 0, "firehose.us-gov-west-1.amazonaws.com"},
		{"us-gov-west-1", ENDPOINT_DUALSTACK, "firehose.us-gov-west-1.api.aws"},
		{"cn-north-1", 0, "firehose.cn-north-1.amazonaws.com.cn"},
		{"cn-north-1", ENDPOINT_DUALSTACK, "firehose.cn-north-1.api.amazonwebservices.com.cn"},
		{"eusc-de-east-1", 0, "firehose.eusc-de-east-1.amazonaws.eu"},
		{"us-iso-east-1", 0, "firehose.us-iso-east-1.c2s.ic.gov"},
		{"us-isob-east-1", 0, "firehose.us-isob-east-1.sc2s.sgov.gov"},
		{"eu-isoe-west-1", 0, "firehose.eu-isoe-west-1.cloud.adc-e.uk"},
		{"us-isof-south-1", 0, "firehose.us-isof-south-1.csp.hci.ic.gov"},
		{"us-iso-east-1", ENDPOINT_DUALSTACK, "firehose.us-iso-east-1.api.aws.ic.gov"},
		{"us-isob-east-1", ENDPOINT_DUALSTACK, "firehose.us-isob-east-1.api.aws.scloud"},
		{"eu-isoe-west-1", ENDPOINT_DUALSTACK, "firehose.eu-isoe-west-1.api.cloud-aws.adc-e.uk"},
		{"us-isof-south-1", ENDPOINT_DUALSTACK, "firehose.us-isof-south-1.api.aws.hci.ic.gov"},
		{"eusc-de-east-1", ENDPOINT_DUALSTACK, "firehose.eusc-de-east-1.api.amazonwebservices.eu"},
		{"mars-north-1", 0, "firehose.mars-north-1.amazonaws.com"},
		{"", 0, NULL}, {"us east", 0, NULL}, {"US-EAST-1", 0, NULL},
		{"us-east-1.evil.com/", 0, NULL}, {"us_east", 0, NULL},
		{"us-east-1\r\nx", 0, NULL}, {"\xc3\xa9", 0, NULL},
		/* hosts of others, or of other services, after "firehose." */
		{"s3", 0, NULL}, {"s3-us-west-2", 0, NULL}, {"s3-website-us-east-1", 0, NULL},
		{"a", 0, NULL}, {"us-east", 0, NULL}, {"-us-east-1", 0, NULL},
		{"us--1", 0, NULL}, {"us-east-1-", 0, NULL}, {"execute-api-1", 0, "firehose.execute-api-1.amazonaws.com"},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, NULL},
	};

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		Endpoint	endpoint;
		bool		good = endpoint_from_region(ENDPOINT_FIREHOSE, cases[i].region, cases[i].flags,
												&endpoint, errmsg,
												sizeof(errmsg));

		is_str(good ? endpoint.host : NULL, cases[i].host, "region");
		if (good)
		{
			char		url[300];

			snprintf(url, sizeof(url), "https://%s/", cases[i].host);
			is_str(endpoint.url, url, "  its URL");
			is_str(endpoint.host_header, cases[i].host, "  its Host header");
			ok(endpoint.https && endpoint.port == 443 && !endpoint.ipv6 &&
			   endpoint.source == ENDPOINT_FROM_REGION, "  the rest");
			ok(endpoint_allowed(&endpoint, ""), "  always allowed");
		}
	}
}

static const struct
{
	const char *url;
	const char *host;		/* NULL = refused */
	const char *host_header;
	const char *normal;
	int			port;
}			url_cases[] = {
	{"https://example.com", "example.com", "example.com", "https://example.com/", 443},
	{"https://example.com/", "example.com", "example.com", "https://example.com/", 443},
	{"HTTPS://Example.COM:443", "example.com", "example.com", "https://example.com/", 443},
	{"https://example.com:8443/", "example.com", "example.com:8443", "https://example.com:8443/", 8443},
	{"https://example.com:80", "example.com", "example.com:80", "https://example.com:80/", 80},
	{"https://example.com:00443", "example.com", "example.com", "https://example.com/", 443},
	{"https://vpce-1-a.firehose.eu-west-1.vpce.amazonaws.com", "vpce-1-a.firehose.eu-west-1.vpce.amazonaws.com",
		"vpce-1-a.firehose.eu-west-1.vpce.amazonaws.com",
	"https://vpce-1-a.firehose.eu-west-1.vpce.amazonaws.com/", 443},
	{"https://10.0.0.1", "10.0.0.1", "10.0.0.1", "https://10.0.0.1/", 443},
	{"https://[2001:DB8:0::1]:4000", "2001:db8::1", "[2001:db8::1]:4000", "https://[2001:db8::1]:4000/", 4000},
	{"https://localhost:65535", "localhost", "localhost:65535", "https://localhost:65535/", 65535},
	{"http://localhost:4566", "localhost", "localhost:4566", "http://localhost:4566/", 4566},
	{"http://LOCALHOST", "localhost", "localhost", "http://localhost/", 80},
	{"http://127.0.0.1:80", "127.0.0.1", "127.0.0.1", "http://127.0.0.1/", 80},
	{"http://127.255.255.254:443", "127.255.255.254", "127.255.255.254:443", "http://127.255.255.254:443/", 443},
	{"http://[::1]:7400/", "::1", "[::1]:7400", "http://[::1]:7400/", 7400},
	{"http://[0:0:0:0:0:0:0:1]", "::1", "[::1]", "http://[::1]/", 80},
	{"https://a.b-c.d9", "a.b-c.d9", "a.b-c.d9", "https://a.b-c.d9/", 443},

	/* http for loopback only, and only where it is surely loopback */
	{"http://example.com", NULL, NULL, NULL, 0},
	{"http://10.0.0.1", NULL, NULL, NULL, 0},
	{"http://128.0.0.1", NULL, NULL, NULL, 0},
	{"http://0.0.0.0", NULL, NULL, NULL, 0},
	{"http://[::]", NULL, NULL, NULL, 0},
	{"http://[::2]", NULL, NULL, NULL, 0},
	{"http://[::ffff:127.0.0.1]", NULL, NULL, NULL, 0},
	{"http://127.1", NULL, NULL, NULL, 0},
	{"http://0x7f.0.0.1", NULL, NULL, NULL, 0},
	{"http://2130706433", NULL, NULL, NULL, 0},
	{"http://0177.0.0.1", NULL, NULL, NULL, 0},
	{"http://127.0.0.1.nip.io", NULL, NULL, NULL, 0},
	{"http://localhost.evil.com", NULL, NULL, NULL, 0},
	{"http://localhost.", NULL, NULL, NULL, 0},
	{"http://169.254.169.254", NULL, NULL, NULL, 0},

	/* other schemes */
	{"", NULL, NULL, NULL, 0}, {"example.com", NULL, NULL, NULL, 0},
	{"file:///etc/passwd", NULL, NULL, NULL, 0},
	{"gopher://localhost", NULL, NULL, NULL, 0},
	{"ftp://localhost", NULL, NULL, NULL, 0},
	{"https:example.com", NULL, NULL, NULL, 0},
	{"https:/example.com", NULL, NULL, NULL, 0},
	{"//example.com", NULL, NULL, NULL, 0},
	{" https://example.com", NULL, NULL, NULL, 0},

	/* what else a URL may have */
	{"https://user@example.com", NULL, NULL, NULL, 0},
	{"https://user:pw@example.com", NULL, NULL, NULL, 0},
	{"http://127.0.0.1@evil.com", NULL, NULL, NULL, 0},
	{"http://127.0.0.1:80@evil.com", NULL, NULL, NULL, 0},
	{"https://example.com/x", NULL, NULL, NULL, 0},
	{"https://example.com//", NULL, NULL, NULL, 0},
	{"https://example.com?x", NULL, NULL, NULL, 0},
	{"https://example.com/?x", NULL, NULL, NULL, 0},
	{"https://example.com#x", NULL, NULL, NULL, 0},
	{"https://example.com\\x", NULL, NULL, NULL, 0},

	/* hosts */
	{"https://", NULL, NULL, NULL, 0}, {"https:///", NULL, NULL, NULL, 0},
	{"https://:443", NULL, NULL, NULL, 0},
	{"https://.example.com", NULL, NULL, NULL, 0},
	{"https://example..com", NULL, NULL, NULL, 0},
	{"https://example.com.", NULL, NULL, NULL, 0},
	{"https://-a.com", NULL, NULL, NULL, 0},
	{"https://a-.com", NULL, NULL, NULL, 0},
	{"https://a.com-", NULL, NULL, NULL, 0},
	{"https://a_b.com", NULL, NULL, NULL, 0},
	{"https://a%41.com", NULL, NULL, NULL, 0},
	{"https://*.com", NULL, NULL, NULL, 0},
	{"https://\xc3\xa9.com", NULL, NULL, NULL, 0},
	{"https://a.com\r\nHost: x", NULL, NULL, NULL, 0},
	{"https://a.com\n", NULL, NULL, NULL, 0},
	{"https://a b.com", NULL, NULL, NULL, 0},
	{"https://a\tb.com", NULL, NULL, NULL, 0},
	{"https://256.0.0.1", NULL, NULL, NULL, 0},
	{"https://1.2.3", NULL, NULL, NULL, 0},
	{"https://1.2.3.4.5", NULL, NULL, NULL, 0},
	{"https://[::1", NULL, NULL, NULL, 0},
	{"https://[]", NULL, NULL, NULL, 0},
	{"https://[::1]x", NULL, NULL, NULL, 0},
	{"https://[fe80::1%25eth0]", NULL, NULL, NULL, 0},
	{"https://[1.2.3.4]", NULL, NULL, NULL, 0},
	{"https://[example.com]", NULL, NULL, NULL, 0},
	{"https://::1", NULL, NULL, NULL, 0},

	/* ports */
	{"https://a.com:", NULL, NULL, NULL, 0},
	{"https://a.com:0", NULL, NULL, NULL, 0},
	{"https://a.com:65536", NULL, NULL, NULL, 0},
	{"https://a.com:999999999999", NULL, NULL, NULL, 0},
	{"https://a.com:-1", NULL, NULL, NULL, 0},
	{"https://a.com:+1", NULL, NULL, NULL, 0},
	{"https://a.com:1x", NULL, NULL, NULL, 0},
	{"https://a.com:1:2", NULL, NULL, NULL, 0},
	{"https://a.com:*", NULL, NULL, NULL, 0},
};

static void
test_urls(void)
{
	for (size_t i = 0; i < lengthof(url_cases); i++)
	{
		Endpoint	endpoint;
		bool		good;

		errmsg[0] = '\0';
		good = endpoint_parse(url_cases[i].url, &endpoint, errmsg, sizeof(errmsg));
		if (!is_str(good ? endpoint.host : NULL, url_cases[i].host, "URL"))
			printf("# %s\n", url_cases[i].url);
		if (!good)
		{
			ok(strncmp(errmsg, "URL ", 4) == 0, "  has a message");
			continue;
		}
		is_str(endpoint.host_header, url_cases[i].host_header, "  Host header");
		is_str(endpoint.url, url_cases[i].normal, "  normal form");
		is_int(endpoint.port, url_cases[i].port, "  port");
		ok(endpoint.https == (endpoint.url[4] == 's') &&
		   endpoint.ipv6 == (strchr(endpoint.host, ':') != NULL),
		   "  the rest");
	}

	ok(!endpoint_parse("https://user:hunter2@x/", &(Endpoint) {0}, errmsg,
					   sizeof(errmsg)) && strstr(errmsg, "hunter2") == NULL,
	   "a password is not told");
}

/* Host names at their longest. */
static void
test_lengths(void)
{
	Endpoint	endpoint;
	char		url[400] = "https://";

	for (int i = 0; i < 4; i++)
	{
		for (int n = 0; n < (i < 3 ? 63 : 61); n++)
			strcat(url, "a");
		if (i < 3)
			strcat(url, ".");
	}
	ok(endpoint_parse(url, &endpoint, errmsg, sizeof(errmsg)) &&
	   strlen(endpoint.host) == 253, "a host name of 253 characters");
	strcat(url, ":65535/");
	ok(endpoint_parse(url, &endpoint, errmsg, sizeof(errmsg)) &&
	   strcmp(endpoint.url, url) == 0, "with a port");
	strcpy(strrchr(url, ':'), "a");
	ok(!endpoint_parse(url, &endpoint, errmsg, sizeof(errmsg)), "one more");
	memset(url + 8, 'a', 64);
	strcpy(url + 72, ".com");
	ok(!endpoint_parse(url, &endpoint, errmsg, sizeof(errmsg)),
	   "a label of 64 characters");
	memset(url + 8, 'a', sizeof(url) - 9);
	ok(!endpoint_parse(url, &endpoint, errmsg, sizeof(errmsg)),
	   "a URL that is too long");
}

static void
test_resolve(void)
{
	Endpoint	endpoint;
	EndpointConfig config = {.profile_urls = {[ENDPOINT_STS] = "https://other"}};

#define RESOLVE(url, profile, region) \
	(config.profile_urls[ENDPOINT_FIREHOSE] = (profile), \
	 endpoint_resolve(url, &config, region, 0, &endpoint, errmsg, sizeof(errmsg)))

	unsetenv("AWS_ENDPOINT_URL_FIREHOSE");
	unsetenv("AWS_ENDPOINT_URL");
	ok(RESOLVE(NULL, NULL, "eu-west-1") &&
	   endpoint.source == ENDPOINT_FROM_REGION, "from the region");
	ok(RESOLVE("", "https://profile", "eu-west-1") &&
	   endpoint.source == ENDPOINT_FROM_PROFILE, "from the profile");
	setenv("AWS_ENDPOINT_URL", "https://all", 1);
	ok(RESOLVE("", "https://profile", "eu-west-1") &&
	   endpoint.source == ENDPOINT_FROM_ENVIRONMENT &&
	   strcmp(endpoint.host, "all") == 0, "from AWS_ENDPOINT_URL");
	setenv("AWS_ENDPOINT_URL_FIREHOSE", "https://one", 1);
	ok(RESOLVE("", "https://profile", "eu-west-1") &&
	   endpoint.source == ENDPOINT_FROM_ENVIRONMENT &&
	   strcmp(endpoint.host, "one") == 0, "from AWS_ENDPOINT_URL_FIREHOSE");
	ok(RESOLVE("https://mine", "https://profile", NULL) &&
	   endpoint.source == ENDPOINT_FROM_SETTING, "from the setting");
	config.ignore_urls = true;
	ok(RESOLVE(NULL, "https://profile", "eu-west-1") &&
	   endpoint.source == ENDPOINT_FROM_REGION, "configured ones are ignored");
	ok(RESOLVE("https://mine", NULL, NULL) &&
	   endpoint.source == ENDPOINT_FROM_SETTING, "  but not the setting");
	config.ignore_urls = false;

	setenv("AWS_ENDPOINT_URL_FIREHOSE", "ftp://one", 1);
	ok(!RESOLVE(NULL, "https://profile", "eu-west-1"), "a bad one is an error");
	is_str(errmsg, "AWS_ENDPOINT_URL_FIREHOSE: URL must begin with https://",
		   "  that says where it came from");
	unsetenv("AWS_ENDPOINT_URL_FIREHOSE");
	setenv("AWS_ENDPOINT_URL", "", 1);
	ok(!RESOLVE(NULL, NULL, NULL), "nothing at all");
	is_str(errmsg, "no region is set", "  message");
	ok(!RESOLVE(NULL, "", "a b"), "a bad region");
}

/* Find an endpoint for credentials; "host signed-region" or the message. */
static const char *
credentials_endpoint(EndpointService service, const EndpointConfig *config, const char *region)
{
	static char found[400];
	Endpoint	endpoint;
	const char *signing_region;

	if (!endpoint_of_credentials(service, config, region, &endpoint, &signing_region,
								 errmsg, sizeof(errmsg)))
		return errmsg;
	snprintf(found, sizeof(found), "%s%s %s", endpoint.https ? "" : "http ", endpoint.host_header,
			 signing_region != NULL ? signing_region : "none");
	return found;
}

static void
test_credentials_endpoints(void)
{
	EndpointConfig config = {.flags = 0};

	is_str(credentials_endpoint(ENDPOINT_STS, &config, "eu-west-1"),
		   "sts.eu-west-1.amazonaws.com eu-west-1", "STS is asked in the region");
	is_str(credentials_endpoint(ENDPOINT_STS, &config, NULL),
		   "sts.amazonaws.com us-east-1", "without one at the global endpoint");
	config.global_sts = true;
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "eu-west-1"),
		   "sts.amazonaws.com us-east-1", "as before there were others, if wanted");
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "eu-south-1"),
		   "sts.eu-south-1.amazonaws.com eu-south-1", "  but not in a younger region");
	is_str(credentials_endpoint(ENDPOINT_SSO, &config, "eu-west-1"),
		   "portal.sso.eu-west-1.amazonaws.com eu-west-1", "  which is about STS alone");
	config.profile_urls[ENDPOINT_STS] = "https://vpce.example:8443";
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "eu-west-1"),
		   "vpce.example:8443 eu-west-1", "  nor about a configured one");
	is_str(credentials_endpoint(ENDPOINT_STS, &config, NULL),
		   "vpce.example:8443 us-east-1", "  whose region is not known");
	config.profile_urls[ENDPOINT_STS] = NULL;
	config.flags = ENDPOINT_FIPS;
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "us-east-1"),
		   "sts-fips.us-east-1.amazonaws.com us-east-1", "FIPS endpoints are never left");
	is_str(credentials_endpoint(ENDPOINT_SSO, &config, "us-east-1"),
		   "portal.sso-fips.us-east-1.amazonaws.com us-east-1", "  nor for IAM Identity Center");
	is_str(credentials_endpoint(ENDPOINT_SSO_OIDC, &config, "us-gov-west-1"),
		   "oidc.us-gov-west-1.amazonaws.com us-gov-west-1", "  in GovCloud all are");
	config.profile_urls[ENDPOINT_STS] = "https://vpce.example:8443";
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "us-east-1"),
		   "vpce.example:8443 us-east-1", "the profile's");
	setenv("AWS_ENDPOINT_URL", "https://all", 1);
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "us-east-1"), "all us-east-1", "AWS_ENDPOINT_URL");
	setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1", 1);
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "us-east-1"),
		   "http 127.0.0.1:1 us-east-1", "AWS_ENDPOINT_URL_STS");
	setenv("AWS_ENDPOINT_URL_STS", "http://sts.example", 1);
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "us-east-1"),
		   "AWS_ENDPOINT_URL_STS: URL must begin with https://, except for loopback addresses",
		   "  not in plain text over a network");
	config.ignore_urls = true;
	is_str(credentials_endpoint(ENDPOINT_STS, &config, "us-east-1"),
		   "sts-fips.us-east-1.amazonaws.com us-east-1", "configured ones are ignored");
	unsetenv("AWS_ENDPOINT_URL");
	unsetenv("AWS_ENDPOINT_URL_STS");
}

static const struct
{
	const char *list;
	const char *url;
	bool		allowed;
}			allowed_cases[] = {
	{"", "https://firehose.eu-west-1.amazonaws.com", false},
	{"aws", "https://firehose.eu-west-1.amazonaws.com", true},
	{"aws", "https://firehose.eu-west-1.amazonaws.com:443/", true},
	{"aws", "https://firehose-fips.us-gov-west-1.amazonaws.com", true},
	{"aws", "https://firehose.eu-west-1.api.aws", true},
	{"aws", "https://firehose.cn-north-1.amazonaws.com.cn", true},
	{"aws", "https://firehose.us-isob-east-1.sc2s.sgov.gov", true},
	{"aws", "https://vpce-0123-ab.firehose.eu-west-1.vpce.amazonaws.com", true},
	{"aws", "https://vpce-0123-ab-eu-west-1a.firehose.eu-west-1.vpce.amazonaws.com", true},
	{"aws", "https://vpce-0123.firehose-fips.us-east-1.vpce.amazonaws.com", true},
	{" aws , https://x", "https://FIREHOSE.EU-WEST-1.AMAZONAWS.COM", true},

	/* names below AWS's suffixes that are not Firehose's */
	{"aws", "https://firehose.eu-west-1.amazonaws.com:8443", false},
	{"aws", "https://firehose.amazonaws.com", false},
	{"aws", "https://amazonaws.com", false},
	{"aws", "https://firehose.s3.amazonaws.com", false},
	{"aws", "https://firehose.s3-us-west-1.amazonaws.com", false},
	{"aws", "https://firehose.s3.eu-west-1.amazonaws.com", false},
	{"aws", "https://firehose-x.s3.eu-west-1.amazonaws.com", false},
	{"aws", "https://firehose.x.eu-west-1.amazonaws.com", false},
	{"aws", "https://x.firehose.eu-west-1.amazonaws.com", false},
	{"aws", "https://firehosex.eu-west-1.amazonaws.com", false},
	{"aws", "https://firehose.eu-west-1.elb.amazonaws.com", false},
	{"aws", "https://s3.eu-west-1.amazonaws.com", false},
	{"aws", "https://firehose.eu-west-1.vpce.amazonaws.com", false},
	{"aws", "https://a.b.firehose.eu-west-1.vpce.amazonaws.com", false},
	{"aws", "https://firehose.eu-west.amazonaws.com", false},
	{"aws", "https://firehose.eu-1.amazonaws.com", false},
	{"aws", "https://firehose.eu-west-1a.amazonaws.com", false},
	{"aws", "https://firehose.1-2-3.amazonaws.com", false},
	{"aws", "https://firehose.eu-west-1.amazonaws.com.evil.com", false},
	{"aws", "https://firehose.eu-west-1.evilamazonaws.com", false},
	{"aws", "https://firehose.eu-west-1.evil.com", false},
	{"aws", "http://127.0.0.1:7400", false},
	{"awsx", "https://firehose.eu-west-1.amazonaws.com", false},

	/* patterns */
	{"https://vpce-*.firehose.eu-west-1.vpce.amazonaws.com",
	"https://vpce-1-a.firehose.eu-west-1.vpce.amazonaws.com", true},
	{"https://vpce-*.firehose.eu-west-1.vpce.amazonaws.com",
	"https://vpce-1.b.firehose.eu-west-1.vpce.amazonaws.com", false},
	{"https://vpce-*.firehose.eu-west-1.vpce.amazonaws.com",
	"https://vpce-1-a.firehose.eu-west-2.vpce.amazonaws.com", false},
	{"https://example.com", "https://example.com", true},
	{"https://example.com/", "https://example.com", true},
	{"https://EXAMPLE.com", "https://example.COM", true},
	{"https://example.com", "https://example.com:8443", false},
	{"https://example.com:8443", "https://example.com:8443", true},
	{"https://example.com:*", "https://example.com:8443", true},
	{"https://example.com:*", "https://example.com", true},
	{"https://example.com", "https://xexample.com", false},
	{"https://example.com", "https://example.co", false},
	{"https://example.com", "https://example.comx", false},
	{"https://*.example.com", "https://a.example.com", true},
	{"https://*.example.com", "https://example.com", false},
	{"https://*.example.com", "https://a.b.example.com", false},
	{"https://*.*.example.com", "https://a.b.example.com", true},
	{"https://a*b*c.com", "https://abc.com", true},
	{"https://a*b*c.com", "https://axbxbxc.com", true},
	{"https://a*b*c.com", "https://axbxbx.com", false},
	{"https://a*b.c*d", "https://ab.xd", false},
	{"https://a*b.c*d", "https://axb.cxd", true},
	{"https://a*", "https://a", true},
	{"https://a*", "https://a.b", false},
	{"https://*", "https://localhost", true},
	{"https://*", "https://example.com", false},
	{"https://localhost", "http://localhost:443", false},
	{"http://127.0.0.1:*", "http://127.0.0.1:7400", true},
	{"http://127.0.0.1:*", "https://127.0.0.1:7400", false},
	{"http://127.0.0.1:*", "http://127.0.0.2:7400", false},
	{"http://127.0.0.1", "http://127.0.0.1:7400", false},
	{"http://[::1]:*", "http://[::1]:7400", true},
	{"http://[0::1]:7400", "http://[::1]:7400", true},
	{"http://[::1]:*", "http://127.0.0.1:7400", false},
	{"https://x,http://127.0.0.1:*,aws", "http://127.0.0.1:1", true},
	{",, ,https://x", "https://x", true},

	/* http to another machine: only what is written out */
	{"http://localstack:4566", "http://localstack:4566", true},
	{"aws, http://LocalStack:4566/", "http://localstack:4566", true},
	{"http://localstack", "http://localstack:80", true},
	{"http://10.0.0.1:4566", "http://10.0.0.1:4566", true},
	{"http://[fd00::1]:4566", "http://[fd00::1]:4566", true},
	{"http://localstack:4566", "http://localstack:4567", false},
	{"http://localstack:4566", "https://localstack:4566", false},
	{"http://localstack:*", "http://localstack:4566", false},
	{"http://*:4566", "http://localstack:4566", false},
	{"http://local*:4566", "http://localstack:4566", false},
	{"http://localstack*:4566", "http://localstack:4566", false},
	{"https://*:*", "http://localstack:4566", false},
	{"aws", "http://firehose.eu-west-1.amazonaws.com", false},
	{"http://*.*.*.*:*", "http://127.0.0.1:4566", true},
	{"http://*.*.*.*:*", "http://10.0.0.1:4566", false},

	/* patterns that are none match nothing */
	{"*", "https://x", false},
	{"https://", "https://x", false},
	{"x", "https://x", false},
	{"https://x/y", "https://x", false},
	{"https://x:a", "https://x", false},
	{"https://[*]", "https://[::1]", false},
};

static void
test_allowed(void)
{
	for (size_t i = 0; i < lengthof(allowed_cases); i++)
	{
		Endpoint	endpoint;

		if (!ok(endpoint_parse_any(allowed_cases[i].url, &endpoint, errmsg, sizeof(errmsg)) &&
				endpoint_allowed(&endpoint, allowed_cases[i].list) == allowed_cases[i].allowed,
				"\"%s\" %s %s", allowed_cases[i].list,
				allowed_cases[i].allowed ? "allows" : "refuses", allowed_cases[i].url))
			printf("# %s\n", errmsg);
	}
}

static void
test_lists(void)
{
	static const struct
	{
		const char *list;
		bool		valid;
	}			cases[] = {
		{"", true}, {"aws", true}, {" aws , ", true}, {",", true},
		{"aws, https://*.example.com:*", true}, {"http://127.0.0.1:*", true},
		{"http://[::1]:7400/", true}, {"https://*", true},
		{"AWS", false}, {"*", false}, {"aws https://x", false},
		{"https://x:y", false}, {"https://x/y", false}, {"https://u@x", false},
		{"https://x..y", false}, {"https://[x]", false}, {"ftp://x", false},
		{"aws,https://", false}, {"https://a b", false}, {"https://a\nb", false},
	};

	for (size_t i = 0; i < lengthof(cases); i++)
		ok(endpoint_valid_allowed_list(cases[i].list, errmsg, sizeof(errmsg)) ==
		   cases[i].valid, "list %zu is %s", i,
		   cases[i].valid ? "valid" : "invalid");

	ok(!endpoint_valid_allowed_list("aws,https://x/y,z", errmsg, sizeof(errmsg)),
	   "the entry at fault");
	is_str(errmsg, "entry \"https://x/y\" is neither \"aws\" nor a pattern like https://host:port: URL must not contain a path, a query or a fragment",
		   "is named");
}

int
main(void)
{
	test_regions();
	test_urls();
	test_lengths();
	test_resolve();
	test_credentials_endpoints();
	test_allowed();
	test_lists();
	return done_testing();
}
