/*
 * identity_fetch.h
 *		Fetch the credentials of an identity in the event loop: one request or
 *		one command at a time, without waiting for it.
 *
 * Sender process only.
 */
#ifndef FIREHOSE_SENDER_IDENTITY_FETCH_H
#define FIREHOSE_SENDER_IDENTITY_FETCH_H

#include "sender/identity_internal.h"

/*
 * Begin to fetch.  A role waits for the server's own credentials:
 * identity_take() comes back to it.  STS waits a moment for the region, if
 * only the instance can tell it.
 */
extern void identity_fetch_start(Identity *identity, int64_t now);

/* If a credential_process has ended, continue with its output. */
extern void identity_fetch_check_helper(Identity *identity, int64_t now);

#endif							/* FIREHOSE_SENDER_IDENTITY_FETCH_H */
