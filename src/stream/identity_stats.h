/*
 * identity_stats.h
 *		Statistics of the identities that the senders have towards AWS.
 *
 * One entry per identity and database, in shared memory, of a fixed number.
 * The sender of the database is the one writer of its entries; a view reads
 * them.  Both hold stream_stats_lock(), exclusive and shared.  No entry holds
 * a secret: neither keys nor tokens.
 */
#ifndef FIREHOSE_STREAM_IDENTITY_STATS_H
#define FIREHOSE_STREAM_IDENTITY_STATS_H

#include "datatype/timestamp.h"

#define IDENTITY_ROLE_LEN		512
#define IDENTITY_TEXT_LEN		256
#define IDENTITY_ERROR_LEN		800

typedef enum IdentityState
{
	IDENTITY_FETCHING,			/* for the first time */
	IDENTITY_READY,
	IDENTITY_FAILED				/* there are no credentials */
} IdentityState;

typedef struct IdentityStats
{
	Oid			dboid;			/* InvalidOid: the entry is free */
	IdentityState state;
	char		role_arn[IDENTITY_ROLE_LEN];	/* "": the server's own */
	char		source[IDENTITY_TEXT_LEN];	/* the provider */
	char		principal[IDENTITY_TEXT_LEN];	/* "" if unknown */
	TimestampTz expires_at;		/* 0: not known to */
	TimestampTz fetched_at;		/* when they last changed, 0: never */
	int64		fetches;		/* how often they were found or fetched */
	int64		failures;		/* how often that failed */
	char		last_error[IDENTITY_ERROR_LEN]; /* names files and profiles */
	TimestampTz last_error_at;	/* 0: never */
} IdentityStats;

extern void identity_stats_shmem_request(void);
extern void identity_stats_shmem_startup(void);

/*
 * Sender: give back the entries of this database, which its predecessor had.
 */
extern PGDLLEXPORT void identity_stats_clear(Oid dboid);

/* Sender: take an entry; -1 if all are taken, which the others stand. */
extern PGDLLEXPORT int identity_stats_take(Oid dboid);

/* Sender: give an entry of its own back. */
extern PGDLLEXPORT void identity_stats_release(int entry);

/* Sender: publish an identity in its entry. */
extern PGDLLEXPORT void identity_stats_publish(int entry, const IdentityStats *stats);

#endif							/* FIREHOSE_STREAM_IDENTITY_STATS_H */
