/*
 * option_table.h
 *		The table of a stream's options, for stream_options.c, which has it,
 *		and stream_options_sql.c, which shows it and checks by it.
 */
#ifndef FIREHOSE_STREAM_OPTION_TABLE_H
#define FIREHOSE_STREAM_OPTION_TABLE_H

#include "stream/option_values.h"
#include "utils/guc.h"

typedef enum OptionType
{
	OPTION_STRING,
	OPTION_INTEGER,
	OPTION_ENUM,
	OPTION_BOOLEAN
} OptionType;

/* Returns an error's detail, or NULL if the value is good. */
typedef const char *(*OptionCheck) (const char *value);

typedef struct OptionDef
{
	const char *name;
	OptionType	type;
	size_t		offset;			/* in StreamOptions */
	int			unit;			/* GUC_UNIT_*, for integers */
	int			min;
	int			max;
	int			default_number; /* of integers, enums and booleans */
	const struct config_enum_entry *values; /* for enums */
	OptionCheck check;			/* for strings */
	bool		has_setting;	/* firehose.<name> gives the default */
	const char *description;
} OptionDef;

extern const OptionDef stream_option_defs[];
extern const int stream_option_count;

/* An option by its name; NULL: there is none. */
extern const OptionDef *stream_option_find(const char *name);

/* Put an option's value in its place; errors if it is not a good one. */
extern void stream_option_set(StreamOptions *options, const OptionDef *def, const char *value);

/* The names an enum takes, for a hint or the view. */
extern char *stream_option_enum_names(const struct config_enum_entry *values);

/* The unit of a number without one, and of the bounds that are shown. */
extern const char *stream_option_unit(const OptionDef *def);

/* The default of an option as of now, as text. */
extern char *stream_option_default(const OptionDef *def);

#endif							/* FIREHOSE_STREAM_OPTION_TABLE_H */
