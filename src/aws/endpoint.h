/*-------------------------------------------------------------------------
 *
 * endpoint.h
 *	  Where requests go: from a region or a URL to a checked host and port.
 *
 * A URL is accepted as https://host[:port][/], or with http if the host is
 * loopback: localhost, 127.0.0.0/8 or [::1].  A stream's may have http for any
 * host, but is allowed only where a superuser wrote out that URL.  The host is
 * a name of letters, digits, hyphens and dots, an IPv4 address, or an IPv6
 * address in brackets. There is no user info, path, query or fragment, and no
 * other character, so nothing can be smuggled into a header or a request line.
 *
 * Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_ENDPOINT_H
#define FIREHOSE_AWS_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "aws/url.h"

/* Who chose the endpoint. */
typedef enum EndpointSource
{
	ENDPOINT_FROM_REGION,
	ENDPOINT_FROM_SETTING,
	ENDPOINT_FROM_ENVIRONMENT,
	ENDPOINT_FROM_PROFILE
} EndpointSource;

typedef struct Endpoint
{
	EndpointSource source;
	bool		https;
	bool		ipv6;			/* host is an IPv6 literal */
	int			port;			/* 1 to 65535, never 0 */
	char		host[URL_HOST_SIZE];	/* lower case, no brackets */
	char		url[URL_HOST_SIZE + 24];	/* "https://host:port/" */

	/*
	 * the header Host, as sent and signed; has the port only if it is not the
	 * default
	 */
	char		host_header[URL_HOST_SIZE + 8];
} Endpoint;

/* Variants of AWS's own endpoints. */
#define ENDPOINT_FIPS		0x01
#define ENDPOINT_DUALSTACK	0x02

/* The services that requests go to */
typedef enum EndpointService
{
	ENDPOINT_FIREHOSE,
	ENDPOINT_STS,
	ENDPOINT_SSO,
	ENDPOINT_SSO_OIDC,
	ENDPOINT_NSERVICES
} EndpointService;

/*
 * The endpoints as the environment and the profile configure them, apart from
 * the variables AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_<SERVICE>.
 */
typedef struct EndpointConfig
{
	char	   *profile_urls[ENDPOINT_NSERVICES];	/* NULL: none */
	int			flags;			/* ENDPOINT_FIPS etc. */
	bool		ignore_urls;	/* those variables, and the profile's */
	bool		global_sts;		/* in the regions that used to have no own */
} EndpointConfig;

/*
 * Does the name look like a region: ^[a-z0-9-]+$, at most 63 characters?  It
 * becomes a label of a host name and part of the signature's scope.
 */
extern bool endpoint_valid_region(const char *region);

/* The endpoint that a service has in a region; flags are ENDPOINT_FIPS etc. */
extern bool endpoint_from_region(EndpointService service, const char *region,
								 int flags, Endpoint *endpoint,
								 char *errmsg, size_t errmsg_size);

/* Check a URL and take it apart; the source is ENDPOINT_FROM_SETTING. */
extern bool endpoint_parse(const char *url, Endpoint *endpoint,
						   char *errmsg, size_t errmsg_size);

/* Is it on this machine: localhost, 127.0.0.0/8 or [::1]? */
extern bool endpoint_is_loopback(const Endpoint *endpoint);

/*
 * The same with http for every host: the caller asks endpoint_allowed() next.
 */
extern bool endpoint_parse_any(const char *url, Endpoint *endpoint,
							   char *errmsg, size_t errmsg_size);

/*
 * Choose the endpoint of Firehose: explicit_url, then
 * AWS_ENDPOINT_URL_FIREHOSE, AWS_ENDPOINT_URL, the profile's, and finally the
 * region's own in the variant that flags name.  NULL or "" means not set.  A
 * URL that is set but wrong is an error, and the next one is not tried; the
 * message says where the URL came from.
 */
extern bool endpoint_resolve(const char *explicit_url,
							 const EndpointConfig *config,
							 const char *region, int flags,
							 Endpoint *endpoint,
							 char *errmsg, size_t errmsg_size);

/*
 * Choose the endpoint of a service that hands out credentials, in the same
 * order.  A region of NULL leads to the global endpoint of STS.
 * *signing_region is the region that its signature names.
 */
extern bool endpoint_of_credentials(EndpointService service,
									const EndpointConfig *config,
									const char *region, Endpoint *endpoint,
									const char **signing_region,
									char *errmsg, size_t errmsg_size);

/*
 * May data be sent to this endpoint?
 *
 * The list is separated by commas, white space around an entry is ignored.  An
 * entry is either the word "aws" or a pattern scheme://host[:port][/]:
 *
 * - scheme is http or https, literally.
 * - "*" in the host matches any number of characters, none included, but never
 *   a dot: it stays within its label.  Everything else matches itself, letters
 *   in either case.  An IPv6 address is written in brackets, without "*".
 * - port is a number or "*" for any; if left out, the scheme's default port.
 *
 * An endpoint with http that is not loopback is matched only by a pattern
 * without "*".
 *
 * "aws" means AWS's own endpoints of Firehose over https on port 443:
 * firehose[-fips].REGION.SUFFIX and LABEL.firehose[-fips].REGION.vpce.SUFFIX,
 * where SUFFIX is one of AWS's and REGION has the form of a region's name
 * (letters, hyphen, ..., hyphen, digits).  The form matters: a customer can
 * own other names below AWS's suffixes, firehose-x.s3.amazonaws.com for one.
 *
 * An endpoint derived from the region is always allowed; those from the
 * environment or a profile are not, unless the list has them.  An empty list
 * allows nothing else.
 */
extern bool endpoint_allowed(const Endpoint *endpoint,
							 const char *allowed_list);

/* Is this a list that endpoint_allowed() understands? */
extern bool endpoint_valid_allowed_list(const char *allowed_list,
										char *errmsg, size_t errmsg_size);

#endif							/* FIREHOSE_AWS_ENDPOINT_H */
