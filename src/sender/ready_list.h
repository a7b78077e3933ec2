/*
 * ready_list.h
 *		A list of records handed out by the queue's reader: first in, first
 *		out, and what comes back from a request goes to the front.
 */
#ifndef FIREHOSE_SENDER_READY_LIST_H
#define FIREHOSE_SENDER_READY_LIST_H

#include "queue/reader.h"

/* An idle stream keeps the memory of so many records. */
#define READY_LIST_KEEP		2048

typedef struct ReadyList
{
	ClaimedRecord *items;			/* a ring */
	int			size;			/* a power of two */
	int			first;
	int			count;
	Size		bytes;			/* payload of all of them */
	MemoryContext context;
} ReadyList;

static inline void
ready_list_init(ReadyList *list, MemoryContext context)
{
	memset(list, 0, sizeof(ReadyList));
	list->context = context;
}

static inline ClaimedRecord *
ready_list_get(const ReadyList *list, int i)
{
	return &list->items[(list->first + i) & (list->size - 1)];
}

static inline void
ready_list_grow(ReadyList *list)
{
	int			size = Max(64, list->size * 2);
	ClaimedRecord *items = MemoryContextAlloc(list->context, size * sizeof(ClaimedRecord));

	for (int i = 0; i < list->count; i++)
		items[i] = *ready_list_get(list, i);
	if (list->items)
		pfree(list->items);
	list->items = items;
	list->size = size;
	list->first = 0;
}

/* The place behind the end, to be filled in, and added then. */
static inline ClaimedRecord *
ready_list_next(ReadyList *list)
{
	if (list->count == list->size)
		ready_list_grow(list);
	return ready_list_get(list, list->count);
}

static inline void
ready_list_added(ReadyList *list, const ClaimedRecord *claimed)
{
	list->count++;
	list->bytes += claimed->length;
}

/* Add at the end. */
static inline void
ready_list_push_back(ReadyList *list, const ClaimedRecord *claimed)
{
	ClaimedRecord *place = ready_list_next(list);

	*place = *claimed;
	ready_list_added(list, place);
}

static inline void
ready_list_push_front(ReadyList *list, const ClaimedRecord *claimed)
{
	if (list->count == list->size)
		ready_list_grow(list);
	list->first = (list->first - 1) & (list->size - 1);
	list->count++;
	*ready_list_get(list, 0) = *claimed;
	list->bytes += claimed->length;
}

static inline void
ready_list_pop_front(ReadyList *list, ClaimedRecord *claimed)
{
	*claimed = *ready_list_get(list, 0);
	list->first = (list->first + 1) & (list->size - 1);
	list->count--;
	list->bytes -= claimed->length;
}

/* Take so many from the front, which have so many bytes. */
static inline void
ready_list_pop_many(ReadyList *list, ClaimedRecord *claimed, int n, Size bytes)
{
	int			unwrapped = Min(n, list->size - list->first);

	if (n == 0)
		return;
	memcpy(claimed, list->items + list->first, unwrapped * sizeof(ClaimedRecord));
	memcpy(claimed + unwrapped, list->items, (n - unwrapped) * sizeof(ClaimedRecord));
	list->first = (list->first + n) & (list->size - 1);
	list->count -= n;
	list->bytes -= bytes;
}

static inline int
ready_list_compare(const void *a, const void *b)
{
	QueuePosition pa = ((const ClaimedRecord *) a)->position;
	QueuePosition pb = ((const ClaimedRecord *) b)->position;

	return pa < pb ? -1 : pa > pb ? 1 : 0;
}

/* Put the records into the order of their places in the queue. */
static inline void
ready_list_sort(ReadyList *list)
{
	/* growing leaves them one behind the other */
	if (list->first + list->count > list->size)
		ready_list_grow(list);
	if (list->count > 1)
		qsort(list->items + list->first, list->count, sizeof(ClaimedRecord), ready_list_compare);
}

/* Give the memory of an empty list back, if it is much. */
static inline void
ready_list_trim(ReadyList *list)
{
	if (list->count > 0 || list->size <= READY_LIST_KEEP)
		return;
	pfree(list->items);
	list->items = NULL;
	list->size = 0;
}

#endif							/* FIREHOSE_SENDER_READY_LIST_H */
