/*-------------------------------------------------------------------------
 *
 * role_arn.c
 *	  Names of roles, and which of them streams may use.
 *
 * Called by the checks of stream options and by the sender.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "aws/role_arn.h"

#define LETTERS		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS		"0123456789"

/* Write a message and be false. */
#define fail(errmsg, errmsg_size, ...) \
	(snprintf(errmsg, errmsg_size, __VA_ARGS__), false)

/* Go past a literal; false if it is not there. */
static bool
skip(const char **text, const char *literal)
{
	size_t		len = strlen(literal);

	if (strncmp(*text, literal, len) != 0)
		return false;
	*text += len;
	return true;
}

/* Go past characters of a set; how many there were. */
static size_t
skip_all(const char **text, const char *set)
{
	size_t		len = strspn(*text, set);

	*text += len;
	return len;
}

bool
role_arn_valid(const char *arn, char *errmsg, size_t errmsg_size)
{
	const char *p = arn;

	if (strlen(arn) >= ROLE_ARN_SIZE)
		return fail(errmsg, errmsg_size, "It is too long");
	if (!skip(&p, "arn:aws") || (skip_all(&p, LETTERS DIGITS "-"), false) ||
		!skip(&p, ":iam::") || skip_all(&p, DIGITS) != 12 || !skip(&p, ":role/") ||
		skip_all(&p, LETTERS DIGITS "_+=,.@/-") == 0 || *p != '\0' || p[-1] == '/')
		return fail(errmsg, errmsg_size,
					"It takes the ARN of a role, such as arn:aws:iam::123456789012:role/firehose");
	return true;
}

bool
role_external_id_valid(const char *external_id)
{
	size_t		len = strlen(external_id);

	return len >= 2 && len <= 1224 &&
		strspn(external_id, LETTERS DIGITS "_+=,.@:/-") == len;
}

/*
 * Match with a pattern of len characters.  Going back to the last "*" is
 * enough, because it can match everything that an earlier one matched.
 */
static bool
matches(const char *text, const char *pattern, size_t len)
{
	const char *end = pattern + len;
	const char *star = NULL;
	const char *star_text = NULL;

	while (*text != '\0')
	{
		if (pattern < end && *pattern == '*')
		{
			star = pattern++;
			star_text = text;
		}
		else if (pattern < end && *pattern == *text)
		{
			pattern++;
			text++;
		}
		else if (star != NULL)
		{
			pattern = star + 1;
			text = ++star_text;
		}
		else
			return false;
	}
	while (pattern < end && *pattern == '*')
		pattern++;
	return pattern == end;
}

/*
 * The next entry of a list and its length, without white space around it;
 * false at the end.
 */
static bool
next_entry(const char **list, const char **entry, size_t *len)
{
	if (**list == '\0')
		return false;
	*list += strspn(*list, ", \t\n");
	*entry = *list;
	*list += *len = strcspn(*list, ",");
	while (*len > 0 && strchr(" \t\n", (*entry)[*len - 1]) != NULL)
		(*len)--;
	return true;
}

/* Go past a literal, or as far as the text goes; false where they differ. */
static bool
skip_begun(const char **text, const char *literal)
{
	while (**text != '\0' && *literal != '\0')
	{
		if (*(*text)++ != *literal++)
			return false;
	}
	return true;
}

/* Can the ARN of a role begin like this? */
static bool
begins_role_arn(const char *p)
{
	size_t		digits;

	if (!skip_begun(&p, "arn:aws") || (skip_all(&p, LETTERS DIGITS "-"), false) ||
		!skip_begun(&p, ":iam::"))
		return false;
	digits = skip_all(&p, DIGITS);
	if (digits > 12 || (digits < 12 && *p != '\0') || !skip_begun(&p, ":role/"))
		return false;
	(void) skip_all(&p, LETTERS DIGITS "_+=.@/-");
	return *p == '\0';
}

bool
role_arn_valid_allowed_list(const char *allowed_list, char *errmsg, size_t errmsg_size)
{
	const char *entry;
	size_t		len;

	while (next_entry(&allowed_list, &entry, &len))
	{
		char		pattern[ROLE_ARN_SIZE];
		char		why[200];
		char	   *star;

		if (len == 0)
			continue;
		if (len >= sizeof(pattern))
			return fail(errmsg, errmsg_size, "An entry is longer than %d characters",
						ROLE_ARN_SIZE - 1);
		memcpy(pattern, entry, len);
		pattern[len] = '\0';
		star = strchr(pattern, '*');
		if (star != NULL && strspn(star, LETTERS DIGITS "_+=.@/-:*") == strlen(star))
			*star = '\0';
		if (*pattern != '\0' && !(star != NULL ? begins_role_arn(pattern) :
								  role_arn_valid(pattern, why, sizeof(why))))
			return fail(errmsg, errmsg_size, "Entry \"%.*s\" can match no ARN of a role",
						(int) len, entry);
	}
	return true;
}

bool
role_arn_allowed(const char *arn, const char *allowed_list)
{
	const char *entry;
	size_t		len;

	while (next_entry(&allowed_list, &entry, &len))
	{
		if (len > 0 && matches(arn, entry, len))
			return true;
	}
	return false;
}
