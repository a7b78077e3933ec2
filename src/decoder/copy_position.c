/*
 * copy_position.c
 *		Positions of copies; copy_position.h says more.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "decoder/copy_position.h"

CopyPosition
copy_position_keep(MemoryContext context, const CopyPosition *position)
{
	CopyPosition kept = {.n = position->n};

	kept.texts = MemoryContextAlloc(context, Max(position->n, 1) * sizeof(char *));
	for (int i = 0; i < position->n; i++)
		kept.texts[i] = MemoryContextStrdup(context, position->texts[i]);
	return kept;
}

void
copy_position_free(CopyPosition *position)
{
	for (int i = 0; i < position->n; i++)
		pfree(position->texts[i]);
	if (position->texts)
		pfree(position->texts);
	memset(position, 0, sizeof(CopyPosition));
}

List *
copy_texts_keep(MemoryContext context, const List *texts)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *kept = NIL;
	ListCell   *cell;

	foreach(cell, texts)
		kept = lappend(kept, pstrdup(lfirst(cell)));
	MemoryContextSwitchTo(old);
	return kept;
}

bool
copy_texts_equal(const List *a, const List *b)
{
	if (list_length(a) != list_length(b))
		return false;
	for (int i = 0; i < list_length(a); i++)
	{
		if (strcmp(list_nth(a, i), list_nth(b, i)) != 0)
			return false;
	}
	return true;
}
