/*-------------------------------------------------------------------------
 *
 * command_line.c
 *	  Take the command of a credential_process apart, without a shell.
 *
 * Called by the sender before it runs the command.  A word is never longer
 * than what it was written as, so it is built where it was read.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "aws/command_line.h"

/* Write a message and be false. */
#define fail(errmsg, errmsg_size, ...) \
	(snprintf(errmsg, errmsg_size, __VA_ARGS__), false)

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * Copy one word from *from to *to, without its quotes.  False if a quote or
 * a backslash has no end.
 */
static bool
take_word(char **from, char **to)
{
	char		quote = '\0';

	for (; **from != '\0'; (*from)++)
	{
		char		c = **from;

		if (quote == '\0' && is_space(c))
			return true;
		if (c == '\\' && quote != '\'' &&
			(quote == '\0' || (*from)[1] == '"' || (*from)[1] == '\\'))
		{
			if (*++(*from) == '\0')
				return false;
			*(*to)++ = **from;
		}
		else if (c == quote)
			quote = '\0';
		else if (quote == '\0' && (c == '"' || c == '\''))
			quote = c;
		else
			*(*to)++ = c;
	}
	return quote == '\0';
}

bool
command_line_split(char *command, char *argv[COMMAND_LINE_MAX_WORDS + 1],
				   char *errmsg, size_t errmsg_size)
{
	char	   *from = command;
	char	   *to = command;
	int			n = 0;

	for (;;)
	{
		bool		last;

		while (is_space(*from))
			from++;
		if (*from == '\0')
			break;
		if (n == COMMAND_LINE_MAX_WORDS)
			return fail(errmsg, errmsg_size, "the command has more than %d words",
						COMMAND_LINE_MAX_WORDS);
		argv[n++] = to;
		if (!take_word(&from, &to))
			return fail(errmsg, errmsg_size,
						"a quote or a backslash of the command is not closed");
		last = *from == '\0';
		if (!last)
			from++;				/* before its place is written to */
		*to++ = '\0';
		if (last)
			break;
	}
	argv[n] = NULL;
	if (n == 0 || argv[0][0] == '\0')
		return fail(errmsg, errmsg_size, "the command is empty");
	return true;
}
