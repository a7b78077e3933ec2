/*
 * sanitize.c
 *		Text from elsewhere, made valid in this database's encoding.  Any
 *		process that is connected to a database.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "common/sanitize.h"

/* ASCII without NUL is valid in every encoding that a database can have. */
static bool
is_ascii(const char *s, int len)
{
	uint64		bits = 0;
	int			i = 0;

	for (; i + (int) sizeof(bits) <= len; i += sizeof(bits))
	{
		uint64		chunk;

		memcpy(&chunk, s + i, sizeof(chunk));
		bits |= chunk;
	}
	for (; i < len; i++)
		bits |= (unsigned char) s[i];
	return (bits & UINT64CONST(0x8080808080808080)) == 0 && memchr(s, '\0', len) == NULL;
}

void
sanitize_text(char *s, int len)
{
	if (is_ascii(s, len) || pg_verifymbstr(s, len, true))
		return;

	for (int i = 0; i < len; i++)
	{
		if (s[i] == '\0' || IS_HIGHBIT_SET(s[i]))
			s[i] = '?';
	}
}
