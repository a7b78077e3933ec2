/*-------------------------------------------------------------------------
 *
 * tap.h
 *	  Just enough TAP for stand-alone unit tests that prove can run.
 *
 * Include it in the one file of a test; main() ends with
 * "return done_testing();".
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_TAP_H
#define FIREHOSE_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

static int	tap_count;
static int	tap_failed;

/* Report one test; returns what it was told, so that details can follow. */
__attribute__((format(printf, 2, 3)))
static inline bool
ok(bool passed, const char *name,...)
{
	va_list		args;

	printf("%sok %d - ", passed ? "" : "not ", ++tap_count);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	putchar('\n');
	if (!passed)
		tap_failed++;
	return passed;
}

static inline bool
is_int(int64_t got, int64_t expected, const char *name)
{
	if (ok(got == expected, "%s", name))
		return true;
	printf("# got %lld, expected %lld\n",
		   (long long) got, (long long) expected);
	return false;
}

/* Compare texts, either of which may be NULL. */
static inline bool
is_str(const char *got, const char *expected, const char *name)
{
	bool		same = got == NULL || expected == NULL ? got == expected :
		strcmp(got, expected) == 0;

	if (ok(same, "%s", name))
		return true;
	printf("# got      \"%s\"\n# expected \"%s\"\n",
		   got ? got : "(null)", expected ? expected : "(null)");
	return false;
}

/* Compare a text of a given length. */
static inline bool
is_text(const char *got, size_t len, const char *expected, const char *name)
{
	if (ok(len == strlen(expected) &&
		   (len == 0 || memcmp(got, expected, len) == 0), "%s", name))
		return true;
	printf("# got      \"%.*s\"\n# expected \"%s\"\n",
		   (int) len, got ? got : "", expected);
	return false;
}

static inline int
done_testing(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed > 0;
}

#endif							/* FIREHOSE_TAP_H */
