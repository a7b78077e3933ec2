/*-------------------------------------------------------------------------
 *
 * url.c
 *	  Take a URL of scheme, host and port apart, and check it.
 *
 * URLs come from users who may not be superusers, so the parser lists the
 * forms that it accepts, not those that it refuses.  Messages do not quote the
 * URL, which may contain a password.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "aws/url.h"

/* Write a message and be false. */
#define fail(errmsg, errmsg_size, ...) \
	(snprintf(errmsg, errmsg_size, __VA_ARGS__), false)

static char
to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/*
 * Is it a host name: labels of letters, digits, inner hyphens, and the extra
 * character if there is one?  Lower case is assumed.
 */
static bool
valid_host_name(const char *host, char extra)
{
	size_t		label = 0;		/* length of the current label */

	for (const char *p = host;; p++)
	{
		if (*p == '.' || *p == '\0')
		{
			if (label == 0 || label > URL_MAX_LABEL || p[-1] == '-')
				return false;
			if (*p == '\0')
				return true;
			label = 0;
		}
		else if (url_is_lower(*p) || url_is_digit(*p) || (*p == '-' && label > 0) ||
				 (extra != '\0' && *p == extra))
			label++;
		else
			return false;
	}
}

/*
 * A name whose last label begins with a digit is an IPv4 address or nothing:
 * no top-level domain does, but "127.1" and "0x7f000001" are addresses to
 * some resolvers.
 */
static bool
valid_host(const char *host)
{
	const char *last = strrchr(host, '.');
	struct in_addr address;

	if (url_is_digit(last != NULL ? last[1] : host[0]))
		return inet_pton(AF_INET, host, &address) == 1;
	return valid_host_name(host, '\0');
}

/* A port number, from digits alone. */
static bool
parse_port(const char *text, int *port)
{
	size_t		len = strspn(text, "0123456789");

	if (len == 0 || len > 5 || text[len] != '\0')
		return false;
	*port = atoi(text);
	return *port >= 1 && *port <= 65535;
}

/* A URL in pieces; neither host nor port is checked yet. */
typedef struct UrlParts
{
	bool		https;
	bool		ipv6;
	char	   *host;			/* without brackets */
	char	   *port;			/* NULL if there is none */

	/* both point into this: the host, and room for "https://[]:65535/" */
	char		buf[URL_HOST_SIZE + 32];
} UrlParts;

/* Take scheme://host[:port][/] apart, in lower case. */
static bool
split_url(const char *url, size_t len, UrlParts *parts,
		  char *errmsg, size_t errmsg_size)
{
	char	   *rest;
	char	   *colon;

	if (len >= sizeof(parts->buf))
		return fail(errmsg, errmsg_size, "URL is too long");
	for (size_t i = 0; i < len; i++)
	{
		if (url[i] <= ' ' || url[i] >= 0x7f)
			return fail(errmsg, errmsg_size,
						"URL contains a blank, a control character or a non-ASCII character");
		parts->buf[i] = to_lower(url[i]);
	}
	parts->buf[len] = '\0';

	parts->https = url_has_prefix(parts->buf, "https://");
	if (!parts->https && !url_has_prefix(parts->buf, "http://"))
		return fail(errmsg, errmsg_size, "URL must begin with https://");
	parts->host = parts->buf + strlen(parts->https ? "https://" : "http://");

	/* User info first, since it may contain anything */
	if (strchr(parts->host, '@') != NULL)
		return fail(errmsg, errmsg_size,
					"URL must not contain a user name or password");
	rest = parts->host + strcspn(parts->host, "/?#");
	if (*rest != '\0' && strcmp(rest, "/") != 0)
		return fail(errmsg, errmsg_size,
					"URL must not contain a path, a query or a fragment");
	*rest = '\0';

	parts->ipv6 = parts->host[0] == '[';
	if (parts->ipv6)
	{
		char	   *bracket = strchr(++parts->host, ']');

		if (bracket == NULL || (bracket[1] != ':' && bracket[1] != '\0'))
			return fail(errmsg, errmsg_size, "URL contains an invalid host");
		*bracket = '\0';
		colon = bracket[1] == ':' ? bracket + 1 : NULL;
	}
	else
		colon = strchr(parts->host, ':');
	parts->port = colon != NULL ? colon + 1 : NULL;
	if (colon != NULL)
		*colon = '\0';
	return true;
}

bool
url_parse(const char *text, size_t len, bool pattern, Url *url,
		  char *errmsg, size_t errmsg_size)
{
	struct in6_addr address;
	UrlParts	parts;

	if (!split_url(text, len, &parts, errmsg, errmsg_size))
		return false;
	if (strlen(parts.host) >= sizeof(url->host) ||
		(parts.ipv6 ? inet_pton(AF_INET6, parts.host, &address) != 1 :
		 pattern ? !valid_host_name(parts.host, '*') : !valid_host(parts.host)))
		return fail(errmsg, errmsg_size, "URL contains an invalid host");
	url->https = parts.https;
	url->ipv6 = parts.ipv6;
	if (parts.ipv6)
		inet_ntop(AF_INET6, &address, url->host, sizeof(url->host));
	else
		strcpy(url->host, parts.host);

	url->port = parts.https ? URL_HTTPS_PORT : URL_HTTP_PORT;
	if (parts.port == NULL)
		return true;
	if (pattern && strcmp(parts.port, "*") == 0)
		url->port = URL_ANY_PORT;
	else if (!parse_port(parts.port, &url->port))
		return fail(errmsg, errmsg_size, "URL contains an invalid port");
	return true;
}
