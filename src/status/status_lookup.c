/*
 * status_lookup.c
 *		Looks records up in firehose_status, as the user; status_lookup.h says
 *		what for.
 *
 * Runs in backends.  Shared memory knows the youngest records only; what is
 * older has its row, unless the stream keeps none.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "common/compat.h"
#include "common/own_tables.h"
#include "status/status_lookup.h"

#define STATUS_VIEW		"firehose_status"

/*
 * The view's qualified name; NULL if there is none that the user may read.
 */
static char *
readable_view(void)
{
	Oid			table = own_tables_table_oid(TABLE_STATUS_FIRST);
	Oid			schema;
	Oid			view;

	if (!OidIsValid(table) || RecoveryInProgress())
		return NULL;
	schema = get_rel_namespace(table);
	view = get_relname_relid(STATUS_VIEW, schema);
	if (!OidIsValid(view) ||
		pg_class_aclcheck(view, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
		schema_aclcheck(schema, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		return NULL;
	return quote_qualified_identifier(get_namespace_name(schema), STATUS_VIEW);
}

/* A column of a result as text, in the caller's context; NULL for null. */
static const char *
copy_value(HeapTuple tuple, int column, MemoryContext context)
{
	char	   *value = SPI_getvalue(tuple, SPI_tuptable->tupdesc, column);

	return value ? MemoryContextStrdup(context, value) : NULL;
}

/*
 * Bounds on the id besides the list: the tables' index finds ranges.  A record
 * that was delivered again, or taken back from the dead letters, has several
 * rows.
 */
static char *
lookup_query(const char *view)
{
	return psprintf("SELECT DISTINCT ON (s.id) s.id, s.status, s.record_id, s.error_code, s.error_message"
					" FROM %s s"
					" WHERE s.id OPERATOR(pg_catalog.>=) $2 AND s.id OPERATOR(pg_catalog.<=) $3"
					" AND s.id OPERATOR(pg_catalog.=) ANY ($1)"
					" ORDER BY s.id USING OPERATOR(pg_catalog.<), s.completed_at USING OPERATOR(pg_catalog.>)",
					view);
}

int
status_lookup(const int64 *ids, int n, StatusRow **rows)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[3] = {INT8ARRAYOID, INT8OID, INT8OID};
	Datum		values[3];
	Datum	   *elements;
	char	   *view = readable_view();
	SPIPlanPtr	plan;
	int			found;

	*rows = NULL;
	if (view == NULL)
		return 0;

	elements = palloc_array(Datum, n);
	values[1] = values[2] = Int64GetDatum(ids[0]);
	for (int i = 0; i < n; i++)
	{
		elements[i] = Int64GetDatum(ids[i]);
		values[1] = Int64GetDatum(Min(DatumGetInt64(values[1]), ids[i]));
		values[2] = Int64GetDatum(Max(DatumGetInt64(values[2]), ids[i]));
	}
	values[0] = PointerGetDatum(construct_array(elements, n, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(lookup_query(view), lengthof(types), types);
	if (plan == NULL ||
		SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(), InvalidSnapshot,
							 true, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look up the status of records");

	found = (int) SPI_processed;
	*rows = MemoryContextAlloc(context, sizeof(StatusRow) * Max(found, 1));
	for (int i = 0; i < found; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		isnull;

		(*rows)[i].id = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		(*rows)[i].status = copy_value(tuple, 2, context);
		(*rows)[i].record_id = copy_value(tuple, 3, context);
		(*rows)[i].error_code = copy_value(tuple, 4, context);
		(*rows)[i].error_message = copy_value(tuple, 5, context);
	}
	SPI_finish();
	return found;
}
