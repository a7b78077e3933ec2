/*
 * wal_reader.h
 *		Logical decoding in this process, on a slot of core's pgoutput: no
 *		walsender, no connection, no output plugin besides pgoutput.
 *
 * Decoder process only, outside any transaction, as a walsender does it.
 */
#ifndef FIREHOSE_WAL_WAL_READER_H
#define FIREHOSE_WAL_WAL_READER_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "replication/logical.h"

typedef struct WalReader WalReader;

/* A place in the WAL. */
typedef struct WalPlace
{
	XLogRecPtr	lsn;			/* of the record; Invalid: between records */
	bool		can_be_skipped; /* it is a commit, or else stands for itself */
	/* whose change it was; empty: none's */
	char		table[NAMEDATALEN + 32];
} WalPlace;

/* The record that is being decoded, for the decoder after a crash. */
typedef struct WalMark
{
	XLogRecPtr	lsn;			/* Invalid: none */
	uint64		can_be_skipped;
} WalMark;

/*
 * The consumer of decoded messages: those that pgoutput writes (take), or
 * transactions with nothing but their logical messages as they lie in the WAL
 * (begin, commit, logical_message), for which pgoutput is not asked at all.
 * All of it is called inside decoding: under a historic snapshot but for what
 * comes outside of transactions, logical messages that are not transactional.
 */
typedef struct WalConsumer
{
	/* The reader is about to read; before all other calls.  May be NULL. */
	void		(*open) (const WalReader *reader, void *arg);

	void		(*take) (StringInfo message, void *arg);

	void		(*begin) (const ReorderBufferTXN *txn, void *arg);
	void		(*commit) (const ReorderBufferTXN *txn, void *arg);
	void		(*logical_message) (XLogRecPtr lsn, bool transactional,
									const char *content, Size length, void *arg);

	/*
	 * Is a logical message of this prefix wanted?  Asked before it is copied.
	 */
	bool		(*wants_prefix) (const char *prefix, void *arg);
} WalConsumer;

struct WalReader
{
	LogicalDecodingContext *decoding;
	MemoryContext context;		/* of the decoding context: deleting it ends
								 * pgoutput's caches, too */
	MemoryContext message_context;	/* reset after each message */
	XLogRecPtr	limit;			/* WAL up to here could be read at the last look */
	XLogRecPtr	stop_at;		/* go no further for now; Invalid: as far as
								 * it goes.  The end of a record. */
	const WalConsumer *consumer;
	void	   *arg;			/* of the consumer */
	bool		in_record;		/* a record of the WAL is being decoded */
	volatile WalMark *mark;		/* says which; NULL: not wanted */
	const XLogRecPtr *skips;	/* commits here are left out */
	int			nskips;
	Relation	relation;		/* whose change pgoutput is given */
	char		failed_table[NAMEDATALEN + 32];

	/*
	 * The place in its transaction of the change that is being decoded, from
	 * 1: every change in the WAL takes one, sent or not, and an update with
	 * its old row two.  (Of a truncate: of its first table.)
	 */
	uint32		seq;
	XLogRecPtr	change_lsn;		/* of that change's record */
	const Oid  *truncated;		/* the tables of a truncate, as in the WAL */
	int			ntruncated;

	/*
	 * Called, outside of decoding, before anything is decoded that a start of
	 * the server has made possible: at the record of the checkpoint or end of
	 * recovery that such a start begins behind.  May be NULL.
	 */
	void		(*on_server_start) (XLogRecPtr lsn);
	List	   *publications;	/* OIDs of those that pgoutput is to send */
	OutputPluginCallbacks plugin;	/* pgoutput's own */
};

/*
 * Create a slot and wait until it can be read from: for every transaction that
 * runs now to end.  Core waits for them; only SIGTERM as `die` ends that.
 */
extern void wal_reader_create_slot(const char *slot_name, bool failover);

/*
 * Acquire the slot and begin to read: commits before `start` are not decoded,
 * wherever the slot was confirmed to.  Options are DefElems for pgoutput.
 */
extern WalReader *wal_reader_open(const char *slot_name, XLogRecPtr start, List *options,
								  const WalConsumer *consumer, void *arg);

/* Keep a mark of where it is. */
extern void wal_reader_set_mark(WalReader *reader, WalMark *mark);

/*
 * Have pgoutput send these publications, even if they were renamed meanwhile.
 */
extern void wal_reader_follow(WalReader *reader, List *publications);

/*
 * Leave out the transactions that commit at these positions: they are not even
 * decoded.
 */
extern void wal_reader_skip(WalReader *reader, const XLogRecPtr *commits, int n);

/* Decode one more record of the WAL; false when there is none yet. */
extern bool wal_reader_next(WalReader *reader);

/* How far the WAL was read. */
static inline XLogRecPtr
wal_reader_position(const WalReader *reader)
{
	return reader->decoding->reader->EndRecPtr;
}

/* Where it is, or (after an error) was; NULL has not begun. */
extern void wal_reader_place(const WalReader *reader, WalPlace *place);

/* Everything before this was decoded. */
static inline XLogRecPtr
wal_reader_done(const WalReader *reader)
{
	const XLogReaderState *state = reader->decoding->reader;

	return reader->in_record ? state->ReadRecPtr : state->EndRecPtr;
}

/* The place in the transaction of a table that is being truncated. */
extern uint32 wal_reader_truncate_seq(const WalReader *reader, Oid relid);

/* WAL up to here can be read. */
extern XLogRecPtr wal_reader_limit(void);

/*
 * Everything that ends at or before this is delivered, and need not be kept.
 */
extern void wal_reader_confirm(XLogRecPtr position);

/* Write what was confirmed to disk, so that a restart begins there. */
extern void wal_reader_save(void);

/*
 * Count as a process that decodes, or not; returns whether it did.  VACUUM
 * passes over one that does, and may remove what it sees: so not in a
 * transaction that reads tables.
 */
extern bool wal_reader_count_as_decoding(bool decoding);

#endif							/* FIREHOSE_WAL_WAL_READER_H */
