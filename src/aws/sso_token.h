/*-------------------------------------------------------------------------
 *
 * sso_token.h
 *	  The token of IAM Identity Center that "aws sso login" leaves in a file.
 *
 * The file is JSON, named after the SHA-1 of its session or start URL.  A
 * token of a session can be refreshed without a person as long as the client's
 * registration lives; the refreshed one is written back, because the old
 * refresh token may be invalid from then on.
 *
 * Knows no PostgreSQL.  Values are malloc'd and are wiped when freed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_SSO_TOKEN_H
#define FIREHOSE_AWS_SSO_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

typedef enum SsoTokenValue
{
	SSO_START_URL,
	SSO_REGION,
	SSO_ACCESS_TOKEN,
	SSO_EXPIRES_AT,
	SSO_CLIENT_ID,
	SSO_CLIENT_SECRET,
	SSO_REGISTRATION_EXPIRES_AT,
	SSO_REFRESH_TOKEN,
	SSO_NVALUES
} SsoTokenValue;

/* Zero-initialise before the first use. */
typedef struct SsoToken
{
	char	   *values[SSO_NVALUES];	/* NULL if absent */
	time_t		expiration;
} SsoToken;

/* Read the file into a blank token; false with a message. */
extern bool sso_token_read(const char *path, SsoToken *token,
						   char *errmsg, size_t errmsg_size);

/* Can it be refreshed at this time? */
extern bool sso_token_refreshable(const SsoToken *token, time_t now);

/*
 * Take over the response of the service to a refresh.  False with a message,
 * and the token as it was, if the response has no token.  The body is written
 * to.
 */
extern bool sso_token_refreshed(SsoToken *token, char *body, size_t length,
								time_t now, char *errmsg, size_t errmsg_size);

/*
 * Write the token into its file, readable by its owner alone.  False if that
 * failed.
 */
extern bool sso_token_write(const char *path, const SsoToken *token);

/* Wipe and free; blank again. */
extern void sso_token_free(SsoToken *token);

#endif							/* FIREHOSE_AWS_SSO_TOKEN_H */
