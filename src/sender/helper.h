/*
 * helper.h
 *		Run a credential_process beside the event loop: start it, collect its
 *		output, end it when it takes too long.
 *
 * Sender process only.  No function waits.  The command is split without a
 * shell (command_line.h) and runs as the server's user, which is why only a
 * superuser's setting or a file that no other user can write may name one.
 */
#ifndef FIREHOSE_SENDER_HELPER_H
#define FIREHOSE_SENDER_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The most output of a helper; credentials are a few kB. */
#define HELPER_MAX_OUTPUT	(64 * 1024)

/* Zero it before the first use. */
typedef struct Helper
{
	pid_t		pid;			/* 0: none runs */
	int			fd;				/* its output, -1: closed */
	int64_t		deadline;		/* us, monotonic */
	const char *error;			/* why it was ended; static, or NULL */
	char	   *output;			/* palloc'd in TopMemoryContext */
	size_t		length;
} Helper;

/* Start a command, which is overwritten; false with a reason. */
extern bool helper_start(Helper *helper, char *command, int64_t deadline,
						 char *reason, size_t reason_size);

/*
 * Collect the available output, and end it if its time is over.  True once it
 * has ended; *error then says why its output must not be used, or is NULL.
 * *status is its exit status.
 */
extern bool helper_finished(Helper *helper, int64_t now, int *status, const char **error);

/* Wipe the output. */
extern void helper_clear(Helper *helper);

#endif							/* FIREHOSE_SENDER_HELPER_H */
