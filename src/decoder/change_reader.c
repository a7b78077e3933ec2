/*
 * change_reader.c
 *		Turn pgoutput's messages into records.
 *
 * Decoder process only.  Everything here happens inside decoding, under a
 * historic snapshot: the system catalogs may be looked into, tables may not.
 * Tuples are read in place, since this is done for every column of every
 * change; core's functions read the messages that are rare.
 *
 * The message formats are those of the chapter "Logical Replication Message
 * Formats" of PostgreSQL's documentation, protocol version 1.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "replication/logicalproto.h"

#include "common/compat.h"
#include "decoder/change_reader.h"
#include "decoder/progress.h"
#include "decoder/table_cache.h"
#include "wal/durable_message.h"

/* Data of a dead letter, which code and message share the record with. */
#define MAX_DEAD_DATA	(QUEUE_MAX_RECORD - 1024)

struct ChangeReader
{
	const Pipeline *pipeline;
	ChangeBatch	   *batch;
	const WalReader *wal;
	BatchStream *main_stream;
	TableCache *tables;
	bool		describes;		/* sends descriptions of tables, too */

	/* the transaction that is being read */
	void		(*look) (const Event *event);	/* may be NULL */
	uint32		done_seq;		/* changes of it that an earlier decoder has
								 * sent */
	Event		event;			/* the fields that its events share */
};

ChangeReader *
change_reader_create(MemoryContext context, const Pipeline *pipeline, ChangeBatch *batch,
					 const EventSource *origin)
{
	ChangeReader *reader = MemoryContextAllocZero(context, sizeof(ChangeReader));

	reader->pipeline = pipeline;
	reader->batch = batch;
	reader->main_stream = batch->streams[batch->nstreams - 1];
	reader->event.origin = origin;
	reader->tables = table_cache_create(context, pipeline, batch);
	reader->describes = pipeline_describes(pipeline);
	return reader;
}

/* Its numbers go into the ids. */
static void
open_reader(const WalReader *wal, void *arg)
{
	ChangeReader *reader = arg;

	reader->wal = wal;
}

/* Transactions ------------------------------------------------------------ */

static void
begin_transaction(ChangeReader *reader, StringInfo message)
{
	LogicalRepBeginData begin;
	PipelineEntry *entry = reader->batch->pipeline;

	logicalrep_read_begin(message, &begin);
	reader->event.lsn = begin.final_lsn;
	reader->event.xid = begin.xid;
	reader->event.ts = begin.committime;
	reader->event.epoch = progress_epoch(begin.final_lsn);

	/*
	 * An earlier decoder may have ended in the middle of this one.  Under
	 * another definition it may have left out changes that are to be sent now:
	 * then begin again.
	 */
	reader->done_seq = pg_atomic_read_u64(&entry->part_lsn) == begin.final_lsn &&
		pg_atomic_read_u64(&entry->part_definition) == reader->batch->definition ?
		pg_atomic_read_u32(&entry->part_seq) : 0;
}

static void
commit_transaction(ChangeReader *reader, StringInfo message)
{
	LogicalRepCommitData commit;
	PipelineEntry *entry = reader->batch->pipeline;

	logicalrep_read_commit(message, &commit);
	reader->batch->commits_upto = commit.end_lsn;
	reader->batch->part_lsn = InvalidXLogRecPtr;
	reader->batch->part_seq = 0;
	pg_atomic_write_u64(&entry->last_commit_time, (uint64) commit.committime);
	pg_atomic_fetch_add_u64(&entry->transactions, 1);
	if (reader->batch->size >= OUTBOX_FULL)
		change_batch_flush(reader->batch);
}

/* Events ------------------------------------------------------------------ */

/*
 * Append `"schema":..,"table":..,"key":{..}`, without a key that is itself too
 * large or unwritable.
 */
static void
put_table_and_key(StringInfo out, const Event *event)
{
	EventRelation *rel = event->relation;
	int			before_key;

	appendStringInfo(out, ",\"schema\":%s,\"table\":%s", rel->schema_json, rel->table_json);
	if (!rel->has_key)
		return;
	before_key = out->len;
	json_trouble = JSON_NO_TROUBLE;
	appendStringInfoString(out, ",\"key\":{");
	(void) format_put_columns(out, event, event->op == EVENT_DELETE, true);
	appendStringInfoChar(out, '}');
	if (json_trouble != JSON_NO_TROUBLE || out->len > MAX_DEAD_DATA)
		out->len = before_key;
}

/*
 * Describe a change that cannot be sent, in place of its data unless that
 * fits.
 */
static void
add_dead(ChangeReader *reader, BatchStream *stream, const Event *event, const char *code,
		 const char *message, bool with_data)
{
	const Format *json = format_find("json");
	StringInfoData data;

	initStringInfo(&data);
	json_trouble = JSON_NO_TROUBLE;
	if (!with_data || json->append(&data, event, 0, &reader->pipeline->format_options) != FORMAT_OK ||
		data.len > MAX_DEAD_DATA)
	{
		resetStringInfo(&data);
		appendStringInfo(&data, "{\"lsn\":\"%X/%X\",\"seq\":%u", LSN_FORMAT_ARGS(event->lsn),
						 event->seq);
		if (event->relation != NULL)
			put_table_and_key(&data, event);
		appendStringInfoChar(&data, '}');
	}
	change_batch_add_dead(reader->batch, stream, event->lsn, code, message, data.data, data.len);
	pfree(data.data);
}

/* A value cannot be written, or makes the record too large. */
static void
add_troubled(ChangeReader *reader, BatchStream *stream, const Event *event)
{
	bool		too_large = json_trouble == JSON_TOO_LARGE;
	const char *what = "The logical message";
	char		message[2 * NAMEDATALEN + 128];

	if (format_trouble_column)
		what = psprintf("Column \"%s\"", format_trouble_column->name);
	if (too_large)
		snprintf(message, sizeof(message), "%s makes a record of more than 1,024,000 bytes.", what);
	else
		snprintf(message, sizeof(message), "%s has text that is not valid in encoding %s or has no equivalent in UTF-8.",
				 what, GetDatabaseEncodingName());
	add_dead(reader, stream, event, too_large ? "RecordTooLarge" : "invalid_text", message, false);
}

/*
 * Is it impossible to make a record of this event, as its table is defined?  A
 * delete that does not say which row is gone, or a key twice in a record.
 */
static bool
is_refused(ChangeReader *reader, BatchStream *stream, const Event *event, int part)
{
	const EventRelation *relation = event->relation;
	bool		names_old_row = event->op == EVENT_DELETE ||
		(event->old_row != NULL && event->old_is_key);
	const char *code;
	char	   *message;

	if (likely(relation == NULL ||
			   (relation->missing_key == NULL && relation->reserved_column == NULL)))
		return false;
	if (relation->reserved_column)
	{
		code = "reserved_column";
		message = psprintf("Column \"%s\" has the name of a key of format flat.",
						   relation->reserved_column);
	}
	else if (names_old_row)
	{
		code = "incomplete_key";
		message = psprintf("The key has generated columns, which are not in the WAL's change: %s.",
						   relation->missing_key);
	}
	else
		return false;
	if (part == 0)
		add_dead(reader, stream, event, code, message, relation->missing_key == NULL);
	return true;
}

/*
 * Send a description of an event's table before the event.  One that cannot be
 * written is left out: it would be the same whenever it is tried.
 */
static void
add_description(ChangeReader *reader, BatchStream *stream, const Event *event)
{
	StringInfo	out = change_batch_begin_record(reader->batch, stream);
	Event		description = *event;

	description.op = EVENT_SCHEMA;
	description.new_row = description.old_row = NULL;
	json_trouble = JSON_NO_TROUBLE;
	if (reader->pipeline->format->append(out, &description, 0,
										 &reader->pipeline->format_options) == FORMAT_OK)
		(void) change_batch_end_record(reader->batch, stream, event->lsn);
	else
		change_batch_cancel_record(reader->batch, stream);
}

/* Write one of the records that an event makes. */
static void
add_part(ChangeReader *reader, BatchStream *stream, const Event *event, int part)
{
	StringInfo	out;
#ifdef USE_ASSERT_CHECKING
	int			begin;
#endif

	if (unlikely(reader->describes) && event->relation &&
		table_cache_is_news(reader->tables, event->relation))
		add_description(reader, stream, event);
	out = change_batch_begin_record(reader->batch, stream);
#ifdef USE_ASSERT_CHECKING
	begin = out->len;
#endif
	json_trouble = JSON_NO_TROUBLE;
	format_trouble_column = NULL;
	switch (reader->pipeline->format->append(out, event, part,
											 &reader->pipeline->format_options))
	{
		case FORMAT_OK:
#ifdef USE_ASSERT_CHECKING
			Assert(pg_verify_mbstr_len(PG_UTF8, out->data + begin, out->len - begin, true) >= 0);
#endif
			if (!change_batch_end_record(reader->batch, stream, event->lsn))
				add_dead(reader, stream, event, "RecordTooLarge",
						 "The change makes a record of more than 1,024,000 bytes.", false);
			break;
		case FORMAT_NOTHING:
			change_batch_cancel_record(reader->batch, stream);
			break;
		case FORMAT_UNCHANGED_COLUMN:
			change_batch_cancel_record(reader->batch, stream);
			add_dead(reader, stream, event, "unchanged_column",
					 "A TOASTed column was left out of the WAL; set REPLICA IDENTITY FULL for the table.",
					 true);
			break;
		case FORMAT_TROUBLE:
			change_batch_cancel_record(reader->batch, stream);
			add_troubled(reader, stream, event);
			break;
	}
}

/* Send an event, as the records its format makes of it. */
static void
add_event(ChangeReader *reader, BatchStream *stream, Event *event)
{
	const Format *format = reader->pipeline->format;
	ChangeBatch	   *batch = reader->batch;
	int			parts = format->count ? format->count(event) : 1;

	for (int part = 0; part < parts; part++)
	{
		if (event->seq + part > reader->done_seq &&
			!is_refused(reader, stream, event, part))
			add_part(reader, stream, event, part);
	}

	batch->part_lsn = event->lsn;
	batch->part_seq = event->seq + parts - 1;
	batch->part_definition = batch->definition;
	if (batch->size >= OUTBOX_FULL)
		change_batch_flush(batch);
}

void
change_reader_add_row(ChangeReader *reader, Event *event)
{
	BatchStream *stream = table_cache_route(reader->tables, event->relation->schema,
											event->relation->table);

	event->origin = reader->event.origin;
	if (!is_refused(reader, stream, event, 0))
		add_part(reader, stream, event, 0);
}

void
change_reader_forget_rows(ChangeReader *reader)
{
	table_cache_tell_again(reader->tables);
}

void
change_reader_defer_rows(ChangeReader *reader, Oid relid)
{
	table_cache_tell_again_of(reader->tables, relid);
}

void
change_reader_trim(ChangeReader *reader)
{
	table_cache_trim(reader->tables);
}

void
change_reader_watch(ChangeReader *reader, void (*look) (const Event *event))
{
	reader->look = look;
}

/* Changes ----------------------------------------------------------------- */

/* The next n bytes of a message, as pq_getmsgbytes gives them, inline. */
static inline const char *
read_bytes(StringInfo message, int n)
{
	const char *bytes = message->data + message->cursor;

	if (unlikely(n < 0 || n > message->len - message->cursor))
		return pq_getmsgbytes(message, n);	/* raises the error that says what
											 * is wrong */
	message->cursor += n;
	return bytes;
}

static inline uint8
read_byte(StringInfo message)
{
	return *(const uint8 *) read_bytes(message, 1);
}

static inline uint16
read_int16(StringInfo message)
{
	uint16		value;

	memcpy(&value, read_bytes(message, sizeof(value)), sizeof(value));
	return pg_ntoh16(value);
}

static inline uint32
read_int32(StringInfo message)
{
	uint32		value;

	memcpy(&value, read_bytes(message, sizeof(value)), sizeof(value));
	return pg_ntoh32(value);
}

/* Read a tuple where it stands. */
static void
read_tuple(StringInfo message, EventValue *row, int natts)
{
	int			n = read_int16(message);

	if (n != natts)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a tuple has %d columns where its table has %d", n, natts)));
	for (int i = 0; i < n; i++)
	{
		EventValue *value = &row[i];

		switch (read_byte(message))
		{
			case LOGICALREP_COLUMN_TEXT:
				value->kind = EVENT_VALUE_TEXT;
				value->length = read_int32(message);
				value->v.text = read_bytes(message, value->length);
				break;
			case LOGICALREP_COLUMN_NULL:
				value->kind = EVENT_VALUE_NULL;
				break;
			case LOGICALREP_COLUMN_UNCHANGED:
				value->kind = EVENT_VALUE_UNCHANGED;
				break;
			default:
				ereport(ERROR,
						(errcode(ERRCODE_PROTOCOL_VIOLATION),
						 errmsg("a column came in a form that was not asked for")));
		}
	}
}

/* Insert, update or delete: 'K' or 'O' begins an old tuple, 'N' a new one. */
static void
take_change(ChangeReader *reader, StringInfo message, EventOp op)
{
	CachedTable *table = table_cache_get(reader->tables, read_int32(message));
	int			natts = table->described->natts;
	Event		event = reader->event;
	char		kind = read_byte(message);

	if (table->skipped)
		return;

	event.op = op;
	event.seq = reader->wal->seq;
	event.change_lsn = reader->wal->change_lsn;
	event.relation = table->relation;
	if (kind == 'K' || kind == 'O')
	{
		EventValue *row = table_cache_old_row(reader->tables);

		read_tuple(message, row, natts);
		event.old_row = row;
		event.old_is_key = kind == 'K';
		if (op == EVENT_UPDATE)
			kind = read_byte(message);
	}
	if (kind == 'N')
	{
		EventValue *row = table_cache_new_row(reader->tables);

		read_tuple(message, row, natts);
		event.new_row = row;
	}
	if (unlikely(reader->look != NULL))
		reader->look(&event);
	add_event(reader, table->stream, &event);
}

static void
take_truncate(ChangeReader *reader, StringInfo message)
{
	bool		cascade;
	bool		restart_identity;
	List	   *relids = logicalrep_read_truncate(message, &cascade, &restart_identity);
	ListCell   *lc;

	foreach(lc, relids)
	{
		CachedTable *table = table_cache_get(reader->tables, lfirst_oid(lc));
		Event		event = reader->event;

		if (table->skipped)
			continue;
		event.op = EVENT_TRUNCATE;
		event.seq = wal_reader_truncate_seq(reader->wal, lfirst_oid(lc));
		event.change_lsn = reader->wal->change_lsn;
		event.relation = table->relation;
		event.truncate_known = true;
		event.cascade = cascade;
		event.restart_identity = restart_identity;
		add_event(reader, table->stream, &event);
	}
	pg_atomic_fetch_add_u64(&reader->batch->pipeline->truncates, 1);
}

/* Logical messages -------------------------------------------------------- */

/* Is a logical message of this prefix to be sent?  Durable puts are not. */
static bool
wants_prefix(const char *prefix, void *arg)
{
	const ChangeReader *reader = arg;
	ListCell   *lc;

	if (strcmp(prefix, DURABLE_MESSAGE_PREFIX) == 0)
		return false;

	foreach(lc, reader->pipeline->message_prefixes)
	{
		if (strcmp(lfirst(lc), prefix) == 0)
			return true;
	}
	return false;
}

/*
 * A logical message.  One that is not transactional stands outside of any
 * transaction: it is a commit of its own, at its LSN.
 */
static void
take_logical_message(ChangeReader *reader, StringInfo message)
{
	Event		event = reader->event;
	uint8		flags = pq_getmsgbyte(message);
	XLogRecPtr	lsn = pq_getmsgint64(message);
	const char *prefix = pq_getmsgstring(message);
	int			length = pq_getmsgint(message, 4);
	const char *content = pq_getmsgbytes(message, length);
	bool		transactional = (flags & 1) != 0;

	if (!transactional &&
		lsn <= pg_atomic_read_u64(&reader->batch->pipeline->queued_upto))
		return;
	event.op = EVENT_MESSAGE;
	event.prefix = prefix;
	event.content = content;
	event.content_len = length;
	event.transactional = transactional;
	event.seq = reader->wal->seq;
	event.change_lsn = reader->wal->change_lsn;
	if (transactional)
		add_event(reader, reader->main_stream, &event);
	else
	{
		/* of the message, not of its end, where a commit may begin */
		event.lsn = wal_reader_done(reader->wal);
		event.seq = 1;
		event.xid = InvalidTransactionId;
		event.ts = 0;
		event.epoch = progress_epoch(event.lsn);
		add_part(reader, reader->main_stream, &event, 0);
		/* the WAL before it was read, and its commits are in the batch */
		reader->batch->commits_upto = Max(reader->batch->commits_upto, lsn);
	}
	pg_atomic_fetch_add_u64(&reader->batch->pipeline->messages, 1);
}

/* Take one of pgoutput's messages. */
static void
take_message(StringInfo message, void *arg)
{
	ChangeReader *reader = arg;
	PipelineEntry *entry = reader->batch->pipeline;
	char		type = pq_getmsgbyte(message);

	switch (type)
	{
		case LOGICAL_REP_MSG_INSERT:
			take_change(reader, message, EVENT_INSERT);
			pg_atomic_write_u64(&entry->inserts, pg_atomic_read_u64(&entry->inserts) + 1);
			break;
		case LOGICAL_REP_MSG_UPDATE:
			take_change(reader, message, EVENT_UPDATE);
			pg_atomic_write_u64(&entry->updates, pg_atomic_read_u64(&entry->updates) + 1);
			break;
		case LOGICAL_REP_MSG_DELETE:
			take_change(reader, message, EVENT_DELETE);
			pg_atomic_write_u64(&entry->deletes, pg_atomic_read_u64(&entry->deletes) + 1);
			break;
		case LOGICAL_REP_MSG_BEGIN:
			begin_transaction(reader, message);
			break;
		case LOGICAL_REP_MSG_COMMIT:
			commit_transaction(reader, message);
			break;
		case LOGICAL_REP_MSG_RELATION:
			table_cache_describe(reader->tables, message);
			break;
		case LOGICAL_REP_MSG_TRUNCATE:
			take_truncate(reader, message);
			break;
		case LOGICAL_REP_MSG_MESSAGE:
			take_logical_message(reader, message);
			break;
		case LOGICAL_REP_MSG_ORIGIN:
		case LOGICAL_REP_MSG_TYPE:
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("pgoutput sent a message of unknown type \"%c\"", type)));
	}
}

const WalConsumer change_reader_consumer = {
	.open = open_reader,
	.take = take_message,
	.wants_prefix = wants_prefix
};
