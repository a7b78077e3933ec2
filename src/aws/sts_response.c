/*-------------------------------------------------------------------------
 *
 * sts_response.c
 *	  Read a response of AWS's Security Token Service.
 *
 * Called by credential_fetch.c.  One pass over the buffer; the text of a leaf
 * is decoded where it is, which never makes it longer.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "aws/sts_response.h"
#include "aws/timestamp.h"

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* A piece of the text */
typedef struct Name
{
	const char *start;
	size_t		len;
} Name;

/* A scan of one document on its way */
typedef struct XmlScan
{
	char	   *pos;
	char	   *end;
	Name		open[STS_MAX_DEPTH];	/* the elements around the place of the
										 * scan */
	int			depth;
	char	   *text;			/* of the innermost element so far */
	char	   *text_end;
	const char *error;			/* static text, NULL while all is well */
} XmlScan;

/* Which string of the response an element is, by its parent and its name */
static const struct
{
	const char *parent;
	const char *name;
	size_t		offset;
}			fields[] =
{
	{"Credentials", "AccessKeyId", offsetof(StsResponse, access_key_id)},
	{"Credentials", "SecretAccessKey", offsetof(StsResponse, secret_access_key)},
	{"Credentials", "SessionToken", offsetof(StsResponse, session_token)},
	{"AssumedRoleUser", "Arn", offsetof(StsResponse, arn)},
	{"Error", "Code", offsetof(StsResponse, error_code)},
	{"Error", "Message", offsetof(StsResponse, error_message)},
};

/* Note what is wrong and be false. */
static bool
broken(XmlScan *scan, const char *error)
{
	scan->error = error;
	return false;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == ':';
}

static bool
name_is(const Name *name, const char *text)
{
	return name->len == strlen(text) && memcmp(name->start, text, name->len) == 0;
}

/* Does the rest begin with this literal?  Goes past it if it does. */
static bool
take_literal(XmlScan *scan, const char *literal)
{
	size_t		len = strlen(literal);

	if ((size_t) (scan->end - scan->pos) < len ||
		memcmp(scan->pos, literal, len) != 0)
		return false;
	scan->pos += len;
	return true;
}

/* Go past the next occurrence of this literal. */
static bool
skip_past(XmlScan *scan, const char *literal)
{
	while (scan->pos < scan->end)
	{
		if (take_literal(scan, literal))
			return true;
		scan->pos++;
	}
	return broken(scan, "it ends too early");
}

static bool
take_name(XmlScan *scan, Name *name)
{
	name->start = scan->pos;
	while (scan->pos < scan->end && is_name_char(*scan->pos))
		scan->pos++;
	name->len = scan->pos - name->start;
	return name->len > 0 || broken(scan, "an element has no name");
}

/* Write a code point as UTF-8 in place of its entity, which is longer. */
static bool
put_code_point(XmlScan *scan, uint32_t c)
{
	char	   *to = scan->text_end;

	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return broken(scan, "an entity is no character");
	if (c < 0x80)
		*to++ = c;
	else if (c < 0x800)
	{
		*to++ = 0xc0 | (c >> 6);
		*to++ = 0x80 | (c & 0x3f);
	}
	else if (c < 0x10000)
	{
		*to++ = 0xe0 | (c >> 12);
		*to++ = 0x80 | ((c >> 6) & 0x3f);
		*to++ = 0x80 | (c & 0x3f);
	}
	else
	{
		*to++ = 0xf0 | (c >> 18);
		*to++ = 0x80 | ((c >> 12) & 0x3f);
		*to++ = 0x80 | ((c >> 6) & 0x3f);
		*to++ = 0x80 | (c & 0x3f);
	}
	scan->text_end = to;
	return true;
}

/* Decode "#38" or "#x26", of at most six digits. */
static bool
take_numeric_entity(XmlScan *scan)
{
	bool		hex = take_literal(scan, "x");
	uint32_t	code = 0;
	int			n = 0;

	for (; scan->pos < scan->end && *scan->pos != ';' && n < 6; n++)
	{
		char		c = *scan->pos++;

		if (c >= '0' && c <= '9')
			code = code * (hex ? 16 : 10) + (c - '0');
		else if (hex && ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'))
			code = code * 16 + ((c | 0x20) - 'a' + 10);
		else
			return broken(scan, "an entity is malformed");
	}
	if (n == 0 || !take_literal(scan, ";"))
		return broken(scan, "an entity is malformed");
	return put_code_point(scan, code);
}

/* Decode an entity; the "&" is behind us. */
static bool
take_entity(XmlScan *scan)
{
	static const struct
	{
		const char *name;
		char		c;
	}			entities[] =
	{
		{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''},
	};

	if (take_literal(scan, "#"))
		return take_numeric_entity(scan);
	for (size_t i = 0; i < lengthof(entities); i++)
	{
		if (take_literal(scan, entities[i].name))
		{
			*scan->text_end++ = entities[i].c;
			return true;
		}
	}
	return broken(scan, "an entity is unknown");
}

/* Go past an element's attributes, up to its ">" or "/". */
static bool
skip_attributes(XmlScan *scan)
{
	while (scan->pos < scan->end && *scan->pos != '>' && *scan->pos != '/')
	{
		char		quote = *scan->pos++;

		if (quote == '<')
			return broken(scan, "an element is malformed");
		if (quote != '"' && quote != '\'')
			continue;
		while (scan->pos < scan->end && *scan->pos != quote)
			scan->pos++;
		if (scan->pos < scan->end)
			scan->pos++;
	}
	return scan->pos < scan->end || broken(scan, "it ends too early");
}

/* Keep the text of the element that ends, if it is one of Strings. */
static bool
take_field(XmlScan *scan, StsResponse *response)
{
	const Name *name = &scan->open[scan->depth - 1];
	const Name *parent = scan->depth > 1 ? name - 1 : NULL;

	if (parent == NULL || scan->text == NULL)
		return true;
	*scan->text_end = '\0';
	if (strlen(scan->text) != (size_t) (scan->text_end - scan->text))
		return broken(scan, "it contains a NUL character");
	for (size_t i = 0; i < lengthof(fields); i++)
	{
		if (name_is(name, fields[i].name) && name_is(parent, fields[i].parent))
			*(char **) ((char *) response + fields[i].offset) = scan->text;
	}
	if (name_is(name, "Expiration") && name_is(parent, "Credentials") &&
		!timestamp_parse(scan->text, strlen(scan->text), &response->expiration))
		return broken(scan, "the expiration is not a time");
	return true;
}

/* Take "</name>"; the "</" is behind us. */
static bool
take_end_tag(XmlScan *scan, StsResponse *response)
{
	Name		name;

	if (!take_name(scan, &name))
		return false;
	while (scan->pos < scan->end && is_space(*scan->pos))
		scan->pos++;
	if (!take_literal(scan, ">") || scan->depth == 0 ||
		name.len != scan->open[scan->depth - 1].len ||
		memcmp(name.start, scan->open[scan->depth - 1].start, name.len) != 0)
		return broken(scan, "an element is not closed");
	if (!take_field(scan, response))
		return false;
	scan->depth--;
	scan->text = NULL;			/* only leaves have text that matters */
	return true;
}

/* Take "<name ...>" or "<name ... />"; the "<" is behind us. */
static bool
take_start_tag(XmlScan *scan)
{
	Name		name;

	if (!take_name(scan, &name) || !skip_attributes(scan))
		return false;
	scan->text = NULL;
	if (take_literal(scan, "/>"))
		return true;
	if (!take_literal(scan, ">"))
		return broken(scan, "an element is malformed");
	if (scan->depth == STS_MAX_DEPTH)
		return broken(scan, "it is nested too deeply");
	scan->open[scan->depth++] = name;
	scan->text = scan->text_end = scan->pos;
	return true;
}

/* Take one piece of the document: a tag, a comment or a character. */
static bool
take_piece(XmlScan *scan, StsResponse *response)
{
	if (take_literal(scan, "<"))
	{
		if (take_literal(scan, "!--"))
			return skip_past(scan, "-->");
		if (take_literal(scan, "?"))
			return skip_past(scan, "?>");
		if (take_literal(scan, "/"))
			return take_end_tag(scan, response);
		return take_start_tag(scan);
	}
	if (scan->depth == 0 && !is_space(*scan->pos))
		return broken(scan, "it is not XML");
	if (scan->text == NULL)
	{
		scan->pos++;
		return true;
	}
	if (take_literal(scan, "&"))
		return take_entity(scan);
	*scan->text_end++ = *scan->pos++;
	return true;
}

bool
sts_response_parse(char *buf, size_t len, StsResponse *response,
				   char *errmsg, size_t errmsg_size)
{
	XmlScan		scan = {.pos = buf, .end = buf + len};
	bool		ok = true;

	memset(response, 0, sizeof(*response));
	while (ok && scan.pos < scan.end)
		ok = take_piece(&scan, response);
	if (ok && scan.depth > 0)
		ok = broken(&scan, "it ends too early");
	if (ok)
		return true;
	memset(response, 0, sizeof(*response));
	snprintf(errmsg, errmsg_size, "the response cannot be read: %s", scan.error);
	return false;
}
