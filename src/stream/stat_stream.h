/*
 * stat_stream.h
 *		Statistics of the streams in shared memory.
 */
#ifndef FIREHOSE_STREAM_STAT_STREAM_H
#define FIREHOSE_STREAM_STAT_STREAM_H

#include "queue/queue.h"

/*
 * A stream in use, as it was when listed.  Another stream has its entry if the
 * generation differs.
 */
typedef struct ListedStream
{
	QueueStream *stream;
	uint32		generation;
	Oid			dboid;
	Oid			serverid;
	bool		dropped;
	char		name[NAMEDATALEN];
} ListedStream;

/*
 * List the streams in use, of one database or (InvalidOid) all, and of these
 * one server or all.  Returns their number.
 */
extern int	stat_stream_list(Oid dboid, Oid serverid, ListedStream **list);

/* Does the stream still have the entry that it was listed with? */
extern bool stat_stream_is_current(const ListedStream *id);

/* May the current user read the stream's statistics? */
extern bool stat_stream_may_read(const ListedStream *id);

/*
 * May the user see why a stream takes nothing?  Whoever may read all of it,
 * and whoever may put into it.
 */
extern bool stat_stream_may_see(const ListedStream *id);

/* The stream's state, by name, and the reason (palloc'd, maybe empty). */
extern const char *stat_stream_state(const ListedStream *id, char **reason);

/*
 * Why no sender runs in a database; NULL: one does, or is being started.  Set
 * at start by the module of workers, which this one may not know.
 */
extern const char *(*stat_stream_sender_absence) (Oid dboid);

#endif							/* FIREHOSE_STREAM_STAT_STREAM_H */
