/*
 * stream.h
 *		A stream is a foreign server of the wrapper "firehose".  This module
 *		knows its options (one table: names, types, bounds, defaults), checks
 *		them, and resolves a server into a Stream that stays cached until the
 *		server or a setting changes.
 */
#ifndef FIREHOSE_STREAM_H
#define FIREHOSE_STREAM_H

#include "queue/queue.h"
#include "stream/stream_options.h"

/*
 * A resolved stream.  Valid until the next stream_* call that may process
 * invalidations; do not keep it across transactions.
 */
typedef struct Stream
{
	char		name[NAMEDATALEN];	/* the foreign server's name (hash key) */
	Oid			serverid;
	Oid			owner;
	StreamOptions options;
	MemoryContext context;		/* of the strings in options */
	bool		valid;
	uint32		hash_value;		/* by which invalidations name the server */

	/* put.c: the queue's entry, looked up again when the generation differs */
	QueueStream *queue_stream;
	uint32		queue_generation;

	/* the last role whose USAGE was found sufficient */
	Oid			usage_checked;
} Stream;

extern void stream_define_settings(void);

/*
 * Backend: find by name; errors (with the CREATE SERVER to write) when there
 * is none.
 */
extern PGDLLEXPORT Stream *stream_get(const char *name);

/*
 * The same, NULL: there is no such stream.  For a server that this transaction
 * has changed just now.
 */
extern Stream *stream_get_changed(const char *name);

/*
 * Sender: by OID; NULL when the server is gone.  Needs a transaction unless it
 * is cached and valid.
 */
extern PGDLLEXPORT Stream *stream_get_by_id(Oid serverid);

/* Is what is cached of a stream valid, so that nothing of it has changed? */
extern PGDLLEXPORT bool stream_is_known(Oid serverid);

/*
 * Number that changes whenever any stream may have changed (server, user
 * mapping or setting).
 */
extern PGDLLEXPORT uint64 stream_cache_generation(void);

/* Error unless `role` has USAGE on the stream. */
extern PGDLLEXPORT void stream_check_usage(Stream *stream, Oid role);

/*
 * OID of the foreign-data wrapper in this database, InvalidOid when the
 * extension is not there.
 */
extern PGDLLEXPORT Oid stream_wrapper_oid(void);

#endif							/* FIREHOSE_STREAM_H */
