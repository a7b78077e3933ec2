/*
 * model.h
 *		A simple reference for the queue: lists of runs and records, what their
 *		reader must hand out next, and what the accounts must say.
 *
 * The model mirrors every operation; a difference is an error that names the
 * seed and the step.  Nothing here knows how the queue stores anything, except
 * that a stream is one stream of bytes cut into pages.
 */
#ifndef QUEUE_MODEL_H
#define QUEUE_MODEL_H

#include "lib/ilist.h"
#include "nodes/pg_list.h"
#include "queue/chain.h"
#include "queue/pool.h"
#include "queue/queue.h"
#include "queue/reader.h"
#include "queue/reserve.h"

#define MODEL_STREAMS	6
#define MODEL_SENDERS	2		/* one per database */

typedef struct ModelRecord
{
	uint64		id;
	uint32		length;
	uint32		attempts;
	QueuePosition position;		/* of its header */
	bool		handed_out;		/* in this life of the reader */
	bool		settled;
} ModelRecord;

typedef struct ModelRun
{
	dlist_node	node;
	QueueRunState state;
	pg_atomic_uint32 *flag;
	QueuePosition start;
	QueuePosition end;
	/* its records tell what is pending, not its state */
	bool		visited;
	bool		deferred;		/* deferred by the reader */
	int			nrecords;
	/* when deferred: first that was not handed out */
	int			next;
	ModelRecord *records;
} ModelRun;

/* A record that was handed out. */
typedef struct ModelClaimed
{
	ClaimedRecord	claimed;
	ModelRecord *record;
	ModelRun   *run;
} ModelClaimed;

typedef struct ModelStream
{
	Oid			dboid;
	Oid			serverid;		/* InvalidOid: not claimed */
	QueueStream *queue_stream;
	uint32		generation;
	bool		dropped;
	uint64		reserved;
	int			pending;		/* runs */
	dlist_head	runs;			/* in the order they were appended */
	QueuePosition end;

	/* the reader, if its sender is alive */
	QueueReader *reader;
	ModelRun   *last;			/* the last run it has walked over */
	ModelRun   *in;				/* the run it is in, or NULL */
	int			in_next;		/* its next record there */
	bool		drained;		/* it said that there is nothing more */
	List	   *deferred;		/* of ModelRun */
	List	   *claimed;			/* of ModelClaimed */
} ModelStream;

typedef struct ModelSender
{
	Oid			dboid;
	bool		alive;
	MemoryContext context;
	uint32	   *outstanding;
} ModelSender;

typedef struct Model
{
	uint64		seed;
	int			step;
	Queue	   *q;
	ModelStream streams[MODEL_STREAMS];
	ModelSender senders[MODEL_SENDERS];
} Model;

#define MISMATCH(m, ...) \
	do { \
		char	   *what_ = psprintf(__VA_ARGS__); \
		elog(ERROR, "seed " UINT64_FORMAT ", step %d: %s", (m)->seed, (m)->step, what_); \
	} while (0)

/* The payload of a record: words that look like ids nearby. */
extern void model_fill_payload(uint64 id, char *payload, uint32 length);

extern ModelStream *model_stream_of(Model *m, QueueStream *queue_stream);

/* Would a reservation be granted? */
extern bool model_may_reserve(const Model *m, const ModelStream *s, Size bytes);

/* A run that was appended; records without positions, which are given here. */
extern ModelRun *model_append(ModelStream *s, ModelRecord *records, int n,
							  pg_atomic_uint32 *flag);

/* What the reader must hand out now; NULL: nothing.  Moves on. */
extern ModelRecord *model_next(ModelStream *s, ModelRun **run);

/* Is there an aborted run that was deferred, and not yet looked at again? */
extern bool model_has_ended_deferred(const ModelStream *s);

extern void model_start_reader(ModelStream *s, QueueReader *reader);
extern void model_stop_reader(ModelStream *s);

/* Number of records that are published and not settled. */
extern uint64 model_pending(ModelStream *s);

/* Forget runs that are settled altogether. */
extern void model_prune(ModelStream *s);

/* Compare everything with the queue. */
extern void model_check_reservations(Model *m);
extern void model_check_stream(Model *m, ModelStream *s);

#endif							/* QUEUE_MODEL_H */
