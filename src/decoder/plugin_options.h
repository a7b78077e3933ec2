/*
 * plugin_options.h
 *		The options of pgoutput for a pipeline.
 */
#ifndef FIREHOSE_DECODER_PLUGIN_OPTIONS_H
#define FIREHOSE_DECODER_PLUGIN_OPTIONS_H

#include "pipeline/definition.h"

/* Its options, of DefElem *. */
extern List *plugin_options(const Pipeline *pipeline);

#endif							/* FIREHOSE_DECODER_PLUGIN_OPTIONS_H */
