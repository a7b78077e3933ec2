/*-------------------------------------------------------------------------
 *
 * sso_token.c
 *	  The token of IAM Identity Center that "aws sso login" leaves in a file.
 *
 * Called by credential_fetch.c.
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/json_fields.h"
#include "aws/profile.h"
#include "aws/secret.h"
#include "aws/sso_token.h"
#include "aws/timestamp.h"

static const char *const names[SSO_NVALUES] =
{
	[SSO_START_URL] = "startUrl",
	[SSO_REGION] = "region",
	[SSO_ACCESS_TOKEN] = "accessToken",
	[SSO_EXPIRES_AT] = "expiresAt",
	[SSO_CLIENT_ID] = "clientId",
	[SSO_CLIENT_SECRET] = "clientSecret",
	[SSO_REGISTRATION_EXPIRES_AT] = "registrationExpiresAt",
	[SSO_REFRESH_TOKEN] = "refreshToken",
};

/* Write a message and be false. */
#define fail(errmsg, errmsg_size, ...) \
	(snprintf(errmsg, errmsg_size, __VA_ARGS__), false)

/* Is it visible ASCII that JSON needs no escape for? */
static bool
is_plain(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text <= ' ' || *text >= 0x7f || *text == '"' || *text == '\\')
			return false;
	}
	return true;
}

/* Replace a value that came earlier. */
static bool
set_value(SsoToken *token, SsoTokenValue which, const char *value)
{
	char	   *text = strdup(value);

	if (text == NULL)
		return false;
	if (token->values[which] != NULL)
		OPENSSL_cleanse(token->values[which], strlen(token->values[which]));
	free(token->values[which]);
	token->values[which] = text;
	return true;
}

void
sso_token_free(SsoToken *token)
{
	for (int i = 0; i < SSO_NVALUES; i++)
	{
		if (token->values[i] != NULL)
			OPENSSL_cleanse(token->values[i], strlen(token->values[i]));
		free(token->values[i]);
	}
	memset(token, 0, sizeof(*token));
}

/* Take the values out of the file's text. */
static bool
parse(ProfileFile *file, SsoToken *token, char *errmsg, size_t errmsg_size)
{
	JsonField	fields[SSO_NVALUES];

	for (int i = 0; i < SSO_NVALUES; i++)
		fields[i].name = names[i];
	if (!json_fields_read(file->text, file->len, NULL, fields, SSO_NVALUES,
						  errmsg, errmsg_size))
		return false;
	for (int i = 0; i < SSO_NVALUES; i++)
	{
		if (fields[i].value != NULL && !set_value(token, i, fields[i].value))
			return fail(errmsg, errmsg_size, "out of memory");
	}
	if (token->values[SSO_ACCESS_TOKEN] == NULL || token->values[SSO_EXPIRES_AT] == NULL ||
		!is_plain(token->values[SSO_ACCESS_TOKEN]) ||
		!timestamp_parse(token->values[SSO_EXPIRES_AT],
						 strlen(token->values[SSO_EXPIRES_AT]), &token->expiration))
		return fail(errmsg, errmsg_size, "the cached token is not valid");
	return true;
}

bool
sso_token_read(const char *path, SsoToken *token, char *errmsg, size_t errmsg_size)
{
	ProfileFile file = {0};
	bool		ok = profile_file_read(path, &file, errmsg, errmsg_size);

	if (ok && file.text == NULL)
		ok = fail(errmsg, errmsg_size, "there is no cached token; run \"aws sso login\" as the server's user");
	else if (ok)
		ok = parse(&file, token, errmsg, errmsg_size);
	profile_file_free(&file);
	if (!ok)
		sso_token_free(token);
	return ok;
}

bool
sso_token_refreshable(const SsoToken *token, time_t now)
{
	const char *until = token->values[SSO_REGISTRATION_EXPIRES_AT];
	time_t		registered;

	return token->values[SSO_CLIENT_ID] != NULL &&
		token->values[SSO_CLIENT_SECRET] != NULL &&
		token->values[SSO_REFRESH_TOKEN] != NULL && until != NULL &&
		timestamp_parse(until, strlen(until), &registered) && registered > now;
}

bool
sso_token_refreshed(SsoToken *token, char *body, size_t length, time_t now,
					char *errmsg, size_t errmsg_size)
{
	JsonField	fields[] = {{"accessToken", NULL}, {"expiresIn", NULL}, {"refreshToken", NULL}};
	struct tm	tm;
	char		text[32];
	time_t		expiration;
	long		seconds;

	if (!json_fields_read(body, length, NULL, fields, 3, errmsg, errmsg_size))
		return false;
	seconds = fields[1].value != NULL ? strtol(fields[1].value, NULL, 10) : 0;
	if (fields[0].value == NULL || !is_plain(fields[0].value) || fields[0].value[0] == '\0' ||
		seconds <= 0 || seconds > 366 * 86400L)
		return fail(errmsg, errmsg_size, "the response holds no token");
	expiration = now + seconds;
	if (gmtime_r(&expiration, &tm) == NULL ||
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0 ||
		!set_value(token, SSO_ACCESS_TOKEN, fields[0].value) ||
		!set_value(token, SSO_EXPIRES_AT, text) ||
		(fields[2].value != NULL && !set_value(token, SSO_REFRESH_TOKEN, fields[2].value)))
		return fail(errmsg, errmsg_size, "out of memory");
	token->expiration = expiration;
	return true;
}

bool
sso_token_write(const char *path, const SsoToken *token)
{
	char		temporary[1100];
	const char *separator = "{";
	char	   *buffer;
	FILE	   *file;
	int			fd;
	bool		ok;

	for (int i = 0; i < SSO_NVALUES; i++)
	{
		if (token->values[i] != NULL && !is_plain(token->values[i]))
			return false;
	}
	if ((size_t) snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return false;
	(void) unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	buffer = secret_alloc(BUFSIZ);
	file = buffer != NULL ? fdopen(fd, "w") : NULL;
	if (file == NULL)
	{
		secret_free(buffer);
		close(fd);
		return false;
	}
	/* the library's own buffer would keep the token after it is freed */
	(void) setvbuf(file, buffer, _IOFBF, BUFSIZ);
	for (int i = 0; i < SSO_NVALUES; i++)
	{
		if (token->values[i] == NULL)
			continue;
		fprintf(file, "%s\"%s\": \"%s\"", separator, names[i], token->values[i]);
		separator = ", ";
	}
	fputs("}", file);
	ok = !ferror(file);
	ok = fclose(file) == 0 && ok;
	secret_free(buffer);
	ok = ok && rename(temporary, path) == 0;
	if (!ok)
		(void) unlink(temporary);
	return ok;
}
