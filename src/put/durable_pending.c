/*
 * durable_pending.c
 *		Durable puts of a transaction that are not in the WAL yet.
 *
 * Runs in backends.  There is a part for each level of nested subtransactions
 * that has put: a message, without its header's values as yet.  Parts lie in
 * one buffer, those of outer levels first.
 *
 * A message belongs to the subtransaction that writes it, and is lost when
 * that one aborts.  So one that writes a message writes all that outer levels
 * have put before, too, which keeps the order of the records; but those parts
 * are kept until it is over: if it aborts, they are pending again.  So that
 * they are not written again and again for the sake of a few records, it does
 * so only when it has put as much itself (up to ENOUGH).
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "put/durable_pending.h"

/*
 * A message is written when it is this large.  What each message costs by
 * itself is then a hundredth of the whole, and what is copied and hashed is
 * still in the fastest cache when it is copied into the WAL.
 */
#define MESSAGE_FULL	(16 * 1024)

/* With so much of its own a level writes, however much is before it. */
#define ENOUGH			(1024 * 1024)

/* A buffer larger than this is not kept for the next transaction. */
#define KEEP_BUFFER		(64 * 1024)

typedef struct Part
{
	int			level;			/* of nesting; 1: of the transaction itself */
	int			written_at;		/* level that has written it; 0: pending */
	Size		begin;			/* where its message begins in the buffer */
	Oid			serverid;		/* where its last record goes */
} Part;

static char *buffer = NULL;
static Size used = 0;
static Size allocated = 0;

static Part *parts = NULL;		/* levels ascend, and so do those written at */
static int	nparts = 0;
static int	max_parts = 0;
static int	nwritten = 0;		/* the first ones are written */

/* The part of a level, if it has one: no part is of a deeper one. */
static Part *
part_of(int level)
{
	Part	   *last = nparts > 0 ? &parts[nparts - 1] : NULL;

	Assert(last == NULL || last->level <= level);
	return last != NULL && last->level == level ? last : NULL;
}

static void
enlarge(Size space)
{
	Size		size;

	if (likely(used + space <= allocated))
		return;
	size = Max(used + space, Max(1024, allocated * 2));
	if (buffer == NULL)
		buffer = MemoryContextAlloc(TopMemoryContext, size);
	else
		buffer = repalloc_huge(buffer, size);
	allocated = size;
}

static Part *
begin_part(int level)
{
	if (nparts == max_parts)
	{
		int			n = Max(8, max_parts * 2);

		if (parts == NULL)
			parts = MemoryContextAlloc(TopMemoryContext, n * sizeof(Part));
		else
			parts = repalloc_huge(parts, n * sizeof(Part));
		max_parts = n;
	}
	enlarge(DURABLE_HEADER_SIZE);
	parts[nparts] = (Part) {.level = level, .begin = used};
	used += DURABLE_HEADER_SIZE;
	return &parts[nparts++];
}

static Size
part_end(const Part *part)
{
	return part == &parts[nparts - 1] ? used : part[1].begin;
}

/* Is the last part, with `size` bytes, worth to be written with all before? */
static bool
is_full(const Part *part, Size size)
{
	Size		before = part->begin - parts[Min(nwritten, part - parts)].begin;

	return size >= Min(Max(MESSAGE_FULL, before), ENOUGH);
}

void
durable_pending_add(const DurableRecord *record, RecordShape shape)
{
	int			level = GetCurrentTransactionNestLevel();
	Part	   *part = part_of(level);
	bool		with_stream;

	CHECK_FOR_INTERRUPTS();
	if (part == NULL)
		part = begin_part(level);
	with_stream = part->serverid != record->serverid;
	enlarge(durable_entry_size(with_stream ? record->stream : NULL,
							   record_shaped_length(&record->bytes, shape)));
	used = durable_entry_write(buffer + used, record, with_stream, shape) - buffer;
	part->serverid = record->serverid;
	if (is_full(part, used - part->begin))
		durable_pending_write();
}

void
durable_pending_write(void)
{
	int			level = GetCurrentTransactionNestLevel();

	for (; nwritten < nparts; nwritten++)
	{
		Part	   *part = &parts[nwritten];
		Size		size = part_end(part) - part->begin;

		durable_message_seal(buffer + part->begin, size, true);
		WriteLogicalMessage(DURABLE_MESSAGE_PREFIX, buffer + part->begin, size, true);
		part->written_at = level;
	}
	/* its own need not be kept */
	if (part_of(level) != NULL)
	{
		used = parts[--nparts].begin;
		nwritten = nparts;
	}
}

void
durable_pending_forget(void)
{
	nparts = nwritten = 0;
	used = 0;
	if (allocated > KEEP_BUFFER)
	{
		pfree(buffer);
		buffer = NULL;
		allocated = 0;
	}
}

/*
 * Many subtransactions may add to their parent, which puts nothing itself and
 * so would write nothing: the one that would fill it writes.
 */
void
durable_pending_before_commit_sub(int level)
{
	Part	   *own = part_of(level);

	if (own != NULL && nparts > 1 && own[-1].level == level - 1 &&
		own[-1].written_at == 0 && is_full(&own[-1], used - own[-1].begin))
		durable_pending_write();
}

/* Take bytes out of the buffer, from a part on. */
static void
cut(Part *part, Size size)
{
	memmove(buffer + part->begin, buffer + part->begin + size, used - part->begin - size);
	used -= size;
}

/*
 * All that it has written is its parent's now: what the parent itself had put
 * before need not be kept.
 */
static void
hand_written_to_parent(int level)
{
	for (int i = nwritten; i-- > 0 && parts[i].written_at == level;)
		parts[i].written_at--;
	for (int i = nparts; i-- > 0 && parts[i].level >= level - 1;)
	{
		Part	   *part = &parts[i];
		Size		size = part_end(part) - part->begin;

		if (part->written_at != part->level)
			continue;
		cut(part, size);
		memmove(part, part + 1, (nparts - i - 1) * sizeof(Part));
		nparts--;
		nwritten--;
		for (int j = i; j < nparts; j++)
			parts[j].begin -= size;
	}
}

void
durable_pending_commit_sub(int level)
{
	Part	   *own;

	if (nparts == 0)
		return;
	hand_written_to_parent(level);
	own = part_of(level);
	if (own == NULL)
		return;
	if (nparts > 1 && own[-1].level == level - 1)
	{
		/* its records follow the parent's */
		cut(own, DURABLE_HEADER_SIZE);
		own[-1].serverid = own->serverid;
		nparts--;
	}
	else
		own->level = level - 1;
}

void
durable_pending_abort_sub(int level)
{
	while (nparts > 0 && parts[nparts - 1].level >= level)
		used = parts[--nparts].begin;
	nwritten = Min(nwritten, nparts);
	while (nwritten > 0 && parts[nwritten - 1].written_at >= level)
		parts[--nwritten].written_at = 0;
}
