/*
 * simulation.h
 *		The parts that one process plays on the queue under test: producers,
 *		consumers, and processes that stand in line.
 *
 * Each operation is done on the queue and on the model; a difference is an
 * error.
 */
#ifndef QUEUE_SIMULATION_H
#define QUEUE_SIMULATION_H

#include "common/pg_prng.h"

#include "model.h"

#define MAX_PAGES		96
#define TRANSACTIONS	8
#define LONERS			8		/* join one by one; the rest is a crowd */
#define WAITERS			40
#define SERVED_AT_ONCE	16		/* WAKE_AT_ONCE of reserve.c */

/* A process that stands in a line; its proc number is its place here. */
typedef struct Waiter
{
	ModelStream *stream;		/* NULL: it does not */
	ModelStream *served_by;		/* whose space it has, and gives back */
	Size		bytes;
	uint64		ticket;			/* order of arrival */
} Waiter;

/* A transaction's records for one stream, as put.c keeps them. */
typedef struct Part
{
	ModelStream *stream;		/* NULL: unused */
	char	   *buffer;
	Size		used;
	Size		reserved;
	ModelRecord *records;
	int			nrecords;
	ModelRun   *run;			/* once appended */
	uint64		nbytes;
} Part;

typedef struct Transaction
{
	bool		appended;
	Part		parts[MODEL_STREAMS];
} Transaction;

/* What happened, to see that the test tests something. */
typedef struct Tally
{
	int64		put;
	int64		full;
	int64		settled;
	int64		dropped;
	int64		restarts;
	int64		releases;
	int64		crowded;		/* found no place for a stream */
	int64		evicted;		/* without a reader */
	int64		asked;			/* whose reader gave the place up */
	int64		stale;
	int64		discarded;
	int64		waited;			/* stood in line */
	int64		served;			/* and got what they waited for */
	int64		crowds;			/* more at once than WAKE_AT_ONCE */
	int64		cancelled;		/* left before */
} Tally;

typedef struct Simulation
{
	Model		model;
	Tally		tally;
	Transaction transactions[TRANSACTIONS];
	Waiter		waiters[WAITERS];
	pg_prng_state prng;
	Oid			next_serverid;
	uint64		next_ticket;
} Simulation;

extern Simulation sim;

static inline uint32
below(uint32 n)
{
	return pg_prng_uint64_range(&sim.prng, 0, n - 1);
}

static inline bool
chance(double probability)
{
	return pg_prng_double(&sim.prng) < probability;
}

/* lines.c: processes that wait for space */
extern Waiter *first_in_line(const ModelStream *s);
extern void note_served(void);
extern void check_lines(void);
extern void dismiss_line(ModelStream *s);
extern void join_or_leave(void);
extern void crowd_line(void);

/* streams.c: which come and go */
extern void note_evicted(void);
extern bool claim_stream(ModelStream *s);
extern void forget_stream(ModelStream *s);
extern void release_stream(ModelStream *s);
extern void discard_database(ModelSender *sender);

/* producers.c: transactions */
extern void put_some(Transaction *t);
extern void roll_back_part(Transaction *t);
extern void append_parts(Transaction *t);
extern void end_transaction(Transaction *t, bool commit);

/* consumers.c: senders */
extern ModelSender *sender_of(const ModelStream *s);
extern QueueReader *make_reader(ModelStream *s);
extern void start_sender(ModelSender *sender);
extern void stop_sender(ModelSender *sender);
extern bool take_record(ModelStream *s);
extern void settle_record(ModelStream *s);
extern void consume_some(ModelStream *s);

#endif							/* QUEUE_SIMULATION_H */
