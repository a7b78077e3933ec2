/*
 * save.c
 *		The queue across a clean stop: the file pg_firehose/queue.
 *
 * Written by the postmaster's exit callback, when every process is gone and
 * the shutdown checkpoint is done (backends may commit until then); read back
 * by the next postmaster before it has any child; removed by the launcher
 * before it starts a sender.
 *
 * A file is loaded only by the cluster and timeline that wrote it: a promoted
 * standby or a restored copy of another time must not send records that the
 * original has sent.  Nor must a copy of the data directory (home.h).  A
 * refused file is set aside (set_aside.c).
 *
 * Nothing in a file may keep the server from starting.  It is read piece by
 * piece, straight into the queue, without allocating memory, and the records
 * are thrown away if the end shows that the file is damaged.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#include "common/data_file.h"
#include "common/home.h"
#include "queue/chain.h"
#include "queue/ids.h"
#include "queue/pool.h"
#include "queue/queue.h"
#include "queue/save.h"
#include "queue/save_file.h"
#include "queue/set_aside.h"

/* The file being read, and the stream that its records are read into. */
typedef struct Loading
{
	SaveFile	file;
	QueueStream *queue_stream;
} Loading;

/* Records on their way, in the postmaster alone. */
static char buffer[SAVED_QUEUE_BUFFER] pg_attribute_aligned(8);

static void check_upgrade(void);
static void load_queue(Queue *q);
static void save_at_exit(int code, Datum arg);

void
queue_save_startup(void)
{
	/*
	 * children of a postmaster that execs, and pg_upgrade's servers, neither
	 * save nor load
	 */
	if (IsUnderPostmaster)
		return;
	if (IsBinaryUpgrade)
	{
		check_upgrade();
		return;
	}

	/* what a crash has left */
	if (data_file_exists(QUEUE_FILE_LOADING))
		(void) unlink(QUEUE_FILE_LOADING);
	ids_start(firehose_queue);
	load_queue(firehose_queue);
	on_shmem_exit(save_at_exit, (Datum) 0);
}

/*
 * pg_upgrade takes nothing of our directory along, and leaves what is in it
 * unmentioned.  It starts its servers before it changes anything.
 */
static void
check_upgrade(void)
{
	if (!data_file_exists(QUEUE_FILE))
		return;
	ereport(FATAL,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("firehose: pg_upgrade would leave the saved queue behind"),
			 errdetail("File \"%s\" has records that were put and not sent.", QUEUE_FILE),
			 errhint("Start the server, run SELECT firehose_drain(), and stop it. Or move the file elsewhere, and load it in the new server with firehose_load_saved_queue().")));
}

/* Saving ------------------------------------------------------------------ */

static bool
count_record(Queue *q, const QueueRecord *record, QueuePageNo page, uint32 offset, void *arg)
{
	SavedQueueStream *stream = arg;

	/* records read from the WAL are read again */
	if (QUEUE_ITEM_HAS_ORIGIN(record->kind))
		return true;
	stream->nrecords++;
	stream->nbytes += QUEUE_RECORD_SPACE(record->length);
	return true;
}

/* Copy a record as it lies in the queue. */
static bool
save_record(Queue *q, const QueueRecord *record, QueuePageNo page, uint32 offset, void *arg)
{
	Size		space = QUEUE_RECORD_SPACE(record->length);

	if (QUEUE_ITEM_HAS_ORIGIN(record->kind))
		return true;
	queue_read(q, &page, &offset, buffer, space);
	save_file_put(arg, buffer, space);
	return true;
}

/* Fill in the header of a stream; false if it has nothing to save. */
static bool
describe_stream(Queue *q, QueueStream *s, SavedQueueStream *stream)
{
	memset(stream, 0, sizeof(SavedQueueStream));
	if (!s->in_use)
		return false;
	stream->dboid = s->dboid;
	stream->serverid = s->serverid;
	stream->name = s->name;
	queue_visit_pending(q, s, count_record, stream);
	return stream->nrecords > 0;
}

/* Write everything but the checksum. */
static void
save_streams(Queue *q, SaveFile *save, const SavedQueueHeader *header)
{
	SavedQueueStream stream;

	save_file_put(save, header, sizeof(SavedQueueHeader));
	for (int i = 0; i < q->max_streams; i++)
	{
		if (!describe_stream(q, queue_stream(q, i), &stream))
			continue;
		save_file_put(save, &stream, sizeof(SavedQueueStream));
		queue_visit_pending(q, queue_stream(q, i), save_record, save);
	}
}

/* Fill in the header of the file. */
static void
describe_queue(Queue *q, const ControlFileData *control, SavedQueueHeader *header)
{
	SavedQueueStream stream;

	memset(header, 0, sizeof(SavedQueueHeader));
	header->magic = SAVED_QUEUE_MAGIC;
	header->version = SAVED_QUEUE_VERSION;
	header->timeline = control->checkPointCopy.ThisTimeLineID;
	header->system_identifier = control->system_identifier;
	for (int i = 0; i < q->max_streams; i++)
	{
		if (!describe_stream(q, queue_stream(q, i), &stream))
			continue;
		header->nstreams++;
		header->nrecords += stream.nrecords;
	}
}

static void
save_queue(Queue *q, const ControlFileData *control)
{
	SavedQueueHeader header;
	SaveFile	save;
	FILE	   *file;
	bool		written = false;

	describe_queue(q, control, &header);
	if (header.nrecords == 0 || !data_directory_make(LOG))
		return;

	file = AllocateFile(QUEUE_FILE ".tmp", PG_BINARY_W);
	if (file != NULL)
	{
		save_file_begin(&save, file);
		save_streams(q, &save, &header);
		written = save_file_put_end(&save);
		if (FreeFile(file) != 0)
			written = false;
	}

	if (!written)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("firehose: could not write file \"%s\": %m", QUEUE_FILE ".tmp"),
				 errdetail("The %llu queued records are lost.",
						   (unsigned long long) header.nrecords)));
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
	ids_save(firehose_queue);
}

/* Reading back ------------------------------------------------------------ */

static bool
read_bytes(void *arg, void *to, Size length)
{
	return save_file_get(&((Loading *) arg)->file, to, length);
}

static const char *
check_header(void *arg, const SavedQueueHeader *header)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);

	if (header->system_identifier != control->system_identifier)
		return "it was written by another cluster";
	if (header->timeline != control->checkPointCopy.ThisTimeLineID)
		return "it was written on another timeline";
	return NULL;
}

static const char *
begin_stream(void *arg, const SavedQueueStream *stream)
{
	Loading    *loading = arg;
	uint32		generation;

	loading->queue_stream = queue_find_or_claim(firehose_queue, stream->dboid, stream->serverid,
											 NameStr(stream->name), &generation);
	return loading->queue_stream == NULL ? "firehose.max_streams is too small for it" : NULL;
}

static const char *
add_records(void *arg, const SavedQueueRecords *records)
{
	QueueStream *s = ((Loading *) arg)->queue_stream;
	Size		space = sizeof(QueueRun) + records->length;
	pg_atomic_uint32 *run;
	bool		reserved;

	/* without shares, which depend on the order in which streams grew */
	LWLockAcquire(s->lock, LW_EXCLUSIVE);
	reserved = queue_pool_reserve(firehose_queue, s, space, false);
	LWLockRelease(s->lock);
	if (!reserved)
		return "firehose.queue_size is too small for it";
	run = queue_append(firehose_queue, s, records->data, records->length, space,
					   &records->totals);
	queue_publish(s, run, &records->totals);
	return NULL;
}

static const char *
check_end(void *arg)
{
	return save_file_get_end(&((Loading *) arg)->file);
}

/*
 * Open the file to read; NULL, and why, if this server cannot have written it.
 * O_NONBLOCK: opening a pipe or a device must not wait.
 */
static FILE *
open_saved(const Queue *q, const char **wrong)
{
	struct stat st;
	int			fd = BasicOpenFile(QUEUE_FILE, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | PG_BINARY);
	FILE	   *file = NULL;

	if (fd < 0 || fstat(fd, &st) != 0)
		*wrong = "it cannot be read";
	else if (!S_ISREG(st.st_mode))
		*wrong = "it is not a regular file";
	else if (st.st_size > (off_t) q->npages * QUEUE_PAGE_DATA +
			 (off_t) q->max_streams * sizeof(SavedQueueStream))
		*wrong = "it is larger than firehose.queue_size";
	else if ((file = fdopen(fd, "rb")) == NULL)
		*wrong = "it cannot be read";
	if (file == NULL && fd >= 0)
		close(fd);
	return file;
}

/* Read the file into the queue. NULL, or why it is refused. */
static const char *
read_saved(Queue *q, uint64 *nrecords)
{
	Loading		loading;
	SavedQueueReader reader = {&loading, buffer, read_bytes, check_header,
	begin_stream, add_records, check_end};
	SavedQueueHeader header;
	const char *wrong = NULL;
	FILE	   *file = open_saved(q, &wrong);

	if (file == NULL)
		return wrong;
	save_file_begin(&loading.file, file);
	wrong = saved_queue_read(&reader, &header);
	*nrecords = header.nrecords;
	fclose(file);
	return wrong;
}

/* Discard the records that were already read into the queue. */
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
 * Read the saved queue.  In the postmaster, so nothing may fail here: problems
 * are logged.  A server that starts as a standby leaves the file alone.
 */
static void
load_queue(Queue *q)
{
	const char *wrong;
	uint64		nrecords = 0;

	if (!data_file_exists(QUEUE_FILE) || data_file_exists("standby.signal") ||
		data_file_exists("recovery.signal"))
		return;

	wrong = home_is_new_copy() ? "the data directory is a copy of another server's" :
		read_saved(q, &nrecords);
	if (wrong != NULL)
	{
		empty_queue(q);
		queue_set_aside(wrong);
		return;
	}
	q->file_claimed = true;
	ereport(LOG,
			(errmsg("firehose: loaded %llu records from the saved queue",
					(unsigned long long) nrecords)));
}

void
queue_save_forget(void)
{
	if (!data_file_exists(QUEUE_FILE))
		return;
	if (firehose_queue->file_claimed)
		(void) durable_unlink(QUEUE_FILE, LOG);
	else
		queue_set_aside("it was not read when the server started");
}
