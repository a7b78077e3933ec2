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
#include <sys/epoll.h>
#include <unistd.h>

#include "libpq/pqsignal.h"
#include "utils/memutils.h"

#include "common/clock.h"
#include "sender/http.h"

/* Connections kept alive at most, and handles kept for reuse. */
#define MAX_CONNECTIONS		128

/* Headers and trailers of a response; libcurl does not bound the trailers. */
#define MAX_HEADERS			(64 * 1024)

/* libcurl's default buffer of 64 kB costs twice the CPU for large bodies. */
#define LARGE_BODY			(256 * 1024)
#define UPLOAD_BUFFER		(1024 * 1024)
#define SMALL_UPLOAD_BUFFER	(64 * 1024)

/*
 * Addresses that are never reached through a proxy: loopback, and the metadata
 * services.
 */
#define NO_PROXY	"localhost,127.0.0.1,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23"

/*
 * An easy handle with the buffer of its response, reused from request to
 * request.
 */
struct HttpHandle
{
	HttpHandle *next;			/* in the list of free ones */
	CURL	   *easy;
	struct curl_slist *headers;
	/* malloc'd: libcurl's callbacks must not palloc */
	char	   *response;
	size_t		response_size;
	bool		finished;
	bool		prepared;		/* has the options common to all requests */
	bool		has_ca_file;	/* and an authority of its own */
	char		error[CURL_ERROR_SIZE];
};

static CURLM *multi = NULL;
static int	epoll_fd = -1;
static int64_t deadline = -1;	/* when libcurl wants a call, -1: never */
static HttpHandle *free_handles = NULL;
static char *no_proxy = NULL;

static size_t read_body(char *buffer, size_t size, size_t nitems, void *arg);
static size_t write_reply(char *data, size_t size, size_t nmemb, void *arg);
static size_t read_header(char *line, size_t size, size_t nitems, void *arg);

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
	deadline = timeout_ms < 0 ? -1 : clock_ms() + timeout_ms;
	return 0;
}

int
http_init(const char **error)
{
	const char *more = getenv("no_proxy") ? getenv("no_proxy") : getenv("NO_PROXY");
	MemoryContext old;

	/* libcurl would write the keys of its sessions to that file */
	unsetenv("SSLKEYLOGFILE");

	*error = NULL;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
		(multi = curl_multi_init()) == NULL)
		*error = "could not initialize libcurl";
	else if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
		*error = "could not create an epoll descriptor";
	if (*error != NULL)
		return -1;

	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) MAX_CONNECTIONS);
	/* one request at a time on a connection: HTTP/1.1 without pipelining */
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long) CURLPIPE_NOTHING);

	old = MemoryContextSwitchTo(TopMemoryContext);
	no_proxy = psprintf("%s%s%s", NO_PROXY, more ? "," : "", more ? more : "");
	MemoryContextSwitchTo(old);
	return epoll_fd;
}

/* A handle; from those kept, if there is one. */
static HttpHandle *
get_handle(HttpRequest *request)
{
	HttpHandle *handle = free_handles;

	if (handle != NULL)
	{
		free_handles = handle->next;
		handle->finished = false;
		return handle;
	}
	handle = calloc(1, sizeof(HttpHandle));
	if (handle == NULL || (handle->easy = curl_easy_init()) == NULL)
	{
		free(handle);
		return NULL;
	}
	return handle;
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
	SETOPT(request, CURLOPT_NOSIGNAL, 1L);
	SETOPT(request, CURLOPT_ERRORBUFFER, request->handle->error);
	SETOPT(request, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SETOPT(request, CURLOPT_FOLLOWLOCATION, 0L);
	SETOPT(request, CURLOPT_READFUNCTION, read_body);
	SETOPT(request, CURLOPT_WRITEFUNCTION, write_reply);
	SETOPT(request, CURLOPT_HEADERFUNCTION, read_header);
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
	SETOPT(request, CURLOPT_UPLOAD_BUFFERSIZE, (long)
		   (request->body_length > LARGE_BODY ? UPLOAD_BUFFER : SMALL_UPLOAD_BUFFER));
	if (request->ca_file != NULL)
	{
		SETOPT(request, CURLOPT_CAINFO, request->ca_file);
		handle->has_ca_file = true;
	}
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
	sigset_t	old;
	CURLMcode	code;

	request->result = CURLE_FAILED_INIT;
	request->sent = request->response_length = 0;
	request->error_type[0] = request->request_id[0] = request->retry_after[0] = '\0';
	request->date[0] = request->location[0] = '\0';
	request->header_length = 0;
	request->short_of_resources = false;
	request->status = 0;

	request->handle = get_handle(request);
	if (request->handle == NULL)
	{
		request->error = "out of memory";
		return false;
	}
	request->handle->error[0] = '\0';
	if (!set_common_options(request) || !set_request_options(request))
	{
		http_release(request);
		return false;
	}

	block_signals(&old);
	code = curl_multi_add_handle(multi, request->handle->easy);
	restore_signals(&old);
	if (code != CURLM_OK)
	{
		request->error = curl_multi_strerror(code);
		http_release(request);
		return false;
	}
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

/* libcurl ignores descriptors that are not its own, such as a helper's. */
void
http_drive(void)
{
	struct epoll_event events[32];
	int			running;
	sigset_t	old;
	int			n = epoll_wait(epoll_fd, events, lengthof(events), 0);

	block_signals(&old);
	for (int i = 0; i < n; i++)
	{
		int			what = 0;

		if (events[i].events & (EPOLLIN | EPOLLHUP))
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & EPOLLERR)
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(multi, events[i].data.fd, what, &running);
	}
	if (deadline >= 0 && clock_ms() >= deadline)
	{
		deadline = -1;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	restore_signals(&old);
}

long
http_timeout_ms(void)
{
	int64_t		left;

	if (deadline < 0)
		return -1;
	/* read the clock once: Max evaluates its arguments twice */
	left = deadline - clock_ms();
	return Max(0, left);
}

/* Did the request fail because this process lacks something? */
static bool
is_shortage(CURL *easy, CURLcode result)
{
	long		os_errno = 0;

	if (result == CURLE_OUT_OF_MEMORY)
		return true;
	if (result != CURLE_COULDNT_CONNECT)
		return false;
	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
	return os_errno == EMFILE || os_errno == ENFILE || os_errno == ENOMEM ||
		os_errno == ENOBUFS || os_errno == EADDRNOTAVAIL;
}

HttpRequest *
http_next_finished(void)
{
	CURLMsg    *msg;
	int			left;

	while ((msg = curl_multi_info_read(multi, &left)) != NULL)
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

		request->handle->finished = true;
		request->result = result;
		request->status = status;
		request->response = request->handle->response;
		if (result != CURLE_OK)
			request->short_of_resources = is_shortage(easy, result);
		if (result != CURLE_OK)
			request->error = request->handle->error[0] ? request->handle->error :
				curl_easy_strerror(result);
		return request;
	}
	return NULL;
}

time_t
http_date(const HttpRequest *request)
{
	return Max(0, curl_getdate(request->date, NULL));
}

void
http_release(HttpRequest *request)
{
	HttpHandle *handle = request->handle;

	if (handle == NULL)
		return;
	curl_slist_free_all(handle->headers);
	handle->headers = NULL;
	if (handle->finished && request->result != CURLE_OK)
	{
		/*
		 * Start anew: libcurl (8.14) remembers a rewind that was not possible
		 * over a reset, and would fail with it for ever.
		 */
		curl_easy_cleanup(handle->easy);
		free(handle->response);
		free(handle);
	}
	else
	{
		handle->next = free_handles;
		free_handles = handle;
	}
	request->handle = NULL;
	request->response = NULL;
}

/*
 * Callbacks of libcurl: no error may be raised, no palloc done ---------------
 */

static size_t
read_body(char *buffer, size_t size, size_t nitems, void *arg)
{
	HttpRequest *request = arg;
	size_t		n = Min(size * nitems, request->body_length - request->sent);

	memcpy(buffer, request->body + request->sent, n);
	request->sent += n;
	return n;
}

/* Returning less than was given ends the request with CURLE_WRITE_ERROR. */
static size_t
write_reply(char *data, size_t size, size_t nmemb, void *arg)
{
	HttpRequest *request = arg;
	HttpHandle *handle = request->handle;
	size_t		n = size * nmemb;

	if (request->response_length + n > request->max_response)
	{
		snprintf(handle->error, CURL_ERROR_SIZE, "the response is larger than %zu bytes",
				 request->max_response);
		return 0;
	}
	if (request->response_length + n > handle->response_size)
	{
		size_t		new_size = Max(request->response_length + n, Max(16384, handle->response_size * 2));
		char	   *larger = realloc(handle->response, new_size);

		if (larger == NULL)
			return 0;
		handle->response = larger;
		handle->response_size = new_size;
	}
	memcpy(handle->response + request->response_length, data, n);
	request->response_length += n;
	return n;
}

/*
 * If this line is the named header, copy its value; one too long is left out.
 */
static bool
take_header(const char *line, size_t length, const char *name, char *value, size_t size)
{
	size_t		skip = strlen(name);

	if (length <= skip || line[skip] != ':' || pg_strncasecmp(line, name, skip) != 0)
		return false;
	line += skip + 1;
	length -= skip + 1;
	while (length > 0 && (*line == ' ' || *line == '\t'))
		line++, length--;
	while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r' ||
						  line[length - 1] == ' '))
		length--;
	if (length < size)
	{
		memcpy(value, line, length);
		value[length] = '\0';
	}
	return true;
}

static size_t
read_header(char *line, size_t size, size_t nitems, void *arg)
{
	HttpRequest *request = arg;
	size_t		n = size * nitems;

	request->header_length += n;
	if (request->header_length > MAX_HEADERS)
	{
		snprintf(request->handle->error, CURL_ERROR_SIZE,
				 "the headers of the response are larger than %d bytes", MAX_HEADERS);
		return 0;
	}
	if (!take_header(line, n, "Location", request->location, sizeof(request->location)) &&
		!take_header(line, n, "Date", request->date, sizeof(request->date)) &&
		!take_header(line, n, "x-amzn-ErrorType", request->error_type,
					 sizeof(request->error_type)) &&
		!take_header(line, n, "x-amzn-RequestId", request->request_id,
					 sizeof(request->request_id)))
		take_header(line, n, "x-amz-retry-after", request->retry_after,
					sizeof(request->retry_after));
	return n;
}
