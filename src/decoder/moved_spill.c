/*
 * moved_spill.c
 *		Notes of moved rows in temporary files; moved_spill.h says more.
 *
 * One file is read, another one is written; when the first has been read, the
 * second takes its place.  They are no transaction's, and go with the process.
 * A filter of hashes tells which keys have no note.
 */
#include "postgres.h"

#include "lib/bloomfilter.h"
#include "replication/reorderbuffer.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#include "decoder/copy_position.h"
#include "decoder/moved_spill.h"

/* Of logical_decoding_work_mem, for the filter. */
#define FILTER_SHARE	8

/* So many notes it is made for, with two bytes each if memory has them. */
#define FILTER_NOTES	(4 * 1024 * 1024)

typedef struct Spill
{
	BufFile    *file;			/* NULL: none */
	int64		n;				/* notes that are to be read */
	XLogRecPtr	first;			/* of those that were written */
} Spill;

static Spill reading;
static Spill writing;
static bloom_filter *filter;	/* of hashes; NULL: there are no notes */
static MemoryContext context;

/* Begin to write: a filter and a file. */
static void
open_writing(void)
{
	MemoryContext old;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "firehose spilled notes",
										ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	if (filter == NULL)
		filter = bloom_create(FILTER_NOTES, Max(logical_decoding_work_mem / FILTER_SHARE, 1), 0);
	writing.file = BufFileCreateTemp(true);
	MemoryContextSwitchTo(old);
}

static void
close_spill(Spill *spill)
{
	if (spill->file != NULL)
		BufFileClose(spill->file);
	memset(spill, 0, sizeof(Spill));
}

/* The files and the filter go when there is no note any more. */
static void
forget_filter(void)
{
	if (filter != NULL)
		bloom_free(filter);
	filter = NULL;
}

void
moved_spill_add(const MovedNote *note)
{
	uint64		hash = note->hash;
	MovedNote	head = *note;

	if (writing.file == NULL)
		open_writing();
	head.key.texts = NULL;
	BufFileWrite(writing.file, &head, sizeof(head));
	for (int i = 0; i < note->key.n; i++)
	{
		int			length = strlen(note->key.texts[i]);

		BufFileWrite(writing.file, &length, sizeof(length));
		BufFileWrite(writing.file, note->key.texts[i], length);
	}
	if (note->whole)
		bloom_add_element(filter, (unsigned char *) &hash, sizeof(hash));
	writing.first = copy_earlier(writing.first, note->first);
	writing.n++;
}

bool
moved_spill_is_empty(void)
{
	return reading.n == 0 && writing.n == 0;
}

static void
read_part(void *to, Size size)
{
	if (BufFileRead(reading.file, to, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read a temporary file of moved rows")));
}

bool
moved_spill_take(MovedNote *note)
{
	if (reading.n == 0)
	{
		if (writing.n == 0)
			return false;
		close_spill(&reading);
		reading = writing;
		memset(&writing, 0, sizeof(Spill));
		if (BufFileSeek(reading.file, 0, 0, SEEK_SET) != 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not rewind a temporary file of moved rows")));
	}
	read_part(note, sizeof(MovedNote));
	note->key.texts = palloc(Max(note->key.n, 1) * sizeof(char *));
	for (int i = 0; i < note->key.n; i++)
	{
		int			length;

		read_part(&length, sizeof(length));
		note->key.texts[i] = palloc(length + 1);
		read_part(note->key.texts[i], length);
		note->key.texts[i][length] = '\0';
	}
	if (--reading.n == 0)
		close_spill(&reading);
	if (moved_spill_is_empty())
		forget_filter();
	return true;
}

bool
moved_spill_may_have(uint64 hash)
{
	return filter != NULL && !bloom_lacks_element(filter, (unsigned char *) &hash, sizeof(hash));
}

XLogRecPtr
moved_spill_hold(void)
{
	return copy_earlier(reading.first, writing.first);
}

void
moved_spill_forget(void)
{
	close_spill(&reading);
	close_spill(&writing);
	forget_filter();
}
