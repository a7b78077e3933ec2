/*
 * helper.c
 *		Run a credential_process beside the event loop.
 *
 * The read end of its pipe is in the epoll set of http.c, so that output and
 * the end of output wake the sender.  Between the end of its output and its
 * exit, which usually are one moment, identity_refresh.c looks again by a
 * timer.
 *
 * A command is the leader of a session and of a process group, so that it can
 * be ended together with what it has started: when its time is over, and when
 * the sender exits.
 */
#include "postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "storage/ipc.h"
#include "utils/memutils.h"

#include "aws/command_line.h"
#include "sender/helper.h"
#include "sender/http.h"

/*
 * The one that runs.  No more than one does, since only the server's own
 * identity can have a command.
 */
static Helper *running = NULL;

/* Execute the command. Runs in the child, and uses nothing of PostgreSQL. */
static void
run_command(char *const argv[], int output, pid_t parent)
{
	static const int signals[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGPIPE, SIGUSR1, SIGUSR2, SIGCHLD
	};
	int			null = open("/dev/null", O_RDWR);
	long		nfiles = sysconf(_SC_OPEN_MAX);
	sigset_t	none;

	/* end with the sender, even if that is killed */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent || setsid() < 0)
		_exit(127);
	for (int i = 0; i < lengthof(signals); i++)
		signal(signals[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	/* output of such a program does not belong into the server's log */
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
		dup2(output, STDOUT_FILENO) < 0)
		_exit(127);
	for (int fd = STDERR_FILENO + 1; fd < Min(nfiles, 65536); fd++)
		close(fd);
	execvp(argv[0], argv);
	_exit(127);
}

/* End the command and all that it has started. */
static void
end_group(const Helper *helper)
{
	/* it may not have come to setsid() yet */
	kill(helper->pid, SIGKILL);
	kill(-helper->pid, SIGKILL);
}

/* The sender exits. */
static void
end_running(int code, Datum arg)
{
	if (running != NULL)
		end_group(running);
	running = NULL;
}

static void
close_output(Helper *helper)
{
	http_unwatch(helper->fd);
	close(helper->fd);
	helper->fd = -1;
}

bool
helper_start(Helper *helper, char *command, int64_t deadline,
			 char *reason, size_t reason_size)
{
	static bool registered = false;
	char	   *argv[COMMAND_LINE_MAX_WORDS + 1];
	pid_t		parent = getpid();
	int			ends[2];

	if (!command_line_split(command, argv, reason, reason_size))
		return false;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
	{
		snprintf(reason, reason_size, "could not create a pipe: %s", strerror(errno));
		return false;
	}
	if (!registered)
		on_proc_exit(end_running, (Datum) 0);
	registered = true;
	if (helper->output == NULL)
		helper->output = MemoryContextAlloc(TopMemoryContext, HELPER_MAX_OUTPUT);
	helper->length = 0;
	helper->error = NULL;
	helper->deadline = deadline;
	helper->fd = ends[0];

	helper->pid = fork();
	if (helper->pid == 0)
	{
		fcntl(ends[1], F_SETFL, 0); /* the program expects to block */
		run_command(argv, ends[1], parent);
	}
	close(ends[1]);
	if (helper->pid < 0)
	{
		snprintf(reason, reason_size, "could not start a process: %s", strerror(errno));
		close(ends[0]);
		helper->pid = 0;
		return false;
	}
	running = helper;
	http_watch(helper->fd);
	return true;
}

/* Read the available output; close the pipe at its end. */
static void
collect(Helper *helper)
{
	for (;;)
	{
		char		excess[512];
		bool		full = helper->length == HELPER_MAX_OUTPUT;
		ssize_t		n = full ? read(helper->fd, excess, sizeof(excess)) :
			read(helper->fd, helper->output + helper->length,
				 HELPER_MAX_OUTPUT - helper->length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0)
		{
			close_output(helper);
			return;
		}
		if (full)
		{
			helper->error = "it printed more than 64 kB";
			return;
		}
		helper->length += n;
	}
}

bool
helper_finished(Helper *helper, int64_t now, int *status, const char **error)
{
	int			how;
	pid_t		ended;

	if (helper->fd >= 0)
		collect(helper);
	if (helper->error == NULL && now >= helper->deadline)
		helper->error = "it took too long and was ended";
	if (helper->error != NULL)
	{
		end_group(helper);
		if (helper->fd >= 0)
			close_output(helper);
	}
	if (helper->fd >= 0)
		return false;

	/* not waited for: even a killed process may take its time */
	ended = waitpid(helper->pid, &how, WNOHANG);
	if (ended == 0 || (ended < 0 && errno == EINTR))
		return false;

	helper->pid = 0;
	running = NULL;
	*error = helper->error != NULL ? helper->error :
		ended < 0 || !WIFEXITED(how) ? "it was ended by a signal" : NULL;
	*status = *error == NULL ? WEXITSTATUS(how) : -1;
	return true;
}

void
helper_clear(Helper *helper)
{
	if (helper->output != NULL)
		OPENSSL_cleanse(helper->output, HELPER_MAX_OUTPUT);
	helper->length = 0;
}
