/*
 * put_sql.c
 *		firehose_put_record and firehose_put_batch, for text, bytea, json and
 *		jsonb: what SQL gives them, checked and turned into bytes.
 *
 * Text and json are sent in UTF-8 whatever the database's encoding, as JSON
 * and Firehose's consumers demand; bytea is sent as it is.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "put/put.h"
#include "queue/ids.h"

typedef enum DataType
{
	DATA_TEXT,
	DATA_BYTEA,
	DATA_JSON,
	DATA_JSONB
} DataType;

#define PUT_RECORD(name, type) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		return put_record_of(fcinfo, type); \
	}

#define PUT_BATCH(name, type) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		return put_batch_of(fcinfo, type); \
	}

static Datum put_record_of(FunctionCallInfo fcinfo, DataType type);
static Datum put_batch_of(FunctionCallInfo fcinfo, DataType type);

PUT_RECORD(firehose_put_record_text, DATA_TEXT)
PUT_RECORD(firehose_put_record_bytea, DATA_BYTEA)
PUT_RECORD(firehose_put_record_json, DATA_JSON)
PUT_RECORD(firehose_put_record_jsonb, DATA_JSONB)
PUT_BATCH(firehose_put_batch_text, DATA_TEXT)
PUT_BATCH(firehose_put_batch_bytea, DATA_BYTEA)
PUT_BATCH(firehose_put_batch_json, DATA_JSON)
PUT_BATCH(firehose_put_batch_jsonb, DATA_JSONB)

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
	if (PG_ARGISNULL(1))
		refuse_null(function, "data");
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

/* What the stream's delimiter means for records of this type. */
static RecordShape
record_shape(const Stream *stream, DataType type)
{
	RecordShape shape;

	shape.newline = stream->options.delimiter == DELIMITER_NEWLINE ||
		(stream->options.delimiter == DELIMITER_DEFAULT && type != DATA_BYTEA);
	shape.one_line = shape.newline && type == DATA_JSON;
	return shape;
}

/* A value's bytes, in UTF-8 if it is text. */
static RecordBytes
value_bytes(Datum value, DataType type)
{
	RecordBytes bytes;
	char	   *converted;

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

/*
 * firehose_put_record(stream, data, transactional): returns the record's id,
 * or NULL if the stream's on_full is discard and there was no room.
 */
static Datum
put_record_of(FunctionCallInfo fcinfo, DataType type)
{
	Stream	   *stream = check_arguments(fcinfo, "firehose_put_record()");
	RecordBytes bytes = value_bytes(PG_GETARG_DATUM(1), type);
	uint64		id = put_next_id();

	if (!put_records(stream, id, &bytes, 1, record_shape(stream, type),
					 PG_GETARG_BOOL(2)))
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) id);
}

/* The elements of the data argument; errors unless it is a plain list. */
static Datum *
batch_elements(FunctionCallInfo fcinfo, int *n)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	Oid			element = ARR_ELEMTYPE(array);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *elements;
	bool	   *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("data of firehose_put_batch() must be a one-dimensional array"),
				 errdetail("It has %d dimensions.", ARR_NDIM(array))));

	get_typlenbyvalalign(element, &length, &by_value, &align);
	deconstruct_array(array, element, length, by_value, align, &elements, &nulls, n);
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("data of firehose_put_batch() must not contain nulls"),
					 errdetail("Element %d is null.", i + ARR_LBOUND(array)[0])));
	}
	return elements;
}

/*
 * firehose_put_batch(stream, data, transactional): returns the records' ids in
 * order, an empty array for an empty one, or NULL if the stream's on_full is
 * discard and there was no room for all of them.
 */
static Datum
put_batch_of(FunctionCallInfo fcinfo, DataType type)
{
	Stream	   *stream = check_arguments(fcinfo, "firehose_put_batch()");
	int			n;
	Datum	   *elements = batch_elements(fcinfo, &n);
	RecordBytes *records;
	Datum	   *ids;
	uint64		first_id;

	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(INT8OID));

	records = palloc_array(RecordBytes, n);
	ids = palloc_array(Datum, n);
	for (int i = 0; i < n; i++)
		records[i] = value_bytes(elements[i], type);

	first_id = queue_next_ids(firehose_queue, n);
	if (!put_records(stream, first_id, records, n, record_shape(stream, type),
					 PG_GETARG_BOOL(2)))
		PG_RETURN_NULL();
	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum((int64) (first_id + i));
	PG_RETURN_ARRAYTYPE_P(construct_array(ids, n, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
