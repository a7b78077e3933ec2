/*
 * format.c
 *		The table of formats, and the functions that they share.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "common/json_write.h"
#include "format/format.h"

static const char upper_digits[] = "0123456789ABCDEF";
static const char lower_digits[] = "0123456789abcdef";

static const Format formats[] =
{
	{
		.name = "json",
		.values = {TIMESTAMPS_ISO, NUMERICS_STRING, JSON_EMBED},
		.schema = true,
		.triggers = true,
		.append = json_append_event
	},
	{
		.name = "flat",
		.values = {TIMESTAMPS_EPOCH_US, NUMERICS_NUMBER, JSON_STRING},
		.count = flat_count,
		.append = flat_append_event
	},
	{
		.name = "wal2json",
		.values = {.dialect = VALUES_TEXT},
		.types = true,
		.triggers = true,
		.append = wal2json_append_event
	},
	{
		.name = "debezium",
		.values = {TIMESTAMPS_EPOCH_US, NUMERICS_STRING, JSON_STRING, .dialect = VALUES_DEBEZIUM},
		.types = true,
		.triggers = true,
		.timestamps = 1 << TIMESTAMPS_EPOCH_US | 1 << TIMESTAMPS_EPOCH_MS,
		.count = debezium_count,
		.append = debezium_append_event
	},
	{
		.name = "dms",
		.values = {TIMESTAMPS_ISO, NUMERICS_NUMBER, JSON_STRING, .dialect = VALUES_DMS},
		.types = true,
		.schema = true,
		.triggers = true,
		.append = dms_append_event
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

const Format *
format_get(int i)
{
	return i >= 0 && i < lengthof(formats) ? &formats[i] : NULL;
}

const EventColumn *format_trouble_column;

/* A record that is too large is written only as far as needed to see that. */
int
format_put_columns(StringInfo out, const Event *event, bool old, bool key_only)
{
	int			n = 0;
	int			begin = out->len;

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
		if (unlikely(out->len - begin > json_max_bytes))
			json_trouble = JSON_TOO_LARGE;
		if (unlikely(json_trouble != JSON_NO_TROUBLE))
		{
			format_trouble_column = column;
			break;
		}
	}
	return n;
}

/* Are two values of a column the same? */
static bool
values_equal(const EventColumn *column, const EventValue *a, const EventValue *b)
{
	StringInfoData buffers[2];
	bool		equal;

	if (a->kind == EVENT_VALUE_NULL || b->kind == EVENT_VALUE_NULL)
		return a->kind == b->kind;
	if (a->kind == EVENT_VALUE_TEXT && b->kind == EVENT_VALUE_TEXT)
		return a->length == b->length && memcmp(a->v.text, b->v.text, a->length) == 0;

	/* Datums of one value may differ in their bytes: compare their texts */
	initStringInfo(&buffers[0]);
	initStringInfo(&buffers[1]);
	event_put_value(&buffers[0], column, a);
	event_put_value(&buffers[1], column, b);
	equal = buffers[0].len == buffers[1].len &&
		memcmp(buffers[0].data, buffers[1].data, buffers[0].len) == 0;
	pfree(buffers[0].data);
	pfree(buffers[1].data);
	return equal;
}

bool
format_keys_differ(const Event *event)
{
	for (int i = 0; i < event->relation->ncolumns; i++)
	{
		const EventColumn *column = &event->relation->columns[i];
		const EventValue *old_value = event_old_value(event, i);
		const EventValue *new_value = event_new_value(event, i);

		if (column->key && old_value && new_value && old_value != new_value &&
			!values_equal(column, old_value, new_value))
			return true;
	}
	return false;
}

void
format_put_time(StringInfo out, TimestampTz time)
{
	if (time == 0)
		json_put_literal(out, "null");
	else
		value_put_time(out, time);
}

/* Append the content of a logical message, if it is text. */
static bool
put_text_content(StringInfo out, const Event *event)
{
	int			begin = out->len;

	/* whatever it is */
	if (json_is_hopeless(event->content_len))
		return true;
	if (!pg_verify_mbstr(GetDatabaseEncoding(), event->content, event->content_len, true))
		return false;
	json_put_string(out, event->content, event->content_len);
	if (json_trouble != JSON_NOT_TEXT)
		return true;
	json_trouble = JSON_NO_TROUBLE;
	out->len = begin;
	return false;
}

void
format_put_content(StringInfo out, const Event *event)
{
	if (put_text_content(out, event))
		return;
	json_put_char(out, '"');
	value_put_base64(out, event->content, event->content_len);
	json_put_literal(out, "\",\"encoding\":\"base64\"");
}

/*
 * Write a number in hexadecimal, in at least n digits; returns where it ends.
 */
static inline char *
write_hex(char *to, uint32 value, const char *digits, int n)
{
	while (n < 8 && value >> (4 * n) != 0)
		n++;
	for (int i = n - 1; i >= 0; i--, value >>= 4)
		to[i] = digits[value & 15];
	return to + n;
}

/* The texts that the events of a commit share, made once for all of them. */
#define COMMIT_ID_LEN	31
typedef struct CommitText
{
	uint64		epoch;
	XLogRecPtr	lsn;
	char		id[COMMIT_ID_LEN];	/* "329AB1D24C07-000000001A0000D8- */
	char		lsn_json[20];	/* "0/1A0000D8" */
	int			lsn_json_len;
} CommitText;

static const CommitText *
commit_text(uint64 epoch, XLogRecPtr lsn)
{
	static CommitText text;
	char	   *to;

	if (likely(text.lsn == lsn && text.epoch == epoch))
		return &text;
	text.epoch = epoch;
	text.lsn = lsn;

	to = text.id;
	*to++ = '"';
	to = write_hex(to, (uint32) (epoch >> 16), upper_digits, 8);
	to = write_hex(to, (uint32) epoch & 0xFFFF, upper_digits, 4);
	*to++ = '-';
	to = write_hex(to, (uint32) (lsn >> 32), upper_digits, 8);
	to = write_hex(to, (uint32) lsn, upper_digits, 8);
	*to++ = '-';
	Assert(to == text.id + COMMIT_ID_LEN);

	to = text.lsn_json;
	*to++ = '"';
	to = write_hex(to, (uint32) (lsn >> 32), upper_digits, 1);
	*to++ = '/';
	to = write_hex(to, (uint32) lsn, upper_digits, 1);
	*to++ = '"';
	text.lsn_json_len = to - text.lsn_json;
	return &text;
}

void
format_put_lsn(StringInfo out, const Event *event)
{
	const CommitText *text = commit_text(event->epoch, event->lsn);

	json_put(out, text->lsn_json, text->lsn_json_len);
}

/* Append the id of a place in the event's commit, without the last quote. */
static inline void
put_wal_id(StringInfo out, const Event *event, uint32 seq)
{
	json_reserve(out, COMMIT_ID_LEN + 9);
	memcpy(out->data + out->len, commit_text(event->epoch, event->lsn)->id,
		   COMMIT_ID_LEN);
	out->len += COMMIT_ID_LEN;
	out->len = write_hex(out->data + out->len, seq, lower_digits, 8) - out->data;
}

void
format_put_id(StringInfo out, const Event *event, int part)
{
	if (event->lsn != InvalidXLogRecPtr)
		put_wal_id(out, event, event->seq + part);
	else
	{
		char		digits[20];
		int			i = sizeof(digits);

		json_put_char(out, '"');
		for (uint64 id = event->record_id; id > 0 || sizeof(digits) - i < 16; id /= 10)
			digits[--i] = '0' + id % 10;
		json_put(out, digits + i, sizeof(digits) - i);
	}
	json_put_char(out, '"');
}

/*
 * No change has the place of the one before with something behind it.
 */
void
format_put_schema_id(StringInfo out, const Event *event)
{
	put_wal_id(out, event, event->seq - 1);
	json_put_literal(out, "-s\"");
}
