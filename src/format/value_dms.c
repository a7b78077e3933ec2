/*
 * value_dms.c
 *		Values as AWS DMS writes them to Kinesis, where that differs from
 *		value_datum.c.
 *
 * Bytes are hexadecimal digits behind 0x (the endpoint setting NoHexPrefix of
 * "Using Amazon Kinesis Data Streams as a target" in the DMS user guide tells
 * so).  DMS has no types for JSON, arrays, composites, intervals and the rest,
 * and takes their text ("Source data types for PostgreSQL", which maps them to
 * strings and CLOBs): so do we.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "common/json_write.h"
#include "format/value_class.h"

static void
put_bytes_text(StringInfo out, ValueType *type, const char *text, int len)
{
	const char *digits = value_text_hex_digits(text, len);

	json_put_literal(out, "\"0x");
	json_put(out, digits, len - 2);
	json_put_char(out, '"');
}

static void
put_bytes(StringInfo out, ValueType *type, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	int			len = VARSIZE_ANY_EXHDR(bytes);

	json_put_literal(out, "\"0x");
	json_reserve(out, len * 2);
	out->len += hex_encode(VARDATA_ANY(bytes), len, out->data + out->len);
	json_put_char(out, '"');
}

const ValueClass *
value_dms_class(const ValueType *type)
{
	static const ValueClass class_bytes = {put_bytes, put_bytes_text};
	static const ValueClass class_text = {value_datum_output, value_text_string};

	switch (type->typid)
	{
		case BYTEAOID:
			return &class_bytes;
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case UUIDOID:
			return NULL;
		default:
			return &class_text;
	}
}
