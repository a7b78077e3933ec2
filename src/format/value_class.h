/*
 * value_class.h
 *		The encoders behind value.h's classes of types; only value*.c include
 *		this.
 */
#ifndef FIREHOSE_FORMAT_VALUE_CLASS_H
#define FIREHOSE_FORMAT_VALUE_CLASS_H

#include "format/value.h"

/* value_datum.c */
extern void value_datum_bool(StringInfo out, ValueType *type, Datum value);
extern void value_datum_int2(StringInfo out, ValueType *type, Datum value);
extern void value_datum_int4(StringInfo out, ValueType *type, Datum value);
extern void value_datum_int8(StringInfo out, ValueType *type, Datum value);
extern void value_datum_int8_string(StringInfo out, ValueType *type, Datum value);
extern void value_datum_float4(StringInfo out, ValueType *type, Datum value);
extern void value_datum_float8(StringInfo out, ValueType *type, Datum value);
extern void value_datum_numeric(StringInfo out, ValueType *type, Datum value);
extern void value_datum_date(StringInfo out, ValueType *type, Datum value);
extern void value_datum_timestamp(StringInfo out, ValueType *type, Datum value);
extern void value_datum_interval(StringInfo out, ValueType *type, Datum value);
extern void value_datum_bytea(StringInfo out, ValueType *type, Datum value);
extern void value_datum_json(StringInfo out, ValueType *type, Datum value);
extern void value_datum_jsonb(StringInfo out, ValueType *type, Datum value);
extern void value_datum_text(StringInfo out, ValueType *type, Datum value);
extern void value_datum_uuid(StringInfo out, ValueType *type, Datum value);
extern void value_datum_output(StringInfo out, ValueType *type, Datum value);
extern void value_datum_array(StringInfo out, ValueType *type, Datum value);
extern void value_datum_composite(StringInfo out, ValueType *type, Datum value);

/* value_text.c */
extern void value_text_bare(StringInfo out, ValueType *type, const char *text, int len);
extern void value_text_bool(StringInfo out, ValueType *type, const char *text, int len);
extern void value_text_float(StringInfo out, ValueType *type, const char *text, int len);
extern void value_text_numeric(StringInfo out, ValueType *type, const char *text, int len);
extern void value_text_timestamp(StringInfo out, ValueType *type, const char *text, int len);
/* The digits of "\x0123", the text of a bytea; an error if it has none. */
extern const char *value_text_hex_digits(const char *text, int len);
extern void value_text_bytea(StringInfo out, ValueType *type, const char *text, int len);
extern void value_text_json(StringInfo out, ValueType *type, const char *text, int len);
extern void value_text_array(StringInfo out, ValueType *type, const char *text, int len);
extern void value_text_composite(StringInfo out, ValueType *type, const char *text, int len);
extern void value_text_string(StringInfo out, ValueType *type, const char *text, int len);

/* A type's form in a dialect; NULL: that of VALUES_JSON. */
extern const ValueClass *value_debezium_class(const ValueType *type);
extern const ValueClass *value_dms_class(const ValueType *type);

/*
 * value_decimal.c: append a number that is given as PostgreSQL's text as the
 * integer that it is times ten to the power of `scale`, in base64, or null if
 * that is none; or with a scale of its own.
 */
extern void value_put_decimal(StringInfo out, const ValueType *type, const char *text, int len,
							  int scale);
extern void value_put_variable_decimal(StringInfo out, const char *text, int len);

/* Append null for a value that the chosen form cannot express. */
extern void value_put_nulled(StringInfo out, const ValueType *type);

#endif							/* FIREHOSE_FORMAT_VALUE_CLASS_H */
