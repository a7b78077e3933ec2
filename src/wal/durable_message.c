/*
 * durable_message.c
 *		The form of durable puts in the WAL.
 *
 * Written by backends, read by the decoder of the database's durable pipeline.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"

#include "common/siphash.h"
#include "queue/queue.h"
#include "wal/durable_message.h"

/* Keep these uses of the nonce apart from each other, and from any other. */
#define KEY_PURPOSE			"firehose durable put 2"
#define KEY_PURPOSE_SINGLE	"firehose durable put 1"

/* Where the tag's coverage begins, in either form. */
#define TAGGED			sizeof(uint64)

/* Before the bytes of each record, and before those of its stream. */
typedef struct EntryHead
{
	uint64		id;
	TimestampTz queued_at;
	uint32		length;			/* of the record */
	uint32		serverid;		/* InvalidOid: as the entry before */
} EntryHead;

/*
 * The first form, which is read and no longer written: a message for each
 * record, whose bytes follow the stream's name and NUL.
 */
typedef struct SingleHeader
{
	uint64		tag;
	uint64		id;
	TimestampTz queued_at;
	uint64		place;
	Oid			serverid;
	uint8		version;		/* 1 */
	bool		transactional;
} SingleHeader;

#define SINGLE_HEADER_SIZE	(offsetof(SingleHeader, transactional) + sizeof(bool))

/* Keys ------------------------------------------------------------------- */

/* Make a key of this database. */
static void
make_key(SipHashKey *key, const char *purpose)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	if (hash == NULL ||
		pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) purpose, strlen(purpose) + 1) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) &MyDatabaseId, sizeof(MyDatabaseId)) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) GetMockAuthenticationNonce(),
							 MOCK_AUTH_NONCE_LEN) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
	{
		pg_cryptohash_free(hash);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not create the key of durable puts")));
	}
	pg_cryptohash_free(hash);
	memcpy(key, digest, sizeof(*key));
	explicit_bzero(digest, sizeof(digest));
}

/* This database's key of messages, or of those with one record each. */
static const SipHashKey *
message_key(bool single)
{
	static SipHashKey keys[2];
	static bool made = false;

	if (unlikely(!made))
	{
		make_key(&keys[false], KEY_PURPOSE);
		make_key(&keys[true], KEY_PURPOSE_SINGLE);
		made = true;
	}
	return &keys[single];
}

void
durable_message_make_keys(void)
{
	(void) message_key(false);
}

static uint64
tag_of(const char *message, Size size, bool single)
{
	return siphash(message_key(single), message + TAGGED, size - TAGGED);
}

/* Writing ---------------------------------------------------------------- */

Size
durable_entry_size(const char *stream, Size length)
{
	return sizeof(EntryHead) + (stream ? strlen(stream) + 1 : 0) + length;
}

char *
durable_entry_write(char *to, const DurableRecord *record, bool with_stream, RecordShape shape)
{
	Size		length = record_shaped_length(&record->bytes, shape);
	EntryHead	head = {
		.id = record->id,
		.queued_at = record->queued_at,
		.length = length,
		.serverid = with_stream ? record->serverid : InvalidOid,
	};

	memcpy(to, &head, sizeof(head));
	to += sizeof(head);
	if (with_stream)
	{
		Size		size = strlen(record->stream) + 1;

		memcpy(to, record->stream, size);
		to += size;
	}
	record_write_shaped(to, &record->bytes, shape);
	return to + length;
}

void
durable_message_seal(char *message, Size size, bool transactional)
{
	uint64		place = transactional ?
		U64FromFullTransactionId(GetTopFullTransactionId()) : GetXLogInsertRecPtr();
	uint64		tag;

	memcpy(message + offsetof(DurableHeader, place), &place, sizeof(place));
	message[offsetof(DurableHeader, transactional)] = transactional;
	tag = tag_of(message, size, false);
	memcpy(message, &tag, sizeof(tag));
}

uint64
durable_message_place(const char *message)
{
	uint64		place;

	memcpy(&place, message + offsetof(DurableHeader, place), sizeof(place));
	return place;
}

/* Reading ---------------------------------------------------------------- */

/* Has a message's beginning the tag of all the rest? */
static bool
is_sealed(const char *content, Size length, bool single)
{
	uint64		tag;

	if (length < (single ? SINGLE_HEADER_SIZE : DURABLE_HEADER_SIZE))
		return false;
	memcpy(&tag, content, sizeof(tag));
	return tag == tag_of(content, length, single);
}

bool
durable_message_open(DurableMessage *message, const char *content, Size length)
{
	memset(message, 0, sizeof(*message));
	message->end = content + length;
	if (likely(is_sealed(content, length, false)))
	{
		message->place = durable_message_place(content);
		message->transactional = content[offsetof(DurableHeader, transactional)];
		message->at = content + DURABLE_HEADER_SIZE;
	}
	else if (is_sealed(content, length, true))
	{
		SingleHeader header;

		memcpy(&header, content, SINGLE_HEADER_SIZE);
		message->place = header.place;
		message->transactional = header.transactional;
		message->single = true;
		message->at = content;
	}
	else
		return false;
	return true;
}

/* Read the stream's name, which is where the message is at. */
static bool
read_stream(DurableMessage *message, Oid serverid)
{
	Size		left = message->end - message->at;
	Size		length = strnlen(message->at, left);

	if (length == left || length == 0 || length >= NAMEDATALEN || !OidIsValid(serverid))
		return false;
	message->serverid = serverid;
	message->stream = message->at;
	message->at += length + 1;
	return true;
}

/* The one record of a message of the first form. */
static bool
read_single(DurableMessage *message, DurableRecord *record)
{
	SingleHeader header;

	memcpy(&header, message->at, SINGLE_HEADER_SIZE);
	message->at += SINGLE_HEADER_SIZE;
	if (!read_stream(message, header.serverid))
		return false;
	record->id = header.id;
	record->queued_at = header.queued_at;
	record->bytes.length = message->end - message->at;
	return true;
}

static bool
read_entry(DurableMessage *message, DurableRecord *record)
{
	EntryHead	head;

	if ((Size) (message->end - message->at) < sizeof(head))
		return false;
	memcpy(&head, message->at, sizeof(head));
	message->at += sizeof(head);
	if (OidIsValid(head.serverid) && !read_stream(message, head.serverid))
		return false;
	record->id = head.id;
	record->queued_at = head.queued_at;
	record->bytes.length = head.length;
	return true;
}

/*
 * Every message that passed as a put's is as it should be; the checks are
 * cheap.
 */
bool
durable_message_next(DurableMessage *message, DurableRecord *record)
{
	if (message->at == message->end ||
		!(message->single ? read_single(message, record) : read_entry(message, record)))
		return false;
	if (record->id == 0 || record->id > QUEUE_MAX_ID || message->stream == NULL ||
		record->bytes.length > QUEUE_MAX_RECORD ||
		record->bytes.length > (Size) (message->end - message->at))
		return false;
	record->serverid = message->serverid;
	record->stream = message->stream;
	record->bytes.data = message->at;
	message->at += record->bytes.length;
	return true;
}
