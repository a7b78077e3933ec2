/*
 * sql.c
 *		The SQL functions that create, change, pause, resume and drop
 *		pipelines.
 *
 * Runs in backends.  They write the catalog, and no more: when the transaction
 * has committed, the database's sender sees it and launcher and decoder do the
 * rest (reconcile.c).  So they take part in transactions as other DDL does,
 * and take effect soon after the commit, not before.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "common/preload.h"
#include "pipeline/catalog.h"
#include "pipeline/check.h"
#include "pipeline/command.h"
#include "pipeline/copies.h"
#include "pipeline/position.h"
#include "pipeline/rights.h"
#include "stream/stat_stream.h"
#include "wal/replication_slot.h"
#include "workers/ddl_hooks.h"
#include "workers/pipeline_table.h"

/* Arguments that create and alter have in common, and then those of each. */
enum
{
	ARG_NAME,
	ARG_STREAM,
	ARG_PUBLICATIONS,
	ARG_FORMAT,
	ARG_ROUTES,
	ARG_TIMESTAMPS,
	ARG_NUMERICS,
	ARG_JSON_COLUMNS,
	ARG_BIGINTS,
	ARG_METADATA,
	ARG_UNCHANGED,
	ARG_MESSAGES,
	ARG_ORIGIN,
	ARG_FAILOVER,
	ARG_SLOT_NAME,
	ARG_CREATE_SLOT,
	ARG_ENABLED,
	ARG_COPY_DATA
};

/* The column that an argument sets. */
static const struct
{
	int			arg;
	PipelineColumn column;
	bool		required;
	bool		choice;			/* 'default' makes it null */
	const char *name;
}			settings[] =
{
	{ARG_STREAM, PIPELINE_STREAM, true, false, "stream"},
	{ARG_PUBLICATIONS, PIPELINE_PUBLICATIONS, true, false, "publications"},
	{ARG_FORMAT, PIPELINE_FORMAT, true, false, "format"},
	{ARG_ROUTES, PIPELINE_ROUTES, true, false, "routes"},
	{ARG_TIMESTAMPS, PIPELINE_TIMESTAMPS, false, true, "timestamps"},
	{ARG_NUMERICS, PIPELINE_NUMERICS, false, true, "numerics"},
	{ARG_JSON_COLUMNS, PIPELINE_JSON_COLUMNS, false, true, "json_columns"},
	{ARG_BIGINTS, PIPELINE_BIGINTS, false, true, "bigints"},
	{ARG_METADATA, PIPELINE_METADATA, false, true, "metadata"},
	{ARG_UNCHANGED, PIPELINE_UNCHANGED, false, true, "unchanged"},
	{ARG_MESSAGES, PIPELINE_MESSAGES, false, false, "messages"},
	{ARG_ORIGIN, PIPELINE_ORIGIN, true, false, "origin"},
	{ARG_FAILOVER, PIPELINE_FAILOVER, false, false, "failover"},
};

static void take_settings(FunctionCallInfo fcinfo, PipelineRow *row);
static void check_elements(Datum array, const char *what);
static void take_slot(FunctionCallInfo fcinfo, Relation rel, PipelineRow *row);
static void take_over_orphan(PipelineRow *row);
static void take_over_slot(PipelineRow *row);
static void check_owes_nothing(const PipelineRow *row, const char *name);
static void check_resumable(const PipelineRow *row, const char *name);
static void add_skip(PipelineRow *row, const char *name, XLogRecPtr lsn);
static void start_anew(PipelineRow *row, const char *name, bool was_copied);

PG_FUNCTION_INFO_V1(firehose_create_pipeline);
PG_FUNCTION_INFO_V1(firehose_alter_pipeline);
PG_FUNCTION_INFO_V1(firehose_pause_pipeline);
PG_FUNCTION_INFO_V1(firehose_resume_pipeline);
PG_FUNCTION_INFO_V1(firehose_drop_pipeline);

/* Create a pipeline. */
Datum
firehose_create_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name = pipeline_command_begin(fcinfo, "firehose_create_pipeline()");
	PipelineRow row = {NULL};
	Relation	rel;

	pipeline_check_name(name);
	pipeline_check_server();
	pipeline_check_role();

	memset(row.nulls, true, sizeof(row.nulls));
	take_settings(fcinfo, &row);

	rel = pipeline_catalog_open(PIPELINE_WRITE_LOCK);
	if (pipeline_catalog_find(rel, name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pipeline \"%s\" already exists", name)));

	row.values[PIPELINE_NAME] = CStringGetTextDatum(name);
	row.nulls[PIPELINE_NAME] = false;
	row.values[PIPELINE_ID] = Int32GetDatum(pipeline_catalog_new_id(rel));
	row.values[PIPELINE_VERSION] = Int32GetDatum(0);
	row.values[PIPELINE_SLOT_CREATED] = BoolGetDatum(false);
	row.values[PIPELINE_ENABLED] =
		BoolGetDatum(PG_ARGISNULL(ARG_ENABLED) || PG_GETARG_BOOL(ARG_ENABLED));
	row.values[PIPELINE_DURABLE_PUTS] = BoolGetDatum(false);
	row.values[PIPELINE_DROPPED] = BoolGetDatum(false);
	for (int i = PIPELINE_ID; i <= PIPELINE_DROPPED; i++)
		row.nulls[i] = false;
	take_over_slot(&row);
	take_slot(fcinfo, rel, &row);
	pipeline_check_row(&row);
	pipeline_remember_oids(&row);

	(void) copies_add_published(pipeline_row_id(&row), pipeline_row_texts(&row, PIPELINE_PUBLICATIONS),
								PG_ARGISNULL(ARG_COPY_DATA) || PG_GETARG_BOOL(ARG_COPY_DATA));
	pipeline_command_end(rel, &row);
	PG_RETURN_VOID();
}

/* Change a pipeline. */
Datum
firehose_alter_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name = pipeline_command_begin(fcinfo, "firehose_alter_pipeline()");
	Relation	rel = pipeline_command_open(name, false);
	PipelineRow *row = pipeline_command_find(rel, name, false);

	for (int i = 0; i < lengthof(settings); i++)
	{
		if (settings[i].arg != ARG_FAILOVER && !PG_ARGISNULL(settings[i].arg))
			pipeline_command_refuse_durable(row, "There is nothing to be altered in it but failover.");
	}
	take_settings(fcinfo, row);
	pipeline_check_row(row);
	pipeline_remember_oids(row);
	pipeline_command_end(rel, row);
	PG_RETURN_VOID();
}

/* Pause a pipeline. */
Datum
firehose_pause_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name = pipeline_command_begin(fcinfo, "firehose_pause_pipeline()");
	Relation	rel = pipeline_command_open(name, false);
	PipelineRow *row = pipeline_command_find(rel, name, false);

	row->values[PIPELINE_ENABLED] = BoolGetDatum(false);
	pipeline_command_end(rel, row);
	PG_RETURN_VOID();
}

/*
 * Resume a pipeline that was paused, has failed, or was created elsewhere.  In
 * the last case the user who resumes it becomes its owner.
 */
Datum
firehose_resume_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name = pipeline_command_begin(fcinfo, "firehose_resume_pipeline()");
	bool		from_now = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	Relation	rel = pipeline_catalog_open(PIPELINE_WRITE_LOCK);
	PipelineRow *row = pipeline_catalog_find(rel, name);
	bool		was_copied;

	pipeline_check_server();
	if (row != NULL && pipeline_row_is_detached(row))
	{
		pipeline_check_role();
		pipeline_check_row(row);
		if (!from_now)
			check_owes_nothing(row, name);
		take_over_slot(row);
		pipeline_position_set(pipeline_row_id(row), InvalidXLogRecPtr);
		pipeline_remember_oids(row);
	}
	else
	{
		row = pipeline_command_find(rel, name, false);
		take_over_orphan(row);
	}
	was_copied = pipeline_row_is_copied(row);
	pipeline_row_set_home(row);

	if (from_now)
	{
		start_anew(row, name, was_copied);
		copies_start_over(pipeline_row_id(row));
	}
	else
		check_resumable(row, name);
	if (!PG_ARGISNULL(1))
	{
		add_skip(row, name, PG_GETARG_LSN(1));
	}
	row->values[PIPELINE_ENABLED] = BoolGetDatum(true);
	pipeline_command_end(rel, row);
	PG_RETURN_VOID();
}

/* Drop a pipeline and, once this has committed, its slot. */
Datum
firehose_drop_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name = pipeline_command_begin(fcinfo, "firehose_drop_pipeline()");
	bool		if_exists = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	Relation	rel = pipeline_command_open(name, if_exists);
	PipelineRow *row = rel ? pipeline_command_find(rel, name, if_exists) : NULL;

	if (row == NULL)
	{
		ereport(NOTICE,
				(errmsg("pipeline \"%s\" does not exist, skipping", name)));
		if (rel)
			table_close(rel, NoLock);
		PG_RETURN_VOID();
	}

	pipeline_command_refuse_durable(row, "Use: SELECT firehose_disable_durable_puts();");

	/* the slot of a pipeline from elsewhere is not this server's to drop */
	if (pipeline_row_is_detached(row))
	{
		(void) pipeline_position_forget(pipeline_row_id(row));
		(void) copies_remove(pipeline_row_id(row), InvalidOid);
		pipeline_catalog_delete(rel, row);
		table_close(rel, NoLock);
		ddl_hooks_request_recheck();
		PG_RETURN_VOID();
	}

	row->values[PIPELINE_DROPPED] = BoolGetDatum(true);
	row->nulls[PIPELINE_NAME] = true;
	pipeline_command_end(rel, row);
	PG_RETURN_VOID();
}

/* The common beginning of the functions; returns the pipeline's name. */
char *
pipeline_command_begin(FunctionCallInfo fcinfo, const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
	firehose_check_preloaded();

	if (PG_ARGISNULL(ARG_NAME))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name of a pipeline must not be null")));
	return text_to_cstring(PG_GETARG_TEXT_PP(ARG_NAME));
}

/*
 * Their common end: write the row, and have the sender look when this has
 * committed.
 */
void
pipeline_command_end(Relation rel, PipelineRow *row)
{
	row->values[PIPELINE_VERSION] =
		Int32GetDatum(DatumGetInt32(row->values[PIPELINE_VERSION]) + 1);
	pipeline_catalog_store(rel, row);
	table_close(rel, NoLock);
	ddl_hooks_request_recheck();
}

/* Take over the settings among the arguments; null leaves them as they are. */
static void
take_settings(FunctionCallInfo fcinfo, PipelineRow *row)
{
	for (int i = 0; i < lengthof(settings); i++)
	{
		PipelineColumn column = settings[i].column;

		if (PG_ARGISNULL(settings[i].arg))
		{
			if (settings[i].required && row->nulls[column])
				ereport(ERROR,
						(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						 errmsg("%s of a pipeline must not be null", settings[i].name)));
			continue;
		}
		row->values[column] = PG_GETARG_DATUM(settings[i].arg);
		row->nulls[column] = settings[i].choice &&
			strcmp(TextDatumGetCString(row->values[column]), "default") == 0;
	}

	if (!row->nulls[PIPELINE_PUBLICATIONS])
		check_elements(row->values[PIPELINE_PUBLICATIONS], "publications");
	if (!row->nulls[PIPELINE_MESSAGES])
		check_elements(row->values[PIPELINE_MESSAGES], "messages");
	if (!PG_ARGISNULL(ARG_MESSAGES) && ARR_NDIM(PG_GETARG_ARRAYTYPE_P(ARG_MESSAGES)) > 0)
		ereport(NOTICE,
				(errmsg("messages of these prefixes are sent, whoever writes them"),
				 errdetail("Every role may call pg_logical_emit_message, unless it was revoked from PUBLIC.")));
}

static void
check_elements(Datum array, const char *what)
{
	if (array_contains_nulls(DatumGetArrayTypeP(array)))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s of a pipeline must not contain nulls", what)));
}

/* The slot that a new pipeline is to have. */
static void
take_slot(FunctionCallInfo fcinfo, Relation rel, PipelineRow *row)
{
	bool		create = PG_ARGISNULL(ARG_CREATE_SLOT) || PG_GETARG_BOOL(ARG_CREATE_SLOT);
	char	   *name;

	if (PG_ARGISNULL(ARG_SLOT_NAME) && !create)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("create_slot => false needs the name of a slot"),
				 errhint("Give it as slot_name.")));

	if (!PG_ARGISNULL(ARG_SLOT_NAME))
	{
		row->values[PIPELINE_SLOT_NAME] = PG_GETARG_DATUM(ARG_SLOT_NAME);
		row->nulls[PIPELINE_SLOT_NAME] = false;
	}
	name = pipeline_row_slot_name(row);
	if (!row->nulls[PIPELINE_SLOT_NAME] && replication_slot_is_default_name(name))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("replication slot name \"%s\" is reserved", name),
				 errdetail("Names of this form are given to pipelines without a slot_name.")));
	pipeline_check_slot(rel, name, !create);
	row->values[PIPELINE_SLOT_CREATED] = BoolGetDatum(!create);
}

/* The pipeline of durable puts has functions of its own. */
void
pipeline_command_refuse_durable(const PipelineRow *row, const char *hint)
{
	if (DatumGetBool(row->values[PIPELINE_DURABLE_PUTS]))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("pipeline \"%s\" is reserved for durable puts",
						pipeline_row_text(row, PIPELINE_NAME)),
				 errhint("%s", hint)));
}

/*
 * Open the catalog to change a pipeline.  Privileges are checked before the
 * lock is taken that others would wait for.  NULL: there is no such pipeline.
 */
Relation
pipeline_command_open(const char *name, bool missing_ok)
{
	Relation	rel = pipeline_catalog_open(AccessShareLock);
	bool		found = pipeline_command_find(rel, name, missing_ok) != NULL;

	table_close(rel, AccessShareLock);
	return found ? pipeline_catalog_open(PIPELINE_WRITE_LOCK) : NULL;
}

/* Find a pipeline that the user may change. */
PipelineRow *
pipeline_command_find(Relation rel, const char *name, bool missing_ok)
{
	PipelineRow *row = pipeline_catalog_find(rel, name);
	Oid			owner;

	if (row == NULL)
	{
		if (missing_ok)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" does not exist", name)));
	}

	/* that of another server means nothing here */
	owner = pipeline_row_is_detached(row) ? rel->rd_rel->relowner :
		DatumGetObjectId(row->values[PIPELINE_OWNER]);
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of pipeline %s", name)));
	return row;
}

/*
 * A pipeline whose owner was dropped becomes that of the superuser who resumes
 * it.
 */
static void
take_over_orphan(PipelineRow *row)
{
	if (SearchSysCacheExists1(AUTHOID, row->values[PIPELINE_OWNER]))
		return;
	row->values[PIPELINE_OWNER] = ObjectIdGetDatum(GetUserId());
}

/* Make the pipeline of a row one of this database and of the current user. */
static void
take_over_slot(PipelineRow *row)
{
	SlotInfo	info;

	if (row->tuple != NULL && !row->nulls[PIPELINE_SLOT_NAME] &&
		replication_slot_look(pipeline_row_slot_name(row), &info) &&
		info.database != MyDatabaseId)
	{
		ereport(NOTICE,
				(errmsg("replication slot \"%s\" belongs to another database, using another name",
						pipeline_row_slot_name(row))));
		row->nulls[PIPELINE_SLOT_NAME] = true;
	}
	row->values[PIPELINE_DATABASE] = ObjectIdGetDatum(MyDatabaseId);
	row->values[PIPELINE_SYSTEM_IDENTIFIER] = Int64GetDatum((int64) GetSystemIdentifier());
	row->values[PIPELINE_OWNER] = ObjectIdGetDatum(GetUserId());
	row->values[PIPELINE_SLOT_CREATED] = BoolGetDatum(false);
	row->nulls[PIPELINE_SKIP_LSNS] = true;
	pipeline_row_set_home(row);
}

/*
 * Error if a pipeline came here with all its database, by pg_upgrade, but
 * without its slot.
 */
static void
check_owes_nothing(const PipelineRow *row, const char *name)
{
	PipelinePosition position;

	if (DatumGetObjectId(row->values[PIPELINE_DATABASE]) != MyDatabaseId ||
		!pipeline_position_read(pipeline_row_id(row), &position) ||
		position.system == 0 || position.system == GetSystemIdentifier())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("pipeline \"%s\" has left its replication slot on another server", name),
			 errdetail("Changes committed there after %X/%X and not yet delivered cannot be recovered here.",
					   LSN_FORMAT_ARGS(position.confirmed)),
			 errhint("To continue from now, use: SELECT firehose_resume_pipeline(%s, from_now => true);",
					 quote_literal_cstr(name))));
}

/* Error if a pipeline's slot is lost, and with it the changes since. */
static void
check_resumable(const PipelineRow *row, const char *name)
{
	char	   *slot_name = pipeline_row_slot_name(row);
	SlotInfo	info;

	if (!DatumGetBool(row->values[PIPELINE_SLOT_CREATED]) ||
		(replication_slot_look(slot_name, &info) && !info.lost))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("replication slot \"%s\" of pipeline \"%s\" is lost", slot_name, name),
			 errdetail("Changes that were committed since then cannot be read from the WAL any more."),
			 errhint("To continue with a new slot and without those changes, use: SELECT firehose_resume_pipeline(%s, from_now => true);",
					 quote_literal_cstr(name))));
}

/* Was a slot re-created or moved past the delivered position? */
static bool
is_ahead(const PipelineRow *row, const SlotInfo *slot)
{
	PipelinePosition position;

	return slot->database == MyDatabaseId && strcmp(slot->plugin, "pgoutput") == 0 &&
		!slot->synced && pipeline_position_read(pipeline_row_id(row), &position) &&
		position.confirmed != InvalidXLogRecPtr && slot->restart > position.confirmed;
}

/* Has a pipeline failed, so that its undelivered changes may be given up? */
static bool
has_failed(int32 id)
{
	PipelineEntry *entry;
	bool		failed;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	entry = pipeline_table_find(MyDatabaseId, id);
	failed = entry != NULL && pg_atomic_read_u32(&entry->state) == PIPELINE_FAILED;
	LWLockRelease(pipeline_table->lock);
	return failed;
}

/*
 * Replace a slot that was lost or is given up.  A slot that others have
 * re-created is used from its own position on.  In a copy of the data
 * directory it is given up what the original sends.
 */
static void
start_anew(PipelineRow *row, const char *name, bool was_copied)
{
	char	   *slot_name = pipeline_row_slot_name(row);
	SlotInfo	info;

	if (replication_slot_look(slot_name, &info))
	{
		if (!info.lost && is_ahead(row, &info))
		{
			pipeline_position_set(pipeline_row_id(row), info.confirmed);
			return;
		}
		if (!info.lost && !was_copied && !has_failed(pipeline_row_id(row)))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("replication slot \"%s\" of pipeline \"%s\" is not lost, and the pipeline has not failed", slot_name, name),
					 errhint("Resume the pipeline without from_now; to skip a transaction, use skip_lsn.")));

		/* it is of no use, whether this transaction commits or not */
		replication_slot_drop_lost(slot_name);
	}
	pipeline_position_set(pipeline_row_id(row), InvalidXLogRecPtr);
	row->values[PIPELINE_SLOT_CREATED] = BoolGetDatum(false);
}

/* Is this the commit that a decoder could not decode? */
static bool
was_reported(int32 id, XLogRecPtr lsn)
{
	PipelineEntry *entry;
	bool		reported;

	LWLockAcquire(pipeline_table->lock, LW_SHARED);
	entry = pipeline_table_find(MyDatabaseId, id);
	reported = entry != NULL && lsn != InvalidXLogRecPtr && entry->reported_lsn == lsn;
	LWLockRelease(pipeline_table->lock);
	return reported;
}

/*
 * Leave out one more transaction, that a decoder has reported.  Earlier ones
 * stay in the list until their position is confirmed, because a restart may
 * read them again.
 */
static void
add_skip(PipelineRow *row, const char *name, XLogRecPtr lsn)
{
	SlotInfo	info = {0};
	XLogRecPtr *skips;
	Datum	   *elements;
	int			n;

	if (!was_reported(pipeline_row_id(row), lsn))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pipeline \"%s\" has not reported a transaction that commits at %X/%X",
						name, LSN_FORMAT_ARGS(lsn)),
				 errhint("The reason in firehose_stat_pipeline names the transaction that cannot be decoded, if there is one.")));

	(void) replication_slot_look(pipeline_row_slot_name(row), &info);
	skips = pipeline_row_skips(row, info.confirmed, &n);
	elements = palloc((n + 1) * sizeof(Datum));
	for (int i = 0; i < n; i++)
		elements[i] = LSNGetDatum(skips[i]);
	elements[n++] = LSNGetDatum(lsn);
	row->values[PIPELINE_SKIP_LSNS] =
		PointerGetDatum(construct_array(elements, n, LSNOID, sizeof(XLogRecPtr),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	row->nulls[PIPELINE_SKIP_LSNS] = false;
}
