/*
 * data_file.c
 *		Small files in the data directory's pg_firehose.
 *
 * Runs in the postmaster and in backends.  Allocates nothing, so that nothing
 * but the file system can fail.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/data_file.h"
#include "common/file_perm.h"
#include "storage/fd.h"

#define HINT "The server needs to write files in the directory \"%s\" of its data directory."

bool
data_file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

bool
data_directory_make(int elevel)
{
	if (MakePGDirectory(DATA_DIRECTORY) == 0)
		return fsync_fname_ext(".", true, false, elevel) == 0;
	if (errno == EEXIST)
		return true;
	ereport(elevel,
			(errcode_for_file_access(),
			 errmsg("could not create directory \"%s\": %m", DATA_DIRECTORY)));
	return false;
}

bool
data_file_write(const char *path, const void *data, Size length, int elevel)
{
	char		temporary[MAXPGPATH];
	ssize_t		written = -1;
	int			fd;

	if (!data_directory_make(elevel))
		return false;
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	fd = BasicOpenFile(temporary, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
	if (fd >= 0)
	{
		errno = ENOSPC;			/* unless the call knows better */
		written = write(fd, data, length);
		if (close(fd) != 0)
			written = -1;
	}
	if (written != length)
	{
		ereport(elevel,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", temporary),
				 errhint(HINT, DATA_DIRECTORY)));
		return false;
	}
	return durable_rename(temporary, path, elevel) == 0;
}

bool
data_file_read(const char *path, void *data, Size length)
{
	int			fd = BasicOpenFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	ssize_t		got;

	if (fd < 0)
		return false;
	got = read(fd, data, length);
	close(fd);
	return got == length;
}
