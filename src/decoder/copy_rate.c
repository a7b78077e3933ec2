/*
 * copy_rate.c
 *		The rate of copies; copy_rate.h says more.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "decoder/copy_rate.h"
#include "decoder/copy_table.h"

/* firehose.copy_rate; 0: no limit */
static int	copy_rate;

void
copy_rate_define_settings(void)
{
	DefineCustomIntVariable("firehose.copy_rate",
							"Sets how many rows per second a pipeline reads at most to copy tables.",
							"0: as many as it can.",
							&copy_rate, 0, 0, INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

int
copy_rate_rows(void)
{
	if (copy_rate == 0)
		return COPY_CHUNK_ROWS;
	return Max(1, Min(copy_rate / 10, COPY_CHUNK_ROWS));
}

long
copy_rate_pause(int rows)
{
	return copy_rate == 0 ? 0 : (long) ((int64) rows * 1000 / copy_rate);
}
