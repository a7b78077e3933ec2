/*-------------------------------------------------------------------------
 *
 * endpoint.c
 *	  Where requests go: from a region or a URL to a checked host and port.
 *
 * Called by the sender when a stream's options are read, and by the checks of
 * options and settings.  URLs are taken apart by url.c.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/endpoint.h"

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/*
 * AWS's partitions by the prefix of their regions, as in botocore's
 * partitions.json; the last row is everything else.
 */
static const struct
{
	const char *region_prefix;
	const char *suffix;
	const char *dualstack_suffix;
}			partitions[] =
{
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
	{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
	{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"", "amazonaws.com", "api.aws"},
};

/* The services, as their hosts and their variables are called */
static const struct
{
	const char *host;
	const char *variable;
}			services[ENDPOINT_NSERVICES] =
{
	[ENDPOINT_FIREHOSE] = {"firehose", "AWS_ENDPOINT_URL_FIREHOSE"},
	[ENDPOINT_STS] = {"sts", "AWS_ENDPOINT_URL_STS"},
	[ENDPOINT_SSO] = {"portal.sso", "AWS_ENDPOINT_URL_SSO"},
	[ENDPOINT_SSO_OIDC] = {"oidc", "AWS_ENDPOINT_URL_SSO_OIDC"},
};

/*
 * The regions whose STS was the global endpoint before it had endpoints in
 * regions: AWS_STS_REGIONAL_ENDPOINTS=legacy is about these.
 */
static const char *const global_sts_regions[] =
{
	"ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
	"ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2",
	"eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
};

/* Write a message and be false. */
#define fail(errmsg, errmsg_size, ...) \
	(snprintf(errmsg, errmsg_size, __VA_ARGS__), false)

static bool is_region_label(const char *label, size_t len);

/*
 * A region becomes a label of the host, so it must be one and look like a
 * region: "s3" would lead to a host of S3, to a bucket that any customer may
 * own.
 */
bool
endpoint_valid_region(const char *region)
{
	size_t		len = strlen(region);

	if (len == 0 || len > URL_MAX_LABEL)
		return false;
	for (const char *p = region; *p != '\0'; p++)
	{
		if (!url_is_lower(*p) && !url_is_digit(*p) && *p != '-')
			return false;
	}
	return is_region_label(region, len);
}

/* Write the texts that follow from scheme, host and port. */
static void
set_texts(Endpoint *endpoint)
{
	const char *open = endpoint->ipv6 ? "[" : "";
	const char *close = endpoint->ipv6 ? "]" : "";
	char		port[7] = "";

	if (endpoint->port != (endpoint->https ? URL_HTTPS_PORT : URL_HTTP_PORT))
		snprintf(port, sizeof(port), ":%u", (unsigned) (uint16_t) endpoint->port);
	snprintf(endpoint->host_header, sizeof(endpoint->host_header),
			 "%s%s%s%s", open, endpoint->host, close, port);
	snprintf(endpoint->url, sizeof(endpoint->url), "%s://%s/",
			 endpoint->https ? "https" : "http", endpoint->host_header);
}

bool
endpoint_from_region(EndpointService service, const char *region, int flags,
					 Endpoint *endpoint, char *errmsg, size_t errmsg_size)
{
	const char *suffix;
	const char *fips = (flags & ENDPOINT_FIPS) ? "-fips" : "";
	size_t		i = 0;

	if (!endpoint_valid_region(region))
		return fail(errmsg, errmsg_size,
					"region must have the form of \"eu-west-1\"");

	while (!url_has_prefix(region, partitions[i].region_prefix))
		i++;
	suffix = (flags & ENDPOINT_DUALSTACK) ? partitions[i].dualstack_suffix :
		partitions[i].suffix;
	/* in AWS GovCloud these endpoints are FIPS ones without saying so */
	if (service != ENDPOINT_FIREHOSE && url_has_prefix(region, "us-gov-") &&
		!(flags & ENDPOINT_DUALSTACK))
		fips = "";

	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->source = ENDPOINT_FROM_REGION;
	endpoint->https = true;
	endpoint->port = URL_HTTPS_PORT;
	snprintf(endpoint->host, sizeof(endpoint->host), "%s%s.%s.%s",
			 services[service].host, fips, region, suffix);
	set_texts(endpoint);
	return true;
}

bool
endpoint_is_loopback(const Endpoint *endpoint)
{
	struct in_addr address;

	if (endpoint->ipv6)
		return strcmp(endpoint->host, "::1") == 0;
	if (inet_pton(AF_INET, endpoint->host, &address) == 1)
		return ntohl(address.s_addr) >> 24 == 127;
	return strcmp(endpoint->host, "localhost") == 0;
}

bool
endpoint_parse_any(const char *url, Endpoint *endpoint,
				   char *errmsg, size_t errmsg_size)
{
	Url			parsed;

	if (!url_parse(url, strlen(url), false, &parsed, errmsg, errmsg_size))
		return false;

	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->source = ENDPOINT_FROM_SETTING;
	endpoint->https = parsed.https;
	endpoint->ipv6 = parsed.ipv6;
	endpoint->port = parsed.port;
	strcpy(endpoint->host, parsed.host);
	set_texts(endpoint);
	return true;
}

/* Would the data cross a network in plain text? */
static bool
is_exposed(const Endpoint *endpoint)
{
	return !endpoint->https && !endpoint_is_loopback(endpoint);
}

bool
endpoint_parse(const char *url, Endpoint *endpoint,
			   char *errmsg, size_t errmsg_size)
{
	if (!endpoint_parse_any(url, endpoint, errmsg, errmsg_size))
		return false;
	if (is_exposed(endpoint))
		return fail(errmsg, errmsg_size,
					"URL must begin with https://, except for loopback addresses");
	return true;
}

/* A URL, and who configured it */
typedef struct ConfiguredUrl
{
	const char *url;			/* NULL: there is none */
	const char *place;
	EndpointSource source;
} ConfiguredUrl;

static bool
is_set(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* The URL that the environment or the profile has for a service. */
static ConfiguredUrl
configured_url(EndpointService service, const EndpointConfig *config)
{
	const ConfiguredUrl candidates[] = {
		{getenv(services[service].variable), services[service].variable,
		ENDPOINT_FROM_ENVIRONMENT},
		{getenv("AWS_ENDPOINT_URL"), "AWS_ENDPOINT_URL", ENDPOINT_FROM_ENVIRONMENT},
		{config->profile_urls[service], "endpoint_url of the profile",
		ENDPOINT_FROM_PROFILE},
	};

	for (size_t i = 0; i < lengthof(candidates) && !config->ignore_urls; i++)
	{
		if (is_set(candidates[i].url))
			return candidates[i];
	}
	return (ConfiguredUrl) {NULL, NULL, ENDPOINT_FROM_REGION};
}

bool
endpoint_resolve(const char *explicit_url, const EndpointConfig *config,
				 const char *region, int flags, Endpoint *endpoint,
				 char *errmsg, size_t errmsg_size)
{
	ConfiguredUrl chosen = is_set(explicit_url) ?
		(ConfiguredUrl) {explicit_url, "endpoint_url", ENDPOINT_FROM_SETTING} :
		configured_url(ENDPOINT_FIREHOSE, config);
	char		reason[128];

	if (chosen.url == NULL && !is_set(region))
		return fail(errmsg, errmsg_size, "no region is set");
	if (chosen.url == NULL)
		return endpoint_from_region(ENDPOINT_FIREHOSE, region, flags, endpoint,
									errmsg, errmsg_size);
	if (!endpoint_parse_any(chosen.url, endpoint, reason, sizeof(reason)))
		return fail(errmsg, errmsg_size, "%s: %s", chosen.place, reason);
	endpoint->source = chosen.source;
	return true;
}

/* Has the region no STS of its own, by the configuration? */
static bool
is_global_sts(const EndpointConfig *config, const char *region)
{
	if (region == NULL)
		return true;
	for (size_t i = 0; i < lengthof(global_sts_regions); i++)
	{
		if (strcmp(region, global_sts_regions[i]) == 0)
			return config->global_sts && config->flags == 0;
	}
	return false;
}

bool
endpoint_of_credentials(EndpointService service, const EndpointConfig *config,
						const char *region, Endpoint *endpoint,
						const char **signing_region,
						char *errmsg, size_t errmsg_size)
{
	ConfiguredUrl configured = configured_url(service, config);
	bool		global = configured.url == NULL && service == ENDPOINT_STS &&
		is_global_sts(config, region);
	char		reason[128];

	*signing_region = global || region == NULL ? "us-east-1" : region;
	if (global)
		return endpoint_parse("https://sts.amazonaws.com", endpoint, errmsg, errmsg_size);
	if (configured.url == NULL)
		return endpoint_from_region(service, region, config->flags, endpoint,
									errmsg, errmsg_size);
	if (!endpoint_parse(configured.url, endpoint, reason, sizeof(reason)))
		return fail(errmsg, errmsg_size, "%s: %s", configured.place, reason);
	endpoint->source = configured.source;
	return true;
}

/*
 * Does the label have the form of a region's name, as "eu-west-1" and
 * "us-gov-west-1" do?  The names of S3's old hosts, "s3-us-west-1", do not.
 */
static bool
is_region_label(const char *label, size_t len)
{
	size_t		hyphens = 0;
	size_t		i = 0;

	for (; i < len && !url_is_digit(label[i]); i++)
		hyphens += label[i] == '-';
	if (i == len || hyphens < 2 || label[0] == '-' || label[i - 1] != '-' || label[i - 2] == '-')
		return false;
	while (i < len && url_is_digit(label[i]))
		i++;
	return i == len;
}

/* Take the last label off a host of which len characters are left. */
static size_t
pop_label(const char *host, size_t *len, const char **label)
{
	size_t		start = *len;
	size_t		label_len;

	while (start > 0 && host[start - 1] != '.')
		start--;
	label_len = *len - start;
	*label = host + start;
	*len = start > 0 ? start - 1 : 0;
	return label_len;
}

static bool
label_is(const char *label, size_t len, const char *text)
{
	return strlen(text) == len && memcmp(label, text, len) == 0;
}

/*
 * Is the rest of a host, before AWS's suffix, that of an endpoint of Firehose?
 */
static bool
is_firehose_prefix(const char *host, size_t len)
{
	const char *label;
	size_t		label_len = pop_label(host, &len, &label);
	bool		vpce = label_is(label, label_len, "vpce");

	if (vpce)
		label_len = pop_label(host, &len, &label);
	if (!is_region_label(label, label_len))
		return false;

	label_len = pop_label(host, &len, &label);
	if (!label_is(label, label_len, "firehose") &&
		!label_is(label, label_len, "firehose-fips"))
		return false;

	/* The endpoint's own label is there exactly if it is in a VPC */
	if (vpce && len > 0)
		(void) pop_label(host, &len, &label);
	else if (vpce)
		return false;
	return len == 0;
}

static bool
is_aws_endpoint(const Endpoint *endpoint)
{
	size_t		len = strlen(endpoint->host);

	if (!endpoint->https || endpoint->ipv6 || endpoint->port != URL_HTTPS_PORT)
		return false;
	for (size_t i = 0; i < lengthof(partitions); i++)
	{
		const char *suffixes[] = {partitions[i].suffix,
		partitions[i].dualstack_suffix};

		for (size_t j = 0; j < lengthof(suffixes); j++)
		{
			size_t		rest;	/* length of the part before the dot and the
								 * suffix */

			if (len <= strlen(suffixes[j]) + 1)
				continue;
			rest = len - strlen(suffixes[j]) - 1;
			if (endpoint->host[rest] == '.' &&
				strcmp(endpoint->host + rest + 1, suffixes[j]) == 0 &&
				is_firehose_prefix(endpoint->host, rest))
				return true;
		}
	}
	return false;
}

/*
 * Match a host with a pattern, "*" being any characters but dots.  Going back
 * to the last "*" is enough, and never past a dot, because only a dot matches
 * a dot.
 */
static bool
host_matches(const char *host, const char *pattern)
{
	const char *star = NULL;
	const char *star_host = NULL;

	while (*host != '\0')
	{
		if (*pattern == '*')
		{
			star = pattern++;
			star_host = host;
		}
		else if (*pattern == *host)
		{
			if (*host == '.')
				star = NULL;
			pattern++;
			host++;
		}
		else if (star != NULL && *star_host != '.')
		{
			pattern = star + 1;
			host = ++star_host;
		}
		else
			return false;
	}
	pattern += strspn(pattern, "*");
	return *pattern == '\0';
}

/*
 * A pattern matches URLs that its writer has not seen.  That is safe where TLS
 * proves the identity of the server, or nothing leaves the machine; anywhere
 * else the URL must have been written out.
 */
static bool
endpoint_matches(const Endpoint *endpoint, const Url *pattern)
{
	if (is_exposed(endpoint) &&
		(pattern->port == URL_ANY_PORT || strchr(pattern->host, '*') != NULL))
		return false;
	return endpoint->https == pattern->https &&
		endpoint->ipv6 == pattern->ipv6 &&
		(pattern->port == URL_ANY_PORT || endpoint->port == pattern->port) &&
		host_matches(endpoint->host, pattern->host);
}

/*
 * Step to the next entry of a list; false at its end.  Entries come without
 * the blanks around them and may be empty.
 */
static bool
next_entry(const char **list, const char **entry, size_t *len)
{
	const char *start = *list;
	const char *end;

	if (start == NULL)
		return false;
	end = start + strcspn(start, ",");
	*list = *end == ',' ? end + 1 : NULL;

	start += strspn(start, " \t\n");
	while (end > start && strchr(" \t\n", end[-1]) != NULL)
		end--;
	*entry = start;
	*len = end > start ? end - start : 0;
	return true;
}

bool
endpoint_allowed(const Endpoint *endpoint, const char *allowed_list)
{
	const char *entry;
	size_t		len;

	if (endpoint->source == ENDPOINT_FROM_REGION)
		return true;
	while (next_entry(&allowed_list, &entry, &len))
	{
		Url			pattern;
		char		errmsg[128];

		if (label_is(entry, len, "aws"))
		{
			if (is_aws_endpoint(endpoint))
				return true;
		}
		else if (url_parse(entry, len, true, &pattern, errmsg, sizeof(errmsg)) &&
				 endpoint_matches(endpoint, &pattern))
			return true;
	}
	return false;
}

bool
endpoint_valid_allowed_list(const char *allowed_list,
							char *errmsg, size_t errmsg_size)
{
	const char *entry;
	size_t		len;

	while (next_entry(&allowed_list, &entry, &len))
	{
		Url			pattern;
		char		reason[128];

		if (len == 0 || label_is(entry, len, "aws"))
			continue;
		if (!url_parse(entry, len, true, &pattern, reason, sizeof(reason)))
			return fail(errmsg, errmsg_size,
						"entry \"%.*s\" is neither \"aws\" nor a pattern like https://host:port: %s",
						(int) len, entry, reason);
	}
	return true;
}
