/*-------------------------------------------------------------------------
 *
 * credential_chain.c
 *	  The list of steps that have to be carried out to have credentials.
 *
 * Filled by credential_profile.c and credentials.c, read by
 * credential_fetch.c.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/credential_chain.h"
#include "aws/endpoint.h"

#define MAX_URL		1024

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* Write a message and be false. */
#define fail(errmsg, errmsg_size, ...) \
	(snprintf(errmsg, errmsg_size, __VA_ARGS__), false)

static const char *const step_names[] =
{
	[CREDENTIAL_STEP_METADATA] = "instance metadata",
	[CREDENTIAL_STEP_CONTAINER] = "container",
	[CREDENTIAL_STEP_WEB_IDENTITY] = "web identity",
	[CREDENTIAL_STEP_SSO] = "IAM Identity Center",
	[CREDENTIAL_STEP_PROCESS] = "credential process",
	[CREDENTIAL_STEP_ASSUME_ROLE] = "assume role",
};

/* Addresses besides loopback that credentials are served from by http */
static const char *const link_local_hosts[] =
{
	"169.254.169.254", "[fd00:ec2::254]",	/* instance metadata */
	"169.254.170.2",			/* Amazon ECS */
	"169.254.170.23", "[fd00:ec2::23]", /* Amazon EKS Pod Identity */
};

CredentialStep *
credential_chain_add(CredentialChain *chain, CredentialStepKind kind)
{
	CredentialStep *step;

	if (chain->nsteps == CREDENTIAL_MAX_STEPS)
		return NULL;
	step = &chain->steps[chain->nsteps++];
	memset(step, 0, sizeof(*step));
	step->kind = kind;
	return step;
}

bool
credential_step_set(CredentialStep *step, CredentialStepValue which,
					const char *value)
{
	free(step->values[which]);
	step->values[which] = NULL;
	if (value == NULL || value[0] == '\0')
		return true;
	step->values[which] = strdup(value);
	return step->values[which] != NULL;
}

/* Are these two texts the same? Either may be absent. */
static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
credential_chain_equal(const CredentialChain *a, const CredentialChain *b)
{
	if (a->nsteps != b->nsteps)
		return false;
	for (int i = 0; i < a->nsteps; i++)
	{
		if (a->steps[i].kind != b->steps[i].kind)
			return false;
		for (int v = 0; v < CREDENTIAL_STEP_NVALUES; v++)
		{
			if (!same(a->steps[i].values[v], b->steps[i].values[v]))
				return false;
		}
	}
	return true;
}

void
credential_chain_free(CredentialChain *chain)
{
	for (int i = 0; i < chain->nsteps; i++)
	{
		for (int v = 0; v < CREDENTIAL_STEP_NVALUES; v++)
		{
			char	   *value = chain->steps[i].values[v];

			if (value != NULL)
				OPENSSL_cleanse(value, strlen(value));
			free(value);
		}
	}
	memset(chain, 0, sizeof(*chain));
}

const char *
credential_step_name(CredentialStepKind kind)
{
	return step_names[kind];
}

/* Is the host before an optional port one of AWS's link-local ones? */
static bool
is_link_local(const char *authority, size_t len)
{
	for (size_t i = 0; i < lengthof(link_local_hosts); i++)
	{
		size_t		n = strlen(link_local_hosts[i]);

		if (len < n || memcmp(authority, link_local_hosts[i], n) != 0)
			continue;
		if (len == n)
			return true;
		if (authority[n] == ':' && len > n + 1 && len <= n + 6 &&
			strspn(authority + n + 1, "0123456789") >= len - n - 1)
			return true;
	}
	return false;
}

bool
credential_url_allowed(const char *url, bool *direct,
					   char *errmsg, size_t errmsg_size)
{
	bool		https = strncmp(url, "https://", 8) == 0;
	const char *authority = url + (https ? 8 : 7);
	char		origin[URL_HOST_SIZE + 32];
	size_t		len;
	Endpoint	endpoint;

	*direct = true;
	if (strlen(url) > MAX_URL)
		return fail(errmsg, errmsg_size, "URL is too long");
	for (const char *p = url; *p != '\0'; p++)
	{
		if (*p <= ' ' || *p >= 0x7f)
			return fail(errmsg, errmsg_size,
						"URL contains a blank, a control character or a non-ASCII character");
	}
	if (!https && strncmp(url, "http://", 7) != 0)
		return fail(errmsg, errmsg_size, "URL must begin with http:// or https://");

	len = strcspn(authority, "/?#");
	if (!https && is_link_local(authority, len))
		return true;
	if ((size_t) (authority - url) + len >= sizeof(origin))
		return fail(errmsg, errmsg_size, "URL contains an invalid host");
	memcpy(origin, url, (authority - url) + len);
	origin[(authority - url) + len] = '\0';
	if (!endpoint_parse(origin, &endpoint, errmsg, errmsg_size))
		return false;
	*direct = !https || endpoint_is_loopback(&endpoint);
	return true;
}
