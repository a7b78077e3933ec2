/*
 * request.c
 *		Building requests.
 *
 * Sender process only.  The bodies (AWS JSON 1.1, as the API reference of
 * PutRecord and PutRecordBatch has it):
 *
 *		{"DeliveryStreamName":"s","Record":{"Data":"<base64>"}}
 *		{"DeliveryStreamName":"s","Records":[{"Data":"<base64>"},...]}
 *
 * Nothing in them needs escaping: a stream's name has no such characters.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "utils/memutils.h"

#include "aws/base64.h"
#include "sender/budget.h"
#include "sender/request.h"

/* The digest follows the encoder at this distance, within the L1/L2 cache. */
#define DIGEST_CHUNK		(16 * 1024)

/*
 * Buffers of bodies that are kept for the next requests, within the budget; an
 * idle sender keeps a small one.
 */
#define KEEP_BODIES			8
#define KEEP_BODY			(256 * 1024)

/*
 * The bytes of a response for each record, with space for longer ids, and for
 * all else.
 */
#define RESPONSE_OF_RECORD	300
#define RESPONSE			4096

#define RECORD_OPEN			"{\"Data\":\""
#define RECORD_CLOSE		"\"}"

typedef struct BodyWriter
{
	char	   *at;				/* next byte to write */
	char	   *digested;		/* up to here the digest has seen it */
	EVP_MD_CTX *digest;
} BodyWriter;

typedef struct Body
{
	char	   *data;
	Size		size;
} Body;

static Body kept[KEEP_BODIES];
static int	nkept = 0;
static Size kept_memory = 0;
static EVP_MD_CTX *digest_context = NULL;
static EVP_MD *sha256 = NULL;

/* An upper bound of the body. */
static Size
body_bound(int nrecords, Size payload)
{
	/* per record: its frame, a comma, and at most 4 bytes of padding */
	return 256 + base64_length(payload) +
		(Size) nrecords * (sizeof(RECORD_OPEN) + sizeof(RECORD_CLOSE) + 4);
}

static Size
response_bound(int nrecords)
{
	return RESPONSE + (Size) nrecords * RESPONSE_OF_RECORD;
}

Size
request_cost(int nrecords, Size payload)
{
	Size		body = body_bound(nrecords, payload);

	return sizeof(Request) + (Size) nrecords * sizeof(ClaimedRecord) + body +
		http_request_memory(body) + response_bound(nrecords);
}

static void
drop_kept(int i)
{
	kept_memory -= kept[i].size;
	pfree(kept[i].data);
	kept[i] = kept[--nkept];
}

/*
 * A buffer of at least this size: the best of those kept, unless that is far
 * too large, or a new one.  NULL if there is no memory.
 */
static char *
get_body(Size needed, Size *size)
{
	int			best = -1;
	char	   *data;

	for (int i = 0; i < nkept; i++)
	{
		if (kept[i].size >= needed && kept[i].size / 4 <= needed &&
			(best < 0 || kept[i].size < kept[best].size))
			best = i;
	}
	if (best >= 0)
	{
		data = kept[best].data;
		*size = kept[best].size;
		kept_memory -= *size;
		kept[best] = kept[--nkept];
	}
	else
	{
		data = MemoryContextAllocExtended(TopMemoryContext, needed,
										  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		*size = needed;
	}
	/* those kept must fit into the budget beside what is under way */
	while (nkept > 0 && kept_memory > budget_free())
		drop_kept(nkept - 1);
	return data;
}

Request *
request_get(int nrecords, Size payload)
{
	Request    *request = MemoryContextAllocExtended(TopMemoryContext,
													 offsetof(Request, records) +
													 nrecords * sizeof(ClaimedRecord),
													 MCXT_ALLOC_NO_OOM);

	if (request == NULL)
		return NULL;
	memset(request, 0, offsetof(Request, records));
	request->body = get_body(body_bound(nrecords, payload), &request->body_size);
	if (request->body == NULL)
	{
		pfree(request);
		return NULL;
	}
	request->http.expected_response = response_bound(nrecords);
	return request;
}

void
request_put_back(Request *request)
{
	http_release(&request->http);
	if (request->headers.token)
	{
		explicit_bzero(request->headers.token, strlen(request->headers.token));
		pfree(request->headers.token);
	}
	if (nkept < KEEP_BODIES && kept_memory + request->body_size <= budget_free())
	{
		kept[nkept].data = request->body;
		kept[nkept++].size = request->body_size;
		kept_memory += request->body_size;
	}
	else
		pfree(request->body);
	pfree(request);
}

void
request_trim(void)
{
	for (int i = nkept; i-- > 0;)
	{
		if (i > 0 || kept[i].size > KEEP_BODY)
			drop_kept(i);
	}
	http_trim();
}

static inline void
append(BodyWriter *w, const char *text, Size length)
{
	memcpy(w->at, text, length);
	w->at += length;
}

#define APPEND(w, literal) append(w, literal, sizeof(literal) - 1)

/* Let the digest catch up with what was written. */
static inline void
digest_written(BodyWriter *w)
{
	EVP_DigestUpdate(w->digest, w->digested, w->at - w->digested);
	w->digested = w->at;
}

/*
 * Write a record's payload in base64, piece by piece as it lies in the pages.
 */
static void
append_payload(BodyWriter *w, QueueReader *reader, const ClaimedRecord *claimed)
{
	QueuePlace	place = queue_reader_payload(reader, claimed);
	Size		left = claimed->length;
	Base64State base64;

	base64_init(&base64);
	while (left > 0)
	{
		Size		n = Min(left, QUEUE_PAGE_DATA - place.offset);

		w->at = base64_update(&base64, w->at, queue_data(reader->q, place.page) + place.offset, n);
		left -= n;
		place.page = queue_page(reader->q, place.page)->next;
		place.offset = 0;
		if (w->at - w->digested >= DIGEST_CHUNK)
			digest_written(w);
	}
	w->at = base64_finish(&base64, w->at);
}

static bool
start_digest(BodyWriter *w)
{
	if (digest_context == NULL)
	{
		digest_context = EVP_MD_CTX_new();
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
		sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
#else
		sha256 = (EVP_MD *) EVP_sha256();
#endif
	}
	w->digest = digest_context;
	return digest_context != NULL && sha256 != NULL &&
		EVP_DigestInit_ex(digest_context, sha256, NULL) == 1;
}

/* Write the body; fills in body_length and the digest. */
static bool
build_body(Request *request, QueueReader *reader, const char *stream_name,
		   unsigned char *sha256_result)
{
	BodyWriter	w;
	bool		single = request->nrecords == 1;

	Assert(request->body_size >= body_bound(request->nrecords, request->payload));
	w.at = w.digested = request->body;
	if (!start_digest(&w))
		return false;

	APPEND(&w, "{\"DeliveryStreamName\":\"");
	append(&w, stream_name, strlen(stream_name));
	if (single)
		APPEND(&w, "\",\"Record\":");
	else
		APPEND(&w, "\",\"Records\":[");
	for (int i = 0; i < request->nrecords; i++)
	{
		if (i > 0)
			*w.at++ = ',';
		APPEND(&w, RECORD_OPEN);
		append_payload(&w, reader, &request->records[i]);
		APPEND(&w, RECORD_CLOSE);
		if (w.at - w.digested >= DIGEST_CHUNK)
			digest_written(&w);
	}
	if (!single)
		*w.at++ = ']';
	*w.at++ = '}';
	digest_written(&w);

	request->body_length = w.at - request->body;
	Assert(request->body_length <= request->body_size);
	return EVP_DigestFinal_ex(w.digest, sha256_result, NULL) == 1;
}

bool
request_build(Request *request, QueueReader *reader, const char *stream_name,
			  Identity *identity, const Endpoint *endpoint, const char *region,
			  char *reason, size_t reason_size)
{
	unsigned char digest[SIGV4_SHA256_LEN];
	const char *target = request->nrecords == 1 ?
		"Firehose_20150804.PutRecord" : "Firehose_20150804.PutRecordBatch";
	HttpRequest *http = &request->http;

	if (!build_body(request, reader, stream_name, digest))
	{
		snprintf(reason, reason_size, "OpenSSL cannot compute SHA-256");
		return false;
	}
	if (!signer_sign(identity, endpoint, region, target, digest, &request->headers,
					   reason, reason_size))
		return false;
	request->identity = identity_generation(identity);

	snprintf(request->target, sizeof(request->target), "X-Amz-Target: %s", target);
	http->headers[http->nheaders++] = request->headers.host;
	http->headers[http->nheaders++] = "Content-Type: application/x-amz-json-1.1";
	http->headers[http->nheaders++] = request->target;
	http->headers[http->nheaders++] = request->headers.date;
	http->headers[http->nheaders++] = request->headers.authorization;
	/* do not wait for a 100 response before a large body */
	http->headers[http->nheaders++] = "Expect:";
	http->headers[http->nheaders++] = "Accept:";
	/* a response that was compressed on the way cannot be trusted */
	http->headers[http->nheaders++] = "Accept-Encoding: identity";
	if (request->headers.token)
		http->headers[http->nheaders++] = request->headers.token;
	http->url = endpoint->url;
	http->body = request->body;
	http->body_length = request->body_length;
	http->owner = request;
	return true;
}
