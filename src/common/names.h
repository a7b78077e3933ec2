/*
 * names.h
 *		The project's one name.
 */
#ifndef FIREHOSE_COMMON_NAMES_H
#define FIREHOSE_COMMON_NAMES_H

/*
 * Of the extension, of its foreign-data wrapper, of the library that is
 * preloaded, and the prefix of its settings and of its logical messages.
 */
#define FIREHOSE_NAME	"firehose"

#endif							/* FIREHOSE_COMMON_NAMES_H */
