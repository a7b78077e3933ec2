/*
 * moved_rows.c
 *		Rows to be read again in a copy; moved_rows.h says more.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "replication/reorderbuffer.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "decoder/copy_position.h"
#include "decoder/moved_rows.h"
#include "decoder/moved_spill.h"

/*
 * So many notes, in the order of their making, share what they hold the slot
 * before, so that it can be found without looking at each.
 */
#define BLOCK_NOTES	1000

/* Spilled notes that are taken back in one turn. */
#define TAKE_NOTES	5000

typedef struct NoteBlock
{
	XLogRecPtr	first;			/* of all of them; Invalid: none yet */
	int			made;
	int			live;
} NoteBlock;

typedef struct MovedRow
{
	MovedNote	note;
	NoteBlock  *block;
	XLogRecPtr	mark;			/* it was read before this; Invalid: not yet */
	Size		size;			/* of all this */
	struct MovedRow *next;		/* of the same hash */
} MovedRow;

/* The rows of a hash. */
typedef struct SameHash
{
	uint64		hash;			/* key of the table */
	MovedRow   *rows;
} SameHash;

static MemoryContext context;
static List *key_columns;		/* of char * */
static List *noted;				/* of MovedRow *, to be read */
static List *were_read;			/* of MovedRow *, that may move on unseen */
static List *blocks;			/* of NoteBlock *, of both */
static HTAB *by_key;			/* of both */
static Size used;				/* by both */
static bool lost;				/* not all are noted */
static bool told_incomplete;	/* the log has it */
static XLogRecPtr dropped;		/* first commit of those that were lost; Invalid: none */

static HTAB *
create_table(MemoryContext of)
{
	HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(SameHash), .hcxt = of};

	return hash_create("firehose moved rows", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Begin with an empty context and its table, or with none. */
static void
have_none(MemoryContext of, HTAB *table)
{
	context = of;
	by_key = table;
	noted = NIL;
	were_read = NIL;
	blocks = NIL;
	used = 0;
	lost = false;
	told_incomplete = false;
	dropped = InvalidXLogRecPtr;
	moved_spill_forget();
}

void
moved_rows_begin(MemoryContext parent, List *columns)
{
	MemoryContext fresh = AllocSetContextCreate(parent, "firehose moved rows", ALLOCSET_DEFAULT_SIZES);

	have_none(fresh, create_table(fresh));
	key_columns = columns;
}

void
moved_rows_forget(void)
{
	MemoryContext old = context;

	have_none(NULL, NULL);
	MemoryContextDelete(old);
}

bool
moved_rows_are_lost(void)
{
	return lost;
}

const char *
moved_rows_failure(void)
{
	return context == NULL ? NULL : moved_spill_failure();
}

bool
moved_rows_files_stay(void)
{
	return moved_spill_files_stay();
}

void
moved_rows_begin_anew(MemoryContext parent, List *columns, XLogRecPtr hold)
{
	MemoryContext old = context;

	/* an error leaves the old reading as it is */
	hold = copy_earlier(hold, moved_rows_hold());
	moved_rows_begin(parent, columns);
	dropped = hold;
	MemoryContextDelete(old);
}

void
moved_rows_stored(void)
{
	/* what is lost now is held until the reading has begun anew */
	if (!lost)
		dropped = InvalidXLogRecPtr;
}

/* The first that cannot be noted: one commit is enough to hold the slot. */
static void
lose_all(XLogRecPtr first)
{
	XLogRecPtr	hold = copy_earlier(first, moved_rows_hold());

	MemoryContextReset(context);
	have_none(context, create_table(context));
	dropped = hold;
	lost = true;
}

/* Does an update leave values out? */
static bool
leaves_values_out(const Event *event)
{
	if (event->op != EVENT_UPDATE)
		return false;
	for (int i = 0; i < event->relation->ncolumns; i++)
	{
		if (event_new_value(event, i) == NULL)
			return true;
	}
	return false;
}

/* Had the table another key than the one that it is read by? */
static bool
has_other_key(const EventRelation *relation)
{
	for (int i = 0; i < relation->ncolumns && key_columns != NIL; i++)
	{
		bool		is_key = false;
		ListCell   *cell;

		foreach(cell, key_columns)
			is_key |= strcmp(lfirst(cell), relation->columns[i].name) == 0;
		if (is_key != relation->columns[i].key)
			return true;
	}
	return false;
}

/*
 * The value of a column of the key, before an update or after it; NULL: it has
 * none.  A large one that is left out is that of before.
 */
static const EventValue *
key_value(const Event *event, bool before, const char *column)
{
	for (int i = 0; i < event->relation->ncolumns; i++)
	{
		const EventValue *value;

		if (strcmp(event->relation->columns[i].name, column) != 0)
			continue;
		value = before ? &event->old_row[i] : event_new_value(event, i);
		return value != NULL && value->kind == EVENT_VALUE_TEXT ? value : NULL;
	}
	return NULL;
}

/* Has the row this key, before an update or after it? */
static bool
has_key(const Event *event, bool before, const CopyPosition *key)
{
	if (key->n != list_length(key_columns))
		return false;
	for (int i = 0; i < key->n; i++)
	{
		const EventValue *value = key_value(event, before, list_nth(key_columns, i));

		if (value == NULL || strlen(key->texts[i]) != value->length ||
			memcmp(key->texts[i], value->v.text, value->length) != 0)
			return false;
	}
	return true;
}

/* A hash of the key; false: it is not whole. */
static bool
hash_key(const Event *event, bool before, uint64 *hash)
{
	ListCell   *cell;

	*hash = 0;
	foreach(cell, key_columns)
	{
		const EventValue *value = key_value(event, before, lfirst(cell));

		if (value == NULL)
			return false;
		*hash = hash_combine64(*hash, hash_bytes_extended((const unsigned char *) value->v.text,
														  value->length, 0));
	}
	return true;
}

/*
 * The first commit of the noted and read rows that an event moves on; Invalid:
 * there is none.
 */
static XLogRecPtr
first_before(const Event *event)
{
	XLogRecPtr	first = InvalidXLogRecPtr;
	SameHash   *same;
	uint64		hash;

	if (!hash_key(event, true, &hash))
		return InvalidXLogRecPtr;
	same = hash_search(by_key, &hash, HASH_FIND, NULL);
	for (MovedRow *row = same ? same->rows : NULL; row != NULL; row = row->next)
	{
		if (has_key(event, true, &row->note.key))
			first = copy_earlier(first, row->note.first);
	}
	return copy_earlier(first, moved_spill_first_of(hash));
}

/* Is the key that an event gives to a row noted, and not read yet? */
static bool
is_noted(const Event *event, uint64 hash)
{
	SameHash   *same = hash_search(by_key, &hash, HASH_FIND, NULL);

	for (MovedRow *row = same ? same->rows : NULL; row != NULL; row = row->next)
	{
		if (row->mark == InvalidXLogRecPtr && has_key(event, false, &row->note.key))
			return true;
	}
	return false;
}

/* The key that an event gives to a row, which has all its columns. */
static MovedNote
note_of(const Event *event, uint64 hash, XLogRecPtr first)
{
	MovedNote	note = {.first = first, .hash = hash};
	ListCell   *cell;

	note.key.texts = palloc(list_length(key_columns) * sizeof(char *));
	foreach(cell, key_columns)
	{
		const EventValue *value = key_value(event, false, lfirst(cell));

		note.key.texts[note.key.n++] = pnstrdup(value->v.text, value->length);
	}
	return note;
}

/* The block of the next note. */
static NoteBlock *
add_to_block(XLogRecPtr first)
{
	NoteBlock  *block = blocks == NIL ? NULL : llast(blocks);

	if (block == NULL || block->made == BLOCK_NOTES)
	{
		block = palloc0(sizeof(NoteBlock));
		blocks = lappend(blocks, block);
	}
	block->first = copy_earlier(block->first, first);
	block->made++;
	block->live++;
	return block;
}

static void
leave_block(NoteBlock *block)
{
	if (--block->live > 0)
		return;
	blocks = list_delete_ptr(blocks, block);
	pfree(block);
}

/* Keep a note in memory. */
static void
keep(const MovedNote *note)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	MovedRow   *row = palloc0(sizeof(MovedRow));
	SameHash   *same;
	bool		found;

	row->note = *note;
	row->note.key = copy_position_keep(context, &note->key);
	row->size = GetMemoryChunkSpace(row) + GetMemoryChunkSpace(row->note.key.texts) + sizeof(ListCell);
	for (int i = 0; i < note->key.n; i++)
		row->size += GetMemoryChunkSpace(row->note.key.texts[i]);
	same = hash_search(by_key, &note->hash, HASH_ENTER, &found);
	row->next = found ? same->rows : NULL;
	same->rows = row;
	row->size += sizeof(SameHash);
	row->block = add_to_block(note->first);
	used += row->size;
	noted = lappend(noted, row);
	MemoryContextSwitchTo(old);
}

static void
free_row(MovedRow *row)
{
	SameHash   *same = hash_search(by_key, &row->note.hash, HASH_FIND, NULL);

	for (MovedRow **link = same ? &same->rows : NULL; link != NULL && *link != NULL; link = &(*link)->next)
	{
		if (*link == row)
		{
			*link = row->next;
			break;
		}
	}
	if (same != NULL && same->rows == NULL)
		(void) hash_search(by_key, &row->note.hash, HASH_REMOVE, NULL);
	used -= row->size;
	leave_block(row->block);
	copy_position_free(&row->note.key);
	pfree(row);
}

/* A row that cannot be read again: say so once. */
static void
tell_incomplete(const Event *event)
{
	if (!told_incomplete)
		ereport(LOG,
				(errmsg("firehose decoder: rows of table %u that change their key are not read again, because changes do not have all of it",
						event->relation->relid)));
	told_incomplete = true;
}

XLogRecPtr
moved_rows_note(const Event *event, XLogRecPtr end)
{
	XLogRecPtr	first = event->lsn;
	MovedNote	note;
	uint64		hash;

	if (context == NULL || lost || key_columns == NIL || !leaves_values_out(event))
		return InvalidXLogRecPtr;
	if (has_other_key(event->relation))
	{
		lose_all(first);
		return dropped;
	}
	if (event->old_row == NULL || !event->old_is_key)
		return InvalidXLogRecPtr;	/* its key does not change */
	if (!hash_key(event, false, &hash))
	{
		tell_incomplete(event);
		return InvalidXLogRecPtr;
	}
	if (end != InvalidXLogRecPtr && event->lsn >= end)
	{
		/* a restart before the first change notes the whole chain again */
		first = first_before(event);
		if (first == InvalidXLogRecPtr)
			return InvalidXLogRecPtr;
	}
	/* the reading that the older note asks for comes after this change */
	if (is_noted(event, hash))
		return InvalidXLogRecPtr;
	note = note_of(event, hash, first);
	if (used <= logical_decoding_work_mem * (Size) 1024 && moved_spill_is_empty())
		keep(&note);
	else if (!moved_spill_add(&note))
		lose_all(first);
	copy_position_free(&note.key);
	return lost ? dropped : first;
}

int
moved_rows_count(void)
{
	return list_length(noted);
}

const CopyPosition *
moved_rows_key(int i)
{
	return &((MovedRow *) list_nth(noted, i))->note.key;
}

static XLogRecPtr
first_of(List *rows, int n)
{
	XLogRecPtr	first = InvalidXLogRecPtr;

	for (int i = 0; i < n; i++)
		first = copy_earlier(first, ((MovedRow *) list_nth(rows, i))->note.first);
	return first;
}

XLogRecPtr
moved_rows_read(int n, XLogRecPtr mark)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	XLogRecPtr	first = first_of(noted, n);

	for (int i = 0; i < n; i++)
	{
		MovedRow   *row = list_nth(noted, i);

		row->mark = mark;
		were_read = lappend(were_read, row);
	}
	noted = list_delete_first_n(noted, n);
	MemoryContextSwitchTo(old);
	return first;
}

/* Take some spilled notes back, as there is room for them. */
static void
take_spilled(void)
{
	MovedNote	note;

	for (int i = 0; i < TAKE_NOTES && used <= logical_decoding_work_mem * (Size) 1024 / 2; i++)
	{
		if (!moved_spill_take(&note))
			break;
		keep(&note);
		copy_position_free(&note.key);
	}
}

void
moved_rows_passed(XLogRecPtr position)
{
	int			n = 0;

	/* they were read in the order of their marks */
	while (n < list_length(were_read) &&
		   ((MovedRow *) list_nth(were_read, n))->mark <= position)
		free_row(list_nth(were_read, n++));
	were_read = list_delete_first_n(were_read, n);
	take_spilled();
}

XLogRecPtr
moved_rows_hold(void)
{
	XLogRecPtr	first = copy_earlier(dropped, moved_spill_hold());
	ListCell   *cell;

	foreach(cell, blocks)
		first = copy_earlier(first, ((NoteBlock *) lfirst(cell))->first);
	return first;
}

bool
moved_rows_settled(void)
{
	return noted == NIL && were_read == NIL && moved_spill_is_empty();
}
