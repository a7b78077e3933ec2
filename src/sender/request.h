/*
 * request.h
 *		One request: the records it carries, and its body.
 *
 * The body is built once, straight from the queue's pages: base64 and SHA-256
 * run over it in pieces that stay in the CPU's cache.
 */
#ifndef FIREHOSE_SENDER_REQUEST_H
#define FIREHOSE_SENDER_REQUEST_H

#include "sender/http.h"
#include "sender/pace.h"
#include "sender/signer.h"
#include "lib/ilist.h"
#include "queue/reader.h"

/* Firehose: at most 500 records in a call. */
#define REQUEST_MAX_RECORDS		500

typedef struct Delivery Delivery;

typedef struct Request
{
	dlist_node	node;			/* in its delivery's in_flight */
	Delivery   *delivery;
	int			nrecords;
	int			nsuspects;		/* the first of them: delivery.h */
	Size		payload;		/* bytes of the records, before base64 */

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
	ClaimedRecord records[FLEXIBLE_ARRAY_MEMBER];
} Request;

/*
 * A blank request for so many records of so many bytes together; NULL if there
 * is no memory.
 */
extern Request *request_get(int nrecords, Size payload);

/* Give a request back. */
extern void request_put_back(Request *request);

/* Give memory back that only a busy sender needs. */
extern void request_trim(void);

/*
 * The memory that a request for so many records of so many bytes takes at
 * most: records, body, libcurl's part, and the response that is expected.
 */
extern Size request_cost(int nrecords, Size payload);

/*
 * Build the body for request->records, and sign it.  One record alone goes by
 * PutRecord.  False with a reason if it cannot be signed.
 */
extern bool request_build(Request *request, QueueReader *reader, const char *stream_name,
						  Identity *identity, const Endpoint *endpoint, const char *region,
						  char *reason, size_t reason_size);

#endif							/* FIREHOSE_SENDER_REQUEST_H */
