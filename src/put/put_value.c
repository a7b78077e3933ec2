/*
 * put_value.c
 *		A value of SQL as the bytes of a record; put_value.h says for whom.
 *
 * Runs in backends.  Text and json are sent in UTF-8 whatever the database's
 * encoding, as JSON and Firehose's consumers demand; bytea is sent as it is;
 * rows are sent as the JSON of triggers.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "format/row_json.h"
#include "put/put_value.h"

RecordShape
put_value_shape(const Stream *stream, PutType type)
{
	RecordShape shape;

	shape.newline = stream->options.delimiter == DELIMITER_NEWLINE ||
		(stream->options.delimiter == DELIMITER_DEFAULT && type != PUT_BYTEA);
	shape.one_line = shape.newline && (type == PUT_JSON || type == PUT_JSON_TEXT);
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

RecordBytes
put_value_bytes(Datum value, PutType type)
{
	RecordBytes bytes;
	char	   *converted;

	if (type == PUT_ROW)
		return row_bytes(value);
	if (type == PUT_JSONB)
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
		if (type == PUT_JSON_TEXT)
			check_json(&bytes);
	}
	if (type == PUT_BYTEA || GetDatabaseEncoding() == PG_UTF8 ||
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
