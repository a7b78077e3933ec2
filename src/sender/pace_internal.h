/*
 * pace_internal.h
 *		Shared by pace.c, pace_rate.c and pace_size.c.
 */
#ifndef FIREHOSE_SENDER_PACE_INTERNAL_H
#define FIREHOSE_SENDER_PACE_INTERNAL_H

#include "sender/pace.h"

#define SECOND				INT64_C(1000000)

/* The volume of a record besides its bytes: its frame in a request. */
#define RECORD_VOLUME		128

#define Min(a, b)			((a) < (b) ? (a) : (b))
#define Max(a, b)			((a) > (b) ? (a) : (b))

/* The volume of records, in the unit of the rate. */
static inline double
volume(int records, int64_t bytes)
{
	return (double) bytes + (double) records * RECORD_VOLUME;
}

/*
 * How large a request was, as a share of the largest there may be.  Records
 * that may be made smaller count by their bytes alone.
 */
static inline double
share_of(const Pace *p, const PaceRequest *request)
{
	double		by_records = (double) request->records / p->options.max_records;
	double		by_bytes = (double) request->bytes / (double) p->options.max_bytes;

	return Min(1, p->options.packs ? by_bytes : Max(by_records, by_bytes));
}

/*
 * pace_size.c: a request was accepted, so that more and larger ones may
 * follow; requests of this size, or so many of them, were too much; they may
 * not grow beyond a size; size or number are others from now on.
 */
extern void pace_grow(Pace *p, const PaceRequest *request, int64_t now);
extern void pace_strike(Pace *p, const PaceRequest *request, int64_t now);
extern void pace_set_ceiling(Pace *p, double share, int64_t now);
extern void pace_size_changed(Pace *p, int64_t now);
extern double pace_least_share(const Pace *p);

/*
 * pace_rate.c: count what a response accepted and refused; some or all of it
 * was refused for lack of quota; judge the rate when it is time to.
 */
extern void pace_rate_count(Pace *p, const PaceRequest *request, int accepted,
							int64_t accepted_bytes, int throttled);
extern void pace_rate_refused(Pace *p, const PaceRequest *request, int accepted,
							  int64_t now);
extern void pace_rate_judge(Pace *p, const PaceRequest *request, int64_t now);

/* pace_rate.c: something was accepted; a request failed. */
extern void pace_rate_mark_alive(Pace *p, int64_t now);
extern void pace_rate_mark_failed(Pace *p);

#endif							/* FIREHOSE_SENDER_PACE_INTERNAL_H */
