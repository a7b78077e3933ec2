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

typedef struct MovedRow
{
	CopyPosition key;			/* that it has moved to */
	XLogRecPtr	first;			/* commit of the first change of its moves */
	XLogRecPtr	mark;			/* it was read before this; Invalid: not yet */
	Size		size;			/* of all this */
	uint64		hash;			/* of the key */
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
static HTAB *by_key;			/* of both, those that have a whole key */
static Size used;				/* by both */
static bool too_many;			/* not all are noted */
static XLogRecPtr dropped;		/* first commit of those that were dropped; Invalid: none */

/* Begin with an empty context, or with none. */
static void
have_none(void)
{
	HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(SameHash), .hcxt = context};

	noted = NIL;
	were_read = NIL;
	used = 0;
	too_many = false;
	dropped = InvalidXLogRecPtr;
	by_key = context == NULL ? NULL :
		hash_create("firehose moved rows", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
moved_rows_begin(MemoryContext parent, List *columns)
{
	context = AllocSetContextCreate(parent, "firehose moved rows", ALLOCSET_DEFAULT_SIZES);
	key_columns = columns;
	have_none();
}

void
moved_rows_forget(void)
{
	MemoryContextDelete(context);
	context = NULL;
	have_none();
}

bool
moved_rows_too_many(void)
{
	return too_many;
}

void
moved_rows_begin_anew(MemoryContext parent, List *columns, XLogRecPtr hold)
{
	hold = copy_earlier(hold, moved_rows_hold());
	moved_rows_forget();
	moved_rows_begin(parent, columns);
	dropped = hold;
}

void
moved_rows_stored(void)
{
	/* what is dropped now is held until the reading has begun anew */
	if (!too_many)
		dropped = InvalidXLogRecPtr;
}

/* The first that does not fit: one commit is enough to hold the slot. */
static void
drop_all(XLogRecPtr first)
{
	XLogRecPtr	hold = copy_earlier(first, moved_rows_hold());

	MemoryContextReset(context);
	have_none();
	dropped = hold;
	too_many = true;
}

/* Does an update change the key and leave values out? */
static bool
is_moved(const Event *event)
{
	if (event->op != EVENT_UPDATE || event->old_row == NULL || !event->old_is_key)
		return false;
	for (int i = 0; i < event->relation->ncolumns; i++)
	{
		if (event_new_value(event, i) == NULL)
			return true;
	}
	return false;
}

/* The value of a column of the key; NULL: it has none. */
static const EventValue *
key_value(const EventRelation *relation, const EventValue *row, const char *column)
{
	for (int i = 0; i < relation->ncolumns; i++)
	{
		if (strcmp(relation->columns[i].name, column) == 0)
			return row[i].kind == EVENT_VALUE_TEXT ? &row[i] : NULL;
	}
	return NULL;
}

/* Is a row of an event the one that has this key? */
static bool
has_key(const EventRelation *relation, const EventValue *row, const CopyPosition *key)
{
	if (key->n != list_length(key_columns))
		return false;
	for (int i = 0; i < key->n; i++)
	{
		const EventValue *value = key_value(relation, row, list_nth(key_columns, i));

		if (value == NULL || strlen(key->texts[i]) != value->length ||
			memcmp(key->texts[i], value->v.text, value->length) != 0)
			return false;
	}
	return true;
}

/* A hash of the key; false: it is not whole. */
static bool
hash_key(const EventRelation *relation, const EventValue *row, uint64 *hash)
{
	ListCell   *cell;

	*hash = 0;
	foreach(cell, key_columns)
	{
		const EventValue *value = key_value(relation, row, lfirst(cell));

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

	if (!hash_key(event->relation, event->old_row, &hash))
		return InvalidXLogRecPtr;
	same = hash_search(by_key, &hash, HASH_FIND, NULL);
	for (MovedRow *row = same ? same->rows : NULL; row != NULL; row = row->next)
	{
		if (has_key(event->relation, event->old_row, &row->key))
			first = copy_earlier(first, row->first);
	}
	return first;
}

/* A row of the key that an event gives to one. */
static MovedRow *
make_row(const Event *event)
{
	MovedRow   *row = palloc0(sizeof(MovedRow));
	ListCell   *cell;

	row->key.texts = palloc(Max(list_length(key_columns), 1) * sizeof(char *));
	row->size = GetMemoryChunkSpace(row) + GetMemoryChunkSpace(row->key.texts) + sizeof(ListCell);
	foreach(cell, key_columns)
	{
		const EventValue *value = key_value(event->relation, event->new_row, lfirst(cell));
		char	   *text;

		if (value == NULL)
			continue;
		text = pnstrdup(value->v.text, value->length);
		row->key.texts[row->key.n++] = text;
		row->size += GetMemoryChunkSpace(text);
	}
	if (hash_key(event->relation, event->new_row, &row->hash))
	{
		bool		found;
		SameHash   *same = hash_search(by_key, &row->hash, HASH_ENTER, &found);

		row->next = found ? same->rows : NULL;
		same->rows = row;
		row->size += sizeof(SameHash);
	}
	used += row->size;
	return row;
}

static void
free_row(MovedRow *row)
{
	SameHash   *same = hash_search(by_key, &row->hash, HASH_FIND, NULL);

	for (MovedRow **link = same ? &same->rows : NULL; link != NULL && *link != NULL; link = &(*link)->next)
	{
		if (*link == row)
		{
			*link = row->next;
			break;
		}
	}
	if (same != NULL && same->rows == NULL)
		(void) hash_search(by_key, &row->hash, HASH_REMOVE, NULL);
	used -= row->size;
	for (int i = 0; i < row->key.n; i++)
		pfree(row->key.texts[i]);
	pfree(row->key.texts);
	pfree(row);
}

XLogRecPtr
moved_rows_note(const Event *event, XLogRecPtr end)
{
	XLogRecPtr	first = event->lsn;
	MemoryContext old;
	MovedRow   *row;

	if (context == NULL || too_many || !is_moved(event))
		return InvalidXLogRecPtr;
	if (end != InvalidXLogRecPtr && event->lsn >= end)
	{
		/* a restart before the first change notes the whole chain again */
		first = first_before(event);
		if (first == InvalidXLogRecPtr)
			return InvalidXLogRecPtr;
	}
	if (used > logical_decoding_work_mem * (Size) 1024)
	{
		drop_all(first);
		return dropped;
	}

	old = MemoryContextSwitchTo(context);
	row = make_row(event);
	row->first = first;
	noted = lappend(noted, row);
	MemoryContextSwitchTo(old);
	return first;
}

int
moved_rows_count(void)
{
	return list_length(noted);
}

const CopyPosition *
moved_rows_key(int i)
{
	return &((MovedRow *) list_nth(noted, i))->key;
}

static XLogRecPtr
first_of(List *rows, int n)
{
	XLogRecPtr	first = InvalidXLogRecPtr;

	for (int i = 0; i < n; i++)
		first = copy_earlier(first, ((MovedRow *) list_nth(rows, i))->first);
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

void
moved_rows_passed(XLogRecPtr position)
{
	int			n = 0;

	/* they were read in the order of their marks */
	while (n < list_length(were_read) &&
		   ((MovedRow *) list_nth(were_read, n))->mark <= position)
		free_row(list_nth(were_read, n++));
	were_read = list_delete_first_n(were_read, n);
}

XLogRecPtr
moved_rows_hold(void)
{
	XLogRecPtr	first = copy_earlier(first_of(noted, list_length(noted)),
									 first_of(were_read, list_length(were_read)));

	return copy_earlier(dropped, first);
}

bool
moved_rows_settled(void)
{
	return noted == NIL && were_read == NIL;
}
