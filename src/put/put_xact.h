/*
 * put_xact.h
 *		The runs of records that the current transaction has put and not yet
 *		published.
 */
#ifndef FIREHOSE_PUT_XACT_H
#define FIREHOSE_PUT_XACT_H

#include "put/durable.h"
#include "queue/layout.h"
#include "queue/run_builder.h"

/* The state of a run when a subtransaction began to put. */
typedef struct RunMark
{
	int			level;			/* of the subtransaction */
	Size		used;
	RunTotals	totals;
} RunMark;

typedef struct PendingRun
{
	QueueStream *queue_stream;
	/* records, as QUEUE_RECORD_SPACE lays them out */
	char	   *buffer;
	Size		used;
	Size		allocated;
	Size		reserved;		/* in the queue, for header and records */
	RunTotals	totals;
	RunMark    *marks;
	int			nmarks;
	int			max_marks;
	pg_atomic_uint32 *published;	/* the run's flag, once appended */
} PendingRun;

extern void put_xact_register_callbacks(void);

/* Is the transaction past the point where records can be put? */
extern bool put_xact_is_committing(void);

/* The transaction's run for a stream, or NULL. */
extern PendingRun *put_xact_find_run(QueueStream *queue_stream);

/* Bytes that the transaction has reserved in the queue, in all streams. */
extern Size put_xact_reserved(void);

/* Make sure that put_xact_add_run has an entry to give.  May fail. */
extern void put_xact_prepare_run(void);

/*
 * Begin a run.  Cannot fail: the caller has reserved room for it already, and
 * has called put_xact_prepare_run.
 */
extern PendingRun *put_xact_add_run(QueueStream *queue_stream);

/* Have `space` more bytes in the run's buffer. */
extern void put_run_enlarge(PendingRun *run, Size space);

/* Remember where the current subtransaction began to put. */
extern void put_run_mark(PendingRun *run);

/* Append a run to its stream.  Its reservation is used up. */
extern void put_run_append(PendingRun *run);

/*
 * A transaction, or an immediate put, counts on this stream no longer.  If the
 * stream is gone, and perhaps its sender with it, have what is left cleared.
 */
extern void put_note_end(QueueStream *queue_stream);

/* Is this id in the current transaction's buffers, not yet published? */
extern bool put_xact_is_own_pending(uint64 id);

/*
 * Has the current transaction put anything, to a stream or (InvalidOid) to
 * any, that is sent when it commits?  What a savepoint took back is nothing.
 */
extern bool put_xact_has_pending(Oid serverid);

/*
 * Visit the records in the current transaction's buffers, each stream's in
 * their order.
 */
extern void put_xact_visit(PendingVisitor visit, void *arg);

#endif							/* FIREHOSE_PUT_XACT_H */
