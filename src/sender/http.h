/*
 * http.h
 *		HTTP requests that run concurrently in one event loop: libcurl behind a
 *		descriptor that a WaitEventSet can wait for.
 *
 * Sender process only.  No function waits; callbacks of libcurl only store
 * their arguments, so no error is ever raised across it.  Finished requests
 * are collected with http_next_finished.
 */
#ifndef FIREHOSE_SENDER_HTTP_H
#define FIREHOSE_SENDER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <curl/curl.h>

#include "lib/ilist.h"

#define HTTP_MAX_HEADERS	9

typedef struct HttpHandle HttpHandle;

/*
 * One request.  Zero it, fill in the first part, start it; it must stay where
 * it is.
 */
typedef struct HttpRequest
{
	const char *method;			/* "GET", "PUT"; NULL: "POST" */
	const char *url;
	bool		direct;			/* never through a proxy */
	/* "Name: value"; copied at start */
	const char *headers[HTTP_MAX_HEADERS];
	int			nheaders;
	const char *body;			/* must live until the request is released */
	size_t		body_length;
	long		timeout_ms;		/* for all of it */
	long		connect_timeout_ms;
	size_t		max_response;		/* a larger response is an error */
	/* bytes that the response is expected to have at most */
	size_t		expected_response;
	const char *ca_file;		/* NULL: the system's authorities */
	bool		secret;			/* leaves nothing behind in memory; it may be
								 * the last on its connection */
	void	   *owner;			/* the caller's */
	/* NULL: a delivery's */
	void		(*on_finished) (struct HttpRequest *request);

	/* the result */
	CURLcode	result;			/* CURLE_OK: there is a whole response */
	const char *error;			/* text of a result that is not */
	int			status;
	char	   *response;			/* not terminated; may be written to */
	size_t		response_length;
	char		error_type[128];	/* header x-amzn-ErrorType, or empty */
	char		request_id[128];	/* header x-amzn-RequestId, or empty */
	char		retry_after[32];	/* header x-amz-retry-after, or empty */
	char		date[64];		/* header Date, or empty */
	char		location[128];	/* header Location, or empty */
	bool		short_of_resources; /* this process lacks memory, descriptors
									 * or ports: not the fault of another party
									 * */
	size_t		sent;			/* bytes of the body that libcurl has taken */

	/* private */
	HttpHandle *handle;
	int			connection;		/* http_connections.c: what it has of one */
	bool		makes_socket;
	dlist_node	waiting_node;
	int64_t		waits_since;	/* us */
	size_t		header_length;
	size_t		unexpected;		/* bytes, of the bound for all */
} HttpRequest;

/*
 * Set up; returns the descriptor to wait for (readable), -1 with *error set.
 */
extern int	http_init(const char **error);

/*
 * How many connections there may be, idle ones included, and how many bytes
 * all responses under way may have together beyond what is expected of them.
 */
extern void http_set_bounds(int max_connections, size_t unexpected);

/* How many there are, also of those that are being made. */
extern int	http_open_connections(void);

/*
 * Bytes that a request with so much body takes beside it, without a response.
 */
extern size_t http_request_memory(size_t body_length);

/* Give back what only a busy process needs. */
extern void http_trim(void);

/* Start a request; false with request->error set. */
extern bool http_start(HttpRequest *request);

/*
 * May one more request start now?  If so many connections are being made
 * already that it is better to wait for one that becomes free, *at is when to
 * ask again at the latest (us).
 */
extern bool http_may_start(int64_t now, int64_t *at);

/*
 * Advance all requests; to be called when the descriptor is ready or the
 * timeout over.
 */
extern void http_drive(void);

/*
 * Were there so many sockets to deal with that others may have to wait for the
 * next call?
 */
extern bool http_is_behind(void);

/* Let a further descriptor make that one readable; it has no other effect. */
extern void http_watch(int fd);
extern void http_unwatch(int fd);

/* The next request that has finished, NULL if there is none. */
extern HttpRequest *http_next_finished(void);

/* The time of the header Date, 0 if there is none. */
extern time_t http_date(const HttpRequest *request);

/* Give back what a finished request holds; its response is gone then. */
extern void http_release(HttpRequest *request);

/*
 * Milliseconds until http_drive wants to be called again, -1: only when ready.
 */
extern long http_timeout_ms(void);

#endif							/* FIREHOSE_SENDER_HTTP_H */
