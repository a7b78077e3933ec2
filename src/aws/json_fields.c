/*-------------------------------------------------------------------------
 *
 * json_fields.c
 *	  Pick some strings and numbers out of a JSON object.
 *
 * Called by credential_fetch.c and sso_token.c.  Values are terminated when
 * the scan is over, because the character after a number is still to be read.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "aws/json_fields.h"
#include "aws/json_scan.h"

/* A read on its way */
typedef struct FieldScan
{
	JsonScan	scan;
	JsonField  *fields;
	int			n;
	size_t		lengths[JSON_FIELDS_MAX];
} FieldScan;

/* Find the field that has the key just read; -1 if it is not wanted. */
static int
find_field(const FieldScan *f)
{
	for (int i = 0; i < f->n; i++)
	{
		if (strlen(f->fields[i].name) == f->scan.text_len &&
			memcmp(f->fields[i].name, f->scan.text, f->scan.text_len) == 0)
			return i;
	}
	return -1;
}

/* Read the members of the object that has just begun. */
static bool
read_members(FieldScan *f)
{
	JsonScanToken token;

	while ((token = json_scan_next(&f->scan)) == JSON_SCAN_KEY)
	{
		int			i = find_field(f);

		token = json_scan_next(&f->scan);
		if (i >= 0)
		{
			bool		scalar = token == JSON_SCAN_STRING || token == JSON_SCAN_NUMBER;

			f->fields[i].value = scalar ? f->scan.text : NULL;
			f->lengths[i] = scalar ? f->scan.text_len : 0;
		}
		if (!json_scan_skip(&f->scan, token))
			return false;
	}
	return token == JSON_SCAN_OBJECT_END;
}

/* Read the object inside the object that has just begun. */
static bool
read_inside(FieldScan *f, const char *inside)
{
	JsonScanToken token;

	while ((token = json_scan_next(&f->scan)) == JSON_SCAN_KEY)
	{
		bool		wanted = strlen(inside) == f->scan.text_len &&
			memcmp(inside, f->scan.text, f->scan.text_len) == 0;

		token = json_scan_next(&f->scan);
		if (wanted && token == JSON_SCAN_OBJECT_START)
		{
			if (!read_members(f))
				return false;
		}
		else if (!json_scan_skip(&f->scan, token))
			return false;
	}
	return token == JSON_SCAN_OBJECT_END;
}

bool
json_fields_read(char *buf, size_t len, const char *inside,
				 JsonField *fields, int n, char *errmsg, size_t errmsg_size)
{
	FieldScan	f = {.fields = fields, .n = n};
	bool		ok;

	for (int i = 0; i < n; i++)
		fields[i].value = NULL;
	json_scan_init(&f.scan, buf, len);
	ok = json_scan_next(&f.scan) == JSON_SCAN_OBJECT_START &&
		(inside != NULL ? read_inside(&f, inside) : read_members(&f)) &&
		json_scan_next(&f.scan) == JSON_SCAN_END;
	if (!ok)
	{
		for (int i = 0; i < n; i++)
			fields[i].value = NULL;
		snprintf(errmsg, errmsg_size, "the response cannot be read: %s",
				 f.scan.error != NULL ? f.scan.error : "it is not a JSON object");
		return false;
	}
	for (int i = 0; i < n; i++)
	{
		if (fields[i].value != NULL)
			fields[i].value[f.lengths[i]] = '\0';
	}
	return true;
}
