/*
 * put_sql.c
 *		firehose_put_record, firehose_put_batch, and the same under names that
 *		say the type of the data: their arguments, checked and turned into
 *		bytes.
 *
 * Text and json are sent in UTF-8 whatever the database's encoding, as JSON
 * and Firehose's consumers demand; bytea is sent as it is; rows are sent as
 * the JSON of triggers.
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
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "common/compat.h"
#include "format/row_json.h"
#include "put/put.h"
#include "queue/ids.h"

typedef enum DataType
{
	DATA_TEXT,
	DATA_BYTEA,
	DATA_JSON,
	DATA_JSONB,
	DATA_JSON_TEXT,				/* text that has to be JSON */
	DATA_ROW
} DataType;

/* A function of SQL's, with what its errors call it. */
#define PUT_FUNCTION(symbol, put, name, type) \
	PG_FUNCTION_INFO_V1(symbol); \
	Datum \
	symbol(PG_FUNCTION_ARGS) \
	{ \
		return put(fcinfo, name "()", type); \
	}

static Datum put_one(FunctionCallInfo fcinfo, const char *function, DataType type);
static Datum put_array(FunctionCallInfo fcinfo, const char *function, DataType type);
static Datum put_array_text(FunctionCallInfo fcinfo, const char *function, DataType type);
static Datum put_json_list(FunctionCallInfo fcinfo, const char *function, DataType type);
static Datum send_one(FunctionCallInfo fcinfo, const char *function, DataType type);

PUT_FUNCTION(firehose_put_record_text, put_one, "firehose_put_record", DATA_TEXT)
PUT_FUNCTION(firehose_put_record_bytea, put_one, "firehose_put_record", DATA_BYTEA)
PUT_FUNCTION(firehose_put_record_json, put_one, "firehose_put_record", DATA_JSON)
PUT_FUNCTION(firehose_put_record_jsonb, put_one, "firehose_put_record", DATA_JSONB)
PUT_FUNCTION(firehose_put_record_row, put_one, "firehose_put_record", DATA_ROW)
PUT_FUNCTION(firehose_put_batch_unknown, put_array_text, "firehose_put_batch", DATA_TEXT)
PUT_FUNCTION(firehose_put_batch_text, put_array, "firehose_put_batch", DATA_TEXT)
PUT_FUNCTION(firehose_put_batch_bytea, put_array, "firehose_put_batch", DATA_BYTEA)
PUT_FUNCTION(firehose_put_batch_json, put_array, "firehose_put_batch", DATA_JSON)
PUT_FUNCTION(firehose_put_batch_jsonb, put_array, "firehose_put_batch", DATA_JSONB)
PUT_FUNCTION(firehose_put_batch_row, put_array, "firehose_put_batch", DATA_ROW)

PUT_FUNCTION(firehose_put_text, put_one, "firehose_put_text", DATA_TEXT)
PUT_FUNCTION(firehose_put_bytes, put_one, "firehose_put_bytes", DATA_BYTEA)
PUT_FUNCTION(firehose_put_json_text, put_one, "firehose_put_json", DATA_JSON_TEXT)
PUT_FUNCTION(firehose_put_json_json, put_one, "firehose_put_json", DATA_JSON)
PUT_FUNCTION(firehose_put_json_jsonb, put_one, "firehose_put_json", DATA_JSONB)
PUT_FUNCTION(firehose_put_texts, put_array, "firehose_put_texts", DATA_TEXT)
PUT_FUNCTION(firehose_put_bytes_array, put_array, "firehose_put_bytes_array", DATA_BYTEA)
PUT_FUNCTION(firehose_put_jsons_text, put_json_list, "firehose_put_jsons", DATA_JSON_TEXT)
PUT_FUNCTION(firehose_put_jsons_json, put_json_list, "firehose_put_jsons", DATA_JSON)
PUT_FUNCTION(firehose_put_jsons_jsonb, put_json_list, "firehose_put_jsons", DATA_JSONB)
PUT_FUNCTION(firehose_put_jsons_texts, put_array, "firehose_put_jsons", DATA_JSON_TEXT)
PUT_FUNCTION(firehose_put_jsons_jsons, put_array, "firehose_put_jsons", DATA_JSON)
PUT_FUNCTION(firehose_put_jsons_jsonbs, put_array, "firehose_put_jsons", DATA_JSONB)

PUT_FUNCTION(firehose_send_text, send_one, "firehose_send", DATA_JSON_TEXT)
PUT_FUNCTION(firehose_send_json, send_one, "firehose_send", DATA_JSON)
PUT_FUNCTION(firehose_send_jsonb, send_one, "firehose_send", DATA_JSONB)

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

/* The shape that the stream's delimiter gives to records of this type. */
static RecordShape
record_shape(const Stream *stream, DataType type)
{
	RecordShape shape;

	shape.newline = stream->options.delimiter == DELIMITER_NEWLINE ||
		(stream->options.delimiter == DELIMITER_DEFAULT && type != DATA_BYTEA);
	shape.one_line = shape.newline && (type == DATA_JSON || type == DATA_JSON_TEXT);
	return shape;
}

/* Error unless a text is JSON. */
static void
check_json(const RecordBytes *bytes)
{
	(void) DirectFunctionCall1(json_in,
							   CStringGetDatum(pnstrdup(bytes->data, bytes->length)));
}

static RecordBytes
row_bytes(Datum row)
{
	StringInfoData json;
	RecordBytes bytes;

	initStringInfo(&json);
	row_json_append(&json, row, BIGINTS_NUMBER);
	bytes.data = json.data;
	bytes.length = json.len;
	return bytes;
}

/* A value's bytes, in UTF-8 if it is text. */
static RecordBytes
value_bytes(Datum value, DataType type)
{
	RecordBytes bytes;
	char	   *converted;

	if (type == DATA_ROW)
		return row_bytes(value);
	if (type == DATA_JSONB)
	{
		Jsonb	   *jsonb = DatumGetJsonbP(value);

		bytes.data = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
		bytes.length = strlen(bytes.data);
	}
	else
	{
		struct varlena *varlena = PG_DETOAST_DATUM_PACKED(value);

		bytes.data = VARDATA_ANY(varlena);
		bytes.length = VARSIZE_ANY_EXHDR(varlena);
		if (type == DATA_JSON_TEXT)
			check_json(&bytes);
	}
	if (type == DATA_BYTEA || GetDatabaseEncoding() == PG_UTF8 ||
		GetDatabaseEncoding() == PG_SQL_ASCII)
		return bytes;

	converted = pg_server_to_any(bytes.data, bytes.length, PG_UTF8);
	if (converted != bytes.data)
	{
		bytes.data = converted;
		bytes.length = strlen(converted);
	}
	return bytes;
}

/* One record ------------------------------------------------------------- */

/*
 * (stream, data, transactional): returns the record's id, or NULL if the
 * stream's on_full is discard and there was no room.
 */
static Datum
put_one(FunctionCallInfo fcinfo, const char *function, DataType type)
{
	Stream	   *stream = check_arguments(fcinfo, function);
	RecordBytes bytes;
	uint64		id;

	if (PG_ARGISNULL(1))
		refuse_null(function, "data");
	bytes = value_bytes(PG_GETARG_DATUM(1), type);
	id = put_next_id();
	if (!put_records(stream, id, &bytes, 1, record_shape(stream, type),
					 PG_GETARG_BOOL(2)))
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) id);
}

/* The same for a procedure, which has no result. */
static Datum
send_one(FunctionCallInfo fcinfo, const char *function, DataType type)
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
batch_bytes(const Datum *values, int n, DataType type)
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
		records[number - 1] = value_bytes(values[number - 1], type);
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
		   DataType type)
{
	RecordBytes *records;
	Datum	   *ids;
	uint64		first_id;

	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(INT8OID));

	records = batch_bytes(values, n, type);
	ids = palloc_array(Datum, n);
	first_id = queue_next_ids(firehose_queue, n);
	if (!put_records(stream, first_id, records, n, record_shape(stream, type),
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
put_array(FunctionCallInfo fcinfo, const char *function, DataType type)
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
put_array_text(FunctionCallInfo fcinfo, const char *function, DataType type)
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
put_json_list(FunctionCallInfo fcinfo, const char *function, DataType type)
{
	Stream	   *stream = check_arguments(fcinfo, function);
	Datum		list;
	int			n = 0;
	Datum	   *elements = NULL;

	if (!PG_ARGISNULL(1))
	{
		list = PG_GETARG_DATUM(1);
		if (type != DATA_JSONB)
			list = DirectFunctionCall1(jsonb_in,
									   CStringGetDatum(TextDatumGetCString(list)));
		elements = json_elements(DatumGetJsonbP(list), function, &n);
	}
	return put_values(fcinfo, stream, elements, n, DATA_JSONB);
}
