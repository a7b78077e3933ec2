/*
 * set_aside.c
 *		Saved queues that a start of the server has not loaded: files
 *		pg_firehose/queue.refused, queue.refused.1 and so on.
 *
 * They have the payload of records of which the server cannot know whether
 * another one has sent them.  An administrator may.  So they are kept for a
 * while, and counted in firehose_stat_server.
 *
 * No file is locked: a server has one postmaster and one launcher, and
 * firehose_load_saved_queue finds a file that is removed meanwhile missing.
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/fd.h"
#include "utils/guc.h"

#include "common/clock.h"
#include "queue/set_aside.h"

/* A file's age is looked at no later than this after it has changed (ms). */
#define LOOK_AGAIN_MS	(60 * 60 * 1000)

static int	saved_queue_retention;	/* seconds; 0: for ever */
static int64 began_at = 0;		/* the launcher; clock_ms */

void
queue_set_aside_define_settings(void)
{
	DefineCustomIntVariable("firehose.saved_queue_retention",
							"Sets how long saved queues are kept that a start of the server did not load.",
							"They are files pg_firehose/queue.refused*, with the payload of "
							"records that were put; see firehose_load_saved_queue(). "
							"0 keeps them until they are removed by hand.",
							&saved_queue_retention, 7 * 24 * 60 * 60, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

void
queue_set_aside(const char *why)
{
	char		path[MAXPGPATH] = QUEUE_FILE_SET_ASIDE;

	for (int i = 1; data_file_exists(path) && i < INT_MAX; i++)
		snprintf(path, sizeof(path), "%s.%d", QUEUE_FILE_SET_ASIDE, i);
	ereport(LOG,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("firehose: saved queue file was not loaded: %s", why),
			 errhint("It is kept as \"%s\" for firehose.saved_queue_retention. If its records are to be sent after all, run SELECT * FROM firehose_load_saved_queue('%s') in each database that they are of.",
					 path, path + strlen(DATA_DIRECTORY "/"))));
	/* not durable_rename, which opens the file: it may be a pipe */
	if (rename(QUEUE_FILE, path) != 0)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not rename file \"%s\" to \"%s\": %m", QUEUE_FILE, path)));
		return;
	}
	/* its age counts from now */
	(void) utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
	(void) fsync_fname_ext(DATA_DIRECTORY, true, true, LOG);
}

/*
 * The next file of the directory that is set aside; false: no more.  A
 * directory that cannot be read has none.
 */
static bool
next_file(DIR *directory, char *path)
{
	const char *prefix = QUEUE_FILE_SET_ASIDE + strlen(DATA_DIRECTORY "/");
	struct dirent *entry;

	while (directory != NULL &&
		   (entry = ReadDirExtended(directory, DATA_DIRECTORY, LOG)) != NULL)
	{
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
		{
			snprintf(path, MAXPGPATH, "%s/%s", DATA_DIRECTORY, entry->d_name);
			return true;
		}
	}
	return false;
}

int
queue_set_aside_count(void)
{
	DIR		   *directory = AllocateDir(DATA_DIRECTORY);
	char		path[MAXPGPATH];
	int			n = 0;

	while (next_file(directory, path))
		n++;
	if (directory != NULL)
		FreeDir(directory);
	return n;
}

/*
 * Remove a file if it is too old.  Its age is that of its arrival here: a copy
 * that keeps the time of the original has a change time of its own.  It is
 * never older than the launcher, by a clock that never jumps: there is as much
 * time after a start or a promotion to load what is found.  Returns the
 * seconds until it is to be looked at again; 0: it is gone.  (A directory is
 * not ours.)
 */
static int64
expire_file(const char *path)
{
	static bool warned = false;
	struct stat st;
	int64		age;

	if (lstat(path, &st) != 0 || S_ISDIR(st.st_mode))
		return 0;
	age = (int64) time(NULL) - Max(st.st_mtime, st.st_ctime);
	age = Min(age, (clock_ms() - began_at) / 1000);
	if (age < saved_queue_retention)
		return saved_queue_retention - age;
	if (unlink(path) == 0)
		ereport(LOG,
				(errmsg("firehose: removed file \"%s\", a saved queue that was not loaded: it is older than firehose.saved_queue_retention",
						path)));
	else if (errno != ENOENT)
	{
		if (!warned)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not remove file \"%s\": %m", path)));
		warned = true;
		return LOOK_AGAIN_MS / 1000;
	}
	return 0;
}

/* Remove the files that are too old; in how many ms is the next (-1: none)? */
static long
expire_files(void)
{
	DIR		   *directory = AllocateDir(DATA_DIRECTORY);
	char		path[MAXPGPATH];
	long		next = -1;

	while (next_file(directory, path))
	{
		int64		left = expire_file(path);

		if (left > 0)
			next = Min(next < 0 ? LOOK_AGAIN_MS : next, left * 1000);
	}
	if (directory != NULL)
		FreeDir(directory);
	return next;
}

long
queue_set_aside_expire(void)
{
	static int	seen_retention = -1;
	static int64 look_at = 0;	/* clock_ms; PG_INT64_MAX: there are none */
	int64		now = clock_ms();

	if (began_at == 0)
		began_at = now;
	if (seen_retention != saved_queue_retention)
		look_at = 0;
	seen_retention = saved_queue_retention;
	if (saved_queue_retention == 0)
		return -1;
	if (now >= look_at)
	{
		long		next = expire_files();

		look_at = next < 0 ? PG_INT64_MAX : now + next;
	}
	return look_at == PG_INT64_MAX ? -1 : (long) (look_at - now);
}
