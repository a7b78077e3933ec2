/*
 * moved_spill.c
 *		Notes of moved rows in temporary files; moved_spill.h says more.
 *
 * One file is read, another one is written; when the first has been read, the
 * second takes its place.  They are no transaction's, and go with the process.
 * Each has a filter of hashes, which tells which keys have no note in it.
 *
 * An error of the files (temp_file_limit, a full disk) is caught: the stream
 * that is being decoded must not stand still for a copy.
 */
#include "postgres.h"

#include "lib/bloomfilter.h"
#include "replication/reorderbuffer.h"
#include "storage/buffile.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "decoder/copy_position.h"
#include "decoder/moved_spill.h"

/* Of logical_decoding_work_mem, for the filter. */
#define FILTER_SHARE	8

/* So many notes it is made for, with two bytes each if memory has them. */
#define FILTER_NOTES	(4 * 1024 * 1024)

typedef struct Spill
{
	BufFile    *file;			/* NULL: none */
	bloom_filter *filter;		/* of the hashes of its notes */
	int64		n;				/* notes that are to be read */
	XLogRecPtr	first;			/* of those that were written */
} Spill;

static Spill reading;
static Spill writing;
static MemoryContext context;
static char *failure;
static XLogRecPtr lost;			/* first of those that it took; Invalid: none */
static bool files_stay;			/* open, after an error */

static void
open_writing(void)
{
	MemoryContext old;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "firehose spilled notes",
										ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	writing.filter = bloom_create(FILTER_NOTES, Max(logical_decoding_work_mem / FILTER_SHARE, 1), 0);
	writing.file = BufFileCreateTemp(true);
	MemoryContextSwitchTo(old);
}

static void
close_spill(Spill *spill)
{
	if (spill->file != NULL)
		BufFileClose(spill->file);
	if (spill->filter != NULL)
		bloom_free(spill->filter);
	memset(spill, 0, sizeof(Spill));
}

/*
 * In PG_CATCH: files are plain, and nothing but them is to be undone, except
 * that a file that needs another segment makes its own resource owner the
 * current one.  That is the owner of a transaction of long ago.
 */
static ErrorData *
give_up_files(MemoryContext caller, ResourceOwner owner)
{
	ErrorData  *error;

	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(caller);
	error = CopyErrorData();
	FlushErrorState();
	/* closing would write again: the process is to exit soon */
	memset(&reading, 0, sizeof(Spill));
	memset(&writing, 0, sizeof(Spill));
	files_stay = true;
	return error;
}

static void
note_failure(MemoryContext caller, ResourceOwner owner)
{
	ErrorData  *error;

	lost = moved_spill_hold();
	error = give_up_files(caller, owner);
	failure = MemoryContextStrdup(TopMemoryContext, error->message);
	FreeErrorData(error);
}

static void
write_note(const MovedNote *note)
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
	bloom_add_element(writing.filter, (unsigned char *) &hash, sizeof(hash));
	writing.first = copy_earlier(writing.first, note->first);
	writing.n++;
}

bool
moved_spill_add(const MovedNote *note)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	PG_TRY();
	{
		write_note(note);
	}
	PG_CATCH();
	{
		note_failure(caller, owner);
	}
	PG_END_TRY();
	return failure == NULL;
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

/* The file that was written is to be read. */
static void
turn_over(void)
{
	close_spill(&reading);
	reading = writing;
	memset(&writing, 0, sizeof(Spill));
	if (BufFileSeek(reading.file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind a temporary file of moved rows")));
}

static void
read_note(MovedNote *note)
{
	if (reading.n == 0)
		turn_over();
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
}

bool
moved_spill_take(MovedNote *note)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	if (moved_spill_is_empty())
		return false;
	PG_TRY();
	{
		read_note(note);
	}
	PG_CATCH();
	{
		note_failure(caller, owner);
	}
	PG_END_TRY();
	return failure == NULL;
}

const char *
moved_spill_failure(void)
{
	return failure;
}

bool
moved_spill_files_stay(void)
{
	return files_stay;
}

static XLogRecPtr
first_in(const Spill *spill, uint64 hash)
{
	if (spill->filter == NULL ||
		bloom_lacks_element(spill->filter, (unsigned char *) &hash, sizeof(hash)))
		return InvalidXLogRecPtr;
	return spill->first;
}

XLogRecPtr
moved_spill_first_of(uint64 hash)
{
	return copy_earlier(first_in(&reading, hash), first_in(&writing, hash));
}

XLogRecPtr
moved_spill_hold(void)
{
	return copy_earlier(lost, copy_earlier(reading.first, writing.first));
}

void
moved_spill_forget(void)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	PG_TRY();
	{
		close_spill(&reading);
		close_spill(&writing);
	}
	PG_CATCH();
	{
		ErrorData  *error = give_up_files(caller, owner);

		ereport(LOG,
				(errmsg("firehose decoder: could not close a temporary file of moved rows: %s",
						error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
	lost = InvalidXLogRecPtr;
}
