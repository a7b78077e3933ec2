/*
 * clock.h
 *		The clock for deadlines and pauses, which never jumps and is the same
 *		in all processes of this machine.  Times that are shown or stored are
 *		GetCurrentTimestamp()'s.
 */
#ifndef FIREHOSE_COMMON_CLOCK_H
#define FIREHOSE_COMMON_CLOCK_H

#include "portability/instr_time.h"

static inline int64
clock_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

static inline int64
clock_ms(void)
{
	return clock_us() / 1000;
}

/* The sooner one of two times to sleep, where -1 is for ever. */
static inline long
clock_sooner(long a, long b)
{
	return a < 0 ? b : b < 0 ? a : Min(a, b);
}

#endif							/* FIREHOSE_COMMON_CLOCK_H */
