/*
 * signer.h
 *		Who the sender is towards AWS: credentials, the clock's offset, and
 *		the signature of a request.
 *
 * Sender process only.  Credentials are looked for at start, when a file of
 * theirs has changed, when a setting has, and when Firehose refuses them (at
 * most every 30 seconds then).
 */
#ifndef FIREHOSE_SENDER_SIGNER_H
#define FIREHOSE_SENDER_SIGNER_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/endpoint.h"
#include "aws/sigv4.h"

/* The headers of a signed request, ready for http.h. */
typedef struct SignedHeaders
{
	char		host[ENDPOINT_HOST_SIZE + 16];
	char		date[SIGV4_DATE_SIZE + 16];
	char		authorization[SIGV4_AUTHORIZATION_SIZE + 16];
	char	   *token;			/* palloc'd, NULL if there is none */
} SignedHeaders;

/* Look for changes, at most once a second; true if the credentials are new. */
extern bool signer_check(int64_t now);

/*
 * Firehose refused them: look again; true if they have changed since `used`.
 */
extern bool signer_refresh(int64_t now, uint64_t used);

/* Number of the present credentials, 0 while there are none. */
extern uint64_t signer_generation(void);

/* Why there are none. */
extern const char *signer_problem(void);

/*
 * The region (endpoint) to use, given the stream's option; NULL (false) with a
 * reason if nobody tells.
 */
extern const char *signer_region(const char *option);
extern bool signer_endpoint(const char *url_option, const char *region, Endpoint *endpoint,
							  char *reason, size_t reason_size);

/*
 * A signature made at `signed_at` was refused for its time, by a server whose
 * clock says server_time (0: it does not tell).  True if signing anew may
 * help: our idea of the time was set right, now or since.
 */
extern bool signer_correct_clock(int64_t signed_at, int64_t now, time_t server_time);

/* Sign a POST of this target; false with a reason. */
extern bool signer_sign(const Endpoint *endpoint, const char *region, const char *target,
						  const unsigned char *payload_sha256, SignedHeaders *headers,
						  char *reason, size_t reason_size);

#endif							/* FIREHOSE_SENDER_SIGNER_H */
