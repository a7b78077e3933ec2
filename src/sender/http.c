/*
 * http.c
 *		libcurl's multi interface over a private epoll descriptor.
 *
 * libcurl tells which sockets to watch and when to call again; the sockets go
 * into an epoll set whose own descriptor is one event in the sender's
 * WaitEventSet, beside the latch.  (A WaitEventSet cannot drop an event, and
 * curl_multi_poll cannot see a latch.)
 *
 * The body is fed by a read function without a seek function. libcurl would
 * otherwise send a POST a second time by itself when a kept-alive connection
 * dies; this way such a request ends with CURLE_SEND_FAIL_REWIND, and the
 * sender decides whether to send again.
 *
 * Signals are blocked while libcurl runs: its resolver thread inherits the
 * mask and must not take signals meant for this process.
 */
#include "postgres.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "libpq/pqsignal.h"
#include "utils/memutils.h"

#include "common/clock.h"
#include "sender/http.h"
#include "sender/http_internal.h"

/* libcurl's default buffer of 64 kB costs twice the CPU for large bodies. */
#define LARGE_BODY			(256 * 1024)
#define UPLOAD_BUFFER		(1024 * 1024)
#define SMALL_UPLOAD_BUFFER	(64 * 1024)
/* A small body has a small buffer: there may be many. */
#define TINY_BODY			(12 * 1024)
#define TINY_UPLOAD_BUFFER	(16 * 1024)

/*
 * Addresses that are never reached through a proxy: loopback, and the metadata
 * services.
 */
#define NO_PROXY	"localhost,127.0.0.1,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23"

/* Requests that share connections, and the buffers of libcurl. */
typedef struct Transfers
{
	CURLM	   *multi;			/* NULL: none is under way */
	int64_t		deadline;		/* when libcurl wants a call, -1: never */
} Transfers;

/*
 * Buffers keep what was sent until the multi handle goes, and so do
 * connections what was received.  Secret requests are few: they have one of
 * their own, which goes when the last of them is over.
 */
static Transfers ordinary = {.deadline = -1};
static Transfers secret = {.deadline = -1};
static int	nsecret = 0;
static int	epoll_fd = -1;
static bool behind = false;		/* the last look found all that it takes */
static char *no_proxy = NULL;

/* Set an option; on failure remember which one in the request's error. */
#define SETOPT(request, option, value) \
	do { \
		CURLcode	code_ = curl_easy_setopt((request)->handle->easy, option, value); \
		if (code_ != CURLE_OK) \
			return option_failed(request, #option, code_); \
	} while (0)

static bool
option_failed(HttpRequest *request, const char *option, CURLcode code)
{
	snprintf(request->handle->error, CURL_ERROR_SIZE, "could not set %s: %s",
			 option, curl_easy_strerror(code));
	request->error = request->handle->error;
	return false;
}

/* libcurl: watch this socket for that. */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *watched)
{
	struct epoll_event event = {0};

	if (what == CURL_POLL_REMOVE)
	{
		/* libcurl may have closed it already; then it is gone anyway */
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	event.data.fd = fd;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -1;
}

/* libcurl: call again after so many milliseconds (-1: no need). */
static int
set_timer(CURLM *m, long timeout_ms, void *arg)
{
	((Transfers *) arg)->deadline = timeout_ms < 0 ? -1 : clock_ms() + timeout_ms;
	return 0;
}

static bool
open_transfers(Transfers *t)
{
	t->multi = curl_multi_init();
	if (t->multi == NULL)
		return false;
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
	/* one request at a time on a connection: HTTP/1.1 without pipelining */
	curl_multi_setopt(t->multi, CURLMOPT_PIPELINING, (long) CURLPIPE_NOTHING);
	return true;
}

int
http_init(const char **error)
{
	const char *more = getenv("no_proxy") ? getenv("no_proxy") : getenv("NO_PROXY");
	MemoryContext old;

	/* libcurl would write the keys of its sessions to that file */
	unsetenv("SSLKEYLOGFILE");

	*error = NULL;
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, http_wipe_and_free, http_wipe_and_realloc,
							 strdup, calloc) != CURLE_OK ||
		!open_transfers(&ordinary))
		*error = "could not initialize libcurl";
	else if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
		*error = "could not create an epoll descriptor";
	if (*error != NULL)
		return -1;

	old = MemoryContextSwitchTo(TopMemoryContext);
	no_proxy = psprintf("%s%s%s", NO_PROXY, more ? "," : "", more ? more : "");
	MemoryContextSwitchTo(old);
	return epoll_fd;
}

void
http_set_bounds(int max_connections, size_t most_unexpected)
{
	static int	known = 0;

	http_bound_unexpected(most_unexpected);
	if (max_connections == known)
		return;
	known = max_connections;
	curl_multi_setopt(ordinary.multi, CURLMOPT_MAXCONNECTS, (long) max_connections);

	/*
	 * A connection beyond these takes the place of the one that is idle for
	 * the longest time, whatever host that one is to; if none is idle its
	 * request waits.
	 */
	curl_multi_setopt(ordinary.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) max_connections);
}

/* The buffer by which libcurl sends a body of this length. */
static long
upload_buffer(size_t body_length)
{
	if (body_length > LARGE_BODY)
		return UPLOAD_BUFFER;
	return body_length > TINY_BODY ? SMALL_UPLOAD_BUFFER : TINY_UPLOAD_BUFFER;
}

size_t
http_request_memory(size_t body_length)
{
	return HTTP_HANDLE_MEMORY + upload_buffer(body_length);
}

/*
 * Set the options that are the same for every request, and stay with the
 * handle.
 */
static bool
set_common_options(HttpRequest *request)
{
	HttpHandle *handle = request->handle;

	if (handle->prepared && (request->ca_file != NULL || !handle->has_ca_file))
		return true;

	/* connections live in the multi handle: a reset costs none */
	curl_easy_reset(handle->easy);
	handle->prepared = handle->has_ca_file = false;
	handle->upload_buffer = 0;
	SETOPT(request, CURLOPT_NOSIGNAL, 1L);
	SETOPT(request, CURLOPT_ERRORBUFFER, request->handle->error);
	SETOPT(request, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SETOPT(request, CURLOPT_FOLLOWLOCATION, 0L);
	SETOPT(request, CURLOPT_READFUNCTION, http_read_body);
	SETOPT(request, CURLOPT_WRITEFUNCTION, http_write_response);
	SETOPT(request, CURLOPT_HEADERFUNCTION, http_read_header);
	SETOPT(request, CURLOPT_OPENSOCKETFUNCTION, http_open_socket);
	SETOPT(request, CURLOPT_CLOSESOCKETFUNCTION, http_close_socket);
	SETOPT(request, CURLOPT_SSL_VERIFYPEER, 1L);
	SETOPT(request, CURLOPT_SSL_VERIFYHOST, 2L);
	SETOPT(request, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SETOPT(request, CURLOPT_TCP_KEEPALIVE, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
	SETOPT(request, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SETOPT(request, CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* do not wait for a resolver thread that hangs */
	SETOPT(request, CURLOPT_QUICK_EXIT, 1L);
#endif
	handle->prepared = true;
	return true;
}

/*
 * Set the options of one request: all of them, because the last request may
 * have left others.
 */
static bool
set_request_options(HttpRequest *request)
{
	HttpHandle *handle = request->handle;

	for (int i = 0; i < request->nheaders; i++)
	{
		struct curl_slist *more = curl_slist_append(handle->headers, request->headers[i]);

		if (more == NULL)
		{
			request->error = "out of memory";
			return false;
		}
		handle->headers = more;
	}
	SETOPT(request, CURLOPT_HTTPHEADER, handle->headers);
	SETOPT(request, CURLOPT_URL, request->url);
	SETOPT(request, CURLOPT_PRIVATE, request);
	SETOPT(request, CURLOPT_READDATA, request);
	SETOPT(request, CURLOPT_OPENSOCKETDATA, request);
	SETOPT(request, CURLOPT_WRITEDATA, request);
	SETOPT(request, CURLOPT_HEADERDATA, request);
	SETOPT(request, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_length);
	if (request->method != NULL && strcmp(request->method, "GET") == 0)
		SETOPT(request, CURLOPT_HTTPGET, 1L);
	else
		SETOPT(request, CURLOPT_POST, 1L);
	SETOPT(request, CURLOPT_CUSTOMREQUEST, request->method);
	SETOPT(request, CURLOPT_NOPROXY, request->direct ? "*" : no_proxy);
	SETOPT(request, CURLOPT_TIMEOUT_MS, request->timeout_ms);
	SETOPT(request, CURLOPT_CONNECTTIMEOUT_MS, request->connect_timeout_ms);
	/* libcurl frees the one it has even if the size is the same */
	if (handle->upload_buffer != upload_buffer(request->body_length))
	{
		handle->upload_buffer = upload_buffer(request->body_length);
		SETOPT(request, CURLOPT_UPLOAD_BUFFERSIZE, handle->upload_buffer);
	}
	if (request->ca_file != NULL)
	{
		SETOPT(request, CURLOPT_CAINFO, request->ca_file);
		handle->has_ca_file = true;
	}
	if (request->secret)
		/* another TLS library than OpenSSL does not know it */
		(void) curl_easy_setopt(handle->easy, CURLOPT_SSL_CTX_FUNCTION, http_cleanse_received);
	return true;
}

static void
block_signals(sigset_t *old)
{
	sigset_t	all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, old);
}

static void
restore_signals(const sigset_t *old)
{
	sigprocmask(SIG_SETMASK, old, NULL);
}

bool
http_start(HttpRequest *request)
{
	Transfers  *transfers = request->secret ? &secret : &ordinary;
	sigset_t	old;
	CURLMcode	code;

	request->result = CURLE_FAILED_INIT;
	request->sent = request->response_length = 0;
	request->error_type[0] = request->request_id[0] = request->retry_after[0] = '\0';
	request->date[0] = request->location[0] = '\0';
	request->header_length = request->unexpected = 0;
	Assert(request->connection == 0);
	request->short_of_resources = false;
	request->status = 0;

	request->handle = http_handle_get(request);
	if (request->handle == NULL)
	{
		request->error = "out of memory";
		return false;
	}
	nsecret += request->secret;
	request->handle->error[0] = request->handle->ended_by[0] = '\0';
	if (!set_common_options(request) || !set_request_options(request))
	{
		http_release(request);
		return false;
	}
	if (transfers->multi == NULL && !open_transfers(transfers))
	{
		request->error = "out of memory";
		http_release(request);
		return false;
	}

	block_signals(&old);
	code = curl_multi_add_handle(transfers->multi, request->handle->easy);
	restore_signals(&old);
	if (code != CURLM_OK)
	{
		request->error = curl_multi_strerror(code);
		http_release(request);
		return false;
	}
	http_connection_wanted(request);
	return true;
}

void
http_watch(int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	(void) epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

void
http_unwatch(int fd)
{
	(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/*
 * libcurl ignores descriptors that are not its own, such as a helper's or
 * those of the other transfers.
 */
static void
drive(Transfers *t, const struct epoll_event *events, int n)
{
	int			running;

	if (t->multi == NULL)
		return;
	for (int i = 0; i < n; i++)
	{
		int			what = 0;

		if (events[i].events & (EPOLLIN | EPOLLHUP))
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & EPOLLERR)
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(t->multi, events[i].data.fd, what, &running);
	}
	if (t->deadline >= 0 && clock_ms() >= t->deadline)
	{
		t->deadline = -1;
		curl_multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
}

void
http_drive(void)
{
	struct epoll_event events[32];
	sigset_t	old;
	int			n = epoll_wait(epoll_fd, events, lengthof(events), 0);

	behind = n == lengthof(events);
	block_signals(&old);
	drive(&ordinary, events, n);
	drive(&secret, events, n);
	restore_signals(&old);
}

bool
http_is_behind(void)
{
	return behind;
}

long
http_timeout_ms(void)
{
	int64_t		deadline = clock_sooner(ordinary.deadline, secret.deadline);
	int64_t		left;

	if (deadline < 0)
		return -1;
	/* read the clock once: Max evaluates its arguments twice */
	left = deadline - clock_ms();
	return Max(0, left);
}

static const char *
request_error(CURL *easy)
{
	HttpRequest *request;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &request);
	return request->handle->error;
}

/* Did the request fail because this process lacks something? */
static bool
is_shortage(CURL *easy, CURLcode result)
{
	long		os_errno = 0;

	if (result == CURLE_OUT_OF_MEMORY)
		return true;
	/* no thread for the resolver */
	if (result == CURLE_COULDNT_RESOLVE_HOST)
		return strstr(request_error(easy), "thread failed to start") != NULL;
	if (result != CURLE_COULDNT_CONNECT)
		return false;
	/* for a socket: http_open_socket */
	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
	return os_errno == ENOMEM || os_errno == ENOBUFS || os_errno == EADDRNOTAVAIL;
}

/* Why a request has failed. */
static const char *
error_text(const HttpHandle *handle, CURLcode result)
{
	if (handle->ended_by[0])
		return handle->ended_by;
	return handle->error[0] ? handle->error : curl_easy_strerror(result);
}

static HttpRequest *
next_finished(CURLM *multi)
{
	CURLMsg    *msg;
	int			left;

	while (multi != NULL && (msg = curl_multi_info_read(multi, &left)) != NULL)
	{
		HttpRequest *request;
		CURL	   *easy = msg->easy_handle;
		CURLcode	result = msg->data.result;
		long		status = 0;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &request);
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		/* msg is invalid from here on */
		curl_multi_remove_handle(multi, easy);
		http_connection_not_wanted(request);

		request->handle->finished = true;
		request->result = result;
		request->status = status;
		request->response = request->handle->response;
		if (result != CURLE_OK)
			request->short_of_resources |= is_shortage(easy, result);
		if (result != CURLE_OK)
			request->error = error_text(request->handle, result);
		return request;
	}
	return NULL;
}

HttpRequest *
http_next_finished(void)
{
	HttpRequest *request = next_finished(ordinary.multi);

	return request != NULL ? request : next_finished(secret.multi);
}

time_t
http_date(const HttpRequest *request)
{
	static char last[sizeof(request->date)];
	static time_t time_of_last = 0;

	/* most responses are of the same second as the last one */
	if (strcmp(last, request->date) != 0)
	{
		strlcpy(last, request->date, sizeof(last));
		time_of_last = Max(0, curl_getdate(last, NULL));
	}
	return time_of_last;
}

void
http_release(HttpRequest *request)
{
	HttpHandle *handle = request->handle;

	if (handle == NULL)
		return;
	http_forget_unexpected(request);
	http_connection_not_wanted(request);
	curl_slist_free_all(handle->headers);
	handle->headers = NULL;
	if (request->secret && handle->response != NULL)
		explicit_bzero(handle->response, handle->response_size);

	/*
	 * Start anew after an error: libcurl (8.14) remembers a rewind that was
	 * not possible over a reset, and would fail with it for ever.
	 */
	if (request->secret || (handle->finished && request->result != CURLE_OK))
		http_handle_free(handle);
	else
		http_handle_keep(handle);
	if (request->secret && --nsecret == 0)
	{
		curl_multi_cleanup(secret.multi);
		secret.multi = NULL;
		secret.deadline = -1;
	}
	request->handle = NULL;
	request->response = NULL;
}
