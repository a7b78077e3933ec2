/*
 * signer.h
 *		The signature of a request, its endpoint, and the clock of that
 *		endpoint.
 *
 * Sender process only.  The identity that signs is in identity.h.
 */
#ifndef FIREHOSE_SENDER_SIGNER_H
#define FIREHOSE_SENDER_SIGNER_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "aws/endpoint.h"
#include "aws/sigv4.h"
#include "sender/identity.h"

/* The headers of a signed request, ready for http.h. */
typedef struct SignedHeaders
{
	char		host[URL_HOST_SIZE + 16];
	char		date[SIGV4_DATE_SIZE + 16];
	char		authorization[SIGV4_AUTHORIZATION_SIZE + 16];
	char	   *token;			/* palloc'd, NULL if there is none */
	time_t		time;			/* that it was signed with */
} SignedHeaders;

/*
 * Find the endpoint to send to; false with a reason if there is none, or if it
 * is not allowed.  use_fips and use_dualstack are the stream's, -1: as the
 * environment and the profile say.
 */
extern bool signer_endpoint(const char *url_option, const char *region,
							int use_fips, int use_dualstack, Endpoint *endpoint,
							char *reason, size_t reason_size);

/*
 * A signature made at `signed_at` (monotonic, us), with the time signed_time,
 * was refused for its time by a server whose clock says server_time (0: it
 * does not tell).  True if signing anew may help: the offset of that
 * endpoint's clock was corrected, now or since, or this machine's clock was
 * set after the signature was made.
 */
extern bool signer_correct_clock(const Endpoint *endpoint, int64_t signed_at,
								 time_t signed_time, int64_t now, time_t server_time);

/* Sign a POST of this target; false with a reason. */
extern bool signer_sign(Identity *identity, const Endpoint *endpoint, const char *region,
						const char *target, const unsigned char *payload_sha256,
						SignedHeaders *headers, char *reason, size_t reason_size);

#endif							/* FIREHOSE_SENDER_SIGNER_H */
