/*
 * durable_message.h
 *		The form of a durable put in the WAL: the content of a logical message
 *		with the prefix "firehose".
 *
 *		DurableHeader, the stream's name, NUL | the record's bytes
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
 * read messages of all prefixes cannot forge one.
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
#define DURABLE_MESSAGE_VERSION 1

/*
 * So far behind DurableHeader.place a message ends that is not transactional.
 * Its own size is up to 1 MB, and others write while it is being written.
 */
#define DURABLE_MESSAGE_WINDOW	(2 * 1024 * 1024)

typedef struct DurableHeader
{
	uint64		tag;			/* of all that follows */
	uint64		id;				/* record id */
	TimestampTz queued_at;
	uint64		place;			/* FullTransactionId or XLogRecPtr, see above */
	Oid			serverid;
	uint8		version;		/* DURABLE_MESSAGE_VERSION */
	bool		transactional;
	char		stream[FLEXIBLE_ARRAY_MEMBER];
} DurableHeader;

#define DURABLE_HEADER_SIZE		offsetof(DurableHeader, stream)

/* A message taken to pieces, which stay where they are. */
typedef struct DurableMessage
{
	Oid			serverid;
	const char *stream;
	uint64		id;
	TimestampTz queued_at;
	bool		transactional;
	uint64		place;
	RecordBytes record;
} DurableMessage;

/* Bytes of the message for a record of so many bytes, shaped. */
static inline Size
durable_message_size(Size name_length, Size record_length)
{
	return DURABLE_HEADER_SIZE + name_length + 1 + record_length;
}

/*
 * Write a message of `size` bytes, which must be aligned, for the WAL as it is
 * now.  `put` tells all but the place, and the record's bytes before they are
 * shaped.
 */
extern void durable_message_write(char *message, Size size, const DurableMessage *put,
								  RecordShape shape);

/* Does a message that is not transactional lie where it belongs? */
static inline bool
durable_message_in_window(uint64 place, XLogRecPtr lsn)
{
	return lsn >= place && lsn - place <= DURABLE_MESSAGE_WINDOW;
}

/*
 * Make this process's key, in a transaction: durable_message_read, which is
 * called outside of any, needs it made.
 */
extern void durable_message_make_key(void);

/*
 * Take a message to pieces; false: no put has written it.  Whether it lies
 * where it belongs is for the caller to see.
 */
extern bool durable_message_read(DurableMessage *message, const char *content, Size length);

#endif							/* FIREHOSE_WAL_DURABLE_MESSAGE_H */
