/*
 * plugin_options.c
 *		The options of pgoutput for a pipeline.  Decoder process only.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "decoder/plugin_options.h"

/*
 * The list pgoutput wants: each name quoted, with commas between.  pgoutput
 * requires a list even for durable puts, where it is never asked about a
 * change and does not look the names up.
 */
static char *
quoted_names(List *names)
{
	StringInfoData list;
	ListCell   *lc;

	if (names == NIL)
		return "none";
	initStringInfo(&list);
	foreach(lc, names)
		appendStringInfo(&list, "%s%s", list.len > 0 ? "," : "", quote_identifier(lfirst(lc)));
	return list.data;
}

List *
plugin_options(const Pipeline *pipeline)
{
	List	   *options = list_make2(makeDefElem("proto_version", (Node *) makeString("1"), -1),
									 makeDefElem("publication_names",
												 (Node *) makeString(quoted_names(pipeline->publications)), -1));

	if (pipeline->message_prefixes != NIL || pipeline->durable_puts)
		options = lappend(options, makeDefElem("messages", (Node *) makeString("true"), -1));
	if (PGOUTPUT_KNOWS_ORIGIN && pipeline->origin != NULL)
		options = lappend(options, makeDefElem("origin", (Node *) makeString(pipeline->origin), -1));
	return options;
}
