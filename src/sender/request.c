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
 * "Record" is Firehose's word; what is one to Firehose is a group here.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "utils/memutils.h"

#include "aws/base64.h"
#include "aws/sha256.h"
#include "queue/chain.h"
#include "sender/budget.h"
#include "sender/gzip.h"
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

/*
 * Where groups are compressed: their records one behind the other, and what
 * that becomes.  Only a busy sender with a stream that asks for it has them.
 */
static char *gathered = NULL;
static Size gathered_size = 0;
static char *member = NULL;

/* An upper bound of the bytes of the groups together, as they are sent. */
static Size
sent_bound(const RequestShape *shape)
{
	return shape->gzip ? gzip_bound(shape->payload, shape->ngroups) : shape->payload;
}

/* An upper bound of the body. */
static Size
body_bound(const RequestShape *shape)
{
	/* per group: its frame, a comma, and at most 4 bytes of padding */
	return 256 + base64_length(sent_bound(shape)) +
		(Size) shape->ngroups * (sizeof(RECORD_OPEN) + sizeof(RECORD_CLOSE) + 4);
}

static Size
response_bound(int ngroups)
{
	return RESPONSE + (Size) ngroups * RESPONSE_OF_RECORD;
}

/* A request without its body. */
static Size
request_size(const RequestShape *shape)
{
	return MAXALIGN(offsetof(Request, records) + (Size) shape->nrecords * sizeof(ClaimedRecord)) +
		(Size) shape->ngroups * sizeof(RecordGroup);
}

Size
request_cost(const RequestShape *shape)
{
	Size		body = body_bound(shape);

	return request_size(shape) + body + http_request_memory(body) + response_bound(shape->ngroups);
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
request_get(const RequestShape *shape)
{
	Size		size = request_size(shape);
	Request    *request = MemoryContextAllocExtended(TopMemoryContext, size,
													 MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);

	if (request == NULL)
		return NULL;
	memset(request, 0, offsetof(Request, records));
	request->groups = (RecordGroup *) ((char *) request + size) - shape->ngroups;
	request->body = get_body(body_bound(shape), &request->body_size);
	if (request->body == NULL)
	{
		pfree(request);
		return NULL;
	}
	request->http.expected_response = response_bound(shape->ngroups);
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
	if (gathered != NULL)
		pfree(gathered);
	if (member != NULL)
		pfree(member);
	gathered = member = NULL;
	gathered_size = 0;
	gzip_trim();
	http_trim();
	budget_set_aside(0);
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

/* Write bytes in base64. */
static inline void
append_base64(BodyWriter *w, Base64State *base64, const char *data, Size length)
{
	w->at = base64_update(base64, w->at, data, length);
	if (w->at - w->digested >= DIGEST_CHUNK)
		digest_written(w);
}

/*
 * Write the payloads of a group's records in base64, piece by piece as they
 * lie in the pages.
 */
static void
append_group(BodyWriter *w, Request *request, QueueReader *reader, RecordGroup *group)
{
	Base64State base64;

	base64_init(&base64);
	for (int i = 0; i < group->nrecords; i++)
	{
		const ClaimedRecord *claimed = &request->records[group->first + i];
		QueuePlace	place = queue_reader_payload(reader, claimed);
		Size		left = claimed->length;

		while (left > 0)
		{
			Size		n = Min(left, QUEUE_PAGE_DATA - place.offset);

			append_base64(w, &base64, queue_data(reader->q, place.page) + place.offset, n);
			left -= n;
			place.page = queue_page(reader->q, place.page)->next;
			place.offset = 0;
		}
	}
	w->at = base64_finish(&base64, w->at);
	group->sent = group->bytes;
}

/* Have the buffers for compressing a group of so many bytes. */
static bool
have_buffers(Size bytes)
{
	if (bytes > gathered_size || member == NULL)
	{
		if (gathered != NULL)
			pfree(gathered);
		gathered_size = Max(bytes, (Size) 4 * 1024 * 1024);
		gathered = MemoryContextAllocExtended(TopMemoryContext, gathered_size,
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		if (member == NULL)
			member = MemoryContextAllocExtended(TopMemoryContext, GROUP_MAX_BYTES,
												MCXT_ALLOC_NO_OOM);
		if (gathered == NULL)
			gathered_size = 0;
		budget_set_aside(gathered_size + GROUP_MAX_BYTES + GZIP_MEMORY);
	}
	return gathered != NULL && member != NULL && gzip_begin();
}

/* Compress a group; returns the length of the member, 0: it is too large. */
static Size
compress_group(Request *request, QueueReader *reader, RecordGroup *group)
{
	char	   *at = gathered;

	for (int i = 0; i < group->nrecords; i++)
	{
		const ClaimedRecord *claimed = &request->records[group->first + i];
		QueuePlace	place = queue_reader_payload(reader, claimed);

		queue_read(reader->q, &place.page, &place.offset, at, claimed->length);
		at += claimed->length;
	}
	return gzip_compress(gathered, at - gathered, member, GROUP_MAX_BYTES);
}

/* Leave the first half of a group's records in it. */
static void
halve_group(Request *request, RecordGroup *group)
{
	group->nrecords /= 2;
	group->bytes = 0;
	for (int i = 0; i < group->nrecords; i++)
		group->bytes += request->records[group->first + i].length;
}

/*
 * Write a group compressed; false: it is too large, and nothing was written.
 */
static bool
append_compressed(BodyWriter *w, Request *request, QueueReader *reader, RecordGroup *group,
				  GroupRatio *ratio)
{
	Size		length = compress_group(request, reader, group);
	Base64State base64;

	while (length == 0)
	{
		group_ratio_exceeded(ratio, group->bytes);
		if (group->first > 0 || group->nrecords == 1)
			return false;
		halve_group(request, group);
		request->ngroups = 1;
		length = compress_group(request, reader, group);
	}
	group_ratio_learn(ratio, group->bytes, length);
	group->sent = length;
	APPEND(w, RECORD_OPEN);
	base64_init(&base64);
	for (Size done = 0; done < length; done += DIGEST_CHUNK)
		append_base64(w, &base64, member + done, Min(DIGEST_CHUNK, length - done));
	w->at = base64_finish(&base64, w->at);
	return true;
}

static bool
start_digest(BodyWriter *w)
{
	static EVP_MD_CTX *context = NULL;

	if (!sha256_begin(&context))
		return false;
	w->digest = context;
	return true;
}

/*
 * Write the groups; false: the first one cannot be.  Those behind one that is
 * too large are left out.
 */
static bool
append_groups(BodyWriter *w, Request *request, QueueReader *reader, GroupRatio *ratio, bool gzip)
{
	for (int i = 0; i < request->ngroups; i++)
	{
		RecordGroup *group = &request->groups[i];

		if (i > 0)
			*w->at++ = ',';
		if (!gzip)
		{
			APPEND(w, RECORD_OPEN);
			append_group(w, request, reader, group);
		}
		else if (!append_compressed(w, request, reader, group, ratio))
		{
			w->at -= i > 0;
			request->ngroups = i;
			return i > 0;
		}
		APPEND(w, RECORD_CLOSE);
		request->sent_bytes += group->sent;
		if (w->at - w->digested >= DIGEST_CHUNK)
			digest_written(w);
	}
	return true;
}

/* Write the body; fills in body_length and the digest. */
static RequestResult
build_body(Request *request, QueueReader *reader, GroupRatio *ratio,
		   const StreamOptions *options, unsigned char *sha256_result, const char **reason)
{
	BodyWriter	w;
	bool		gzip = options->compression == COMPRESSION_GZIP;

	*reason = "OpenSSL cannot compute SHA-256";
	w.at = w.digested = request->body;
	if (!start_digest(&w))
		return REQUEST_NOT_SIGNED;
	*reason = "out of memory";
	if (gzip && !have_buffers(request->payload))
		return REQUEST_SHORT_OF_MEMORY;

	request->single = request->ngroups == 1;
	APPEND(&w, "{\"DeliveryStreamName\":\"");
	append(&w, options->stream_name, strlen(options->stream_name));
	if (request->single)
		APPEND(&w, "\",\"Record\":");
	else
		APPEND(&w, "\",\"Records\":[");
	*reason = "The record is larger than 1,024,000 bytes when it is compressed.";
	if (!append_groups(&w, request, reader, ratio, gzip))
		return REQUEST_RECORD_TOO_LARGE;
	if (!request->single)
		*w.at++ = ']';
	*w.at++ = '}';
	digest_written(&w);

	request->body_length = w.at - request->body;
	Assert(request->body_length <= request->body_size);
	*reason = "OpenSSL cannot compute SHA-256";
	return EVP_DigestFinal_ex(w.digest, sha256_result, NULL) == 1 ?
		REQUEST_BUILT : REQUEST_NOT_SIGNED;
}

/* Fill in what the HTTP module is to send. */
static void
set_http(Request *request, const Endpoint *endpoint, const char *target)
{
	HttpRequest *http = &request->http;

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
}

RequestResult
request_build(Request *request, QueueReader *reader, GroupRatio *ratio,
			  const StreamOptions *options, Identity *identity, const Endpoint *endpoint,
			  const char *region, char *reason, size_t reason_size)
{
	unsigned char digest[SIGV4_SHA256_LEN];
	const char *target;
	const char *wrong;
	RequestResult result = build_body(request, reader, ratio, options, digest, &wrong);

	if (result != REQUEST_BUILT)
	{
		strlcpy(reason, wrong, reason_size);
		return result;
	}
	target = request->single ? "Firehose_20150804.PutRecord" : "Firehose_20150804.PutRecordBatch";
	if (!signer_sign(identity, endpoint, region, target, digest, &request->headers,
					 reason, reason_size))
		return REQUEST_NOT_SIGNED;
	request->identity = identity_generation(identity);
	set_http(request, endpoint, target);
	return REQUEST_BUILT;
}
