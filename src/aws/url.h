/*-------------------------------------------------------------------------
 *
 * url.h
 *	  Take a URL of scheme, host and port apart, and check it.
 *
 * The form is scheme://host[:port][/] with the scheme http or https.  There is
 * no user info, path, query or fragment.  endpoint.h says which hosts are
 * accepted.
 *
 * Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_URL_H
#define FIREHOSE_AWS_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define URL_HOST_SIZE	254		/* a host name has at most 253 characters */
#define URL_MAX_LABEL	63		/* a label of a host name, by RFC 1035 */

#define URL_HTTPS_PORT	443
#define URL_HTTP_PORT	80
#define URL_ANY_PORT	0		/* of a pattern */

typedef struct Url
{
	bool		https;
	bool		ipv6;			/* host is an IPv6 literal */
	int			port;			/* 1 to 65535, or URL_ANY_PORT */

	/* lower case, without brackets; an IPv6 address in its canonical form */
	char		host[URL_HOST_SIZE];
} Url;

/*
 * Take a URL of len characters apart; false with errmsg set if it is none.  A
 * pattern may have "*" in its host and for its port.
 */
extern bool url_parse(const char *text, size_t len, bool pattern, Url *url,
					  char *errmsg, size_t errmsg_size);

static inline bool
url_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
url_is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static inline bool
url_has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

#endif							/* FIREHOSE_AWS_URL_H */
