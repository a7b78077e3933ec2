/*
 * copy_rate.c
 *		The rate of copies; copy_rate.h says more.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "decoder/chunks_in_flight.h"
#include "decoder/copy_rate.h"
#include "decoder/copy_table.h"

/*
 * So many bytes may wait to be sent beside requests under way when a chunk is
 * read: the next commit waits behind them.  Two chunks, so that the sender
 * does not run out of work while one is read.
 */
#define MAY_WAIT		(2 * OUTBOX_FULL)

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

bool
copy_rate_has_turn(const ChangeBatch *batch)
{
	uint64		waiting = change_batch_waiting(batch);

	/* beside a stream that has a long line itself, it has a share of that */
	return !chunks_in_flight_full() &&
		(waiting < MAY_WAIT || chunks_in_flight_bytes() < waiting / 4);
}
