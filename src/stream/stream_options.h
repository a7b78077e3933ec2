/*
 * stream_options.h
 *		The one table of a stream's options: the name of each, its values, its
 *		place in StreamOptions, and the setting that gives its default.  The
 *		validator, the settings, the resolved options and the view
 *		firehose_stream_options are all made from it.
 */
#ifndef FIREHOSE_STREAM_STREAM_OPTIONS_H
#define FIREHOSE_STREAM_STREAM_OPTIONS_H

#include "nodes/pg_list.h"
#include "stream/option_values.h"

extern void stream_options_define_settings(void);

/* Resolve a server's options over the settings; strings go to `context`. */
extern void stream_options_resolve(List *options, const char *server_name,
								   MemoryContext context, StreamOptions *result);

/*
 * Is it a name that a Firehose stream can have?  A server's name need not be.
 */
extern PGDLLEXPORT bool stream_options_valid_name(const char *name);

/* Changes whenever a setting that gives an option's default has changed. */
extern uint64 stream_options_generation(void);

#endif							/* FIREHOSE_STREAM_STREAM_OPTIONS_H */
