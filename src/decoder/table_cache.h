/*
 * table_cache.h
 *		Descriptions of the tables whose changes a decoder reads: their
 *		description by pgoutput, the plans made of it, and their stream.
 *
 * Decoder process only, inside decoding: under a historic snapshot.
 */
#ifndef FIREHOSE_DECODER_TABLE_CACHE_H
#define FIREHOSE_DECODER_TABLE_CACHE_H

#include "lib/stringinfo.h"
#include "replication/logicalproto.h"

#include "decoder/change_batch.h"
#include "format/event.h"
#include "pipeline/definition.h"

typedef struct TableCache TableCache;

typedef struct CachedTable
{
	Oid			relid;			/* hash key */
	bool		skipped;		/* one of the extension's own */
	uint8		missed;			/* how often it was soon needed again */
	int64		forgotten_at;	/* clock_ms(); 0: it is not forgotten */
	LogicalRepRelation *described;	/* by pgoutput; NULL: it is forgotten */
	EventRelation *relation;	/* made of it; NULL: to be made */
	BatchStream *stream;		/* where its changes go; set with relation */
} CachedTable;

/*
 * Create one; `context` must outlive it.  The last stream of the batch is the
 * pipeline's own, those before it the routes'.
 */
extern TableCache *table_cache_create(MemoryContext context, const Pipeline *pipeline,
									  ChangeBatch *batch);

/* Take pgoutput's description of a table, which replaces an earlier one. */
extern void table_cache_describe(TableCache *cache, StringInfo message);

/*
 * Find a table that was described.  Unless it is one to skip, relation and
 * stream are as the catalogs say now.  Valid until the next call of either
 * function.  Errors: protocol_violation, if it was not described.
 */
extern CachedTable *table_cache_get(TableCache *cache, Oid relid);

/*
 * Between records of the WAL, outside of a transaction: forget all tables, and
 * all that core's caches have of them, if many were described since the last
 * time and few of these had been forgotten too early.  pgoutput describes each
 * again before its next change.
 */
extern void table_cache_trim(TableCache *cache);

/* The stream that changes of a table go to. */
extern BatchStream *table_cache_route(TableCache *cache, const char *schema, const char *table);

/*
 * Of a pipeline that describes its tables: is a description of this one to be
 * sent, before the next record of it?  Yes once for each that differs from the
 * last one of the table, in the life of this process or since
 * table_cache_tell_again.
 */
extern bool table_cache_is_news(TableCache *cache, EventRelation *relation);

/* Records are forgotten, and what they told: tell of all tables again. */
extern void table_cache_tell_again(TableCache *cache);

/* Records of one table are to come later: tell of it again before others. */
extern void table_cache_tell_again_of(TableCache *cache, Oid relid);

/*
 * A column that would be a second key of its name in the pipeline's records;
 * NULL: none.
 */
extern const char *table_cache_reserved_column(const Pipeline *pipeline,
											   const EventRelation *relation);

/* Values of one row, large enough for every table; the same at each call. */
extern EventValue *table_cache_new_row(TableCache *cache);
extern EventValue *table_cache_old_row(TableCache *cache);

#endif							/* FIREHOSE_DECODER_TABLE_CACHE_H */
