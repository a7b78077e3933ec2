/*
 * data_file.h
 *		Small files in the data directory's pg_firehose.
 *
 * An elevel below ERROR makes a failure a log line and a false.
 */
#ifndef FIREHOSE_COMMON_DATA_FILE_H
#define FIREHOSE_COMMON_DATA_FILE_H

#define DATA_DIRECTORY		"pg_firehose"

/* Is there anything of that name? */
extern bool data_file_exists(const char *path);

/* Make the directory, durably, unless it is there. */
extern bool data_directory_make(int elevel);

/* Write a whole file, durably; it replaces one that may be there. */
extern bool data_file_write(const char *path, const void *data, Size length, int elevel);

/* Read the first `length` bytes of a file; false if it has fewer. */
extern bool data_file_read(const char *path, void *data, Size length);

#endif							/* FIREHOSE_COMMON_DATA_FILE_H */
