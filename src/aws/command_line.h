/*-------------------------------------------------------------------------
 *
 * command_line.h
 *	  Take the command of a credential_process apart, without a shell.
 *
 * The rules are those of Python's shlex.split(), which the AWS CLI uses:
 * words are separated by white space; single quotes keep everything, double
 * quotes everything but a backslash before a double quote or a backslash, and
 * a backslash outside of quotes keeps the next character.  Nothing is
 * expanded: no variable, no "~", no wildcard.
 *
 * Knows no PostgreSQL and never allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_COMMAND_LINE_H
#define FIREHOSE_AWS_COMMAND_LINE_H

#include <stdbool.h>
#include <stddef.h>

#define COMMAND_LINE_MAX_WORDS	64

/*
 * Split the command, which is overwritten and must outlive the words.  argv
 * ends with NULL.  False with a message if quotes are not closed, there are
 * too many words, or none.
 */
extern bool command_line_split(char *command,
							   char *argv[COMMAND_LINE_MAX_WORDS + 1],
							   char *errmsg, size_t errmsg_size);

#endif							/* FIREHOSE_AWS_COMMAND_LINE_H */
