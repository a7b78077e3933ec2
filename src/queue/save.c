/*
 * save.c
 *		Two small files in the data directory's pg_firehose:
 *
 *		queue	what was pending at a clean stop.  The postmaster's exit
 *				callback writes it, when every process is gone and the shutdown
 *				checkpoint is done (backends may commit until then); read back
 *				by the next postmaster before it has any child; removed by the
 *				launcher before it starts a sender.
 *		ids		a number above every record id given out.  Ids start at the
 *				clock (microseconds since 2000) or at this number, whichever is
 *				larger, so that neither a crash nor a clock set back makes an
 *				id return.
 *
 * A queue file is taken only by the cluster and timeline that wrote it: a
 * promoted standby or a restored copy of another time must not send what the
 * original has sent.  What is refused is kept aside, never deleted.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "common/file_perm.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "queue/pool.h"
#include "queue/queue.h"
#include "queue/save.h"

#define DIRECTORY			"pg_firehose"
#define QUEUE_FILE			DIRECTORY "/queue"
#define QUEUE_FILE_REFUSED	DIRECTORY "/queue.refused"
#define IDS_FILE			DIRECTORY "/ids"

#define QUEUE_FILE_MAGIC	0x46485131	/* "FHQ1" */
#define IDS_FILE_MAGIC		0x46484931	/* "FHI1" */

/* How many ids one note on disk is good for. */
#define ID_STEP				UINT64CONST(1000000000)

typedef struct QueueFileHeader
{
	uint32		magic;
	TimeLineID	timeline;
	uint64		system_identifier;
	uint64		nrecords;
} QueueFileHeader;

typedef struct QueueFileStream
{
	Oid			dboid;
	Oid			serverid;
	uint64		nrecords;		/* that follow */
	uint64		nbytes;			/* that they take, as in the queue */
	uint64		payload;		/* of that, payload */
	NameData	name;
} QueueFileStream;

typedef struct IdsFile
{
	uint32		magic;
	pg_crc32c	crc;			/* of what follows */
	uint64		limit;
} IdsFile;

/* A file being written, and its checksum so far. */
typedef struct OwnTableWriter
{
	FILE	   *file;
	pg_crc32c	crc;
	QueueFileStream stream;		/* being counted */
} OwnTableWriter;

static void start_ids(Queue *q);
static void load_queue(Queue *q);
static void save_at_exit(int code, Datum arg);

void
queue_save_startup(void)
{
	/*
	 * children of a postmaster that execs, and pg_upgrade's servers, have no
	 * part in this
	 */
	if (IsUnderPostmaster || IsBinaryUpgrade)
		return;

	start_ids(firehose_queue);
	load_queue(firehose_queue);
	on_shmem_exit(save_at_exit, (Datum) 0);
}

static bool
file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* Make the directory, durably, unless it is there. */
static bool
make_directory(int elevel)
{
	if (MakePGDirectory(DIRECTORY) == 0)
		return fsync_fname_ext(".", true, false, elevel) == 0;
	if (errno == EEXIST)
		return true;
	ereport(elevel,
			(errcode_for_file_access(),
			 errmsg("could not create directory \"%s\": %m", DIRECTORY)));
	return false;
}

/* Ids --------------------------------------------------------------------- */

/* Note durably that ids below `limit` may have been given out. */
static bool
write_ids(uint64 limit, int elevel)
{
	IdsFile		ids = {IDS_FILE_MAGIC, 0, limit};
	FILE	   *file;
	bool		written;

	INIT_CRC32C(ids.crc);
	COMP_CRC32C(ids.crc, &ids.limit, sizeof(ids.limit));
	FIN_CRC32C(ids.crc);

	if (!make_directory(elevel))
		return false;
	file = AllocateFile(IDS_FILE ".tmp", PG_BINARY_W);
	written = file != NULL && fwrite(&ids, sizeof(ids), 1, file) == 1;
	if (file != NULL && FreeFile(file) != 0)
		written = false;
	if (!written)
	{
		ereport(elevel,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", IDS_FILE ".tmp")));
		return false;
	}
	return durable_rename(IDS_FILE ".tmp", IDS_FILE, elevel) == 0;
}

/* The noted limit, 0 if there is none. */
static uint64
read_ids(void)
{
	IdsFile		ids;
	pg_crc32c	crc;
	FILE	   *file = AllocateFile(IDS_FILE, PG_BINARY_R);
	bool		valid;

	if (file == NULL)
		return 0;
	valid = fread(&ids, sizeof(ids), 1, file) == 1 && ids.magic == IDS_FILE_MAGIC;
	FreeFile(file);
	if (valid)
	{
		INIT_CRC32C(crc);
		COMP_CRC32C(crc, &ids.limit, sizeof(ids.limit));
		FIN_CRC32C(crc);
		valid = EQ_CRC32C(crc, ids.crc);
	}
	if (!valid)
		ereport(LOG,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("firehose: file \"%s\" is damaged; record ids start at the clock", IDS_FILE)));
	return valid ? ids.limit : 0;
}

static void
start_ids(Queue *q)
{
	/* a clock may also be set before 2000 */
	uint64		first = Max((uint64) Max(GetCurrentTimestamp(), 1), read_ids());

	pg_atomic_write_u64(&q->next_id, first);
	/*
	 * the first put notes a limit: a server that puts nothing writes nothing
	 */
	pg_atomic_write_u64(&q->id_limit, first);
}

void
queue_save_extend_ids(Queue *q, uint64 needed)
{
	LWLockAcquire(q->table_lock, LW_EXCLUSIVE);
	if (needed > pg_atomic_read_u64(&q->id_limit))
	{
		write_ids(needed + ID_STEP, ERROR);
		pg_atomic_write_u64(&q->id_limit, needed + ID_STEP);
	}
	LWLockRelease(q->table_lock);
}

/* Saving ------------------------------------------------------------------ */

static void
put_bytes(OwnTableWriter *w, const void *data, Size length)
{
	/* a failure shows in ferror at the end */
	(void) fwrite(data, 1, length, w->file);
	COMP_CRC32C(w->crc, data, length);
}

static bool
count_record(Queue *q, const QueueRecord *record, QueuePageNo page, uint32 offset, void *arg)
{
	QueueFileStream *stream = arg;

	/* what was read from the WAL is read again */
	if (QUEUE_ITEM_HAS_ORIGIN(record->kind))
		return true;
	stream->nrecords++;
	stream->nbytes += QUEUE_RECORD_SPACE(record->length);
	stream->payload += record->length;
	return true;
}

/* Copy a record as it lies in the queue. */
static bool
save_record(Queue *q, const QueueRecord *record, QueuePageNo page, uint32 offset, void *arg)
{
	static char buffer[QUEUE_RECORD_SPACE(QUEUE_MAX_RECORD)];
	Size		space = QUEUE_RECORD_SPACE(record->length);

	if (QUEUE_ITEM_HAS_ORIGIN(record->kind))
		return true;
	queue_read(q, &page, &offset, buffer, space);
	put_bytes(arg, buffer, space);
	return true;
}

static void
save_stream(Queue *q, QueueStream *s, OwnTableWriter *w)
{
	QueueFileStream header;

	memset(&header, 0, sizeof(header));
	header.dboid = s->dboid;
	header.serverid = s->serverid;
	header.name = s->name;
	queue_visit_pending(q, s, count_record, &header);
	if (header.nrecords == 0)
		return;
	put_bytes(w, &header, sizeof(header));
	queue_visit_pending(q, s, save_record, w);
}

static uint64
count_pending(Queue *q)
{
	QueueFileStream total = {0};

	for (int i = 0; i < q->max_streams; i++)
	{
		if (queue_stream(q, i)->in_use)
			queue_visit_pending(q, queue_stream(q, i), count_record, &total);
	}
	return total.nrecords;
}

static void
save_queue(Queue *q, const ControlFileData *control)
{
	QueueFileHeader header = {0};
	OwnTableWriter		w = {0};
	bool		written;

	header.magic = QUEUE_FILE_MAGIC;
	header.timeline = control->checkPointCopy.ThisTimeLineID;
	header.system_identifier = control->system_identifier;
	header.nrecords = count_pending(q);
	if (header.nrecords == 0 || !make_directory(LOG))
		return;

	INIT_CRC32C(w.crc);
	w.file = AllocateFile(QUEUE_FILE ".tmp", PG_BINARY_W);
	if (w.file != NULL)
	{
		put_bytes(&w, &header, sizeof(header));
		for (int i = 0; i < q->max_streams; i++)
		{
			if (queue_stream(q, i)->in_use)
				save_stream(q, queue_stream(q, i), &w);
		}
		FIN_CRC32C(w.crc);
		(void) fwrite(&w.crc, 1, sizeof(w.crc), w.file);
	}
	written = w.file != NULL && !ferror(w.file);
	if (w.file != NULL && FreeFile(w.file) != 0)
		written = false;

	if (!written)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("firehose: could not write file \"%s\", %llu records are lost: %m",
						QUEUE_FILE ".tmp", (unsigned long long) header.nrecords)));
	else if (durable_rename(QUEUE_FILE ".tmp", QUEUE_FILE, LOG) == 0)
		ereport(LOG,
				(errmsg("firehose: saved %llu queued records",
						(unsigned long long) header.nrecords)));
}

/*
 * The postmaster's last act.  Only after a clean stop: an immediate one may
 * have killed a backend in the middle of a change to the queue, and also ends
 * with code 0, but leaves no shutdown checkpoint.
 */
static void
save_at_exit(int code, Datum arg)
{
	ControlFileData *control;
	bool		crc_ok;

	if (code != 0 || firehose_queue == NULL)
		return;
	control = get_controlfile(DataDir, &crc_ok);
	if (!crc_ok || control->state != DB_SHUTDOWNED)
		return;

	save_queue(firehose_queue, control);
	if (pg_atomic_read_u64(&firehose_queue->id_limit) >
		pg_atomic_read_u64(&firehose_queue->next_id))
		write_ids(pg_atomic_read_u64(&firehose_queue->next_id), LOG);
}

/* Reading back ------------------------------------------------------------ */

/* A file in memory; `left` bytes from `at` on are still to be read. */
typedef struct Reader
{
	char	   *data;
	char	   *at;
	Size		left;
} Reader;

/* Read the file whole, NULL with a message if that cannot be. */
static char *
slurp(const char *path, Size *length)
{
	struct stat st;
	FILE	   *file = AllocateFile(path, PG_BINARY_R);
	char	   *data = NULL;

	if (file != NULL && fstat(fileno(file), &st) == 0)
	{
		data = MemoryContextAllocHuge(CurrentMemoryContext, st.st_size + 1);
		if (fread(data, 1, st.st_size, file) != (size_t) st.st_size)
		{
			pfree(data);
			data = NULL;
		}
		*length = st.st_size;
	}
	if (data == NULL)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("firehose: could not read file \"%s\": %m", path)));
	if (file != NULL)
		FreeFile(file);
	return data;
}

static bool
read_bytes(Reader *r, void *to, Size length)
{
	if (r->left < length)
		return false;
	memcpy(to, r->at, length);
	r->at += length;
	r->left -= length;
	return true;
}

/* Why this file is not to be taken, NULL if it is. */
static const char *
find_fault(Reader *r)
{
	pg_crc32c	crc;
	pg_crc32c	stored;

	if (r->left < sizeof(crc))
		return "it is cut short";
	r->left -= sizeof(crc);
	memcpy(&stored, r->at + r->left, sizeof(stored));
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, r->data, r->at + r->left - r->data);
	FIN_CRC32C(crc);
	if (!EQ_CRC32C(crc, stored))
		return "its checksum is wrong";
	return NULL;
}

static const char *
find_detachment(const QueueFileHeader *header)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);

	if (header->system_identifier != control->system_identifier)
		return "it was written by another cluster";
	if (header->timeline != control->checkPointCopy.ThisTimeLineID)
		return "it was written on another timeline";
	return NULL;
}

/* Put one stream's records into the queue, as one run.  False: no room. */
static bool
load_stream(Queue *q, const QueueFileStream *header, const char *records)
{
	uint32		generation;
	QueueStream *s = queue_claim_stream(q, header->dboid, header->serverid,
										NameStr(header->name), &generation);
	Size		space = sizeof(QueueRun) + header->nbytes;
	const QueueRecord *record = (const QueueRecord *) records;
	uint64		first_id = PG_UINT64_MAX;
	uint64		last_id = 0;
	pg_atomic_uint32 *run;

	/* shares depend on the order in which streams grew, which is not known */
	if (!queue_reserve_again(q, s, space))
		return false;
	for (uint64 i = 0; i < header->nrecords; i++)
	{
		first_id = Min(first_id, record->id);
		last_id = Max(last_id, record->id);
		record = (const QueueRecord *) ((const char *) record + QUEUE_RECORD_SPACE(record->length));
	}
	run = queue_append(q, s, records, header->nbytes, space, header->nrecords,
					   first_id, last_id);
	queue_publish(s, run, header->nrecords, header->payload);
	return true;
}

static const char *
load_streams(Queue *q, Reader *r)
{
	int			nstreams = 0;

	while (r->left > 0)
	{
		QueueFileStream header;

		if (!read_bytes(r, &header, sizeof(header)) || r->left < header.nbytes)
			return "it is inconsistent";
		if (++nstreams > q->max_streams)
			return "firehose.max_streams is too small for it";
		if (!load_stream(q, &header, r->at))
			return "firehose.queue_size is too small for it";
		r->at += header.nbytes;
		r->left -= header.nbytes;
	}
	return NULL;
}

/*
 * Set a file aside that is not to be taken up, beside those that were before.
 */
static void
set_aside(const char *why)
{
	char		path[MAXPGPATH] = QUEUE_FILE_REFUSED;

	for (int i = 1; file_exists(path) && i < INT_MAX; i++)
		snprintf(path, sizeof(path), "%s.%d", QUEUE_FILE_REFUSED, i);
	ereport(LOG,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("firehose: saved queue file was not loaded: %s", why),
			 errhint("It is kept as \"%s\". If its records are to be sent after all, rename it to \"%s\" and restart the server.",
					 path, QUEUE_FILE)));
	(void) durable_rename(QUEUE_FILE, path, LOG);
}

/* Take what was already read of a file back out of the queue. */
static void
empty_queue(Queue *q)
{
	for (int i = 0; i < q->max_streams; i++)
	{
		if (queue_stream(q, i)->in_use)
			queue_discard_database(q, queue_stream(q, i)->dboid);
	}
}

/*
 * Read the saved queue.  In the postmaster, so nothing may fail here: whatever
 * is wrong is logged.  A server that starts as a standby leaves the file
 * alone.
 */
static void
load_queue(Queue *q)
{
	Reader		r = {0};
	QueueFileHeader header;
	const char *wrong;

	if (!file_exists(QUEUE_FILE) || file_exists("standby.signal") ||
		file_exists("recovery.signal"))
		return;
	r.data = r.at = slurp(QUEUE_FILE, &r.left);
	if (r.data == NULL)
		return;

	if (!read_bytes(&r, &header, sizeof(header)) || header.magic != QUEUE_FILE_MAGIC)
		wrong = "it is not a queue file of this version";
	else if ((wrong = find_fault(&r)) == NULL &&
			 (wrong = find_detachment(&header)) == NULL)
		wrong = load_streams(q, &r);

	if (wrong != NULL)
	{
		empty_queue(q);
		set_aside(wrong);
	}
	else
	{
		q->file_claimed = true;
		ereport(LOG,
				(errmsg("firehose: loaded %llu records from the saved queue",
						(unsigned long long) header.nrecords)));
	}
	pfree(r.data);
}

void
queue_save_forget(void)
{
	if (!file_exists(QUEUE_FILE))
		return;
	if (firehose_queue->file_claimed)
		(void) durable_unlink(QUEUE_FILE, LOG);
	else
		set_aside("it was not read when the server started");
}
