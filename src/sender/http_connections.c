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

/* Requests that may wait for a connection in the making. */
#define MAX_CONNECTING		8

/* Making one takes two or three round trips; this is long (us). */
#define LONG_CONNECTING		INT64CONST(100000)

/* HttpRequest.connection */
enum
{
	CONNECTION_NONE,			/* the request is not under way */
	CONNECTION_AWAITED,			/* for less than LONG_CONNECTING */
	CONNECTION_LATE,			/* for longer: it is not counted any more */
	CONNECTION_HAD
};

static int	sockets = 0;		/* open */
static int	making = 0;			/* requests that made one, but have no
								 * connection yet */
static int	busy = 0;			/* requests that have a connection */
static int	nawaited = 0;		/* requests that wait for one, not long yet */
static dlist_head awaited = DLIST_STATIC_INIT(awaited);	/* the first one first */

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
		/* an address of each kind may be tried: it becomes one connection */
		making += !request->makes_socket;
		request->makes_socket = true;
		return fd;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
	{
		request->short_of_resources = true;
		snprintf(request->handle->ended_by, sizeof(request->handle->ended_by),
				 "could not open a socket: %s", strerror(errno));
	}
	return CURL_SOCKET_BAD;
}

/*
 * libcurl copies this function into each connection when it makes it, so that
 * it is called once for each socket that http_open_socket made, whatever
 * becomes of the handle.
 */
int
http_close_socket(void *arg, curl_socket_t fd)
{
	sockets--;
	return close(fd);
}

int
http_open_connections(void)
{
	return sockets;
}

/* It is waited for no more. */
static void
end_waiting(HttpRequest *request, int now)
{
	if (request->connection == CONNECTION_AWAITED)
	{
		dlist_delete(&request->waiting_node);
		nawaited--;
	}
	request->connection = now;
}

static void
end_making(HttpRequest *request)
{
	making -= request->makes_socket;
	request->makes_socket = false;
}

/*
 * From the start on, because name resolution, before there is a socket, may
 * hang, too.
 */
void
http_connection_wanted(HttpRequest *request)
{
	request->connection = CONNECTION_AWAITED;
	request->makes_socket = false;
	request->waits_since = clock_us();
	dlist_push_tail(&awaited, &request->waiting_node);
	nawaited++;
}

void
http_connection_made(HttpRequest *request)
{
	if (request->connection == CONNECTION_HAD)
		return;
	end_waiting(request, CONNECTION_HAD);
	end_making(request);
	busy++;
}

void
http_connection_not_wanted(HttpRequest *request)
{
	busy -= request->connection == CONNECTION_HAD;
	end_waiting(request, CONNECTION_NONE);
	end_making(request);
}

/*
 * Requests that wait get the connections that are free; as many more as may be
 * in the making are allowed.
 */
bool
http_may_start(int64_t now, int64_t *at)
{
	int			made = Max(0, sockets - making);

	while (!dlist_is_empty(&awaited))
	{
		HttpRequest *first = dlist_container(HttpRequest, waiting_node, dlist_head_node(&awaited));

		*at = first->waits_since + LONG_CONNECTING;
		if (*at > now)
			break;
		end_waiting(first, CONNECTION_LATE);
	}
	if (nawaited > 0 && busy + nawaited >= made + MAX_CONNECTING)
		return false;
	*at = PG_INT64_MAX;
	return true;
}
