/*
 * row_json.c
 *		Any row as JSON, and firehose_row_json(record, text); row_json.h says
 *		what for.
 *
 * Runs in backends.  The plans of the row types that were used last are kept.
 * They are EventRelations, so that they become void as those of tables do, and
 * so that whatever frees void ones frees them, too: a plan that goes takes
 * itself out of the table here.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "common/compat.h"
#include "format/format.h"
#include "format/row_json.h"

/* So many plans are kept; more row types than that take turns. */
#define ROW_PLANS	16

typedef struct RowPlan
{
	Oid			typid;
	int32		typmod;			/* tells anonymous row types apart */
	BigintForm	bigints;
	EventRelation *relation;	/* NULL: unused */
	TupleDesc	tupdesc;		/* in the relation's context */
	MemoryContextCallback forget;
} RowPlan;

static RowPlan plans[ROW_PLANS];
static int	next_victim = 0;

PG_FUNCTION_INFO_V1(firehose_row_json);

/* The plan's context is being deleted. */
static void
forget_plan(void *arg)
{
	((RowPlan *) arg)->relation = NULL;
}

/*
 * Make the plan of a row type, in place of another one.  Its context is below
 * ours until all has gone well.
 */
static RowPlan *
make_plan(Oid typid, int32 typmod, BigintForm bigints)
{
	static const ValueOptions forms[] = {
		[BIGINTS_NUMBER] = {.bigints = BIGINTS_NUMBER},
		[BIGINTS_STRING] = {.bigints = BIGINTS_STRING},
	};
	RowPlan    *plan = &plans[next_victim];
	TupleDesc	tupdesc = lookup_rowtype_tupdesc_copy(typid, typmod);
	EventRelation *relation;
	MemoryContext old;

	relation = event_relation_from_tupdesc(CurrentMemoryContext, get_typ_typrelid(typid),
										   "", "", tupdesc, NULL, &forms[bigints]);
	old = MemoryContextSwitchTo(relation->context);
	tupdesc = CreateTupleDescCopyConstr(tupdesc);
	MemoryContextSwitchTo(old);

	if (plan->relation != NULL)
		MemoryContextDelete(plan->relation->context);
	next_victim = (next_victim + 1) % ROW_PLANS;
	plan->typid = typid;
	plan->typmod = typmod;
	plan->bigints = bigints;
	plan->relation = relation;
	plan->tupdesc = tupdesc;
	plan->forget.func = forget_plan;
	plan->forget.arg = plan;
	MemoryContextRegisterResetCallback(relation->context, &plan->forget);
	MemoryContextSetParent(relation->context, CacheMemoryContext);
	return plan;
}

/* The plan of a row type, valid until the next call. */
static RowPlan *
find_plan(Oid typid, int32 typmod, BigintForm bigints)
{
	for (int i = 0; i < ROW_PLANS; i++)
	{
		RowPlan    *plan = &plans[i];

		if (plan->relation == NULL || plan->typid != typid || plan->typmod != typmod ||
			plan->bigints != bigints)
			continue;
		if (likely(plan->relation->valid))
			return plan;
		MemoryContextDelete(plan->relation->context);
	}
	return make_plan(typid, typmod, bigints);
}

void
row_json_append(StringInfo out, Datum row, BigintForm bigints)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	RowPlan    *plan = find_plan(HeapTupleHeaderGetTypeId(header),
								 HeapTupleHeaderGetTypMod(header), bigints);
	EventRelation *relation = plan->relation;
	int			natts = Max(plan->tupdesc->natts, 1);
	HeapTupleData tuple = {0};
	Datum	   *datums = palloc_array(Datum, natts);
	bool	   *nulls = palloc_array(bool, natts);
	EventValue *values = palloc_array(EventValue, natts);
	int			guard;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	ItemPointerSetInvalid(&tuple.t_self);
	heap_deform_tuple(&tuple, plan->tupdesc, datums, nulls);
	event_values_from_arrays(relation, datums, nulls, values);

	guard = value_guard_enter(relation->reads);
	json_append_row(out, relation, values);
	value_guard_leave(guard);
	pfree(datums);
	pfree(nulls);
	pfree(values);
}

static BigintForm
parse_bigints(const char *word)
{
	int			form = value_find_word(bigint_form_words, word);

	if (form < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for bigints: \"%s\"", word),
				 errhint("Valid values are: \"%s\", \"%s\".",
						 bigint_form_words[BIGINTS_NUMBER], bigint_form_words[BIGINTS_STRING])));
	return form;
}

/*
 * firehose_row_json(record, bigints): the row as json, NULL for NULL.
 */
Datum
firehose_row_json(PG_FUNCTION_ARGS)
{
	BigintForm	bigints = parse_bigints(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	StringInfoData out;
	char	   *text;

	initStringInfo(&out);
	row_json_append(&out, PG_GETARG_DATUM(0), bigints);
	text = pg_any_to_server(out.data, out.len, PG_UTF8);
	PG_RETURN_TEXT_P(text == out.data ? cstring_to_text_with_len(text, out.len) :
					 cstring_to_text(text));
}
