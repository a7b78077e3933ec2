/*
 * reader.h
 *		The consumer's side of the queue: the sender's view of one stream.
 *
 * A reader walks the chain once, in order, and hands out every pending record;
 * the sender settles them in any order with queue_reader_settle.  A run whose
 * transaction has not ended yet is deferred, so that one stuck backend does
 * not block the stream, and read when it commits.  A page is freed when the
 * reader has left it and everything it handed out of it is settled.
 *
 * Everything that must survive the sender is in the chain: a new reader starts
 * at its head and hands out the records that are not settled.  Everything here
 * is local to the sender's process.
 */
#ifndef FIREHOSE_QUEUE_READER_H
#define FIREHOSE_QUEUE_READER_H

#include "lib/ilist.h"
#include "queue/layout.h"

/* A place in the chain. */
typedef struct QueuePlace
{
	QueuePageNo page;
	uint32		offset;
} QueuePlace;

/* A record that was handed out. */
typedef struct ClaimedRecord
{
	QueuePlace	place;			/* of its header */
	QueuePosition position;		/* the same, as a position */
	uint64		id;
	TimestampTz queued_at;
	uint32		length;
	uint16		attempts;
	uint8		kind;			/* QueueItemKind */
	/* the holder's own, 0 at first: see sender/group.h */
	uint16		refused;		/* how often Firehose refused it, and no other
								 * with it in a Firehose record */
	uint32		group;			/* so many, it and those behind it, were sent
								 * as one Firehose record */
	CommitRef origin;			/* if the kind has one, else not set */
} ClaimedRecord;

typedef struct QueueReader
{
	Queue	   *q;
	QueueStream *stream;
	QueuePlace	at;				/* page QUEUE_NO_PAGE: the chain was empty */
	QueuePosition position;
	/* handed out, those included that an earlier reader has settled */
	uint64		read_records;
	uint64		read_bytes;
	MemoryContext context;		/* of what the reader allocates */
	/* told of each record settled that has an origin; set by the sender */
	void		(*on_settled) (const CommitRef *origin);
	dlist_head	deferred;		/* runs deferred, in order */
	uint32	   *outstanding;	/* by page: records handed out and not settled,
								 * and deferred runs; one array for all readers
								 * of a sender, Queue.npages long */
} QueueReader;

/*
 * Start at the head of the stream's chain.  Allocates in the current memory
 * context.
 */
extern PGDLLEXPORT void queue_reader_init(QueueReader *r, Queue *q, QueueStream *s,
										  uint32 *outstanding);

/* Hand out the next record that is pending; false: none now. */
extern PGDLLEXPORT bool queue_reader_next(QueueReader *r, ClaimedRecord *claimed);

/* Is there anything published, or deferred, that was not handed out? */
extern PGDLLEXPORT bool queue_reader_has_more(QueueReader *r);

/* Are there runs deferred? */
extern PGDLLEXPORT bool queue_reader_has_deferred(QueueReader *r);

/*
 * Everything published before this position was handed out.  Runs that are
 * still pending do not count, they were not published.
 */
extern PGDLLEXPORT QueuePosition queue_reader_read_upto(QueueReader *r);

/*
 * The record's outcome is settled: it is not pending any more, and counted as
 * finished.
 */
extern PGDLLEXPORT void queue_reader_settle(QueueReader *r, const ClaimedRecord *claimed);

/*
 * Serve those that wait for the pages that this process has freed, by settling
 * and by reading on.  To be called after either, and at its exit.
 */
extern PGDLLEXPORT void queue_reader_serve_waiters(Queue *q);

/*
 * Ask for a wake-up (wake.h) when so many more records, or bytes of them, are
 * published than were handed out, or when the queue fills.
 */
extern PGDLLEXPORT void queue_reader_wake_at(QueueReader *r, uint64 records, uint64 bytes);

/* Count one more attempt in the chain, for a later reader. */
extern PGDLLEXPORT void queue_reader_count_attempt(QueueReader *r, ClaimedRecord *claimed);

/* Undo that: nothing of the record was sent. */
extern PGDLLEXPORT void queue_reader_uncount_attempt(QueueReader *r, ClaimedRecord *claimed);

/* The place of the record's payload. */
extern PGDLLEXPORT QueuePlace queue_reader_payload(QueueReader *r, const ClaimedRecord *claimed);

/* Does the record's payload end in a newline? */
extern PGDLLEXPORT bool queue_reader_ends_line(QueueReader *r, const ClaimedRecord *claimed);

#endif							/* FIREHOSE_QUEUE_READER_H */
