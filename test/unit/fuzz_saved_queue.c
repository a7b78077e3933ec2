/*-------------------------------------------------------------------------
 *
 * fuzz_saved_queue.c
 *	  No file, however damaged, breaks the parser of the saved queue, and
 *	  whatever it hands over is a sequence of whole records with true counts.
 *
 * An input that begins with 'r' is a file.  Any other is a list of changes, of
 * four bytes each, to a good file: a place, and what to do there.  So the
 * short form gets past the header as well.  The checksum is always right:
 * that a wrong one is found out needs no fuzzer.
 *
 * See fuzz.h for the two ways to run it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "queue/saved_queue.h"

/* tap.h is for programs without the server's library */
#undef lengthof
#undef printf
#undef fprintf
#undef vprintf

static const char *const fuzz_samples[] = {
	"r", "e", "e\1\1\1\1", "e\1\60\1\377", "e\1\150\3\1", "e\2\20\2\200",
	"e\1\144\4\1e\1\150\3\2", "e\1\5\1\3",
};

static const char *const fuzz_tokens[] = {
	"\1\1", "\1\60\1\1", "\2\4\2\20", "\1\150\4\377", "\1\377", "\2\1\3\1",
};

#include "fuzz.h"

#define RECORDS		7
#define MAX_FILE_SIZE	65536

/* The file, how far it was read, and what was handed over. */
typedef struct Input
{
	const char *data;
	Size		length;
	Size		at;
	uint64		nrecords;		/* handed over in all */
	uint64		announced;		/* by streams */
} Input;

static char buffer[SAVED_QUEUE_BUFFER] pg_attribute_aligned(8);

static bool
read_input(void *arg, void *to, Size length)
{
	Input	   *input = arg;

	if (input->length - input->at < length)
		return false;
	memcpy(to, input->data + input->at, length);
	input->at += length;
	return true;
}

static const char *
accept_header(void *arg, const SavedQueueHeader *header)
{
	REQUIRE(header->magic == SAVED_QUEUE_MAGIC && header->version == SAVED_QUEUE_VERSION);
	return NULL;
}

static const char *
accept_stream(void *arg, const SavedQueueStream *stream)
{
	REQUIRE(strlen(NameStr(stream->name)) < NAMEDATALEN);
	((Input *) arg)->announced += stream->nrecords;
	return NULL;
}

/* Walk over the records as the queue's reader does. */
static const char *
accept_records(void *arg, const SavedQueueRecords *records)
{
	Input	   *input = arg;
	Size		at = 0;
	uint32		n = 0;
	uint64		payload = 0;

	REQUIRE(records->data == buffer && records->length <= SAVED_QUEUE_BUFFER);
	while (at < records->length)
	{
		const QueueRecord *record = (const QueueRecord *) (records->data + at);

		REQUIRE(records->length - at >= sizeof(QueueRecord));
		REQUIRE(record->kind == QUEUE_ITEM_RECORD && record->state == QUEUE_RECORD_PENDING);
		REQUIRE(record->id >= records->totals.first_id && record->id <= records->totals.last_id);
		payload += record->length;
		at += QUEUE_RECORD_SPACE(record->length);
		n++;
	}
	REQUIRE(at == records->length && n > 0 && n == records->totals.nrecords);
	REQUIRE(payload == records->totals.nbytes);
	input->nrecords += n;
	return NULL;
}

static const char *
accept_end(void *arg)
{
	return NULL;
}

static void
append(char *file, Size *length, const void *data, Size n)
{
	memcpy(file + *length, data, n);
	*length += n;
}

/* A good file of two streams. */
static Size
make_file(char *file)
{
	SavedQueueHeader header = {SAVED_QUEUE_MAGIC, SAVED_QUEUE_VERSION, 1, 1, 2, 2 * RECORDS};
	Size		length = 0;
	static const char payload[256];

	append(file, &length, &header, sizeof(header));
	for (int i = 0; i < 2; i++)
	{
		SavedQueueStream stream = {5, 1000 + i, RECORDS, 0, {"stream"}};

		for (int j = 0; j < RECORDS; j++)
			stream.nbytes += QUEUE_RECORD_SPACE(j * 13);
		append(file, &length, &stream, sizeof(stream));
		for (int j = 0; j < RECORDS; j++)
		{
			QueueRecord record = {QUEUE_ITEM_RECORD, QUEUE_RECORD_PENDING, 0, j * 13, 100 + j, 1};

			append(file, &length, &record, sizeof(record));
			append(file, &length, payload, QUEUE_RECORD_SPACE(j * 13) - sizeof(record));
		}
	}
	return length;
}

/* Change a good file as the input says. */
static Size
damage_file(char *file, Size length, const uint8_t *changes, Size n)
{
	for (Size i = 0; i + 4 <= n; i += 4)
	{
		Size		place = (changes[i] * 256 + changes[i + 1]) % (length + 1);

		switch (changes[i + 2] % 4)
		{
			case 0:
				length = place;
				break;
			case 1:
				if (place < length)
					file[place] = changes[i + 3];
				break;
			case 2:
				if (place < length)
					file[place] += changes[i + 3] - 128;
				break;
			default:			/* a field of eight bytes at its extreme */
				if (place + 8 <= length)
					memset(file + place, changes[i + 3] % 2 ? 0xff : 0, 8);
				break;
		}
	}
	return length;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char		file[MAX_FILE_SIZE];
	Input		input = {.data = file};
	SavedQueueReader reader = {&input, buffer, read_input, accept_header,
	accept_stream, accept_records, accept_end};
	SavedQueueHeader header;
	const char *wrong;

	if (size > 0 && data[0] == 'r')
	{
		input.length = Min(size - 1, MAX_FILE_SIZE);
		memcpy(file, data + 1, input.length);
	}
	else
		input.length = damage_file(file, make_file(file), data + 1, size > 0 ? size - 1 : 0);

	wrong = saved_queue_read(&reader, &header);
	if (wrong == NULL)
		REQUIRE(input.nrecords == header.nrecords && input.announced == header.nrecords);
	else
		REQUIRE(strlen(wrong) > 0);
	return 0;
}
