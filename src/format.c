/*
 * format.c
 *		The table of formats.
 */
#include "postgres.h"

#include "format.h"

static const Format formats[] =
{
	{
		.name = "json",
		.values = {TIMESTAMPS_ISO, NUMERICS_STRING, JSON_EMBED},
		.append = json_append_event
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
