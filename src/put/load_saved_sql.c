/*
 * load_saved_sql.c
 *		firehose_load_saved_queue: the records of a saved queue that was set
 *		aside, back into the queue.
 *
 * Runs in backends.  A server sets the queue of its last stop aside when it
 * cannot know whether another server has sent it meanwhile (queue/save.h).  An
 * administrator who knows better has it loaded.
 *
 * No record may be lost, or be both in the queue and in the file, whenever the
 * call ends, however it does.  So the file is read twice.  The first time all
 * of it is checked, and space is reserved, without waiting, for as many
 * records as there is room for.  The second time these are appended, but not
 * published, and the others are written to a new file, which then replaces the
 * old one; or, if there are none, the old one is removed.  Up to there an
 * error drops what was appended.  From there on nothing can fail or be
 * cancelled: the directory is synced, lest a crash bring the file back, and
 * the records are published.  A crash of the server loses them then, as it
 * loses any record that was put with firehose.put_durability = memory.
 *
 * Someone may change the file between the two times.  Nothing of the second is
 * believed that is not as it was.
 *
 * Streams are found by their names: an OID may stand for another stream by
 * now, where the server's history was set back.
 *
 * Locks: a lock on an object of the whole server keeps a second call out.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_foreign_server.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "common/sanitize.h"
#include "common/srf_row.h"
#include "put/put.h"
#include "put/put_xact.h"
#include "queue/chain.h"
#include "queue/ids.h"
#include "queue/reserve.h"
#include "queue/save_file.h"
#include "queue/set_aside.h"
#include "workers/database_control.h"

#define FUNCTION		"firehose_load_saved_queue()"
#define NAME_PREFIX		"queue."

static const char *const has_changed = "it has changed meanwhile";

/* A stream of the file, and what becomes of its records. */
typedef struct FileStream
{
	SavedQueueStream saved;
	Oid			serverid;
	QueueStream *queue_stream;	/* NULL: none of its records can be loaded */
	uint32		generation;
	const char *reason;			/* why not all are loaded; NULL: they are */
	uint32		npieces;		/* to be loaded, of the pieces that are read */
	uint64		nrecords;		/* in them */
	uint64		nbytes;			/* that they take in the file */
	Size		reserved;		/* for those not yet appended */
} FileStream;

/* A piece in the queue, not yet published. */
typedef struct LoadedRun
{
	QueueStream *queue_stream;
	pg_atomic_uint32 *flag;
	RunTotals	totals;
} LoadedRun;

typedef struct Load
{
	const char *name;			/* of the file */
	char		path[MAXPGPATH];
	Oid			database;		/* whose records are loaded, in the file */
	bool		database_given; /* by the caller */
	SaveFile	from;
	SaveFile	to;				/* .file is NULL: nothing is kept */
	char	   *buffer;
	List	   *streams;		/* of FileStream */
	int			nread;			/* of the streams, the second time */
	List	   *runs;			/* of LoadedRun */
	pg_crc32c	crc;			/* of the file, the first time */
	int			directory;		/* open, to be synced */
	uint64		highest_id;		/* of the records to be loaded */
	uint64		loaded;			/* records */
	uint64		kept;
	uint32		kept_streams;
} Load;

PG_FUNCTION_INFO_V1(firehose_load_saved_queue);

static void take_arguments(FunctionCallInfo fcinfo, Load *load);
static void open_file(Load *load);
static void move_records_in(Load *load);
static void replace_file(Load *load);
static void publish(const Load *load);
static void abandon(int code, Datum arg);

static void
return_rows(const Load *load, ReturnSetInfo *rsinfo)
{
	ListCell   *cell;

	foreach(cell, load->streams)
	{
		FileStream *s = lfirst(cell);
		ResultRow	row = {.ncolumns = 0};

		sanitize_text(NameStr(s->saved.name), strlen(NameStr(s->saved.name)));
		row_datum(&row, ObjectIdGetDatum(s->saved.dboid), false);
		row_name(&row, NameStr(s->saved.name));
		row_int64(&row, (int64) (s->nrecords + s->saved.nrecords));
		row_int64(&row, (int64) s->nrecords);
		row_text(&row, s->reason);
		row_return(&row, rsinfo);
	}
}

/* (file, from_database): returns a row for each stream in the file. */
Datum
firehose_load_saved_queue(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Load		load = {0};

	put_check_allowed(FUNCTION);
	take_arguments(fcinfo, &load);
	InitMaterializedSRF(fcinfo, 0);

	LockSharedObject(ForeignServerRelationId, InvalidOid, 0, ExclusiveLock);
	open_file(&load);
	PG_ENSURE_ERROR_CLEANUP(abandon, PointerGetDatum(&load));
	{
		move_records_in(&load);
		return_rows(&load, rsinfo);
		if (load.loaded > 0)
			replace_file(&load);
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon, PointerGetDatum(&load));
	if (load.loaded > 0)
		publish(&load);
	FreeFile(load.from.file);
	UnlockSharedObject(ForeignServerRelationId, InvalidOid, 0, ExclusiveLock);
	return (Datum) 0;
}

/* Is it the name, without a directory, of a file that may be a saved queue? */
static bool
is_file_name(const char *name)
{
	return strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) == 0 &&
		strlen(name) < NAMEDATALEN && strpbrk(name, "/\\") == NULL;
}

static void
take_arguments(FunctionCallInfo fcinfo, Load *load)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("file of %s must not be null", FUNCTION)));
	load->name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!is_file_name(load->name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not the name of a saved queue that was set aside", load->name),
				 errdetail("It is a file in \"%s\" of the data directory, named without the directory, and begins with \"%s\".",
						   DATA_DIRECTORY, NAME_PREFIX),
				 errhint("The server's log names it, for instance \"%s\".",
						 QUEUE_FILE_SET_ASIDE + strlen(DATA_DIRECTORY "/"))));
	snprintf(load->path, sizeof(load->path), "%s/%s", DATA_DIRECTORY, load->name);

	load->database_given = !PG_ARGISNULL(1);
	load->database = load->database_given ? PG_GETARG_OID(1) : MyDatabaseId;
}

/* Open the file; anything but a regular one might make the open wait. */
static void
open_file(Load *load)
{
	struct stat st;
	bool		found = lstat(load->path, &st) == 0;
	bool		missing = !found && errno == ENOENT;

	if (found && !S_ISREG(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a regular file", load->path)));
	load->from.file = found ? AllocateFile(load->path, PG_BINARY_R) : NULL;
	if (load->from.file == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open saved queue file \"%s\": %m", load->path),
				 missing ?
				 errhint("A file that was loaded whole is gone.") : 0));
}

/* Error if the file cannot be loaded. */
static void
refuse(const Load *load, const char *wrong)
{
	if (wrong != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("saved queue file \"%s\" cannot be loaded: %s", load->path, wrong)));
}

static bool
read_bytes(void *arg, void *to, Size length)
{
	return save_file_get(&((Load *) arg)->from, to, length);
}

static const char *
check_end(void *arg)
{
	Load	   *load = arg;
	const char *wrong = save_file_get_end(&load->from);

	load->crc = load->from.crc;
	return wrong;
}

static const char *
check_same_end(void *arg)
{
	Load	   *load = arg;
	const char *wrong = save_file_get_end(&load->from);

	return wrong == NULL && !EQ_CRC32C(load->crc, load->from.crc) ? has_changed : wrong;
}

/* The first time: check, and reserve ------------------------------------- */

/*
 * Databases of another cluster may have the OIDs of ours: whose records they
 * are is to be said.
 */
static const char *
check_header(void *arg, const SavedQueueHeader *header)
{
	const Load *load = arg;

	if (header->system_identifier != GetSystemIdentifier() && !load->database_given)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("saved queue file \"%s\" was written by another cluster", load->path),
				 errdetail("The system identifier there is " UINT64_FORMAT ".",
						   header->system_identifier),
				 errhint("To put the records of one of its databases into the streams of the same names here, give the OID of that database there: SELECT * FROM firehose_load_saved_queue(%s, from_database => OID);",
						 quote_literal_cstr(load->name))));
	return NULL;
}

/* The OID of this database's stream of that name; InvalidOid: there is none */
static Oid
find_stream(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	return server != NULL && server->fdwid == stream_wrapper_oid() ?
		server->serverid : InvalidOid;
}

/* Have an entry in the queue's table for the stream. */
static void
claim(FileStream *s)
{
	s->queue_stream = queue_find_or_claim(firehose_queue, MyDatabaseId, s->serverid,
										  NameStr(s->saved.name), &s->generation);
	if (s->queue_stream == NULL)
		s->reason = "firehose.max_streams are in use: call again when another stream is idle, or increase it";
}

static const char *
plan_stream(void *arg, const SavedQueueStream *saved)
{
	Load	   *load = arg;
	FileStream *s = palloc0(sizeof(FileStream));

	s->saved = *saved;
	load->streams = lappend(load->streams, s);
	if (saved->dboid != load->database)
	{
		char	   *database = load->database_given ? NULL : get_database_name(saved->dboid);

		s->reason = database == NULL ? "it is of another database" :
			psprintf("it is of database \"%s\": call the function there", database);
		return NULL;
	}
	s->serverid = find_stream(NameStr(saved->name));
	if (OidIsValid(s->serverid))
		claim(s);
	else
		s->reason = "there is no stream of this name: create it, and call again";
	return NULL;
}

/* Reserve space, without waiting. */
static bool
reserve(FileStream *s, Size space)
{
	while (s->reason == NULL)
	{
		switch (queue_reserve(firehose_queue, s->queue_stream, s->generation, space, 0))
		{
			case QUEUE_RESERVED:
				s->reserved += space;
				return true;
			case QUEUE_FULL:
				s->reason = "the queue has no room for the rest: call again when records are accepted";
				break;
			case QUEUE_STALE:
				claim(s);
				break;
		}
	}
	return false;
}

static const char *
plan_records(void *arg, const SavedQueueRecords *records)
{
	Load	   *load = arg;
	FileStream *s = llast(load->streams);

	CHECK_FOR_INTERRUPTS();
	if (reserve(s, sizeof(QueueRun) + records->length))
	{
		load->highest_id = Max(load->highest_id, records->totals.last_id);
		s->npieces++;
		s->nrecords += records->totals.nrecords;
		s->nbytes += records->length;
	}
	return NULL;
}

/* The second time: append, and write the rest ---------------------------- */

static const char *
write_header(void *arg, const SavedQueueHeader *header)
{
	Load	   *load = arg;
	SavedQueueHeader rest = *header;

	rest.nstreams = load->kept_streams;
	rest.nrecords = load->kept;
	if (load->to.file != NULL)
		save_file_put(&load->to, &rest, sizeof(rest));
	return NULL;
}

/* The stream's header tells by now what is kept. */
static const char *
write_stream(void *arg, const SavedQueueStream *saved)
{
	Load	   *load = arg;
	FileStream *s;

	if (load->nread >= list_length(load->streams))
		return has_changed;
	s = list_nth(load->streams, load->nread++);
	if (s->saved.nrecords > 0)
		save_file_put(&load->to, &s->saved, sizeof(s->saved));
	return NULL;
}

static const char *
move_records(void *arg, const SavedQueueRecords *records)
{
	Load	   *load = arg;
	FileStream *s = list_nth(load->streams, load->nread - 1);
	Size		space = sizeof(QueueRun) + records->length;
	LoadedRun  *run;

	CHECK_FOR_INTERRUPTS();
	if (s->npieces == 0)
	{
		if (load->to.file == NULL)
			return has_changed;
		save_file_put(&load->to, records->data, records->length);
		return NULL;
	}
	if (space > s->reserved)
		return has_changed;
	run = palloc0(sizeof(LoadedRun));
	load->runs = lappend(load->runs, run);
	s->npieces--;
	s->reserved -= space;
	run->queue_stream = s->queue_stream;
	run->totals = records->totals;
	run->flag = queue_append(firehose_queue, s->queue_stream, records->data, records->length,
							 space, &records->totals);
	return NULL;
}

/* ------------------------------------------------------------------------ */

/* Read the file, the first time or the second. */
static void
read_file(Load *load, bool first)
{
	SavedQueueReader reader = {load, load->buffer, read_bytes,
		first ? check_header : write_header, first ? plan_stream : write_stream,
	first ? plan_records : move_records, first ? check_end : check_same_end};
	SavedQueueHeader header;

	rewind(load->from.file);
	save_file_begin(&load->from, load->from.file);
	refuse(load, saved_queue_read(&reader, &header));
}

/* Count what is to be loaded and what is to be kept. */
static void
count(Load *load)
{
	ListCell   *cell;

	foreach(cell, load->streams)
	{
		FileStream *s = lfirst(cell);

		s->saved.nrecords -= s->nrecords;
		s->saved.nbytes -= s->nbytes;
		load->loaded += s->nrecords;
		load->kept += s->saved.nrecords;
		load->kept_streams += s->saved.nrecords > 0;
	}
}

static void
fail_to_write(void)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not write file \"%s\": %m", QUEUE_FILE_LOADING)));
}

/* Bring the file of what is kept to disk. */
static void
finish_rest(Load *load)
{
	FILE	   *file = load->to.file;

	if (!save_file_put_end(&load->to) || pg_fsync(fileno(file)) != 0)
		fail_to_write();
	if (FreeFile(file) != 0)
		fail_to_write();
}

/*
 * Have the records in the queue, unpublished, and the others in a new file.
 * No id of theirs is given out again.
 */
static void
move_records_in(Load *load)
{
	load->buffer = palloc(SAVED_QUEUE_BUFFER);
	read_file(load, true);
	count(load);
	if (load->loaded == 0)
		return;
	if (!ids_are_plausible(firehose_queue, load->highest_id))
		refuse(load, "it has a record id more than a day ahead of this server's");
	ids_raise_durably(firehose_queue, load->highest_id + 1);

	if (load->kept > 0)
	{
		FILE	   *file = AllocateFile(QUEUE_FILE_LOADING, PG_BINARY_W);

		if (file == NULL)
			fail_to_write();
		save_file_begin(&load->to, file);
	}
	read_file(load, false);
	if (load->kept > 0)
		finish_rest(load);
}

/*
 * Have the file without the records that are in the queue.  An error leaves it
 * as it was; without one, interrupts are held until publish has told of it.
 */
static void
replace_file(Load *load)
{
	load->directory = OpenTransientFile(DATA_DIRECTORY, O_RDONLY);
	if (load->directory < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open directory \"%s\": %m", DATA_DIRECTORY)));
	HOLD_INTERRUPTS();
	/* the last that may fail */
	if ((load->kept > 0 ? rename(QUEUE_FILE_LOADING, load->path) : unlink(load->path)) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not replace file \"%s\": %m", load->path)));
}

/* Give back what is still reserved for a stream, and be done with it. */
static void
let_go(FileStream *s)
{
	if (s->reserved > 0)
		queue_unreserve(firehose_queue, s->queue_stream, s->reserved);
	if (s->queue_stream != NULL)
		put_note_end(s->queue_stream);
}

/* Nothing here can fail, until the records are published. */
static void
publish(const Load *load)
{
	ListCell   *cell;
	int			sync_errno;

	/* before they can be sent: a crash could bring the file back */
	sync_errno = pg_fsync(load->directory) == 0 ? 0 : errno;

	foreach(cell, load->runs)
	{
		LoadedRun  *run = lfirst(cell);

		queue_publish(run->queue_stream, run->flag, &run->totals);
	}
	foreach(cell, load->streams)
		let_go(lfirst(cell));
	database_wake_sender(MyDatabaseId);
	CloseTransientFile(load->directory);

	/* not every file system can sync a directory (fsync_fname_ext) */
	if (sync_errno != 0 && sync_errno != EBADF && sync_errno != EINVAL)
	{
		errno = sync_errno;
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not fsync file \"%s\": %m", DATA_DIRECTORY)));
	}
	ereport(LOG,
			(errmsg("firehose: loaded %llu records from file \"%s\", and kept %llu in it",
					(unsigned long long) load->loaded, load->path,
					(unsigned long long) load->kept)));
	RESUME_INTERRUPTS();
}

/* Error or exit: nothing was loaded. */
static void
abandon(int code, Datum arg)
{
	Load	   *load = (Load *) DatumGetPointer(arg);
	ListCell   *cell;

	foreach(cell, load->runs)
	{
		LoadedRun  *run = lfirst(cell);

		if (run->flag != NULL)
			queue_drop(run->queue_stream, run->flag);
	}
	foreach(cell, load->streams)
		let_go(lfirst(cell));
	if (load->to.file != NULL)
		(void) unlink(QUEUE_FILE_LOADING);
}
