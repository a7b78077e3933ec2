/*
 * http_connections.c
 *		How many connections are being made at once.
 *
 * Sender process only.  libcurl makes a connection for each request that finds
 * none that is free.  A thousand streams that have a record at the same moment
 * would make hundreds, each for a millisecond of CPU here and at the other
 * end, and all of them would wait for that; while with a few, the first ones
 * are free again before the last is made.  So few are made at a time.  One
 * that takes long counts no more, so that endpoints that hang hold up no other
 * stream for longer.
 */
#include "postgres.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "sender/http_internal.h"

/* Connections that may be in the making. */
#define MAX_CONNECTING		8

/* Making one takes two or three round trips; this is long (us). */
#define LONG_CONNECTING		INT64CONST(100000)

static int	sockets = 0;		/* open */
static int	requests = 0;		/* under way */
static int	nconnecting = 0;
/* requests whose connection is in the making, the oldest first */
static dlist_head connecting = DLIST_STATIC_INIT(connecting);

/* A socket; libcurl does not tell why there is none. */
curl_socket_t
http_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpRequest *request = arg;
	int			fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
							address->protocol);

	if (fd >= 0)
	{
		sockets++;
		/* an address of each kind is tried: the first one counts */
		if (request->connecting_since == 0)
		{
			request->connecting_since = clock_us();
			dlist_push_tail(&connecting, &request->connecting_node);
			nconnecting++;
		}
		return fd;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
	{
		request->short_of_resources = true;
		snprintf(request->handle->error, CURL_ERROR_SIZE, "could not open a socket: %s",
				 strerror(errno));
	}
	return CURL_SOCKET_BAD;
}

int
http_close_socket(void *arg, curl_socket_t fd)
{
	sockets--;
	return close(fd);
}

void
http_connection_wanted(HttpRequest *request)
{
	requests++;
}

void
http_connection_made(HttpRequest *request)
{
	if (request->connecting_since == 0)
		return;
	request->connecting_since = 0;
	dlist_delete(&request->connecting_node);
	nconnecting--;
}

void
http_connection_not_wanted(HttpRequest *request)
{
	http_connection_made(request);
	requests--;
}

/*
 * A request has a connection, or will make one: there are more requests than
 * connections by as many as are in the making, or will soon be.
 */
bool
http_may_start(int64_t now, int64_t *at)
{
	int			made = Max(0, sockets - nconnecting);
	int			recent = 0;
	dlist_iter	iter;

	*at = PG_INT64_MAX;
	dlist_reverse_foreach(iter, &connecting)
	{
		HttpRequest *request = dlist_container(HttpRequest, connecting_node, iter.cur);

		if (now - request->connecting_since >= LONG_CONNECTING)
			break;
		*at = request->connecting_since + LONG_CONNECTING;
		recent++;
	}
	if (requests - (nconnecting - recent) >= made + MAX_CONNECTING)
		return false;
	*at = PG_INT64_MAX;
	return true;
}
