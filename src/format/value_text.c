/*
 * value_text.c
 *		The encoders of value.c from PostgreSQL's text (what pgoutput sends),
 *		with the same result to the byte.
 *
 * Text is rewritten in place where that is possible; only the epoch forms of
 * timestamps, and times of a zone other than UTC, go through the type's input
 * function.  Arrays and composites are taken apart in one pass, without
 * building the value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/json_write.h"
#include "format/value_class.h"

/* Bytes of a bytea that are decoded at a time: a multiple of 3, for base64. */
#define BYTEA_CHUNK 768

/* A reader of the text of an array or a composite. */
typedef struct TextParser
{
	const char *at;
	const char *end;
	ValueType  *type;			/* for error messages */
	StringInfoData item;		/* the item last read, without quotes */
	bool		quoted;			/* was any of it in quotes? */
} TextParser;

static void parser_init(TextParser *p, ValueType *type, const char *text, int len);
static void parser_fail(TextParser *p);
static void read_item(TextParser *p, const char *delimiters, bool doubled_quotes);

/* Numbers that are JSON as they are. */
void
value_text_bare(StringInfo out, ValueType *type, const char *text, int len)
{
	json_put(out, text, len);
}

/* Everything that is PostgreSQL's text. */
void
value_text_string(StringInfo out, ValueType *type, const char *text, int len)
{
	json_put_string(out, text, len);
}

void
value_text_bool(StringInfo out, ValueType *type, const char *text, int len)
{
	if (len > 0 && text[0] == 't')
		json_put_literal(out, "true");
	else
		json_put_literal(out, "false");
}

/* Is it NaN, Infinity or -Infinity? */
static bool
is_finite_text(const char *text, int len)
{
	return len > 0 && text[0] != 'N' && text[0] != 'I' &&
		!(len > 1 && text[1] == 'I');
}

void
value_text_float(StringInfo out, ValueType *type, const char *text, int len)
{
	if (is_finite_text(text, len))
		json_put(out, text, len);
	else if (type->options->numerics == NUMERICS_NUMBER)
		value_put_nulled(out, type);
	else
		json_put_string(out, text, len);
}

void
value_text_numeric(StringInfo out, ValueType *type, const char *text, int len)
{
	if (type->options->numerics == NUMERICS_STRING)
	{
		json_reserve(out, len + 2);
		json_put_char(out, '"');
		json_put(out, text, len);
		json_put_char(out, '"');
	}
	else
		value_text_float(out, type, text, len);
}

/* Through the type's input function to the encoder from Datums. */
static void
timestamp_from_input(StringInfo out, ValueType *type, const char *text, int len)
{
	char	   *string = pnstrdup(text, len);
	PGFunction	input = type->typid == TIMESTAMPTZOID ? timestamptz_in : timestamp_in;

	value_put_datum(out, type,
					DirectFunctionCall3(input, CStringGetDatum(string),
										ObjectIdGetDatum(InvalidOid),
										Int32GetDatum(-1)));
	pfree(string);
}

/*
 * "2026-11-21 22:34:01.659569+00 BC": put a T in the middle and a Z for the
 * zone.
 */
void
value_text_timestamp(StringInfo out, ValueType *type, const char *text, int len)
{
	TimestampForm form = type->options->timestamps;
	const char *end = text + len;
	const char *blank = memchr(text, ' ', len);
	const char *zone = end;

	if (form == TIMESTAMPS_EPOCH_US || form == TIMESTAMPS_EPOCH_MS)
	{
		timestamp_from_input(out, type, text, len);
		return;
	}
	if (blank == NULL)
	{
		/* infinity, -infinity */
		json_put_string(out, text, len);
		return;
	}
	if (type->typid == TIMESTAMPTZOID)
	{
		for (zone = blank; zone < end && *zone != '+' && *zone != '-'; zone++)
			;
		if (end - zone < 3 || memcmp(zone, "+00", 3) != 0 ||
			(end - zone > 3 && zone[3] != ' '))
		{
			timestamp_from_input(out, type, text, len);
			return;
		}
	}

	json_reserve(out, len + 3);
	json_put_char(out, '"');
	json_put(out, text, blank - text);
	json_put_char(out, form == TIMESTAMPS_ISO ? 'T' : ' ');
	json_put(out, blank + 1, zone - blank - 1);
	if (zone < end)
	{
		if (form == TIMESTAMPS_ISO)
			json_put_char(out, 'Z');
		json_put(out, zone + 3, end - zone - 3);	/* " BC" */
	}
	json_put_char(out, '"');
}

const char *
value_text_hex_digits(const char *text, int len)
{
	if (len < 2 || text[0] != '\\' || text[1] != 'x')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("bytea is not in hexadecimal form"),
				 errhint("The reader of the change has to set bytea_output to hex.")));
	return text + 2;
}

/* From hexadecimal digits to base64. */
void
value_text_bytea(StringInfo out, ValueType *type, const char *text, int len)
{
	char		chunk[BYTEA_CHUNK];

	text = value_text_hex_digits(text, len);
	len -= 2;

	json_put_char(out, '"');
	while (len > 0)
	{
		int			digits = Min(len, BYTEA_CHUNK * 2);

		value_put_base64(out, chunk, hex_decode(text, digits, chunk));
		text += digits;
		len -= digits;
	}
	json_put_char(out, '"');
}

void
value_text_json(StringInfo out, ValueType *type, const char *text, int len)
{
	if (type->options->json_columns == JSON_EMBED)
		json_put_embedded(out, text, len);
	else
		json_put_string(out, text, len);
}

/* ------------------------------------------------------------------------
 * Arrays and composites
 * ------------------------------------------------------------------------
 */
static void
parser_init(TextParser *p, ValueType *type, const char *text, int len)
{
	check_stack_depth();
	p->at = text;
	p->end = text + len;
	p->type = type;
	initStringInfo(&p->item);
}

/* Does not return. */
static void
parser_fail(TextParser *p)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("malformed text of a value of type %u", p->type->typid)));
}

/* Read up to one of the delimiters, undoing quotes and backslashes. */
static void
read_item(TextParser *p, const char *delimiters, bool doubled_quotes)
{
	bool		inside = false;

	resetStringInfo(&p->item);
	p->quoted = false;
	for (; p->at < p->end; p->at++)
	{
		char		c = *p->at;

		if (c == '"')
		{
			if (inside && doubled_quotes && p->at + 1 < p->end && p->at[1] == '"')
				p->at++;		/* stands for one */
			else
			{
				inside = !inside;
				p->quoted = true;
				continue;
			}
		}
		else if (c == '\\')
		{
			if (++p->at == p->end)
				parser_fail(p);
			c = *p->at;
		}
		else if (!inside && strchr(delimiters, c) != NULL)
			return;
		appendStringInfoCharMacro(&p->item, c);
	}
	parser_fail(p);
}

/* "{{1,NULL},{3,4}}", or the same after "[0:1][1:2]=" */
void
value_text_array(StringInfo out, ValueType *type, const char *text, int len)
{
	const char	delimiters[] = {type->typdelim, '}', '\0'};
	int			begin = out->len;
	TextParser	p;

	parser_init(&p, type, text, len);
	if (len > 0 && text[0] == '[')
	{
		p.at = memchr(text, '=', len);
		if (p.at == NULL)
			parser_fail(&p);
		p.at++;
	}

	while (p.at < p.end)
	{
		if (*p.at == '{')
			json_put_char(out, '[');
		else if (*p.at == '}')
			json_put_char(out, ']');
		else if (*p.at == type->typdelim)
			json_put_char(out, ',');
		else
		{
			read_item(&p, delimiters, false);
			if (!p.quoted && pg_strcasecmp(p.item.data, "NULL") == 0)
				json_put_literal(out, "null");
			else
				value_put_text(out, type->element, p.item.data, p.item.len);
			if (unlikely(json_trouble != JSON_NO_TROUBLE || out->len - begin > json_max_bytes))
				break;
			continue;			/* at the delimiter */
		}
		p.at++;
	}
	pfree(p.item.data);
}

/* "(1,"a ""b""",)" */
void
value_text_composite(StringInfo out, ValueType *type, const char *text, int len)
{
	TextParser	p;

	parser_init(&p, type, text, len);
	if (len < 2 || *p.at++ != '(')
		parser_fail(&p);

	json_put_char(out, '{');
	for (int i = 0; i < type->nfields; i++)
	{
		ValueField *field = &type->fields[i];

		if (i > 0)
			json_put_char(out, ',');
		json_put(out, field->label, field->label_len);
		read_item(&p, ",)", true);
		if (p.item.len == 0 && !p.quoted)
			json_put_literal(out, "null");
		else
			value_put_text(out, field->type, p.item.data, p.item.len);
		if (*p.at != (i == type->nfields - 1 ? ')' : ','))
			parser_fail(&p);
		p.at++;
	}
	json_put_char(out, '}');
	pfree(p.item.data);
}
