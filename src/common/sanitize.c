/*
 * sanitize.c
 *		Text from elsewhere, made valid in this database's encoding.  Any
 *		process that is connected to a database.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "common/sanitize.h"

void
sanitize_text(char *s, int len)
{
	if (pg_verifymbstr(s, len, true))
		return;

	for (int i = 0; i < len; i++)
	{
		if (s[i] == '\0' || IS_HIGHBIT_SET(s[i]))
			s[i] = '?';
	}
}
