/*
 * durable_message.c
 *		The form of a durable put in the WAL.
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

/* Keeps this use of the nonce apart from any other. */
#define KEY_PURPOSE		"firehose durable put 1"

/* Where the tag's coverage begins. */
#define TAGGED			offsetof(DurableHeader, id)

/* This database's key, made once per process. */
static const SipHashKey *
message_key(void)
{
	static SipHashKey key;
	static bool made = false;
	pg_cryptohash_ctx *hash;
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	if (likely(made))
		return &key;

	hash = pg_cryptohash_create(PG_SHA256);
	if (hash == NULL ||
		pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) KEY_PURPOSE, sizeof(KEY_PURPOSE)) < 0 ||
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
	memcpy(&key, digest, sizeof(key));
	explicit_bzero(digest, sizeof(digest));
	made = true;
	return &key;
}

void
durable_message_make_key(void)
{
	(void) message_key();
}

void
durable_message_write(char *message, Size size, const DurableMessage *put, RecordShape shape)
{
	DurableHeader *header = (DurableHeader *) message;
	Size		name_size = strlen(put->stream) + 1;

	header->id = put->id;
	header->queued_at = put->queued_at;
	header->place = put->transactional ?
		U64FromFullTransactionId(GetTopFullTransactionId()) : GetXLogInsertRecPtr();
	header->serverid = put->serverid;
	header->version = DURABLE_MESSAGE_VERSION;
	header->transactional = put->transactional;
	memcpy(header->stream, put->stream, name_size);
	record_write_shaped(header->stream + name_size, &put->record, shape);
	header->tag = siphash(message_key(), message + TAGGED, size - TAGGED);
}

bool
durable_message_read(DurableMessage *message, const char *content, Size length)
{
	DurableHeader header;
	const char *name = content + DURABLE_HEADER_SIZE;
	Size		name_length;

	if (length < DURABLE_HEADER_SIZE)
		return false;
	memcpy(&header, content, DURABLE_HEADER_SIZE);
	if (header.version != DURABLE_MESSAGE_VERSION ||
		header.tag != siphash(message_key(), content + TAGGED, length - TAGGED))
		return false;

	/* every message of a put passes this; the check is cheap */
	length -= DURABLE_HEADER_SIZE;
	name_length = strnlen(name, length);
	if (name_length == length || name_length == 0 || name_length >= NAMEDATALEN ||
		header.id == 0 || header.id > QUEUE_MAX_ID || !OidIsValid(header.serverid))
		return false;

	message->serverid = header.serverid;
	message->stream = name;
	message->id = header.id;
	message->queued_at = header.queued_at;
	message->transactional = header.transactional;
	message->place = header.place;
	message->record.data = name + name_length + 1;
	message->record.length = length - name_length - 1;
	return message->record.length <= QUEUE_MAX_RECORD;
}
