/*
 * stream.c
 *		Streams: foreign servers of the wrapper "firehose", resolved and
 *		cached.
 *
 * Runs in backends (by name) and in the sender (by OID).  An invalidation only
 * marks an entry, because it may come while a caller holds a pointer.  Marked
 * ones are freed at the end of a transaction, once there are many.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "common/compat.h"
#include "common/names.h"
#include "stream/stream.h"
#include "stream/stream_options.h"


/* So many entries may be there before any is freed. */
#define KEEP_STREAMS	64

static HTAB *streams = NULL;	/* by name */
static HTAB *streams_by_id = NULL;	/* the same entries: StreamById */
static Stream *last_used = NULL;
static uint64 catalog_generation = 1;
static uint64 rights_generation = 1;	/* of all that usage_checked depends on */
static uint64 seen_settings = 0;
static long enough_streams = KEEP_STREAMS;

typedef struct StreamById
{
	Oid			serverid;		/* hash key */
	Stream	   *stream;			/* once had this OID; another may have it now */
} StreamById;

void
stream_define_settings(void)
{
	stream_options_define_settings();
}

/* Mark everything to be looked up again. */
static void
forget_all(void)
{
	HASH_SEQ_STATUS status;
	Stream	   *stream;

	catalog_generation++;
	rights_generation++;
	hash_seq_init(&status, streams);
	while ((stream = hash_seq_search(&status)) != NULL)
	{
		stream->valid = false;
		stream->usage_checked = InvalidOid;
	}
}

static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	forget_all();
}

/* A server has changed, or with 0 all of them. */
static void
server_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS status;
	Stream	   *stream;

	catalog_generation++;
	rights_generation++;
	hash_seq_init(&status, streams);
	while ((stream = hash_seq_search(&status)) != NULL)
	{
		if (hashvalue != 0 && stream->hash_value != hashvalue)
			continue;
		stream->valid = false;
		stream->usage_checked = InvalidOid;
	}
}

/* Roles have changed: that concerns who may use a stream, not what it is. */
static void
roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS status;
	Stream	   *stream;

	rights_generation++;
	hash_seq_init(&status, streams);
	while ((stream = hash_seq_search(&status)) != NULL)
		stream->usage_checked = InvalidOid;
}

/* The OID of an entry is not to lead to it any more. */
static void
forget_id(const Stream *stream)
{
	StreamById *by_id = hash_search(streams_by_id, &stream->serverid, HASH_FIND, NULL);

	if (by_id != NULL && by_id->stream == stream)
		hash_search(streams_by_id, &stream->serverid, HASH_REMOVE, NULL);
}

/*
 * Transaction callback: free the entries that are not valid.  It costs little
 * for each entry that was added since the last time.
 */
static void
free_marked(XactEvent event, void *arg)
{
	HASH_SEQ_STATUS status;
	Stream	   *stream;

	if ((event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE) ||
		hash_get_num_entries(streams) <= enough_streams)
		return;
	hash_seq_init(&status, streams);
	while ((stream = hash_seq_search(&status)) != NULL)
	{
		if (stream->valid)
			continue;
		forget_id(stream);
		if (last_used == stream)
			last_used = NULL;
		if (stream->context != NULL)
			MemoryContextDelete(stream->context);
		hash_search(streams, stream->name, HASH_REMOVE, NULL);
	}
	enough_streams = Max(KEEP_STREAMS, 2 * hash_get_num_entries(streams));
}

/* Prepare the cache, at the first use in this process. */
static void
ensure_cache(void)
{
	HASHCTL		ctl;

	if (streams == NULL)
	{
		ctl.keysize = NAMEDATALEN;
		ctl.entrysize = sizeof(Stream);
		ctl.hcxt = TopMemoryContext;
		streams = hash_create("firehose streams", 16, &ctl,
							  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(StreamById);
		streams_by_id = hash_create("firehose streams by id", 16, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		CacheRegisterSyscacheCallback(FOREIGNSERVEROID, server_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, catalog_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
		RegisterXactCallback(free_marked, NULL);
	}
	if (seen_settings != stream_options_generation())
	{
		seen_settings = stream_options_generation();
		forget_all();
	}
}

uint64
stream_cache_generation(void)
{
	ensure_cache();
	return catalog_generation;
}

Oid
stream_wrapper_oid(void)
{
	return get_foreign_data_wrapper_oid(FIREHOSE_NAME, true);
}

/* Is this foreign server a stream? */
static bool
is_stream(const ForeignServer *server)
{
	return server->fdwid == stream_wrapper_oid();
}

/*
 * Put a server into the cache, or bring its entry up to date.  It was looked
 * up at this generation of the catalogs: if they have changed meanwhile it is
 * looked up again the next time.
 */
static Stream *
remember(const ForeignServer *server, uint64 generation)
{
	bool		found;
	Stream	   *stream = hash_search(streams, server->servername, HASH_ENTER, &found);
	StreamById *by_id;

	if (!found)
		MemSet((char *) stream + NAMEDATALEN, 0, sizeof(Stream) - NAMEDATALEN);
	if (stream->context == NULL)
		stream->context = AllocSetContextCreate(TopMemoryContext, "firehose stream",
												ALLOCSET_SMALL_SIZES);
	stream->valid = false;
	MemoryContextReset(stream->context);
	stream_options_resolve(server->options, server->servername, stream->context,
						   &stream->options);
	if (stream->serverid != server->serverid)
	{
		forget_id(stream);
		stream->queue_stream = NULL;
	}
	stream->serverid = server->serverid;
	stream->owner = server->owner;
	stream->usage_checked = InvalidOid;
	stream->hash_value = GetSysCacheHashValue1(FOREIGNSERVEROID,
											   ObjectIdGetDatum(server->serverid));
	by_id = hash_search(streams_by_id, &server->serverid, HASH_ENTER, NULL);
	by_id->stream = stream;
	stream->valid = generation == catalog_generation;
	return stream;
}

static char *
in_lower_case(const char *name)
{
	return asc_tolower(name, strlen(name));
}

/*
 * The stream whose name is nearest to one that does not exist, in any case of
 * letters; NULL if none is near.  Every role can read the names of servers in
 * pg_foreign_server, so this tells nothing new.
 */
static const char *
nearest_name(const char *name)
{
	const char *wanted = in_lower_case(name);
	int			length = Min(strlen(wanted), NAMEDATALEN);
	/* as core for columns: at most three edits, and not half of the name */
	int			least = Min(4, length / 2 + 1);
	const char *nearest = NULL;
	Relation	rel = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tuple);
		const char *candidate;
		int			distance;

		if (server->srvfdw != stream_wrapper_oid())
			continue;
		candidate = in_lower_case(NameStr(server->srvname));
		distance = varstr_levenshtein_less_equal(wanted, length, candidate, strlen(candidate),
												 1, 1, 1, least - 1, true);
		if (distance < least)
		{
			least = distance;
			nearest = pstrdup(NameStr(server->srvname));
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return nearest;
}

static void
no_such_stream(const char *name)
{
	const char *nearest = nearest_name(name);
	const char *region = GetConfigOption(FIREHOSE_NAME ".region", true, false);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("stream \"%s\" does not exist", name),
			 nearest ? errhint("Perhaps you meant the stream \"%s\".", nearest) :
			 errhint("Create it with: CREATE SERVER %s FOREIGN DATA WRAPPER firehose%s;",
					 quote_identifier(name),
					 region && *region ? "" : " OPTIONS (region 'eu-west-1')")));
}

Stream *
stream_get(const char *name)
{
	ForeignServer *server;
	Stream	   *stream;

	ensure_cache();
	if (last_used != NULL && last_used->valid && strcmp(last_used->name, name) == 0)
		return last_used;
	if (strlen(name) >= NAMEDATALEN)
		no_such_stream(name);
	stream = hash_search(streams, name, HASH_FIND, NULL);
	if (stream == NULL || !stream->valid)
	{
		uint64		generation = catalog_generation;

		server = GetForeignServerByName(name, true);
		if (server == NULL)
			no_such_stream(name);
		if (!is_stream(server))
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("foreign server \"%s\" is not a stream", name),
					 errdetail("It belongs to another foreign-data wrapper than \"%s\".",
							   FIREHOSE_NAME)));
		stream = remember(server, generation);
	}
	last_used = stream;
	return stream;
}

Stream *
stream_get_changed(const char *name)
{
	ForeignServer *server;

	CommandCounterIncrement();
	server = GetForeignServerByName(name, true);
	return server != NULL && is_stream(server) ? stream_get(name) : NULL;
}

/* Find a valid entry by OID. */
static Stream *
find_by_id(Oid serverid)
{
	StreamById *by_id = hash_search(streams_by_id, &serverid, HASH_FIND, NULL);

	if (by_id == NULL || !by_id->stream->valid || by_id->stream->serverid != serverid)
		return NULL;
	return by_id->stream;
}

bool
stream_is_known(Oid serverid)
{
	ensure_cache();
	return find_by_id(serverid) != NULL;
}

Stream *
stream_get_by_id(Oid serverid)
{
	ForeignServer *server;
	Stream	   *stream;
	uint64		generation;

	ensure_cache();
	stream = find_by_id(serverid);
	if (stream != NULL)
		return stream;
	generation = catalog_generation;
	server = GetForeignServerExtended(serverid, FSV_MISSING_OK);
	if (server == NULL || !is_stream(server))
		return NULL;
	return remember(server, generation);
}

void
stream_check_usage(Stream *stream, Oid role)
{
	AclResult	result;
	uint64		generation = rights_generation;

	if (stream->usage_checked == role)
		return;
	result = foreign_server_aclcheck(stream->serverid, role, ACL_USAGE);
	if (result != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for stream \"%s\"", stream->name),
				 errhint("Its owner may allow it with: GRANT USAGE ON FOREIGN SERVER %s TO %s;",
						 quote_identifier(stream->name),
						 quote_identifier(GetUserNameFromId(role, false)))));
	/* what was looked at may be of before a change that is told meanwhile */
	if (generation == rights_generation)
		stream->usage_checked = role;
}
