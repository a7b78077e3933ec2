/*
 * durable_message.h
 *		A durable put as it lies in the WAL: the content of a logical message
 *		with the prefix "firehose".
 *
 *		DurableHeader, the stream's name, NUL | the record's bytes
 *
 * Anybody may write a logical message with any prefix: PostgreSQL leaves
 * pg_logical_emit_message to PUBLIC.  Without a guard that would put records
 * into streams on which the writer has no USAGE.  So a message carries a
 * keyed hash (SipHash-2-4) of all of it, and one whose hash does not fit was
 * not written by a put, and is not sent.
 *
 * The key is derived from the cluster's mock authentication nonce: 256 random
 * bits that initdb writes to pg_control and that no SQL function shows.  So it
 * needs no keeping: it is there before the first put, survives crashes, is the
 * same on every standby (a promoted one reads what its primary wrote), and is
 * in no table and no dump.  A tag tells nothing of the key, so consumers who
 * read messages of all prefixes cannot forge one; they could write again what
 * they have read, byte for byte, which is a duplicate like any other.
 */
#ifndef FIREHOSE_WAL_DURABLE_MESSAGE_H
#define FIREHOSE_WAL_DURABLE_MESSAGE_H

#include "datatype/timestamp.h"

#include "common/names.h"
#include "queue/record_shape.h"

#define DURABLE_MESSAGE_PREFIX	FIREHOSE_NAME
#define DURABLE_MESSAGE_VERSION 1

typedef struct DurableHeader
{
	uint64		tag;			/* of all that follows */
	uint64		id;				/* record id */
	TimestampTz queued_at;
	Oid			serverid;
	uint8		version;		/* DURABLE_MESSAGE_VERSION */
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
	RecordBytes record;
} DurableMessage;

/* Bytes of the message for a record of so many bytes, shaped. */
static inline Size
durable_message_size(Size name_length, Size record_length)
{
	return DURABLE_HEADER_SIZE + name_length + 1 + record_length;
}

/* Write a message of `size` bytes, which must be aligned. */
extern void durable_message_write(char *message, Size size, Oid serverid, const char *stream,
								  uint64 id, TimestampTz queued_at,
								  const RecordBytes *record, RecordShape shape);

/*
 * Make this process's key, in a transaction: durable_message_read, which is
 * called outside of any, needs it made.
 */
extern void durable_message_make_key(void);

/* Take a message to pieces; false: no put has written it. */
extern bool durable_message_read(DurableMessage *message, const char *content, Size length);

#endif							/* FIREHOSE_WAL_DURABLE_MESSAGE_H */
