/*
 * put_sql.c
 *		firehose_put_record, firehose_put_batch, and the same under names that
 *		say the type of the data: their arguments, checked and turned into
 *		bytes.
 *
 * The overloads are for people, who see what type an expression has.  Drivers
 * often do not say the type of a parameter, and PostgreSQL then prefers text.
 * So each overloaded name has one for text, which either means what the name
 * says (firehose_put_json takes text that is JSON), or refuses what could have
 * been meant otherwise (firehose_put_batch).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "common/compat.h"
#include "put/put.h"
#include "put/put_value.h"
#include "queue/ids.h"

/* A function of SQL's, with what its errors call it. */
#define PUT_FUNCTION(symbol, put, name, type) \
	PG_FUNCTION_INFO_V1(symbol); \
	Datum \
	symbol(PG_FUNCTION_ARGS) \
	{ \
		return put(fcinfo, name "()", type); \
	}

static Datum put_one(FunctionCallInfo fcinfo, const char *function, PutType type);
static Datum put_array(FunctionCallInfo fcinfo, const char *function, PutType type);
static Datum put_array_text(FunctionCallInfo fcinfo, const char *function, PutType type);
static Datum put_json_list(FunctionCallInfo fcinfo, const char *function, PutType type);
static Datum send_one(FunctionCallInfo fcinfo, const char *function, PutType type);

PUT_FUNCTION(firehose_put_record_text, put_one, "firehose_put_record", PUT_TEXT)
PUT_FUNCTION(firehose_put_record_bytea, put_one, "firehose_put_record", PUT_BYTEA)
PUT_FUNCTION(firehose_put_record_json, put_one, "firehose_put_record", PUT_JSON)
PUT_FUNCTION(firehose_put_record_jsonb, put_one, "firehose_put_record", PUT_JSONB)
PUT_FUNCTION(firehose_put_record_row, put_one, "firehose_put_record", PUT_ROW)
PUT_FUNCTION(firehose_put_batch_unknown, put_array_text, "firehose_put_batch", PUT_TEXT)
PUT_FUNCTION(firehose_put_batch_text, put_array, "firehose_put_batch", PUT_TEXT)
PUT_FUNCTION(firehose_put_batch_bytea, put_array, "firehose_put_batch", PUT_BYTEA)
PUT_FUNCTION(firehose_put_batch_json, put_array, "firehose_put_batch", PUT_JSON)
PUT_FUNCTION(firehose_put_batch_jsonb, put_array, "firehose_put_batch", PUT_JSONB)
PUT_FUNCTION(firehose_put_batch_row, put_array, "firehose_put_batch", PUT_ROW)

PUT_FUNCTION(firehose_put_text, put_one, "firehose_put_text", PUT_TEXT)
PUT_FUNCTION(firehose_put_bytes, put_one, "firehose_put_bytes", PUT_BYTEA)
PUT_FUNCTION(firehose_put_json_text, put_one, "firehose_put_json", PUT_JSON_TEXT)
PUT_FUNCTION(firehose_put_json_json, put_one, "firehose_put_json", PUT_JSON)
PUT_FUNCTION(firehose_put_json_jsonb, put_one, "firehose_put_json", PUT_JSONB)
PUT_FUNCTION(firehose_put_texts, put_array, "firehose_put_texts", PUT_TEXT)
PUT_FUNCTION(firehose_put_bytes_array, put_array, "firehose_put_bytes_array", PUT_BYTEA)
PUT_FUNCTION(firehose_put_jsons_text, put_json_list, "firehose_put_jsons", PUT_JSON_TEXT)
PUT_FUNCTION(firehose_put_jsons_json, put_json_list, "firehose_put_jsons", PUT_JSON)
PUT_FUNCTION(firehose_put_jsons_jsonb, put_json_list, "firehose_put_jsons", PUT_JSONB)
PUT_FUNCTION(firehose_put_jsons_texts, put_array, "firehose_put_jsons", PUT_JSON_TEXT)
PUT_FUNCTION(firehose_put_jsons_jsons, put_array, "firehose_put_jsons", PUT_JSON)
PUT_FUNCTION(firehose_put_jsons_jsonbs, put_array, "firehose_put_jsons", PUT_JSONB)

PUT_FUNCTION(firehose_send_text, send_one, "firehose_send", PUT_JSON_TEXT)
PUT_FUNCTION(firehose_send_json, send_one, "firehose_send", PUT_JSON)
PUT_FUNCTION(firehose_send_jsonb, send_one, "firehose_send", PUT_JSONB)

static void
refuse_null(const char *function, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s of %s must not be null", what, function)));
}

/* The arguments that all the functions share, checked. */
static Stream *
check_arguments(FunctionCallInfo fcinfo, const char *function)
{
	text	   *name;
	char		buffer[NAMEDATALEN];
	Stream	   *stream;

	put_check_allowed(function);
	if (PG_ARGISNULL(0))
		refuse_null(function, "stream");
	if (PG_ARGISNULL(2))
		refuse_null(function, "transactional");

	name = PG_GETARG_TEXT_PP(0);
	if (likely(VARSIZE_ANY_EXHDR(name) < NAMEDATALEN))
	{
		text_to_cstring_buffer(name, buffer, sizeof(buffer));
		stream = stream_get(buffer);
	}
	else
		stream = stream_get(text_to_cstring(name));
	stream_check_usage(stream, GetUserId());
	return stream;
}

/* One record ------------------------------------------------------------- */

/*
 * (stream, data, transactional): returns the record's id, or NULL if the
 * stream's on_full is discard and there was no room.
 */
static Datum
put_one(FunctionCallInfo fcinfo, const char *function, PutType type)
{
	Stream	   *stream = check_arguments(fcinfo, function);
	RecordBytes bytes;
	uint64		id;

	if (PG_ARGISNULL(1))
		refuse_null(function, "data");
	bytes = put_value_bytes(PG_GETARG_DATUM(1), type);
	id = put_next_id();
	if (!put_records(stream, id, &bytes, 1, put_value_shape(stream, type),
					 PG_GETARG_BOOL(2)))
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) id);
}

/* The same for a procedure, which has no result. */
static Datum
send_one(FunctionCallInfo fcinfo, const char *function, PutType type)
{
	(void) put_one(fcinfo, function, type);
	fcinfo->isnull = false;
	PG_RETURN_VOID();
}

/* Several records -------------------------------------------------------- */

/* Error context callback: which record of a batch is in error? */
static void
name_record(void *arg)
{
	errcontext("record %d of the batch", *(int *) arg);
}

/* The bytes of all values of a batch. */
static RecordBytes *
batch_bytes(const Datum *values, int n, PutType type)
{
	RecordBytes *records = palloc_array(RecordBytes, n);
	int			number = 0;
	ErrorContextCallback context = {
		.previous = error_context_stack, .callback = name_record, .arg = &number,
	};

	error_context_stack = &context;
	while (number < n)
	{
		number++;
		records[number - 1] = put_value_bytes(values[number - 1], type);
	}
	error_context_stack = context.previous;
	return records;
}

/*
 * Put n values as one batch: returns the records' ids in order, an empty array
 * for none, or NULL if the stream's on_full is discard and there was no room
 * for all of them.
 */
static Datum
put_values(FunctionCallInfo fcinfo, Stream *stream, const Datum *values, int n,
		   PutType type)
{
	RecordBytes *records;
	Datum	   *ids;
	uint64		first_id;

	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(INT8OID));

	records = batch_bytes(values, n, type);
	ids = palloc_array(Datum, n);
	first_id = queue_next_ids(firehose_queue, n);
	if (!put_records(stream, first_id, records, n, put_value_shape(stream, type),
					 PG_GETARG_BOOL(2)))
		PG_RETURN_NULL();
	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum((int64) (first_id + i));
	PG_RETURN_ARRAYTYPE_P(construct_array(ids, n, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* The elements of an array; errors unless it is a plain list. */
static Datum *
array_elements(ArrayType *array, const char *function, int *n)
{
	Oid			element = ARR_ELEMTYPE(array);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *elements;
	bool	   *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("data of %s must be a one-dimensional array", function),
				 errdetail("It has %d dimensions.", ARR_NDIM(array))));

	get_typlenbyvalalign(element, &length, &by_value, &align);
	deconstruct_array(array, element, length, by_value, align, &elements, &nulls, n);
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("data of %s must not contain nulls", function),
					 errdetail("Element %d is null.", i + ARR_LBOUND(array)[0])));
	}
	return elements;
}

/*
 * (stream, data[], transactional).  A null array is an empty one: it is what
 * array_agg makes of no rows.
 */
static Datum
put_array(FunctionCallInfo fcinfo, const char *function, PutType type)
{
	Stream	   *stream = check_arguments(fcinfo, function);
	int			n = 0;
	Datum	   *elements = NULL;

	if (!PG_ARGISNULL(1))
		elements = array_elements(PG_GETARG_ARRAYTYPE_P(1), function, &n);
	return put_values(fcinfo, stream, elements, n, type);
}

/* Does a text look like bytes in PostgreSQL's notation, \x and hex digits? */
static bool
looks_like_bytes(Datum value)
{
	text	   *t = DatumGetTextPP(value);
	const char *s = VARDATA_ANY(t);
	Size		length = VARSIZE_ANY_EXHDR(t);

	if (length < 2 || length % 2 != 0 || s[0] != '\\' || s[1] != 'x')
		return false;
	for (Size i = 2; i < length; i++)
	{
		if (!isxdigit((unsigned char) s[i]))
			return false;
	}
	return true;
}

/*
 * (stream, data, transactional), where data is an array as text, which is what
 * a driver sends that does not know the parameter's type: an array of text.
 * Bytes look like text then, and would be sent as what they look like.
 */
static Datum
put_array_text(FunctionCallInfo fcinfo, const char *function, PutType type)
{
	Stream	   *stream = check_arguments(fcinfo, function);
	int			n = 0;
	Datum	   *elements = NULL;

	if (!PG_ARGISNULL(1))
	{
		char	   *data = text_to_cstring(PG_GETARG_TEXT_PP(1));
		char		first = data[strspn(data, " \t\n\r\f\v")];

		if (first != '{' && first != '[')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("data of %s is not an array", function),
					 errhint("Put one record with firehose_put_text, firehose_put_json or firehose_put_bytes, several with firehose_put_texts, firehose_put_jsons or firehose_put_bytes_array.")));
		if (first == '[' && strchr(data, '=') == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("data of %s is not an array", function),
					 errhint("Put the elements of a JSON array with firehose_put_jsons.")));
		elements = array_elements(DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, data, TEXTOID, -1)),
								  function, &n);
		for (int i = 0; i < n; i++)
		{
			if (looks_like_bytes(elements[i]))
				ereport(ERROR,
						(errcode(ERRCODE_AMBIGUOUS_FUNCTION),
						 errmsg("data of %s may be an array of bytea or of text", function),
						 errdetail("The parameter has no type, and record %d begins with \\x.", i + 1),
						 errhint("Use firehose_put_bytes_array or firehose_put_texts.")));
		}
	}
	return put_values(fcinfo, stream, elements, n, type);
}

/* Error unless a value is a JSON array; its elements, as jsonb. */
static Datum *
json_elements(Jsonb *list, const char *function, int *n)
{
	Datum	   *elements;
	JsonbIterator *it;
	JsonbValue	value;

	if (!JB_ROOT_IS_ARRAY(list) || JB_ROOT_IS_SCALAR(list))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("data of %s must be a JSON array", function),
				 errhint("Give it a JSON array, or an array of json: ARRAY[...]::json[]. One record is put by firehose_put_json.")));

	elements = palloc_array(Datum, Max(JB_ROOT_COUNT(list), 1));
	*n = 0;
	it = JsonbIteratorInit(&list->root);
	(void) JsonbIteratorNext(&it, &value, true);	/* the array itself */
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
		elements[(*n)++] = JsonbPGetDatum(JsonbValueToJsonb(&value));
	return elements;
}

/* (stream, data, transactional), where data is a JSON array of the records. */
static Datum
put_json_list(FunctionCallInfo fcinfo, const char *function, PutType type)
{
	Stream	   *stream = check_arguments(fcinfo, function);
	Datum		list;
	int			n = 0;
	Datum	   *elements = NULL;

	if (!PG_ARGISNULL(1))
	{
		list = PG_GETARG_DATUM(1);
		if (type != PUT_JSONB)
			list = DirectFunctionCall1(jsonb_in,
									   CStringGetDatum(TextDatumGetCString(list)));
		elements = json_elements(DatumGetJsonbP(list), function, &n);
	}
	return put_values(fcinfo, stream, elements, n, PUT_JSONB);
}
