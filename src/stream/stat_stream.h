/*
 * stat_stream.h
 *		What a backend may see of the streams in shared memory.
 */
#ifndef FIREHOSE_STREAM_STAT_STREAM_H
#define FIREHOSE_STREAM_STAT_STREAM_H

#include "queue/queue.h"

/* A stream in use, as it was when listed.  Another stream has its slot if the generation differs. */
typedef struct StreamIdentity
{
	QueueStream *stream;
	uint32		generation;
	Oid			dboid;
	Oid			serverid;
	bool		dropped;
	char		name[NAMEDATALEN];
} StreamIdentity;

/* Error unless the library was preloaded, so that there is a queue. */
extern void observe_check_preloaded(void);

/*
 * List the streams in use, of one database or (InvalidOid) all, and of these
 * one server or all.  Returns their number.
 */
extern int	observe_list_streams(Oid dboid, Oid serverid, StreamIdentity **list);

/* Does the stream still have the slot that it was listed with? */
extern bool observe_is_current(const StreamIdentity *id);

/* May the current user read the stream's statistics? */
extern bool observe_may_read(const StreamIdentity *id);

/* The stream's state, by name, and the reason (palloc'd, maybe empty). */
extern const char *observe_state(const StreamIdentity *id, char **reason);

#endif							/* FIREHOSE_STREAM_STAT_STREAM_H */
