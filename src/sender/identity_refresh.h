/*
 * identity_refresh.h
 *		When credentials are looked for: at start, when a file of theirs or a
 *		setting has changed, before they expire, and when a service refuses
 *		them.
 *
 * Sender process only.
 */
#ifndef FIREHOSE_SENDER_IDENTITY_REFRESH_H
#define FIREHOSE_SENDER_IDENTITY_REFRESH_H

#include "sender/identity.h"

typedef enum IdentityChange
{
	IDENTITIES_SAME,
	IDENTITIES_REFRESHED,		/* some have other credentials, or none now */
	IDENTITIES_SOUGHT			/* files, settings or the region: all streams
								 * depend on these */
} IdentityChange;

/* Look for changes, at most once a second, and do what is due. */
extern IdentityChange identity_refresh(int64_t now);

/*
 * When identity_refresh() is due again: milliseconds from now, -1: it is not.
 * While records are pending, files and settings are looked at every second.
 */
extern long identity_refresh_timeout_ms(int64_t now, bool pending);

/*
 * A service refused the credentials: true if they have changed since
 * generation `used`.
 */
extern bool identity_refresh_refused(Identity *identity, int64_t now, uint64_t used);

#endif							/* FIREHOSE_SENDER_IDENTITY_REFRESH_H */
