/*-------------------------------------------------------------------------
 *
 * timestamp.c
 *	  Times as AWS's services write them.
 *
 * Called by the readers of credentials that expire.  The days are counted here
 * because timegm() is not in POSIX of 2008.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>

#include "aws/timestamp.h"

/* Take exactly n digits off the text. */
static bool
take_digits(const char **pos, const char *end, int n, int *value)
{
	*value = 0;
	for (int i = 0; i < n; i++)
	{
		if (*pos == end || **pos < '0' || **pos > '9')
			return false;
		*value = *value * 10 + (*(*pos)++ - '0');
	}
	return true;
}

/* Take one character off the text if it is this one. */
static bool
take_char(const char **pos, const char *end, char c)
{
	if (*pos == end || **pos != c)
		return false;
	(*pos)++;
	return true;
}

/* Count the days from 1970-01-01; the algorithm is Howard Hinnant's. */
static int64_t
days_from_civil(int year, int month, int day)
{
	int			y = month <= 2 ? year - 1 : year;
	int			era = y / 400;
	int			yoe = y - era * 400;
	int			doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int			doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return (int64_t) era * 146097 + doe - 719468;
}

/* Read the zone as seconds east of Greenwich. */
static bool
take_zone(const char **pos, const char *end, int *seconds)
{
	bool		west;
	int			hours;
	int			minutes;

	*seconds = 0;
	if (*pos == end || take_char(pos, end, 'Z') || take_char(pos, end, 'z'))
		return true;
	if (**pos != '+' && **pos != '-')
		return false;
	west = *(*pos)++ == '-';
	if (!take_digits(pos, end, 2, &hours))
		return false;
	(void) take_char(pos, end, ':');
	if (!take_digits(pos, end, 2, &minutes) || hours > 14 || minutes > 59)
		return false;
	*seconds = (hours * 60 + minutes) * (west ? -60 : 60);
	return true;
}

bool
timestamp_parse(const char *text, size_t len, time_t *result)
{
	const char *pos = text;
	const char *end = text + len;
	int			year,
				month,
				day,
				hour,
				minute,
				second,
				zone;
	int64_t		seconds;

	if (!take_digits(&pos, end, 4, &year) || !take_char(&pos, end, '-') ||
		!take_digits(&pos, end, 2, &month) || !take_char(&pos, end, '-') ||
		!take_digits(&pos, end, 2, &day) ||
		!(take_char(&pos, end, 'T') || take_char(&pos, end, ' ')) ||
		!take_digits(&pos, end, 2, &hour) || !take_char(&pos, end, ':') ||
		!take_digits(&pos, end, 2, &minute) || !take_char(&pos, end, ':') ||
		!take_digits(&pos, end, 2, &second))
		return false;
	if (take_char(&pos, end, '.'))
	{
		while (pos < end && *pos >= '0' && *pos <= '9')
			pos++;
	}
	if (!take_zone(&pos, end, &zone) || pos != end)
		return false;
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 ||
		hour > 23 || minute > 59 || second > 60)
		return false;

	seconds = days_from_civil(year, month, day) * 86400 +
		hour * 3600 + minute * 60 + second - zone;
	*result = (time_t) seconds;
	return seconds >= 0 && (int64_t) *result == seconds;
}
