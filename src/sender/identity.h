/*
 * identity.h
 *		The identities that the sender has towards AWS: the server's own, and
 *		the roles that streams name.
 *
 * Sender process only.  An identity is shared by all streams that name the
 * same role and external id.  identity_refresh.h says when credentials are
 * looked for.  They are fetched in the event loop, one request at a time for
 * each identity; credentials that still live are used meanwhile.
 */
#ifndef FIREHOSE_SENDER_IDENTITY_H
#define FIREHOSE_SENDER_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "aws/sigv4.h"
#include "stream/identity_stats.h"

typedef struct Identity Identity;

/* Set up, for the sender of this database. */
extern void identity_init(Oid dboid);

/* The identity of a role; "" is the server's own.  It stays where it is. */
extern Identity *identity_of(const char *role_arn, const char *external_id);

/* Forget roles that are not marked; NULL can be marked, too. */
extern void identity_unmark(void);
extern void identity_mark(Identity *identity);
extern void identity_forget_unmarked(void);

extern IdentityState identity_state(const Identity *identity);

/* Why there are no credentials, or how they are being fetched. */
extern const char *identity_problem(const Identity *identity);

/* The number of the present credentials. */
extern uint64_t identity_generation(const Identity *identity);

/* The present credentials, and the signing key that goes with them. */
extern const Credentials *identity_credentials(const Identity *identity);
extern SigV4Key *identity_signing_key(Identity *identity);

/*
 * Other values of the environment and the profile.  The region is the
 * option's, or the environment's, the profile's or the instance's.  NULL if
 * none is known; the instance is then asked.
 */
extern const char *identity_region(const char *option);
extern const EndpointConfig *identity_endpoints(void);

#endif							/* FIREHOSE_SENDER_IDENTITY_H */
