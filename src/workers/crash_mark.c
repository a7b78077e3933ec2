/*
 * crash_mark.c
 *		Which record of the WAL a decoder is at.
 *
 * Runs in decoders; crash_mark_forget in the launcher.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "libpq/pqsignal.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"

#include "workers/crash_mark.h"

#define DIRECTORY		"pg_firehose"
#define MAGIC			0x46484d31	/* "FHM1" */
#define ENOUGH_CRASHES	3

typedef struct CrashMark
{
	uint32		magic;
	int32		version;		/* of the definition: a command changes it */
	WalMark		reading;
	WalMark		crashed;		/* at this record */
	uint32		crashes;		/* so often in a row */
} CrashMark;

static CrashMark *mark = NULL;
static char path[MAXPGPATH];

static void
set_path(char *to, Oid dboid, int32 id)
{
	snprintf(to, MAXPGPATH, "%s/decoder.%u.%d", DIRECTORY, dboid, id);
}

/* SIGQUIT: another process crashed, or the stop is immediate. */
static void
handle_quit(SIGNAL_ARGS)
{
	mark->reading.lsn = InvalidXLogRecPtr;
	SignalHandlerForCrashExit(postgres_signal_arg);
}

/* Map the file, made if it is not there; false: it cannot be done. */
static bool
map_file(void)
{
	void	   *map = MAP_FAILED;
	int			fd;

	(void) MakePGDirectory(DIRECTORY);	/* mostly it is there */
	fd = BasicOpenFile(path, O_RDWR | O_CREAT | PG_BINARY);
	if (fd >= 0 && posix_fallocate(fd, 0, sizeof(CrashMark)) == 0)
		map = mmap(NULL, sizeof(CrashMark), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("firehose decoder: could not map file \"%s\": %m", path)));
	else
		mark = map;
	if (fd >= 0)
		close(fd);
	return mark != NULL;
}

/* Take account of how the decoder before this one ended. */
static void
count_crash(int32 version)
{
	if (mark->magic != MAGIC || mark->version != version)
		memset(mark, 0, sizeof(CrashMark));
	mark->magic = MAGIC;
	mark->version = version;
	if (mark->reading.lsn == InvalidXLogRecPtr)
		return;
	if (mark->reading.lsn != mark->crashed.lsn)
		mark->crashes = 0;
	mark->crashes++;
	mark->crashed = mark->reading;
	mark->reading.lsn = InvalidXLogRecPtr;
}

bool
crash_mark_open(Oid dboid, int32 id, int32 version, WalPlace *place)
{
	set_path(path, dboid, id);
	if (!map_file())
		return false;
	count_crash(version);
	pqsignal(SIGQUIT, handle_quit);

	memset(place, 0, sizeof(WalPlace));
	place->lsn = mark->crashed.lsn;
	place->can_be_skipped = mark->crashed.can_be_skipped;
	return mark->crashes >= ENOUGH_CRASHES;
}

WalMark *
crash_mark(void)
{
	return mark ? &mark->reading : NULL;
}

/* Remove a file that counts no crash. */
void
crash_mark_close(void)
{
	if (mark == NULL)
		return;
	mark->reading.lsn = InvalidXLogRecPtr;
	if (mark->crashes == 0)
		(void) unlink(path);
}

void
crash_mark_forget(Oid dboid, int32 id)
{
	char		file[MAXPGPATH];

	set_path(file, dboid, id);
	(void) unlink(file);
}
