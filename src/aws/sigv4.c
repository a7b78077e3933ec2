/*-------------------------------------------------------------------------
 *
 * sigv4.c
 *	  AWS Signature Version 4 for requests whose body is hashed beforehand.
 *
 * Called by the sender for every attempt: a signature is good for five minutes
 * only, so it is never kept for a retry.  The canonical request is fed to
 * SHA-256 piece by piece and never exists as a whole; there is thus no limit
 * on the length of a session token.
 *
 * The specification is "Create a signed AWS API request" in AWS's IAM User
 * Guide; the tests hold AWS's own test vectors.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "aws/sha256.h"
#include "aws/sigv4.h"

#define ALGORITHM		"AWS4-HMAC-SHA256"
#define HEADER_NAME_SIZE 64
#define HEX_SIZE		(2 * SIGV4_SHA256_LEN + 1)

/* A header in canonical order; the value is made canonical while hashing. */
typedef struct CanonicalHeader
{
	char		name[HEADER_NAME_SIZE]; /* lower case */
	const char *value;
} CanonicalHeader;

/* Everything about one signature on its way */
typedef struct Signing
{
	CanonicalHeader headers[SIGV4_MAX_HEADERS];
	int			nheaders;
	char		date[SIGV4_DATE_SIZE];	/* "20150830T123600Z" */
	char		scope[128];		/* "20150830/region/service/aws4_request" */
	char		signed_headers[SIGV4_MAX_HEADERS * HEADER_NAME_SIZE];
	char		request_hash[HEX_SIZE];
	char		signature[HEX_SIZE];
	char	   *errmsg;
	size_t		errmsg_size;
} Signing;

/* Write a message and be false. */
#define fail(signing, ...) \
	(snprintf((signing)->errmsg, (signing)->errmsg_size, __VA_ARGS__), false)

/* Write a digest as hexadecimal digits. */
static void
to_hex(char hex[HEX_SIZE], const unsigned char digest[SIGV4_SHA256_LEN])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < SIGV4_SHA256_LEN; i++)
	{
		*hex++ = digits[digest[i] >> 4];
		*hex++ = digits[digest[i] & 0x0f];
	}
	*hex = '\0';
}

/* Does a text fit, and is there nothing in it that could end a line? */
static bool
check_text(Signing *signing, const char *what, const char *text, size_t size)
{
	if (strlen(text) >= size)
		return fail(signing, "%s is too long to sign", what);
	for (const char *p = text; *p != '\0'; p++)
	{
		if ((unsigned char) *p < ' ' || *p == 0x7f)
			return fail(signing, "%s contains a control character", what);
	}
	return true;
}

/*
 * Put a header into its place: sorted by lower-case name, and behind those of
 * the same name, whose order matters.
 */
static bool
add_header(Signing *signing, const char *name, const char *value)
{
	CanonicalHeader header = {{0}, value};
	int			i;

	if (signing->nheaders >= SIGV4_MAX_HEADERS)
		return fail(signing, "too many headers to sign");
	if (name[0] == '\0')
		return fail(signing, "header without a name");
	if (!check_text(signing, "header name", name, HEADER_NAME_SIZE) ||
		!check_text(signing, "header value", value, SIZE_MAX))
		return false;

	for (i = 0; name[i] != '\0'; i++)
		header.name[i] = name[i] >= 'A' && name[i] <= 'Z' ?
			name[i] + ('a' - 'A') : name[i];

	for (i = signing->nheaders; i > 0; i--)
	{
		if (strcmp(signing->headers[i - 1].name, header.name) <= 0)
			break;
		signing->headers[i] = signing->headers[i - 1];
	}
	signing->headers[i] = header;
	signing->nheaders++;
	return true;
}

/* Collect the headers, those of the caller and the implied ones. */
static bool
collect_headers(Signing *signing, const SigV4Identity *identity,
				const SigV4Request *request)
{
	const char *token = identity->session_token;

	for (int i = 0; i < request->nheaders; i++)
	{
		if (!add_header(signing, request->headers[i].name,
						request->headers[i].value))
			return false;
	}
	return add_header(signing, "host", request->host) &&
		add_header(signing, "x-amz-date", signing->date) &&
		(token == NULL || token[0] == '\0' ||
		 add_header(signing, "x-amz-security-token", token));
}

/* The distinct names, separated by semicolons. */
static void
join_names(Signing *signing)
{
	char	   *out = signing->signed_headers;

	for (int i = 0; i < signing->nheaders; i++)
	{
		const char *name = signing->headers[i].name;

		if (i > 0 && strcmp(name, signing->headers[i - 1].name) == 0)
			continue;
		if (i > 0)
			*out++ = ';';
		memcpy(out, name, strlen(name));
		out += strlen(name);
	}
	*out = '\0';
}

static bool
hash_text(EVP_MD_CTX *md, const char *text)
{
	return EVP_DigestUpdate(md, text, strlen(text)) == 1;
}

/* A value without outer blanks, inner runs of blanks being one blank. */
static bool
hash_value(EVP_MD_CTX *md, const char *value)
{
	const char *separator = "";

	for (;;)
	{
		size_t		len;

		value += strspn(value, " ");
		len = strcspn(value, " ");
		if (len == 0)
			return true;
		if (!hash_text(md, separator) || EVP_DigestUpdate(md, value, len) != 1)
			return false;
		separator = " ";
		value += len;
	}
}

static bool
hash_headers(EVP_MD_CTX *md, const Signing *signing)
{
	for (int i = 0; i < signing->nheaders; i++)
	{
		const CanonicalHeader *header = &signing->headers[i];
		bool		again;
		bool		more;

		again = i > 0 && strcmp(header->name, header[-1].name) == 0;
		more = i + 1 < signing->nheaders &&
			strcmp(header->name, header[1].name) == 0;
		if ((!again && (!hash_text(md, header->name) || !hash_text(md, ":"))) ||
			!hash_value(md, header->value) ||
			!hash_text(md, more ? "," : "\n"))
			return false;
	}
	return true;
}

/* Hash the canonical request. */
static bool
hash_request(Signing *signing, const SigV4Request *request)
{
	static EVP_MD_CTX *md = NULL;
	unsigned char digest[SHA256_LEN];
	char		payload[HEX_SIZE];
	bool		ok;

	to_hex(payload, request->payload_sha256);
	ok = sha256_begin(&md) &&
		hash_text(md, request->method) && hash_text(md, "\n") &&
		hash_text(md, request->path) && hash_text(md, "\n") &&
		hash_text(md, request->query) && hash_text(md, "\n") &&
		hash_headers(md, signing) && hash_text(md, "\n") &&
		hash_text(md, signing->signed_headers) && hash_text(md, "\n") &&
		hash_text(md, payload) &&
		EVP_DigestFinal_ex(md, digest, NULL) == 1;
	if (!ok)
		return fail(signing, "OpenSSL could not compute SHA-256");
	to_hex(signing->request_hash, digest);
	return true;
}

/* Is the key that of this day and identity? */
static bool
key_matches(const SigV4Key *key, const SigV4Identity *identity,
			const char *date)
{
	return key->valid &&
		strncmp(key->date, date, sizeof(key->date) - 1) == 0 &&
		strcmp(key->region, identity->region) == 0 &&
		strcmp(key->service, identity->service) == 0 &&
		strcmp(key->access_key_id, identity->access_key_id) == 0 &&
		strcmp(key->secret_access_key, identity->secret_access_key) == 0;
}

/*
 * Derive the signing key unless it is the one at hand.  The sizes have been
 * checked.
 */
static bool
derive_key(Signing *signing, SigV4Key *key, const SigV4Identity *identity)
{
	char		start[4 + sizeof(key->secret_access_key)];
	unsigned char *k = key->key;
	bool		ok;

	if (key_matches(key, identity, signing->date))
		return true;

	sigv4_key_clear(key);
	snprintf(key->date, sizeof(key->date), "%.8s", signing->date);
	strcpy(key->region, identity->region);
	strcpy(key->service, identity->service);
	strcpy(key->access_key_id, identity->access_key_id);
	strcpy(key->secret_access_key, identity->secret_access_key);

	snprintf(start, sizeof(start), "AWS4%s", key->secret_access_key);
	ok = sha256_hmac(k, start, strlen(start), key->date) &&
		sha256_hmac(k, k, SHA256_LEN, key->region) &&
		sha256_hmac(k, k, SHA256_LEN, key->service) &&
		sha256_hmac(k, k, SHA256_LEN, "aws4_request");
	OPENSSL_cleanse(start, sizeof(start));
	if (!ok)
	{
		sigv4_key_clear(key);
		return fail(signing, "OpenSSL could not compute HMAC-SHA-256");
	}
	key->valid = true;
	return true;
}

/* Write the time as AWS wants it, and the scope that begins with its day. */
static bool
set_scope(Signing *signing, const SigV4Identity *identity, time_t now)
{
	struct tm	tm;

	if (gmtime_r(&now, &tm) == NULL ||
		strftime(signing->date, sizeof(signing->date),
				 "%Y%m%dT%H%M%SZ", &tm) != SIGV4_DATE_SIZE - 1)
		return fail(signing, "time cannot be written as a date");

	/* Fits, because region and service fit into a SigV4Key */
	snprintf(signing->scope, sizeof(signing->scope),
			 "%.8s/%s/%s/aws4_request", signing->date,
			 identity->region, identity->service);
	return true;
}

/* Sign the string to sign. */
static bool
compute_signature(Signing *signing, const SigV4Key *key)
{
	unsigned char digest[SIGV4_SHA256_LEN];
	char		text[sizeof(ALGORITHM) + SIGV4_DATE_SIZE +
					 sizeof(signing->scope) + HEX_SIZE];

	snprintf(text, sizeof(text), ALGORITHM "\n%s\n%s\n%s",
			 signing->date, signing->scope, signing->request_hash);
	if (!sha256_hmac(digest, key->key, SHA256_LEN, text))
		return fail(signing, "OpenSSL could not compute HMAC-SHA-256");
	to_hex(signing->signature, digest);
	return true;
}

/*
 * Check the texts that go into buffers of fixed size, which are those of the
 * key.
 */
static bool
check_identity(Signing *signing, const SigV4Key *key,
			   const SigV4Identity *identity)
{
	return check_text(signing, "region", identity->region,
					  sizeof(key->region)) &&
		check_text(signing, "service", identity->service,
				   sizeof(key->service)) &&
		check_text(signing, "access key id", identity->access_key_id,
				   sizeof(key->access_key_id)) &&
		check_text(signing, "secret access key", identity->secret_access_key,
				   sizeof(key->secret_access_key));
}

bool
sigv4_sign(SigV4Key *key, const SigV4Identity *identity,
		   const SigV4Request *request, char amz_date[SIGV4_DATE_SIZE],
		   char *authorization, size_t authorization_size,
		   char *errmsg, size_t errmsg_size)
{
	Signing		signing;
	int			len;

	signing.nheaders = 0;
	signing.errmsg = errmsg;
	signing.errmsg_size = errmsg_size;

	if (!check_identity(&signing, key, identity) ||
		!set_scope(&signing, identity, request->now) ||
		!collect_headers(&signing, identity, request))
		return false;
	join_names(&signing);
	if (!hash_request(&signing, request) ||
		!derive_key(&signing, key, identity) ||
		!compute_signature(&signing, key))
		return false;

	len = snprintf(authorization, authorization_size,
				   ALGORITHM " Credential=%s/%s, SignedHeaders=%s, Signature=%s",
				   identity->access_key_id, signing.scope,
				   signing.signed_headers, signing.signature);
	if (len < 0 || (size_t) len >= authorization_size)
		return fail(&signing, "authorization is too long");
	memcpy(amz_date, signing.date, SIGV4_DATE_SIZE);
	return true;
}

void
sigv4_key_clear(SigV4Key *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
}
