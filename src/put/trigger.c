/*
 * trigger.c
 *		firehose_trigger('stream', word ...): the rows of a table as records.
 *
 * Row triggers (AFTER INSERT, UPDATE or DELETE) put one record per call,
 * statement triggers one per row of their transition tables, AFTER TRUNCATE
 * one in all.  Records have the format `json` without the keys that only the
 * WAL knows: no lsn and seq, no cascade and restart_identity of a truncate;
 * `id` is the record id, `ts` the transaction's start (as now()), the same for
 * all its records as a commit's time would be, and `before` the whole old row.
 * The name of another format among the words chooses that one, likewise
 * without what only the WAL knows.  With 'row' a record is only the row, the
 * old one for a delete, and a truncate gives none.  With 'root' a partition's
 * records name the topmost table, as those of a statement trigger on that one
 * do.
 *
 * The stream's USAGE is asked of the table's owner, who may have the trigger
 * there, not of the role that writes to the table.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "common/json_write.h"
#include "format/event.h"
#include "format/format.h"
#include "put/put.h"
#include "stream/stream.h"

/*
 * A record buffer begins with this, and is not kept when it has grown beyond
 * that.
 */
#define RECORD_BUFFER_SIZE	2048
#define RECORD_BUFFER_KEEP	(256 * 1024)

static StringInfoData buffer = {NULL, 0, 0, 0};

/* Words that may follow the stream's name among the trigger's arguments. */
static const struct TriggerWord
{
	const char *word;
	bool		row_only;
	uint32		flags;			/* EVENT_RELATION_* */
}			trigger_words[] =
{
	{"row", true, 0},
	{"root", false, EVENT_RELATION_ROOT},
	{"bigint_string", false, EVENT_RELATION_BIGINT_STRINGS},
};

/* The state of one call of the trigger. */
typedef struct TriggerCall
{
	TriggerData *data;
	Stream	   *stream;
	bool		row_only;		/* 'row' is among the arguments */
	const Format *format;
	bool		newline;		/* delimit records */
	StringInfo	record;
	EventValue *old_values;		/* room for a row each */
	EventValue *new_values;
	Event		event;
} TriggerCall;

PG_FUNCTION_INFO_V1(firehose_trigger);

static TriggerData *check_called_as_trigger(FunctionCallInfo fcinfo);
static uint32 parse_arguments(TriggerCall *call);
static const struct TriggerWord *find_word(const char *word);
static bool take_format(TriggerCall *call, const char *word);
static void check_table(TriggerData *data);
static void describe_call(void *arg);
static void begin_call(TriggerCall *call, TriggerData *data);
static void put_row(TriggerCall *call);
static void put_statement(TriggerCall *call);
static void put_event(TriggerCall *call, EventOp op, TupleTableSlot *old_slot,
					  TupleTableSlot *new_slot);
static StringInfo record_buffer(void);
static void forget_buffer(void *arg);

Datum
firehose_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = check_called_as_trigger(fcinfo);
	ErrorContextCallback context;
	TriggerCall call;
	int			guard;

	context.callback = describe_call;
	context.arg = data;
	context.previous = error_context_stack;
	error_context_stack = &context;

	begin_call(&call, data);
	guard = value_guard_enter(call.event.relation->reads);
	if (TRIGGER_FIRED_FOR_ROW(data->tg_event))
		put_row(&call);
	else
		put_statement(&call);
	value_guard_leave(guard);

	error_context_stack = context.previous;
	return PointerGetDatum(NULL);
}

/* ------------------------------------------------------------------------
 * Checks
 * ------------------------------------------------------------------------
 */
static TriggerData *
check_called_as_trigger(FunctionCallInfo fcinfo)
{
	TriggerData *data;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("firehose_trigger() can only be called as a trigger"),
				 errhint("Use CREATE TRIGGER ... AFTER INSERT OR UPDATE OR DELETE ON ... FOR EACH ROW EXECUTE FUNCTION firehose_trigger('stream').")));

	data = (TriggerData *) fcinfo->context;
	if (!TRIGGER_FIRED_AFTER(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("firehose_trigger() must be fired AFTER, not %s",
						TRIGGER_FIRED_INSTEAD(data->tg_event) ? "INSTEAD OF" : "BEFORE"),
				 errdetail("The row is final only after the event."),
				 errhint("Create trigger \"%s\" with AFTER.", data->tg_trigger->tgname)));
	return data;
}

/* Check the trigger's arguments; returns EVENT_RELATION_*. */
static uint32
parse_arguments(TriggerCall *call)
{
	Trigger    *trigger = call->data->tg_trigger;
	uint32		flags = 0;

	if (trigger->tgnargs < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("firehose_trigger() needs the name of a stream as its first argument"),
				 errhint("Use firehose_trigger('stream') or firehose_trigger('stream', 'row').")));
	for (int i = 1; i < trigger->tgnargs; i++)
	{
		const struct TriggerWord *known = find_word(trigger->tgargs[i]);

		if (known == NULL && take_format(call, trigger->tgargs[i]))
			continue;
		if (known == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid argument of firehose_trigger(): \"%s\"",
							trigger->tgargs[i]),
					 errhint("Valid arguments after the stream are 'row', 'root', 'bigint_string', and a format: 'json', 'wal2json', 'debezium' or 'dms'.")));
		call->row_only |= known->row_only;
		flags |= known->flags;
	}
	if (call->row_only && call->format)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("arguments 'row' and '%s' of firehose_trigger() exclude each other",
						call->format->name),
				 errhint("Leave out one of them.")));
	if (call->format == NULL)
		call->format = format_get(0);
	return flags | (call->format->types ? EVENT_RELATION_TYPES : 0);
}

/* Is it the name of a format that triggers have? */
static bool
take_format(TriggerCall *call, const char *word)
{
	const Format *format = format_find(word);

	if (format == NULL || !format->triggers)
		return false;
	if (call->format && call->format != format)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("firehose_trigger() has two formats: '%s' and '%s'",
						call->format->name, word),
				 errhint("Leave out one of them.")));
	call->format = format;
	return true;
}

static const struct TriggerWord *
find_word(const char *word)
{
	for (int i = 0; i < lengthof(trigger_words); i++)
	{
		if (strcmp(trigger_words[i].word, word) == 0)
			return &trigger_words[i];
	}
	return NULL;
}

/*
 * A statement trigger needs the rows: a table that has them, and transition
 * tables.
 */
static void
check_table(TriggerData *data)
{
	TriggerEvent event = data->tg_event;
	const char *missing = NULL;
	const char *hint = NULL;

	if (data->tg_relation->rd_rel->relkind == RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("firehose_trigger() cannot be used on view \"%s\"",
						RelationGetRelationName(data->tg_relation)),
				 errdetail("A trigger on a view does not see the rows."),
				 errhint("Create the trigger on the table under the view.")));

	if (TRIGGER_FIRED_FOR_ROW(event) || TRIGGER_FIRED_BY_TRUNCATE(event))
		return;

	if (TRIGGER_FIRED_BY_DELETE(event) && data->tg_oldtable == NULL)
	{
		missing = "OLD";
		hint = "Create one trigger for DELETE alone with REFERENCING OLD TABLE AS old_rows, or a trigger FOR EACH ROW.";
	}
	else if (TRIGGER_FIRED_BY_INSERT(event) && data->tg_newtable == NULL)
	{
		missing = "NEW";
		hint = "Create one trigger for INSERT alone with REFERENCING NEW TABLE AS new_rows, or a trigger FOR EACH ROW.";
	}
	else if (TRIGGER_FIRED_BY_UPDATE(event) && data->tg_newtable == NULL)
	{
		missing = "NEW";
		hint = "Create one trigger for UPDATE alone with REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows, or a trigger FOR EACH ROW.";
	}
	if (missing)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("statement trigger \"%s\" has no %s transition table",
						data->tg_trigger->tgname, missing),
				 errhint("%s", hint)));
}

static void
describe_call(void *arg)
{
	TriggerData *data = arg;
	Relation	rel = data->tg_relation;

	errcontext("trigger \"%s\" on table \"%s\", sending to stream \"%s\"",
			   data->tg_trigger->tgname, RelationGetRelationName(rel),
			   data->tg_trigger->tgnargs > 0 ? data->tg_trigger->tgargs[0] : "");
}

/* ------------------------------------------------------------------------
 * Records
 * ------------------------------------------------------------------------
 */

/*
 * Check the call, find stream and table, and fill in the fields that all
 * records of the call share.
 */
static void
begin_call(TriggerCall *call, TriggerData *data)
{
	Size		row_size;
	uint32		flags;

	memset(call, 0, sizeof(*call));
	call->data = data;
	flags = parse_arguments(call);
	check_table(data);
	put_check_allowed("firehose_trigger()");
	call->stream = stream_get(data->tg_trigger->tgargs[0]);
	stream_check_usage(call->stream, data->tg_relation->rd_rel->relowner);
	call->newline = call->stream->options.delimiter != DELIMITER_NONE;

	call->event.relation = event_relation_get(data->tg_relation, flags,
													 &call->format->values);
	call->event.origin = event_fill_source();
	call->event.xid = GetTopTransactionIdIfAny();
	call->event.ts = GetCurrentTransactionStartTimestamp();

	row_size = sizeof(EventValue) * call->event.relation->ncolumns;
	call->old_values = palloc(row_size * 2);
	call->new_values = call->old_values + call->event.relation->ncolumns;
	call->record = record_buffer();
}

/* Put the row of a row trigger. */
static void
put_row(TriggerCall *call)
{
	TriggerData *data = call->data;

	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		put_event(call, EVENT_INSERT, NULL, data->tg_trigslot);
	else if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		put_event(call, EVENT_UPDATE, data->tg_trigslot, data->tg_newslot);
	else
		put_event(call, EVENT_DELETE, data->tg_trigslot, NULL);
}

/* Put one record for each row of the transition tables; either may be NULL. */
static void
put_transition(TriggerCall *call, EventOp op, Tuplestorestate *old_table,
			   Tuplestorestate *new_table)
{
	TupleDesc	tupdesc = RelationGetDescr(call->data->tg_relation);
	TupleTableSlot *old_slot = MakeSingleTupleTableSlot(tupdesc, &TTSOpsMinimalTuple);
	TupleTableSlot *new_slot = MakeSingleTupleTableSlot(tupdesc, &TTSOpsMinimalTuple);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "firehose_trigger row",
													  ALLOCSET_DEFAULT_SIZES);

	if (old_table)
		tuplestore_rescan(old_table);
	if (new_table)
		tuplestore_rescan(new_table);
	while ((old_table == NULL || tuplestore_gettupleslot(old_table, true, false, old_slot)) &&
		   (new_table == NULL || tuplestore_gettupleslot(new_table, true, false, new_slot)))
	{
		/*
		 * the slots free their tuples themselves: only ours go with the
		 * context
		 */
		MemoryContext old_context = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		put_event(call, op, old_table ? old_slot : NULL, new_table ? new_slot : NULL);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}

	MemoryContextDelete(row_context);
	ExecDropSingleTupleTableSlot(old_slot);
	ExecDropSingleTupleTableSlot(new_slot);
}

/* Put the rows of a statement trigger. */
static void
put_statement(TriggerCall *call)
{
	TriggerEvent event = call->data->tg_event;
	Tuplestorestate *old_table = call->data->tg_oldtable;
	Tuplestorestate *new_table = call->data->tg_newtable;

	if (TRIGGER_FIRED_BY_TRUNCATE(event))
		put_event(call, EVENT_TRUNCATE, NULL, NULL);
	else if (TRIGGER_FIRED_BY_INSERT(event))
		put_transition(call, EVENT_INSERT, NULL, new_table);
	else if (TRIGGER_FIRED_BY_DELETE(event))
		put_transition(call, EVENT_DELETE, old_table, NULL);
	else if (old_table == NULL ||
			 tuplestore_tuple_count(old_table) == tuplestore_tuple_count(new_table))
	{
		/* the executor adds a row's two images at the same time */
		put_transition(call, EVENT_UPDATE, old_table, new_table);
	}
	else
	{
		/*
		 * A row moved to another partition whose BEFORE INSERT trigger would
		 * not have it: images no longer pair, but deleting all old rows and
		 * inserting all new ones comes to the same.
		 */
		put_transition(call, EVENT_DELETE, old_table, NULL);
		put_transition(call, EVENT_INSERT, NULL, new_table);
	}
}

/* Put a record that has been written. */
static void
put_written(TriggerCall *call)
{
	if (call->newline)
		json_put_char(call->record, '\n');
	(void) put_record(call->stream, call->event.record_id, call->record->data,
					  call->record->len, true);
}

/* Put one record, or what the format makes of the event. */
static void
put_event(TriggerCall *call, EventOp op, TupleTableSlot *old_slot,
		  TupleTableSlot *new_slot)
{
	static const FormatOptions options = {METADATA_FULL};
	Event	   *event = &call->event;
	StringInfo	record = call->record;
	int			parts;

	if (op == EVENT_TRUNCATE && call->row_only)
		return;

	event->op = op;
	event->old_row = event->new_row = NULL;
	if (old_slot && !(call->row_only && new_slot))
	{
		event_values_from_slot(event->relation, old_slot, call->old_values);
		event->old_row = call->old_values;
	}
	if (new_slot)
	{
		event_values_from_slot(event->relation, new_slot, call->new_values);
		event->new_row = call->new_values;
	}

	if (call->row_only)
	{
		record->len = 0;
		event->record_id = put_next_id();
		json_append_row(record, event->relation, event->new_row ? event->new_row : event->old_row);
		put_written(call);
		return;
	}
	parts = call->format->count ? call->format->count(event) : 1;
	for (int part = 0; part < parts; part++)
	{
		FormatResult result;

		record->len = 0;
		event->record_id = put_next_id();
		result = call->format->append(record, event, part, &options);
		if (result == FORMAT_OK)
			put_written(call);
		else if (result != FORMAT_NOTHING)
			elog(ERROR, "could not write a change in format \"%s\"", call->format->name);
	}
}

/*
 * The buffer in which this transaction writes records, empty.  It goes with
 * the transaction, whatever its end; a huge one goes at the next call.
 */
static StringInfo
record_buffer(void)
{
	static MemoryContextCallback forget = {forget_buffer, &buffer};

	if (buffer.maxlen > RECORD_BUFFER_KEEP)
	{
		buffer.data = repalloc(buffer.data, RECORD_BUFFER_SIZE);
		buffer.maxlen = RECORD_BUFFER_SIZE;
	}
	if (buffer.data == NULL)
	{
		buffer.data = MemoryContextAlloc(TopTransactionContext, RECORD_BUFFER_SIZE);
		buffer.maxlen = RECORD_BUFFER_SIZE;
		MemoryContextRegisterResetCallback(TopTransactionContext, &forget);
	}
	resetStringInfo(&buffer);
	return &buffer;
}

/* TopTransactionContext is going. */
static void
forget_buffer(void *arg)
{
	memset(arg, 0, sizeof(StringInfoData));
}
