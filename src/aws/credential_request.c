/*-------------------------------------------------------------------------
 *
 * credential_request.c
 *	  Write the requests of credential_fetch.h.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/credential_lookup.h"
#include "aws/credential_request.h"
#include "aws/endpoint.h"

/*
 * Timeouts.  The metadata service responds at once or not at all, because a
 * packet with a hop limit of 1 is lost on its way to a container, and outside
 * of EC2 there is no such service.  STS and IAM Identity Center are far away.
 */
#define METADATA_TIMEOUT	1000
#define CONTAINER_TIMEOUT	2000
#define SERVICE_TIMEOUT		15000

/* AWS's limit of a web identity token is 20,000 characters. */
#define MAX_TOKEN			(64 * 1024)

#define FORM_HEADER			"Content-Type: application/x-www-form-urlencoded; charset=utf-8"

/* Write the error of the fetch and be false. */
#define fail(fetch, ...) \
	(snprintf((fetch)->errmsg, sizeof((fetch)->errmsg), __VA_ARGS__), false)

void
credential_request_free(CredentialRequest *request)
{
	credential_wipe_text(&request->url);
	credential_wipe_text(&request->body);
	for (int i = 0; i < request->nheaders; i++)
		credential_wipe_text(&request->headers[i]);
	memset(request, 0, sizeof(*request));
}

/* Print to memory of its own; NULL if there is none. */
__attribute__((format(printf, 1, 2)))
static char *
print(const char *format,...)
{
	va_list		args;
	int			len;
	char	   *text;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text = len < 0 ? NULL : malloc((size_t) len + 1);
	if (text == NULL)
		return NULL;
	va_start(args, format);
	vsnprintf(text, (size_t) len + 1, format, args);
	va_end(args);
	return text;
}

/* Begin a request; takes the URL over. */
static bool
begin_request(CredentialFetch *fetch, const char *method, char *url, int timeout_ms, bool direct)
{
	CredentialRequest *request = &fetch->request;

	credential_request_free(request);
	if (url == NULL)
		return fail(fetch, "out of memory");
	request->method = method;
	request->url = url;
	request->timeout_ms = timeout_ms;
	request->direct = direct;
	return true;
}

/* Add a header; takes the text over. */
static bool
add_header(CredentialFetch *fetch, char *header)
{
	if (header == NULL || fetch->request.nheaders == CREDENTIAL_REQUEST_HEADERS)
	{
		credential_wipe_text(&header);
		return fail(fetch, "out of memory");
	}
	fetch->request.headers[fetch->request.nheaders++] = header;
	return true;
}

/* Note where a request goes: scheme, host and port, and no more. */
static void
set_address(CredentialFetch *fetch, const char *url)
{
	size_t		scheme = strncmp(url, "https", 5) == 0 ? 8 : 7;
	size_t		len = scheme + strcspn(url + scheme, "/?#");

	snprintf(fetch->address, sizeof(fetch->address), "%.*s", (int) len, url);
}

/* Is the text allowed in a header? */
static bool
is_visible(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text <= ' ' || *text >= 0x7f)
			return false;
	}
	return true;
}

char *
credential_read_token(const char *path, char *errmsg, size_t errmsg_size)
{
	ProfileFile file = {0};
	char	   *token = NULL;

	if (!profile_file_read(path, &file, errmsg, errmsg_size))
		return NULL;
	while (file.len > 0 && strchr(" \t\r\n", file.text[file.len - 1]) != NULL)
		file.len--;
	if (file.text == NULL)
		snprintf(errmsg, errmsg_size, "file \"%s\" does not exist", path);
	else if (file.len == 0 || file.len > MAX_TOKEN)
		snprintf(errmsg, errmsg_size, "file \"%s\" holds no token", path);
	else if ((token = malloc(file.len + 1)) == NULL)
		snprintf(errmsg, errmsg_size, "out of memory");
	else
	{
		memcpy(token, file.text, file.len);
		token[file.len] = '\0';
		if (strlen(token) != file.len || !is_visible(token))
		{
			OPENSSL_cleanse(token, file.len);
			free(token);
			token = NULL;
			snprintf(errmsg, errmsg_size, "file \"%s\" holds no token", path);
		}
	}
	profile_file_free(&file);
	return token;
}

/*
 * Instance metadata and containers -----------------------------------------
 */

bool
credential_request_metadata(CredentialFetch *fetch, const char *method,
							const char *path, const char *name)
{
	const char *base = fetch->metadata_url;
	size_t		len = strlen(base);
	bool		direct;
	char		why[256];

	if (!credential_url_allowed(base, &direct, why, sizeof(why)))
		return fail(fetch, "the endpoint of the metadata service: %s", why);
	if (len > 0 && base[len - 1] == '/')
		len--;
	set_address(fetch, base);
	if (!begin_request(fetch, method, print("%.*s%s%s", (int) len, base, path, name),
					   METADATA_TIMEOUT, direct))
		return false;
	if (fetch->token == NULL)
		return add_header(fetch, print("x-aws-ec2-metadata-token-ttl-seconds: 21600"));
	return add_header(fetch, print("x-aws-ec2-metadata-token: %s", fetch->token));
}

bool
credential_request_container(CredentialFetch *fetch, const CredentialStep *step)
{
	const char *url = step->values[CREDENTIAL_URL];
	const char *file = credential_nonempty(getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
	const char *variable = credential_nonempty(getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
	bool		direct;
	char	   *token;
	bool		ok;

	set_address(fetch, url);
	if (!credential_url_allowed(url, &direct, fetch->errmsg, sizeof(fetch->errmsg)) ||
		!begin_request(fetch, "GET", print("%s", url), CONTAINER_TIMEOUT, direct))
		return false;
	if (file != NULL)
	{
		token = credential_read_token(file, fetch->errmsg, sizeof(fetch->errmsg));
		if (token == NULL)
			return false;
		ok = add_header(fetch, print("Authorization: %s", token));
		credential_wipe_text(&token);
		return ok;
	}
	if (variable == NULL)
		return true;
	for (const char *p = variable; *p != '\0'; p++)
	{
		if (*p < ' ' || *p >= 0x7f)
			return fail(fetch, "AWS_CONTAINER_AUTHORIZATION_TOKEN contains a control character or a non-ASCII character");
	}
	return add_header(fetch, print("Authorization: %s", variable));
}

/*
 * Forms and queries --------------------------------------------------------
 */

/* Write a text percent-encoded behind *to; writes nothing if to is NULL. */
static size_t
encode(char *to, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t		n = 0;

	for (const unsigned char *p = (const unsigned char *) text; *p != '\0'; p++)
	{
		bool		plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			(*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL;

		if (to != NULL && plain)
			to[n] = *p;
		else if (to != NULL)
		{
			to[n] = '%';
			to[n + 1] = hex[*p >> 4];
			to[n + 2] = hex[*p & 15];
		}
		n += plain ? 1 : 3;
	}
	return n;
}

/*
 * Append "&name=value" to *text, which is reallocated; NULL values are left
 * out.
 */
static bool
append_parameter(char **text, const char *name, const char *value)
{
	size_t		len;
	char	   *longer;

	if (value == NULL)
		return true;
	if (*text == NULL)
		return false;
	len = strlen(*text);
	longer = malloc(len + strlen(name) + encode(NULL, value) + 3);
	if (longer != NULL)
	{
		int			n = sprintf(longer, "%s%s%s=", *text, len > 0 ? "&" : "", name);

		longer[n + encode(longer + n, value)] = '\0';
	}
	credential_wipe_text(text);
	*text = longer;
	return longer != NULL;
}

/*
 * STS ----------------------------------------------------------------------
 */

/* Sign the request with the credentials of the step before. */
static bool
sign(CredentialFetch *fetch, const Endpoint *endpoint, const char *region, time_t now)
{
	const SigV4Header to_sign[] = {
		{"content-type", FORM_HEADER + sizeof("Content-Type: ") - 1},
	};
	SigV4Identity identity = {
		fetch->credentials.access_key_id, fetch->credentials.secret_access_key,
		fetch->credentials.session_token, region, "sts",
	};
	unsigned char digest[EVP_MAX_MD_SIZE];
	SigV4Request request = {
		"POST", endpoint->host_header, "/", "", to_sign, 1, digest, now,
	};
	char		date[SIGV4_DATE_SIZE];
	char		authorization[SIGV4_AUTHORIZATION_SIZE];

	if (EVP_Digest(fetch->request.body, fetch->request.body_length, digest, NULL,
				   EVP_sha256(), NULL) != 1)
		return fail(fetch, "OpenSSL cannot compute SHA-256");
	if (!sigv4_sign(&fetch->key, &identity, &request, date, authorization,
					sizeof(authorization), fetch->errmsg, sizeof(fetch->errmsg)))
		return false;
	return add_header(fetch, print("X-Amz-Date: %s", date)) &&
		add_header(fetch, print("Authorization: %s", authorization)) &&
		(identity.session_token == NULL ||
		 add_header(fetch, print("X-Amz-Security-Token: %s", identity.session_token)));
}

/* Write the parameters of the call as a form. */
static bool
write_call(CredentialFetch *fetch, const CredentialStep *step, const char *token)
{
	const char *session = step->values[CREDENTIAL_SESSION_NAME];
	char	  **body = &fetch->request.body;

	*body = print("%s", "");
	if (!append_parameter(body, "Action",
						  token != NULL ? "AssumeRoleWithWebIdentity" : "AssumeRole") ||
		!append_parameter(body, "Version", "2011-06-15") ||
		!append_parameter(body, "RoleArn", step->values[CREDENTIAL_ROLE_ARN]) ||
		!append_parameter(body, "RoleSessionName", session != NULL ? session : "firehose") ||
		!append_parameter(body, "ExternalId", step->values[CREDENTIAL_EXTERNAL_ID]) ||
		!append_parameter(body, "DurationSeconds", step->values[CREDENTIAL_DURATION]) ||
		!append_parameter(body, "WebIdentityToken", token))
		return fail(fetch, "out of memory");
	fetch->request.body_length = strlen(*body);
	return true;
}

bool
credential_request_sts(CredentialFetch *fetch, const CredentialStep *step, time_t now)
{
	Endpoint	endpoint;
	const char *region;
	char		why[200];
	char	   *token = NULL;
	bool		ok;

	if (!endpoint_of_credentials(ENDPOINT_STS, &fetch->endpoints, fetch->sts_region,
								 &endpoint, &region, why, sizeof(why)))
		return fail(fetch, "the endpoint of STS: %s", why);
	set_address(fetch, endpoint.url);
	if (step->kind == CREDENTIAL_STEP_WEB_IDENTITY &&
		(token = credential_read_token(step->values[CREDENTIAL_TOKEN_FILE],
									   fetch->errmsg, sizeof(fetch->errmsg))) == NULL)
		return false;
	ok = begin_request(fetch, "POST", print("%s", endpoint.url), SERVICE_TIMEOUT,
					   endpoint_is_loopback(&endpoint)) &&
		add_header(fetch, print("Host: %s", endpoint.host_header)) &&
		add_header(fetch, print(FORM_HEADER)) &&
		write_call(fetch, step, token) &&
		(token != NULL || sign(fetch, &endpoint, region, now));
	credential_wipe_text(&token);
	return ok;
}

/*
 * IAM Identity Center ------------------------------------------------------
 */

/* Find the endpoint of one of its services in the region of the session. */
static bool
find_sso(CredentialFetch *fetch, EndpointService service, const CredentialStep *step,
		 Endpoint *endpoint)
{
	const char *unsigned_region;
	char		why[200];

	return endpoint_of_credentials(service, &fetch->endpoints, step->values[CREDENTIAL_SSO_REGION],
								   endpoint, &unsigned_region, why, sizeof(why)) ||
		fail(fetch, "the endpoint of IAM Identity Center: %s", why);
}

bool
credential_request_sso(CredentialFetch *fetch, const CredentialStep *step,
					   const char *access_token)
{
	Endpoint	endpoint;
	char	   *query = print("%s", "");
	bool		ok;

	ok = append_parameter(&query, "role_name", step->values[CREDENTIAL_SSO_ROLE_NAME]) &&
		append_parameter(&query, "account_id", step->values[CREDENTIAL_SSO_ACCOUNT_ID]) &&
		find_sso(fetch, ENDPOINT_SSO, step, &endpoint) &&
		begin_request(fetch, "GET", print("%sfederation/credentials?%s", endpoint.url, query),
					  SERVICE_TIMEOUT, endpoint_is_loopback(&endpoint)) &&
		add_header(fetch, print("x-amz-sso_bearer_token: %s", access_token));
	if (ok)
		set_address(fetch, endpoint.url);
	credential_wipe_text(&query);
	return ok;
}

/* Does the text need no escape in JSON? The service's own tokens need none. */
static bool
is_plain(const char *text)
{
	return is_visible(text) && strpbrk(text, "\"\\") == NULL;
}

bool
credential_request_sso_refresh(CredentialFetch *fetch, const CredentialStep *step,
							   const char *client_id, const char *client_secret,
							   const char *refresh_token)
{
	Endpoint	endpoint;

	if (!is_plain(client_id) || !is_plain(client_secret) || !is_plain(refresh_token))
		return fail(fetch, "the cached token cannot be refreshed");
	if (!find_sso(fetch, ENDPOINT_SSO_OIDC, step, &endpoint) ||
		!begin_request(fetch, "POST", print("%stoken", endpoint.url), SERVICE_TIMEOUT,
					   endpoint_is_loopback(&endpoint)) ||
		!add_header(fetch, print("Content-Type: application/json")))
		return false;
	set_address(fetch, endpoint.url);
	fetch->request.body = print("{\"clientId\":\"%s\",\"clientSecret\":\"%s\",\"grantType\":\"refresh_token\",\"refreshToken\":\"%s\"}",
								client_id, client_secret, refresh_token);
	if (fetch->request.body == NULL)
		return fail(fetch, "out of memory");
	fetch->request.body_length = strlen(fetch->request.body);
	return true;
}
