/*
 * saved_queue.h
 *		The file in which the queue outlives a clean stop, and its parser.
 *
 *		header | stream, its records | stream, its records | ... | checksum
 *
 * Records lie in the file as they lie in the queue.  The parser calls nothing
 * of the server, so that it can be fuzzed alone; it believes nothing that it
 * reads, keeps no more than one buffer, and never fails otherwise than by
 * saying what is wrong with the file.
 */
#ifndef FIREHOSE_QUEUE_SAVED_QUEUE_H
#define FIREHOSE_QUEUE_SAVED_QUEUE_H

#include "queue/layout.h"
#include "queue/run_builder.h"

#define SAVED_QUEUE_MAGIC	0x46485155	/* "FHQU" */

/* Increase it when anything below or QueueRecord changes. */
#define SAVED_QUEUE_VERSION	2

typedef struct SavedQueueHeader
{
	uint32		magic;
	uint32		version;
	uint64		system_identifier;
	TimeLineID	timeline;
	uint32		nstreams;
	uint64		nrecords;		/* of all streams */
} SavedQueueHeader;

typedef struct SavedQueueStream
{
	Oid			dboid;
	Oid			serverid;
	uint64		nrecords;		/* that follow */
	uint64		nbytes;			/* that they take, as in the queue */
	NameData	name;
} SavedQueueStream;

/* Some records of a stream, as queue_append takes them. */
typedef struct SavedQueueRecords
{
	const char *data;
	Size		length;
	RunTotals	totals;
} SavedQueueRecords;

/* Longest piece of records: one record of the largest size always fits. */
#define SAVED_QUEUE_BUFFER	(QUEUE_RECORD_SPACE(QUEUE_MAX_RECORD) + 8)

/*
 * The source and the destination of the file. `read` returns false when there
 * are not so many bytes.  The others return NULL, or why the file is refused.
 */
typedef struct SavedQueueReader
{
	void	   *arg;
	char	   *buffer;			/* SAVED_QUEUE_BUFFER bytes, aligned */
	bool		(*read) (void *arg, void *to, Size length);
	const char *(*check_header) (void *arg, const SavedQueueHeader *header);
	const char *(*begin_stream) (void *arg, const SavedQueueStream *stream);
	const char *(*add_records) (void *arg, const SavedQueueRecords *records);
	const char *(*check_end) (void *arg);	/* checksum, and no more bytes */
} SavedQueueReader;

/*
 * Read a file.  The records handed to add_records are valid only if this
 * returns NULL; otherwise it returns why the file is refused.
 */
extern const char *saved_queue_read(const SavedQueueReader *reader, SavedQueueHeader *header);

#endif							/* FIREHOSE_QUEUE_SAVED_QUEUE_H */
