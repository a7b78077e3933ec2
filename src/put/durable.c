/*
 * durable.c
 *		Durable puts: records that go through the WAL instead of the queue.
 *
 * Runs in backends.  Which pipeline reads the messages is remembered until the
 * catalog of pipelines changes; every put checks that its slot is still there,
 * without a lock in the normal case.
 *
 * Locking: the first durable put of a transaction takes RowShareLock on
 * firehose_pipelines, to the transaction's end.  It conflicts with two
 * commands only: firehose_disable_durable_puts, which thereby waits until
 * everything that was put is committed or rolled back, and DROP EXTENSION.  It
 * is taken by the fast path, and rows of the table are changed under a lock
 * that does not conflict.  A prepared transaction keeps the lock, as any.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/slot.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "common/own_tables.h"
#include "pipeline/catalog.h"
#include "put/durable.h"
#include "put/durable_pending.h"
#include "wal/durable_message.h"
#include "workers/pipeline_table.h"

/* The number of ranges of ids remembered for durable_is_own_pending. */
#define MAX_RANGES		256

/* The pipeline that reads this database's messages. */
typedef struct DurablePipeline
{
	Oid			relid;			/* of the catalog */
	bool		current;		/* it has not changed since it was read */
	bool		known;			/* it has one, which the fields below are of */
	bool		slot_created;
	char		name[NAMEDATALEN];
	char		slot_name[NAMEDATALEN];
	ReplicationSlot *slot;		/* where it was last */
} DurablePipeline;

/* Consecutive ids, put by the current transaction at one level of nesting. */
typedef struct IdRange
{
	uint64		first;
	uint64		last;
	Oid			serverid;
	int			level;
} IdRange;

int			put_durability = PUT_DURABILITY_MEMORY;

static const struct config_enum_entry durability_values[] = {
	{"memory", PUT_DURABILITY_MEMORY, false},
	{"wal", PUT_DURABILITY_WAL, false},
	{NULL, 0, false}
};

static DurablePipeline reader;

/*
 * The current transaction: levels of nesting at which it took the lock, and
 * has put what waits for its commit (0: not yet, or rolled back), and the ids
 * that it put.
 */
static int	lock_level = 0;
static int	put_level = 0;
static IdRange ranges[MAX_RANGES];
static int	nranges = 0;
static bool forgot_ranges = false;

static void take_lock(void);
static void check_will_be_read(void);
static bool slot_is_good(const ReplicationSlot *slot);
static void report_unread(void);
static void remember_ids(Oid serverid, uint64 first, int n);
static void catalog_changed(Datum arg, Oid relid);
static void durable_xact_callback(XactEvent event, void *arg);
static void durable_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
									 SubTransactionId parentSubid, void *arg);

void
durable_define_settings(void)
{
	DefineCustomEnumVariable("firehose.put_durability",
							 "Sets how durable put records are.",
							 "memory: lost in a server crash; wal: survive a crash, "
							 "for which firehose_enable_durable_puts() is needed.",
							 &put_durability, PUT_DURABILITY_MEMORY, durability_values,
							 PGC_USERSET, 0, NULL, NULL, NULL);
}

void
durable_register_callbacks(void)
{
	RegisterXactCallback(durable_xact_callback, NULL);
	RegisterSubXactCallback(durable_subxact_callback, NULL);
}

/* Putting ----------------------------------------------------------------- */

/*
 * Write a record that waits for no commit into the WAL; returns where it ends.
 * If others have written so much meanwhile that the decoder will refuse the
 * message, write it again.
 */
static XLogRecPtr
put_at_once(const DurableRecord *record, RecordShape shape)
{
	Size		size = DURABLE_HEADER_SIZE +
		durable_entry_size(record->stream, record_shaped_length(&record->bytes, shape));
	char	   *message = palloc(size);
	XLogRecPtr	end;

	durable_entry_write(message + DURABLE_HEADER_SIZE, record, true, shape);
	do
	{
		durable_message_seal(message, size, false);
		end = WriteLogicalMessage(DURABLE_MESSAGE_PREFIX, message, size, false);
	} while (unlikely(!durable_message_in_window(durable_message_place(message), end)));
	pfree(message);
	return end;
}

void
durable_put(const Stream *stream, uint64 first_id, const RecordBytes *records, int n,
			RecordShape shape, bool transactional)
{
	XLogRecPtr	end = InvalidXLogRecPtr;
	DurableRecord record = {
		.serverid = stream->serverid,
		.stream = stream->name,
		.queued_at = GetCurrentTimestamp(),
	};

	if (lock_level == 0)
		take_lock();
	check_will_be_read();
	if (transactional && put_level == 0)
		put_level = GetCurrentTransactionNestLevel();

	for (int i = 0; i < n; i++)
	{
		record.id = first_id + i;
		record.bytes = records[i];
		if (transactional)
			durable_pending_add(&record, shape);
		else
			end = put_at_once(&record, shape);
	}

	if (transactional)
		remember_ids(stream->serverid, first_id, n);
	else
	{
		/* a commit would not do it for a transaction without an xid */
		XLogFlush(end);
		pipeline_wake_decoders(MyDatabaseId);
	}
}

/* Will it be read? -------------------------------------------------------- */

static void
take_lock(void)
{
	Oid			relid = own_tables_table_oid(TABLE_PIPELINES);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed in database \"%s\"",
						"firehose", get_database_name(MyDatabaseId))));
	LockRelationOid(relid, RowShareLock);
	lock_level = GetCurrentTransactionNestLevel();
}

/* Look the pipeline up in the catalog, as of now. */
static void
find_reader(void)
{
	static bool registered = false;
	Relation	rel;
	PipelineRow *row;

	if (!registered)
		CacheRegisterRelcacheCallback(catalog_changed, (Datum) 0);
	registered = true;

	/* current from before the search, which may be told of a change */
	rel = pipeline_catalog_open(AccessShareLock);
	reader.relid = RelationGetRelid(rel);
	reader.current = true;
	row = pipeline_catalog_find_durable(rel);

	/*
	 * a pipeline that came with a dump, or a copy of another database, reads
	 * nothing here
	 */
	reader.known = row != NULL && !pipeline_row_is_detached(row);
	if (reader.known)
	{
		strlcpy(reader.name, pipeline_row_text(row, PIPELINE_NAME), NAMEDATALEN);
		strlcpy(reader.slot_name, pipeline_row_slot_name(row), NAMEDATALEN);
		reader.slot_created = DatumGetBool(row->values[PIPELINE_SLOT_CREATED]);
		reader.slot = SearchNamedReplicationSlot(reader.slot_name, true);
	}
	table_close(rel, AccessShareLock);
}

/* Relcache callback: the catalog, or any relation, has changed. */
static void
catalog_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == reader.relid)
		reader.current = false;
}

/*
 * Does this slot keep what is put for its pipeline?  Looked at without a lock:
 * it may be gone the next moment in any case.  It has to be persistent,
 * because transactions that run while a slot is being created are not decoded.
 */
static bool
slot_is_good(const ReplicationSlot *slot)
{
	const volatile ReplicationSlot *s = slot;

	return s != NULL && s->in_use &&
		s->data.database == MyDatabaseId &&
		s->data.persistency == RS_PERSISTENT &&
		!SlotIsInvalidated(s) &&
		strcmp(NameStr(slot->data.name), reader.slot_name) == 0;
}

/* Error unless a put of now will be read. */
static void
check_will_be_read(void)
{
	if (likely(reader.current && reader.known && slot_is_good(reader.slot)))
		return;

	/* look again, and thoroughly */
	find_reader();
	if (!reader.known || !slot_is_good(reader.slot))
		report_unread();
}

/*
 * Raise the error that says why no pipeline would read a durable put, and what
 * to do.
 */
static void
report_unread(void)
{
	if (!reader.known)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("durable puts are not enabled in database \"%s\"",
						get_database_name(MyDatabaseId)),
				 errdetail("With firehose.put_durability = wal a record goes through the WAL, and no pipeline reads such records from the WAL."),
				 errhint("Enable them with: SELECT firehose_enable_durable_puts();")));

	/* a slot that is being made is there already */
	if (!reader.slot_created && (reader.slot == NULL || !SlotIsInvalidated(reader.slot)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("durable puts are not ready yet in database \"%s\"",
						get_database_name(MyDatabaseId)),
				 errdetail("Their replication slot \"%s\" is being created, which waits for all older transactions to end.",
						   reader.slot_name),
				 errhint("Try again soon; firehose_stat_pipeline shows how far it is.")));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("replication slot \"%s\" of durable puts is lost", reader.slot_name),
			 errdetail("No pipeline reads the records that are put with firehose.put_durability = wal."),
			 errhint("To continue with a new slot, use: SELECT firehose_resume_pipeline(%s, from_now => true);",
					 quote_literal_cstr(reader.name))));
}

/*
 * The ids that the current transaction has put
 * ------------------------------------
 */

/* The oldest half of the ranges is forgotten when there are too many. */
static void
remember_ids(Oid serverid, uint64 first, int n)
{
	int			level = GetCurrentTransactionNestLevel();
	IdRange    *last = nranges > 0 ? &ranges[nranges - 1] : NULL;

	if (last != NULL && last->level == level && last->serverid == serverid &&
		last->last + 1 == first)
	{
		last->last += n;
		return;
	}
	if (nranges == MAX_RANGES)
	{
		nranges = MAX_RANGES / 2;
		memmove(ranges, ranges + MAX_RANGES - nranges, nranges * sizeof(IdRange));
		forgot_ranges = true;
	}
	ranges[nranges++] = (IdRange) {first, first + n - 1, serverid, level};
}

bool
durable_is_own_pending(uint64 id)
{
	for (int i = 0; i < nranges; i++)
	{
		if (id >= ranges[i].first && id <= ranges[i].last)
			return true;
	}
	return false;
}

bool
durable_has_put(void)
{
	return put_level > 0;
}

bool
durable_has_pending(Oid serverid)
{
	for (int i = 0; i < nranges; i++)
	{
		if (!OidIsValid(serverid) || ranges[i].serverid == serverid)
			return true;
	}
	return false;
}

void
durable_visit(PendingVisitor visit, void *arg)
{
	if (forgot_ranges)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("not all durable puts of the transaction are shown"),
				 errdetail("Only the last ones of a transaction of very many are remembered.")));
	for (int i = 0; i < nranges; i++)
	{
		for (uint64 id = ranges[i].first; id <= ranges[i].last; id++)
			visit(id, ranges[i].serverid, NULL, 0, arg);
	}
}

static void
durable_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			/* the slot may have been lost since the put */
			if (put_level > 0)
			{
				durable_pending_write();
				check_will_be_read();
			}
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			durable_pending_forget();
			lock_level = 0;
			put_level = 0;
			nranges = 0;
			forgot_ranges = false;
			break;
		default:
			break;
	}
}

/*
 * The puts of a subtransaction, and its lock, go to its parent or away.
 */
static void
durable_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						 SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_PRE_COMMIT_SUB)
		durable_pending_before_commit_sub(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		durable_pending_commit_sub(level);
		lock_level = Min(lock_level, level - 1);
		put_level = Min(put_level, level - 1);
		for (int i = nranges; i-- > 0 && ranges[i].level >= level;)
			ranges[i].level = level - 1;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		durable_pending_abort_sub(level);
		if (lock_level >= level)
			lock_level = 0;
		if (put_level >= level)
			put_level = 0;
		while (nranges > 0 && ranges[nranges - 1].level >= level)
			nranges--;
	}
}

/*
 * For processes that wait
 * ------------------------------------------------------
 */

/*
 * The end of what was inserted into the WAL.  The insert position itself lies
 * behind a page's header once the page before is full, where no record ends.
 */
static XLogRecPtr
end_of_wal(void)
{
	XLogRecPtr	at = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(at, wal_segment_size) == SizeOfXLogLongPHD)
		return at - SizeOfXLogLongPHD;
	if (at % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return at - SizeOfXLogShortPHD;
	return at;
}

/*
 * Does this pipeline read durable puts of a database, or of any?  Wants the
 * table's lock held.
 */
static bool
is_reader(const PipelineEntry *entry, Oid dboid)
{
	return entry->durable_puts && OidIsValid(entry->dboid) && !entry->dropped &&
		(!OidIsValid(dboid) || entry->dboid == dboid);
}

/*
 * For this database look into the catalog, because its sender may not have
 * updated the shared table yet.  The catalogs of others cannot be read, so
 * look into the shared table.
 */
bool
durable_is_anywhere(Oid dboid)
{
	bool		found = false;

	/* nothing is put in recovery, and no WAL can be flushed */
	if (RecoveryInProgress())
		return false;

	if (OidIsValid(own_tables_table_oid(TABLE_PIPELINES)))
	{
		find_reader();
		if (reader.known)
			return true;
	}
	if (dboid == MyDatabaseId)
		return false;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nentries && !found; i++)
		found = is_reader(&pipeline_table->entries[i], dboid);
	LWLockRelease(pipeline_table->lock);
	return found;
}

XLogRecPtr
durable_flush_wal(void)
{
	XLogRecPtr	end = end_of_wal();

	XLogFlush(end);
	return end;
}

bool
durable_has_read(Oid dboid, XLogRecPtr upto)
{
	bool		all = true;
	bool		own = false;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	for (int i = 0; i < pipeline_table->nentries; i++)
	{
		PipelineEntry *entry = &pipeline_table->entries[i];

		if (!is_reader(entry, dboid))
			continue;
		own |= entry->dboid == MyDatabaseId;
		if (pg_atomic_read_u64(&entry->read_lsn) < upto)
		{
			pipeline_wake_decoders(entry->dboid);
			all = false;
		}
	}
	LWLockRelease(pipeline_table->lock);

	/*
	 * after a start of the server the sender may not have filled the table yet
	 */
	return all && (own || !reader.known || !reader.current);
}
