/*
 * http_transfer.c
 *		Callbacks of libcurl: for its memory, and while a request is under way,
 *		when it takes the body from here and brings the response.
 *
 * Sender process only.  Callbacks of libcurl: no error may be raised, and no
 * palloc done.
 */
#include "postgres.h"

#include <malloc.h>
#include <openssl/ssl.h>

#include "sender/http_internal.h"

/* Headers and trailers of a response; libcurl does not bound the trailers. */
#define MAX_HEADERS			(64 * 1024)

/* Secrets, and what else is beside them in a block of libcurl's. */
#define MOST_SECRET			(64 * 1024)

/* A response's buffer begins with this; most have one record's or two. */
#define FIRST_RESPONSE		1024

static size_t max_unexpected = SIZE_MAX;
static size_t unexpected = 0;	/* of all responses under way */

/*
 * libcurl's memory is wiped when it is freed: it has copies of headers and
 * bodies, of which some are secret.  A block that is larger than this can only
 * be the buffer of a large body, that is of records; libcurl (7.88) frees it
 * after each request, and to wipe all of it would cost as much as to copy the
 * body.  Headers lie at the beginning, if they were not overwritten.
 */
void
http_wipe_and_free(void *memory)
{
	if (memory != NULL)
		explicit_bzero(memory, Min(malloc_usable_size(memory), MOST_SECRET));
	free(memory);
}

/* The place that realloc() leaves could not be wiped. */
void *
http_wipe_and_realloc(void *memory, size_t size)
{
	size_t		old = memory != NULL ? malloc_usable_size(memory) : 0;
	void	   *moved;

	if (memory != NULL && size <= old && size > old / 2)
		return memory;
	moved = malloc(size);
	if (moved == NULL)
		return NULL;
	if (memory != NULL)
	{
		memcpy(moved, memory, Min(old, size));
		explicit_bzero(memory, old);
	}
	free(memory);
	return moved;
}

/*
 * Does libcurl use the OpenSSL that we are built for?  Another library, or
 * another major version, gives something else than our SSL_CTX.
 */
static bool
has_our_openssl(void)
{
	const char *version = curl_version_info(CURLVERSION_NOW)->ssl_version;
	char		ours[32];

	snprintf(ours, sizeof(ours), "OpenSSL/%ld.", OPENSSL_VERSION_NUMBER >> 28);
	return version != NULL && strncmp(version, ours, strlen(ours)) == 0;
}

/* Have OpenSSL wipe what it has decrypted once it was read. */
CURLcode
http_cleanse_received(CURL *easy, void *ssl_ctx, void *arg)
{
#ifdef SSL_OP_CLEANSE_PLAINTEXT
	if (has_our_openssl())
		SSL_CTX_set_options(ssl_ctx, SSL_OP_CLEANSE_PLAINTEXT);
#endif
	return CURLE_OK;
}

void
http_bound_unexpected(size_t size)
{
	max_unexpected = size;
}

void
http_forget_unexpected(HttpRequest *request)
{
	unexpected -= request->unexpected;
	request->unexpected = 0;
}

size_t
http_read_body(char *buffer, size_t size, size_t nitems, void *arg)
{
	HttpRequest *request = arg;
	size_t		n = Min(size * nitems, request->body_length - request->sent);

	http_connection_made(request);
	memcpy(buffer, request->body + request->sent, n);
	request->sent += n;
	return n;
}

/*
 * A response has grown to so many bytes, headers included.  False: there is no
 * memory for it beside the others.
 */
static bool
account_for(HttpRequest *request, size_t size)
{
	size_t		more = size > request->expected_response ?
		size - request->expected_response : 0;

	if (more <= request->unexpected)
		return true;
	if (unexpected - request->unexpected + more > max_unexpected)
	{
		snprintf(request->handle->ended_by, sizeof(request->handle->ended_by),
				 "no memory for a response larger than %zu bytes", request->expected_response);
		request->short_of_resources = true;
		return false;
	}
	unexpected += more - request->unexpected;
	request->unexpected = more;
	return true;
}

/* Returning less than was given ends the request with CURLE_WRITE_ERROR. */
size_t
http_write_response(char *data, size_t size, size_t nmemb, void *arg)
{
	HttpRequest *request = arg;
	HttpHandle *handle = request->handle;
	size_t		n = size * nmemb;

	if (request->response_length + n > request->max_response)
	{
		snprintf(handle->ended_by, sizeof(handle->ended_by),
				 "the response is larger than %zu bytes", request->max_response);
		return 0;
	}
	if (request->response_length + n > handle->response_size)
	{
		/* one that fills its first buffer is likely as large as expected */
		size_t		likely = handle->response_size == 0 ? FIRST_RESPONSE :
			Max(request->expected_response, handle->response_size * 2);
		size_t		new_size = Max(request->response_length + n, likely);
		char	   *larger = account_for(request, request->header_length + new_size) ?
			(request->secret ? http_wipe_and_realloc : realloc) (handle->response, new_size) : NULL;

		if (larger == NULL)
		{
			request->short_of_resources = true;
			return 0;
		}
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

size_t
http_read_header(char *line, size_t size, size_t nitems, void *arg)
{
	HttpRequest *request = arg;
	size_t		n = size * nitems;

	/* one without a body shows only now that it has its connection */
	http_connection_made(request);
	request->header_length += n;
	if (request->header_length > MAX_HEADERS)
	{
		snprintf(request->handle->ended_by, sizeof(request->handle->ended_by),
				 "the headers of the response are larger than %d bytes", MAX_HEADERS);
		return 0;
	}
	if (!account_for(request, request->header_length + request->handle->response_size))
		return 0;
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
