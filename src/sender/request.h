/*
 * request.h
 *		One request: the records it carries, and its body.
 *
 * The body is built once, straight from the queue's pages: base64 and SHA-256
 * run over it in pieces that stay in the CPU's cache.
 */
#ifndef FIREHOSE_SENDER_REQUEST_H
#define FIREHOSE_SENDER_REQUEST_H

#include "sender/group.h"
#include "sender/http.h"
#include "sender/pace.h"
#include "sender/signer.h"
#include "lib/ilist.h"
#include "queue/reader.h"
#include "stream/stream_options.h"

typedef struct Delivery Delivery;

typedef struct Request
{
	dlist_node	node;			/* in its delivery's in_flight */
	Delivery   *delivery;
	int			nrecords;
	int			ngroups;		/* Firehose records: group.h */
	int			nsuspects;		/* the first groups: delivery.h */
	bool		single;			/* it goes by PutRecord */
	Size		payload;		/* bytes of the records, before base64 */
	Size		sent_bytes;		/* the same as they were sent, maybe compressed */

	char	   *body;
	Size		body_length;
	Size		body_size;		/* allocated */
	/* as the pace was told; times are monotonic, us */
	PaceRequest sent;
	/* generation of the credentials it was signed with */
	uint64		identity;
	SignedHeaders headers;
	char		target[64];		/* the header */
	HttpRequest http;
	Size		cost;			/* what it has of the budget */
	RecordGroup *groups;
	ClaimedRecord records[FLEXIBLE_ARRAY_MEMBER];
} Request;

/* How records become the body of a request. */
typedef struct RequestShape
{
	int			nrecords;
	int			ngroups;
	Size		payload;
	bool		gzip;
} RequestShape;

/* A blank request of this shape; NULL if there is no memory. */
extern Request *request_get(const RequestShape *shape);

/* Give a request back. */
extern void request_put_back(Request *request);

/* Give memory back that only a busy sender needs. */
extern void request_trim(void);

/*
 * The memory that a request of this shape takes at most: records, body,
 * libcurl's part, and the response that is expected.
 */
extern Size request_cost(const RequestShape *shape);

typedef enum RequestResult
{
	REQUEST_BUILT,
	/* its first record alone is too large when compressed */
	REQUEST_RECORD_TOO_LARGE,
	REQUEST_SHORT_OF_MEMORY,
	REQUEST_NOT_SIGNED
} RequestResult;

/*
 * Build the body for request->records, and sign it.  One group alone goes by
 * PutRecord.  Unless it is REQUEST_BUILT, *reason says why.
 *
 * A group that turns out to be too large when compressed is not in the body:
 * request->ngroups is then the number of those that are.  If it is the first
 * one, it is made smaller, and is the only one.  The caller takes the other
 * records back.
 */
extern RequestResult request_build(Request *request, QueueReader *reader, GroupRatio *ratio,
								   const StreamOptions *options, Identity *identity,
								   const Endpoint *endpoint, const char *region,
								   char *reason, size_t reason_size);

#endif							/* FIREHOSE_SENDER_REQUEST_H */
