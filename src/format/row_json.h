/*
 * row_json.h
 *		Any row, of a table, a composite type or ROW(...), as the JSON object
 *		that triggers with 'row' send.
 */
#ifndef FIREHOSE_FORMAT_ROW_JSON_H
#define FIREHOSE_FORMAT_ROW_JSON_H

#include "lib/stringinfo.h"

#include "format/value.h"

/*
 * Append a composite Datum that is not null: an object of its columns, in
 * UTF-8, on one line and terminated.  No setting of the session changes a byte
 * of it.  Errors: those of a type's output function.
 */
extern void row_json_append(StringInfo out, Datum row, BigintForm bigints);

#endif							/* FIREHOSE_FORMAT_ROW_JSON_H */
