/*
 * saved_queue.c
 *		The parser of a saved queue.
 *
 * Runs in the postmaster when it starts, and in a fuzzer.
 */
#include "postgres.h"

#include "queue/saved_queue.h"

static const char *const cut_short = "it is cut short";
static const char *const inconsistent = "its counts and lengths contradict each other";

/* Begin a piece of records. */
static void
reset_records(SavedQueueRecords *records, const char *buffer)
{
	memset(records, 0, sizeof(SavedQueueRecords));
	records->data = buffer;
}

/* Hand over the records in the buffer, if there are any. */
static const char *
hand_over(const SavedQueueReader *reader, SavedQueueRecords *records)
{
	const char *wrong = NULL;

	if (records->totals.nrecords > 0)
		wrong = reader->add_records(reader->arg, records);
	reset_records(records, reader->buffer);
	return wrong;
}

/* Is this a record that can have been saved, in at most `left` bytes? */
static bool
is_plausible(const QueueRecord *record, uint64 left)
{
	return record->kind == QUEUE_ITEM_RECORD &&
		record->state == QUEUE_RECORD_PENDING &&
		record->length <= QUEUE_MAX_RECORD &&
		record->id > 0 && record->id <= QUEUE_MAX_ID &&
		QUEUE_RECORD_SPACE(record->length) <= left;
}

/* Read one record into the buffer, which may have to be emptied before. */
static const char *
read_record(const SavedQueueReader *reader, SavedQueueRecords *records, uint64 *left)
{
	QueueRecord record;
	Size		space;
	const char *wrong;

	if (*left < sizeof(record))
		return inconsistent;
	if (!reader->read(reader->arg, &record, sizeof(record)))
		return cut_short;
	if (!is_plausible(&record, *left))
		return inconsistent;
	space = QUEUE_RECORD_SPACE(record.length);
	if (records->length + space > SAVED_QUEUE_BUFFER &&
		(wrong = hand_over(reader, records)) != NULL)
		return wrong;

	memcpy(reader->buffer + records->length, &record, sizeof(record));
	if (!reader->read(reader->arg, reader->buffer + records->length + sizeof(record),
					  space - sizeof(record)))
		return cut_short;
	records->length += space;
	run_totals_add(&records->totals, record.id, record.length);
	*left -= space;
	return NULL;
}

/* Read one stream, and subtract its records from those to come. */
static const char *
read_stream(const SavedQueueReader *reader, uint64 *nrecords)
{
	SavedQueueStream stream;
	SavedQueueRecords records;
	const char *wrong;

	if (!reader->read(reader->arg, &stream, sizeof(stream)))
		return cut_short;
	if (stream.nrecords == 0 || stream.nrecords > *nrecords ||
		memchr(NameStr(stream.name), '\0', NAMEDATALEN) == NULL)
		return inconsistent;
	*nrecords -= stream.nrecords;
	if ((wrong = reader->begin_stream(reader->arg, &stream)) != NULL)
		return wrong;

	reset_records(&records, reader->buffer);
	for (uint64 i = 0; i < stream.nrecords; i++)
	{
		if ((wrong = read_record(reader, &records, &stream.nbytes)) != NULL)
			return wrong;
	}
	if (stream.nbytes != 0)
		return inconsistent;
	return hand_over(reader, &records);
}

const char *
saved_queue_read(const SavedQueueReader *reader, SavedQueueHeader *header)
{
	uint64		nrecords;
	const char *wrong;

	if (!reader->read(reader->arg, header, sizeof(SavedQueueHeader)))
		return cut_short;
	if (header->magic != SAVED_QUEUE_MAGIC)
		return "it is not a saved queue";
	if (header->version != SAVED_QUEUE_VERSION)
		return "it was written by another version of firehose";
	if ((wrong = reader->check_header(reader->arg, header)) != NULL)
		return wrong;

	nrecords = header->nrecords;
	for (uint32 i = 0; i < header->nstreams; i++)
	{
		if ((wrong = read_stream(reader, &nrecords)) != NULL)
			return wrong;
	}
	if (nrecords != 0)
		return inconsistent;
	return reader->check_end(reader->arg);
}
