/*
 * put_value.h
 *		A value of SQL as the bytes of a record: for the functions that put,
 *		and for foreign tables.
 */
#ifndef FIREHOSE_PUT_VALUE_H
#define FIREHOSE_PUT_VALUE_H

#include "queue/record_shape.h"
#include "stream/stream.h"

typedef enum PutType
{
	PUT_TEXT,
	PUT_BYTEA,
	PUT_JSON,
	PUT_JSONB,
	PUT_JSON_TEXT,				/* text that has to be JSON */
	PUT_ROW
} PutType;

/* The shape that a stream's delimiter gives to records of this type. */
extern RecordShape put_value_shape(const Stream *stream, PutType type);

/* The bytes of a value that is not null, in UTF-8 if it is text. */
extern RecordBytes put_value_bytes(Datum value, PutType type);

#endif							/* FIREHOSE_PUT_VALUE_H */
