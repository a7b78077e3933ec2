/*
 * durable_message.h
 *		The form of durable puts in the WAL: the content of a logical message
 *		with the prefix "firehose".
 *
 *		DurableHeader, then for each record: an entry's head,
 *		if it goes elsewhere than the one before: the server's OID, the
 *		stream's name, NUL; and the record's bytes
 *
 * A message has records that one transaction put one after the other, or a
 * single one that is not transactional.  Nothing in it is aligned.
 *
 * Every role may write a logical message with any prefix: PostgreSQL leaves
 * pg_logical_emit_message to PUBLIC.  Without a guard that would put records
 * into streams on which the writer has no USAGE.  So a message carries a keyed
 * hash (SipHash-2-4) of all of it, and one whose hash does not fit was not
 * written by a put, and is not sent.
 *
 * The key is derived from the cluster's mock authentication nonce: 256 random
 * bits that initdb writes to pg_control and that no SQL function shows.  So it
 * needs no keeping: it is there before the first put, survives crashes, is the
 * same on every standby (a promoted one reads what its primary wrote), and is
 * in no table and no dump.  A tag tells nothing of the key, so consumers who
 * read messages of all prefixes cannot forge one.  Each form of messages has a
 * key of its own, so that the tag tells the form.
 *
 * Nor can they write again what they have read, byte for byte, perhaps after
 * their rights were revoked: the hash covers where in the WAL a message
 * belongs (DurableHeader.place).  One that is transactional belongs to one
 * top-level transaction, named by its id with the epoch.  One that is not
 * cannot know its LSN beforehand.  It names the end of the WAL before it, and
 * belongs in the DURABLE_MESSAGE_WINDOW bytes after that, once
 * (durable_reader.c).
 */
#ifndef FIREHOSE_WAL_DURABLE_MESSAGE_H
#define FIREHOSE_WAL_DURABLE_MESSAGE_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

#include "common/names.h"
#include "queue/record_shape.h"

#define DURABLE_MESSAGE_PREFIX	FIREHOSE_NAME

/*
 * So far behind DurableHeader.place a message ends that is not transactional.
 * Its own size is up to 1 MB, and others write while it is being written.
 */
#define DURABLE_MESSAGE_WINDOW	(2 * 1024 * 1024)

typedef struct DurableHeader
{
	uint64		tag;			/* of all that follows */
	uint64		place;			/* FullTransactionId or XLogRecPtr, see above */
	bool		transactional;
} DurableHeader;

#define DURABLE_HEADER_SIZE		(offsetof(DurableHeader, transactional) + sizeof(bool))

/* A record, and where it goes. */
typedef struct DurableRecord
{
	Oid			serverid;
	const char *stream;
	uint64		id;
	TimestampTz queued_at;
	RecordBytes bytes;
} DurableRecord;

/* A message that is being read; its records stay where they are. */
typedef struct DurableMessage
{
	bool		transactional;
	uint64		place;
	bool		single;			/* of the first form: one record, no entries */
	const char *at;				/* what is still to be read */
	const char *end;
	Oid			serverid;		/* of the record before */
	const char *stream;
} DurableMessage;

/*
 * Bytes of an entry for a record of so many bytes, shaped; without its stream
 * if that is the one of the entry before.
 */
extern Size durable_entry_size(const char *stream, Size length);

/* Write an entry; returns where it ends. */
extern char *durable_entry_write(char *to, const DurableRecord *record, bool with_stream,
								 RecordShape shape);

/*
 * Write the header of a message that is otherwise complete, for the WAL as it
 * is now.
 */
extern void durable_message_seal(char *message, Size size, bool transactional);

/* The place of a sealed message. */
extern uint64 durable_message_place(const char *message);

/* Does a message that is not transactional lie where it belongs? */
static inline bool
durable_message_in_window(uint64 place, XLogRecPtr lsn)
{
	return lsn >= place && lsn - place <= DURABLE_MESSAGE_WINDOW;
}

/*
 * Make this process's keys, in a transaction: durable_message_open, which is
 * called outside of any, needs them made.
 */
extern void durable_message_make_keys(void);

/*
 * Begin to read a message; false: no put has written it.  Whether it lies
 * where it belongs is for the caller to see.
 */
extern bool durable_message_open(DurableMessage *message, const char *content, Size length);

/* Read its next record; false: there is none. */
extern bool durable_message_next(DurableMessage *message, DurableRecord *record);

#endif							/* FIREHOSE_WAL_DURABLE_MESSAGE_H */
