/*
 * sql_command.h
 *		A command of SQL without a result.
 */
#ifndef FIREHOSE_COMMON_SQL_COMMAND_H
#define FIREHOSE_COMMON_SQL_COMMAND_H

#include "executor/spi.h"

/* Run a command with the caller's rights.  Errors are those of the command. */
static inline void
sql_command_execute(const char *command)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(command, false, 0) < 0)
		elog(ERROR, "command failed: %s", command);
	SPI_finish();
}

#endif							/* FIREHOSE_COMMON_SQL_COMMAND_H */
