/*
 * ready_list.h
 *		A list of records handed out by the queue's reader: first in, first
 *		out, and what comes back from a request goes to the front.
 */
#ifndef FIREHOSE_SENDER_READY_LIST_H
#define FIREHOSE_SENDER_READY_LIST_H

#include "queue/reader.h"

typedef struct TakenList
{
	QueueTaken *items;			/* a ring */
	int			size;			/* a power of two */
	int			first;
	int			count;
	Size		bytes;			/* payload of all of them */
	MemoryContext context;
} TakenList;

static inline void
taken_list_init(TakenList *list, MemoryContext context)
{
	memset(list, 0, sizeof(TakenList));
	list->context = context;
}

static inline QueueTaken *
taken_list_get(const TakenList *list, int i)
{
	return &list->items[(list->first + i) & (list->size - 1)];
}

static inline void
taken_list_grow(TakenList *list)
{
	int			size = Max(64, list->size * 2);
	QueueTaken *items = MemoryContextAlloc(list->context, size * sizeof(QueueTaken));

	for (int i = 0; i < list->count; i++)
		items[i] = *taken_list_get(list, i);
	if (list->items)
		pfree(list->items);
	list->items = items;
	list->size = size;
	list->first = 0;
}

/* Add at the end. */
static inline void
taken_list_push_back(TakenList *list, const QueueTaken *taken)
{
	if (list->count == list->size)
		taken_list_grow(list);
	*taken_list_get(list, list->count++) = *taken;
	list->bytes += taken->length;
}

static inline void
taken_list_push_front(TakenList *list, const QueueTaken *taken)
{
	if (list->count == list->size)
		taken_list_grow(list);
	list->first = (list->first - 1) & (list->size - 1);
	list->count++;
	*taken_list_get(list, 0) = *taken;
	list->bytes += taken->length;
}

static inline void
taken_list_pop_front(TakenList *list, QueueTaken *taken)
{
	*taken = *taken_list_get(list, 0);
	list->first = (list->first + 1) & (list->size - 1);
	list->count--;
	list->bytes -= taken->length;
}

#endif							/* FIREHOSE_SENDER_READY_LIST_H */
