/*
 * http_handles.c
 *		Handles of libcurl that are kept for the next requests.
 *
 * Sender process only.
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "sender/http_internal.h"

/*
 * Handles are kept as long as all of them have no more memory than this; an
 * idle process has one.
 */
#define KEEP_MEMORY			(6 * 1024 * 1024)

/* An idle process keeps no larger buffer of a response. */
#define KEEP_IDLE_RESPONSE	(64 * 1024)

static HttpHandle *kept = NULL;
static size_t kept_memory = 0;

static void
free_response(HttpHandle *handle)
{
	free(handle->response);
	handle->response = NULL;
	handle->response_size = 0;
}

void
http_handle_free(HttpHandle *handle)
{
	curl_easy_cleanup(handle->easy);
	free_response(handle);
	free(handle);
}

static size_t
memory_of(const HttpHandle *handle)
{
	return HTTP_HANDLE_MEMORY + handle->upload_buffer + handle->response_size;
}

static void
push(HttpHandle *handle)
{
	handle->next = kept;
	kept = handle;
	kept_memory += memory_of(handle);
}

/* One of those kept, NULL if there is none. */
static HttpHandle *
pop(void)
{
	HttpHandle *handle = kept;

	if (handle == NULL)
		return NULL;
	kept = handle->next;
	kept_memory -= memory_of(handle);
	return handle;
}

HttpHandle *
http_handle_get(const HttpRequest *request)
{
	HttpHandle *handle = request->secret ? NULL : pop();

	if (handle != NULL)
	{
		/* a larger one would count as more than is expected */
		if (handle->response_size > request->expected_response)
			free_response(handle);
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

void
http_handle_keep(HttpHandle *handle)
{
	if (kept_memory + memory_of(handle) > KEEP_MEMORY)
		http_handle_free(handle);
	else
		push(handle);
}

void
http_trim(void)
{
	HttpHandle *last = pop();
	HttpHandle *handle;
	size_t		others = kept_memory;

	if (last == NULL)
		return;
	while ((handle = pop()) != NULL)
		http_handle_free(handle);
	if (last->response_size > KEEP_IDLE_RESPONSE)
		free_response(last);
	push(last);
#ifdef __GLIBC__
	/*
	 * free() returns only what lies at the end of the heap, behind all that is
	 * still in use.  The rest is looked for after large bursts alone, because
	 * that costs as much as some requests.
	 */
	if (others > KEEP_MEMORY / 2)
		(void) malloc_trim(0);
#endif
}
