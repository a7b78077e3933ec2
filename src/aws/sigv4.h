/*-------------------------------------------------------------------------
 *
 * sigv4.h
 *	  AWS Signature Version 4 for requests whose body is hashed beforehand.
 *
 * libcurl's CURLOPT_AWS_SIGV4 is not used: it is absent before 7.75, leaves
 * the session token unsigned up to 7.85, and signs an Expect header that it
 * does not send in 7.88.
 *
 * Knows no PostgreSQL; needs OpenSSL 1.1.1 or later.  Nothing is kept between
 * calls except in the SigV4Key that the caller owns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_SIGV4_H
#define FIREHOSE_AWS_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define SIGV4_SHA256_LEN	32
#define SIGV4_DATE_SIZE		17	/* "20150830T123600Z" and its NUL */
#define SIGV4_MAX_HEADERS	16	/* signed headers, the implied ones included */

/* Enough for an Authorization value with any region, service and key id. */
#define SIGV4_AUTHORIZATION_SIZE	1024

/* The credentials that sign, and the service and region to sign for. */
typedef struct SigV4Identity
{
	const char *access_key_id;
	const char *secret_access_key;
	const char *session_token;	/* NULL or "" if the credentials have none */
	const char *region;
	const char *service;
} SigV4Identity;

/* One header to sign, as it is sent.  Case of the name does not matter. */
typedef struct SigV4Header
{
	const char *name;
	const char *value;
} SigV4Header;

/* The parts of a request that are signed. */
typedef struct SigV4Request
{
	const char *method;			/* "POST" */
	const char *host;			/* value of the Host header, as it is sent */
	const char *path;			/* "/"; already in canonical form */
	const char *query;			/* ""; already sorted and encoded */
	const SigV4Header *headers; /* besides those that are implied, see below */
	int			nheaders;
	const unsigned char *payload_sha256;	/* SIGV4_SHA256_LEN raw bytes */
	time_t		now;			/* corrected by the known clock offset */
} SigV4Request;

/*
 * A derived signing key and the values that it was derived from.  It serves a
 * whole day, so one per identity is kept by the caller, zero-initialised.  The
 * secret is compared as well, so that a secret corrected under the same key id
 * takes effect at once.  Contains secrets: end its life with
 * sigv4_key_clear().
 */
typedef struct SigV4Key
{
	bool		valid;
	char		date[9];		/* "20150830" */
	char		region[64];
	char		service[32];
	char		access_key_id[129];
	char		secret_access_key[129];
	unsigned char key[SIGV4_SHA256_LEN];
} SigV4Key;

/*
 * Sign a request.
 *
 * The headers host, x-amz-date and (if there is a token) x-amz-security-token
 * are implied: they are always signed and must not be among request->headers,
 * and the caller sends exactly these three values.  Headers may come in any
 * order; the same name twice is joined with a comma, as the specification has
 * it.  Do not sign headers that a proxy or libcurl may change: connection,
 * expect, transfer-encoding, user-agent.
 *
 * amz_date receives the value of the x-amz-date header, authorization the
 * value of the Authorization header.  Returns false, with a message that
 * contains no secret in errmsg, if something does not fit, if a header value
 * contains a control character, or if OpenSSL fails.
 */
extern bool sigv4_sign(SigV4Key *key, const SigV4Identity *identity,
					   const SigV4Request *request,
					   char amz_date[SIGV4_DATE_SIZE],
					   char *authorization, size_t authorization_size,
					   char *errmsg, size_t errmsg_size);

/* Forget a key, leaving no secret in memory. */
extern void sigv4_key_clear(SigV4Key *key);

#endif							/* FIREHOSE_AWS_SIGV4_H */
