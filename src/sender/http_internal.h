/*
 * http_internal.h
 *		Declarations that http.c, http_transfer.c, http_handles.c and
 *		http_connections.c share.
 */
#ifndef FIREHOSE_SENDER_HTTP_INTERNAL_H
#define FIREHOSE_SENDER_HTTP_INTERNAL_H

#include "sender/http.h"

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
	long		upload_buffer;	/* its size; 0: libcurl's own */
	bool		finished;
	bool		prepared;		/* has the options common to all requests */
	bool		has_ca_file;	/* and an authority of its own */
	/* why a callback ended the request; libcurl then has words of its own */
	char		ended_by[128];
	char		error[CURL_ERROR_SIZE];
};

/* Callbacks: for the body, sockets, and the response and its headers. */
extern size_t http_read_body(char *buffer, size_t size, size_t nitems, void *arg);
extern size_t http_write_response(char *data, size_t size, size_t nmemb, void *arg);
extern curl_socket_t http_open_socket(void *arg, curlsocktype purpose,
									  struct curl_sockaddr *address);
extern int	http_close_socket(void *arg, curl_socket_t fd);
extern size_t http_read_header(char *line, size_t size, size_t nitems, void *arg);

/* libcurl's memory, and OpenSSL's of what it has received. */
extern void http_wipe_and_free(void *memory);
extern void *http_wipe_and_realloc(void *memory, size_t size);
extern CURLcode http_cleanse_received(CURL *easy, void *ssl_ctx, void *arg);

/*
 * Bytes that all responses may have beyond what is expected of them; a
 * request is over and has none of them any more.
 */
extern void http_bound_unexpected(size_t size);
extern void http_forget_unexpected(HttpRequest *request);

/* The memory of libcurl for a request, with the buffer it reads into. */
#define HTTP_HANDLE_MEMORY	(40 * 1024)

/*
 * A handle, from those kept unless the request is secret; NULL: no memory.
 * Keep it for others, or, after an error or a secret request, free it.
 */
extern HttpHandle *http_handle_get(const HttpRequest *request);
extern void http_handle_keep(HttpHandle *handle);
extern void http_handle_free(HttpHandle *handle);

/*
 * A request has begun, has its connection, or is over (which may be said
 * twice): count connections.
 */
extern void http_connection_wanted(HttpRequest *request);
extern void http_connection_made(HttpRequest *request);
extern void http_connection_not_wanted(HttpRequest *request);

#endif							/* FIREHOSE_SENDER_HTTP_INTERNAL_H */
