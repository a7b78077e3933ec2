/*
 * faults.c
 *		Faults of the system below a server, for tests: a library to preload.
 *
 * FIREHOSE_TEST_FAULTS names a file that holds a Faults structure, which the
 * test changes while the server runs (t/lib/SystemFaults.pm).  Without faults
 * everything is passed on.
 *
 * - The resolver knows one name more than the system's, TEST_HOST, which is
 *   loopback; asked for it, it answers, fails or hangs.
 * - The system's clock runs ahead or behind.
 * - Time passes in a moment, on the clocks that no one sets.
 * - The disk is full for files whose path contains a text.
 * - Every fsync is noted, with the path, in a file beside the first.
 * - One process, the sleeper, waits for its latch without a timeout.
 * - One process, the swamped, never gets to the end of what there is to do:
 *   each look at many descriptors finds as many as it takes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define TEST_HOST	"firehose.us-east-1.amazonaws.com"

enum
{
	RESOLVER_ANSWERS, RESOLVER_FAILS, RESOLVER_HANGS
};

typedef struct Faults
{
	int64_t		clock_offset;	/* microseconds */
	int32_t		resolver;
	int32_t		disk_full;
	char		full_path[240];
	int64_t		passed;			/* microseconds */
	int32_t		sleeper;		/* process id; 0: none */
	int32_t		swamped;		/* the same */
} Faults;

static volatile Faults *faults;
static Faults none;
static char fsync_log[1024];

/* The next function of a name. */
#define NEXT(name) \
	((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void
map_faults(void)
{
	const char *path = getenv("FIREHOSE_TEST_FAULTS");
	int			fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void	   *map = MAP_FAILED;

	if (fd >= 0)
	{
		map = mmap(NULL, sizeof(Faults), PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		snprintf(fsync_log, sizeof(fsync_log), "%s.fsync", path);
	}
	faults = map == MAP_FAILED ? &none : map;
}

/* Name resolution --------------------------------------------------------- */

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	if (faults != NULL && node != NULL && strcmp(node, TEST_HOST) == 0)
	{
		while (faults->resolver == RESOLVER_HANGS)
			usleep(20000);
		if (faults->resolver == RESOLVER_FAILS)
			return EAI_AGAIN;
		node = "127.0.0.1";
	}
	return NEXT(getaddrinfo) (node, service, hints, result);
}

/* Clocks ------------------------------------------------------------------ */

static int64_t
clock_offset(void)
{
	return faults != NULL ? faults->clock_offset : 0;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	static int	(*next) (struct timeval *restrict, void *restrict);
	int64_t		us;
	int			result;

	if (next == NULL)
		next = NEXT(gettimeofday);
	result = next(now, zone);
	us = (int64_t) now->tv_sec * 1000000 + now->tv_usec + clock_offset();
	now->tv_sec = us / 1000000;
	now->tv_usec = us % 1000000;
	return result;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	static int	(*next) (clockid_t, struct timespec *);
	int			result;

	if (next == NULL)
		next = NEXT(clock_gettime);
	result = next(clock, now);
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		now->tv_sec += clock_offset() / 1000000;
	else if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW ||
			 clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME)
		now->tv_sec += (faults != NULL ? faults->passed : 0) / 1000000;
	return result;
}

time_t
time(time_t *where)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (where != NULL)
		*where = now.tv_sec;
	return now.tv_sec;
}

/* Timeouts ---------------------------------------------------------------- */

/* A latch and what is waited for with it are fewer. */
#define MANY_EVENTS		16

/* Fill the events up with such of a descriptor that there is not. */
static int
fill_up(struct epoll_event *events, int n, int max)
{
	for (; n >= 0 && n < max; n++)
	{
		events[n].events = 0;
		events[n].data.fd = INT_MAX;
	}
	return n;
}

/* The sleeper goes on only when it is woken. */
int
epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	sigset_t	alarms;
	sigset_t	old;
	int			n;

	if (faults != NULL && faults->swamped == getpid() && timeout == 0 && max > MANY_EVENTS)
		return fill_up(events, NEXT(epoll_wait) (fd, events, max, timeout), max);
	if (faults == NULL || faults->sleeper != getpid() || timeout <= 0)
		return NEXT(epoll_wait) (fd, events, max, timeout);
	/* a timer of the server's, which it lets run out, would wake it, too */
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarms, &old);
	n = NEXT(epoll_wait) (fd, events, max, -1);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return n;
}

/* Disks ------------------------------------------------------------------- */

/* The path of a descriptor; "" if it has none. */
static void
find_path(int fd, char *path, size_t size)
{
	char		link[64];
	ssize_t		n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, size - 1);
	path[n > 0 ? n : 0] = '\0';
}

/* Can the file not grow to this size?  What it has can be written anew. */
static int
is_full(int fd, off_t size)
{
	char		path[1024];
	struct stat status;

	if (faults == NULL || !faults->disk_full)
		return 0;
	find_path(fd, path, sizeof(path));
	if (strstr(path, (const char *) faults->full_path) == NULL ||
		fstat(fd, &status) != 0 || size <= status.st_size)
		return 0;
	errno = ENOSPC;
	return 1;
}

static off_t
total_length(const struct iovec *parts, int count)
{
	off_t		total = 0;

	for (int i = 0; i < count; i++)
		total += parts[i].iov_len;
	return total;
}

ssize_t
pwrite(int fd, const void *data, size_t length, off_t offset)
{
	return is_full(fd, offset + length) ? -1 : NEXT(pwrite) (fd, data, length, offset);
}

ssize_t
pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
	return is_full(fd, offset + length) ? -1 : NEXT(pwrite64) (fd, data, length, offset);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	return is_full(fd, offset + total_length(parts, count)) ? -1 :
		NEXT(pwritev) (fd, parts, count, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	return is_full(fd, offset + total_length(parts, count)) ? -1 :
		NEXT(pwritev64) (fd, parts, count, offset);
}

int
posix_fallocate(int fd, off_t offset, off_t length)
{
	return is_full(fd, offset + length) ? ENOSPC : NEXT(posix_fallocate) (fd, offset, length);
}

int
posix_fallocate64(int fd, off64_t offset, off64_t length)
{
	return is_full(fd, offset + length) ? ENOSPC : NEXT(posix_fallocate64) (fd, offset, length);
}

/* Note a call in the log, by a write of one line. */
static void
note(const char *what, const char *path)
{
	char		line[2200];
	int			n = snprintf(line, sizeof(line), "%s %s\n", what, path);
	int			fd = open(fsync_log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd >= 0 && write(fd, line, n) < 0)
		abort();
	if (fd >= 0)
		close(fd);
}

static void
note_fsync(int fd)
{
	char		path[1024];
	int			saved = errno;

	if (fsync_log[0] != '\0')
	{
		find_path(fd, path, sizeof(path));
		note("fsync", path);
	}
	errno = saved;
}

int
fsync(int fd)
{
	note_fsync(fd);
	return NEXT(fsync) (fd);
}

int
fdatasync(int fd)
{
	note_fsync(fd);
	return NEXT(fdatasync) (fd);
}

int
rename(const char *from, const char *to)
{
	if (fsync_log[0] != '\0')
		note("rename", to);
	return NEXT(rename) (from, to);
}
