/*
 * save_file.h
 *		A file of records that wait to be sent, being written or read, and its
 *		checksum so far.  saved_queue.h says what is in it.
 */
#ifndef FIREHOSE_QUEUE_SAVE_FILE_H
#define FIREHOSE_QUEUE_SAVE_FILE_H

#include "port/pg_crc32c.h"

#include "queue/saved_queue.h"

typedef struct SaveFile
{
	FILE	   *file;			/* the caller opens and closes it */
	pg_crc32c	crc;
} SaveFile;

extern void save_file_begin(SaveFile *save, FILE *file);

/* Write.  A failure shows in the result of save_file_put_end. */
extern void save_file_put(SaveFile *save, const void *data, Size length);

/* Write the checksum; false, and errno, if not all could be written. */
extern bool save_file_put_end(SaveFile *save);

/* Read; false: there are not so many bytes. */
extern bool save_file_get(SaveFile *save, void *to, Size length);

/* Is the checksum right, and the end here?  NULL, or what is wrong. */
extern const char *save_file_get_end(SaveFile *save);

#endif							/* FIREHOSE_QUEUE_SAVE_FILE_H */
