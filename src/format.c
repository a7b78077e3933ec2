/*
 * format.c
 *		The table of formats, and what they have in common.
 */
#include "postgres.h"

#include "format.h"
#include "json_write.h"

static const char upper_digits[] = "0123456789ABCDEF";
static const char lower_digits[] = "0123456789abcdef";

static const Format formats[] =
{
	{
		.name = "json",
		.values = {TIMESTAMPS_ISO, NUMERICS_STRING, JSON_EMBED},
		.append = json_append_event
	},
	{
		.name = "flat",
		.values = {TIMESTAMPS_EPOCH_US, NUMERICS_NUMBER, JSON_STRING},
		.count = flat_count,
		.append = flat_append_event
	},
};

const Format *
format_find(const char *name)
{
	for (int i = 0; i < lengthof(formats); i++)
	{
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	}
	return NULL;
}

const char *
format_name(int i)
{
	return i >= 0 && i < lengthof(formats) ? formats[i].name : NULL;
}

int
format_put_columns(StringInfo out, const Event *event, bool old, bool key_only)
{
	int			n = 0;

	for (int i = 0; i < event->relation->ncolumns; i++)
	{
		const EventColumn *column = &event->relation->columns[i];
		const EventValue *value;

		if (key_only && !column->key)
			continue;
		value = old ? event_old_value(event, i) : event_new_value(event, i);
		if (unlikely(value == NULL))
			continue;
		if (n++ > 0)
			json_put_char(out, ',');
		json_put(out, column->label, column->label_len);
		event_put_value(out, column, value);
	}
	return n;
}

/* Append a number in hexadecimal, in at least n digits. */
static void
put_hex(StringInfo out, uint32 value, const char *digits, int n)
{
	while (n < 8 && value >> (4 * n) != 0)
		n++;
	json_reserve(out, n);
	for (int i = n - 1; i >= 0; i--, value >>= 4)
		out->data[out->len + i] = digits[value & 15];
	out->len += n;
}

void
format_put_lsn(StringInfo out, XLogRecPtr lsn)
{
	json_put_char(out, '"');
	put_hex(out, (uint32) (lsn >> 32), upper_digits, 1);
	json_put_char(out, '/');
	put_hex(out, (uint32) lsn, upper_digits, 1);
	json_put_char(out, '"');
}

void
format_put_id(StringInfo out, const Event *event, int part)
{
	json_put_char(out, '"');
	if (event->lsn != InvalidXLogRecPtr)
	{
		put_hex(out, event->timeline, upper_digits, 8);
		json_put_char(out, '-');
		put_hex(out, (uint32) (event->lsn >> 32), upper_digits, 8);
		put_hex(out, (uint32) event->lsn, upper_digits, 8);
		json_put_char(out, '-');
		put_hex(out, event->seq + part, lower_digits, 8);
	}
	else
	{
		char		digits[20];
		int			i = sizeof(digits);

		for (uint64 id = event->record_id; id > 0 || sizeof(digits) - i < 16; id /= 10)
			digits[--i] = '0' + id % 10;
		json_put(out, digits + i, sizeof(digits) - i);
	}
	json_put_char(out, '"');
}
