/*
 * identity_refresh.c
 *		When credentials are looked for; identity_refresh.h lists the
 *		occasions.
 *
 * Sender process only.  The server's own identity is what credentials_load()
 * finds: keys at hand, or a chain of steps that identity_fetch.c carries out.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/memutils.h"

#include "sender/identity_fetch.h"
#include "sender/identity_refresh.h"
#include "sender/settings.h"

#define CHECK_INTERVAL		USECS_PER_SEC	/* between looks at the files */

/* between the end of a helper's output and its own */
#define HELPER_POLL			(USECS_PER_SEC / 50)

static int64_t checked_at = -CHECK_INTERVAL;
static char *seen_settings = NULL;
static int64_t missing_since = -1;	/* own credentials can no longer be found */
static bool exposed_logged = false;

/* Settings by which credentials are looked for, or every stream is sent. */
static char *
current_settings(void)
{
	return psprintf("%s\n%s\n%s\n%s\n%s\n%s", sender_credentials_file, sender_config_file,
					sender_profile, sender_allowed_roles, sender_allowed_endpoints,
					sender_ca_file);
}

/* Take the chain over, and carry it out. */
static void
adopt_chain(int64_t now)
{
	credential_chain_free(&identities.own->chain);
	identities.own->chain = identities.found.chain;
	memset(&identities.found.chain, 0, sizeof(identities.found.chain));
	identities.own->fetch_at = now;
}

/* Warn of a file with keys that others on this machine can read, once. */
static void
warn_if_exposed(void)
{
	if (identities.found.exposed && !exposed_logged)
		ereport(WARNING,
				(errmsg("firehose sender: other users of this machine can read the file with the AWS credentials"),
				 errhint("Allow only its owner to read it, with chmod 600.")));
	exposed_logged = identities.found.exposed;
}

/*
 * Look for the server's credentials.  Those found earlier are used for a while
 * if there are none now: a file may be removed for a moment while it is
 * replaced.
 */
static void
load_own(int64_t now)
{
	CredentialSource source = {sender_credentials_file, sender_config_file, sender_profile};
	char		problem[sizeof(identities.own->problem)];

	if (seen_settings)
		pfree(seen_settings);
	seen_settings = NULL;
	if (identities.own->fetching)
		/* its chain is in use; the next check is soon */
		return;
	seen_settings = MemoryContextStrdup(TopMemoryContext, current_settings());

	switch (credentials_load(&identities.found, &source, problem, sizeof(problem)))
	{
		case CREDENTIALS_FOUND:
			missing_since = -1;
			warn_if_exposed();
			credential_chain_free(&identities.own->chain);
			identity_take(identities.own, &identities.found.credentials,
						  identities.found.provider, "", IDENTITY_NEVER, now);
			break;
		case CREDENTIALS_FETCH:
			missing_since = -1;
			warn_if_exposed();
			adopt_chain(now);
			break;
		case CREDENTIALS_NOT_FOUND:
		case CREDENTIALS_FAILED:
			if (missing_since < 0)
				missing_since = now;
			identities.own->fetch_at = IDENTITY_NEVER;
			identity_note_failure(identities.own, problem);
			break;
	}
}

/* Have the settings or files changed that credentials are searched in? */
static bool
sources_changed(void)
{
	char	   *settings = current_settings();
	bool		outdated = seen_settings == NULL ||
		strcmp(settings, seen_settings) != 0 || credentials_changed(&identities.found);

	pfree(settings);
	return outdated;
}

/* Drop expired credentials of one identity, and start a fetch that is due. */
static void
refresh_identity(Identity *identity, int64_t now)
{
	identity_fetch_check_helper(identity, now);
	if (now >= identity->expires_at)
	{
		identity_drop(identity);
		identity_publish(identity);
	}
	if (!identity->fetching && now >= identity->fetch_at)
		identity_fetch_start(identity, now);
}

IdentityChange
identity_refresh(int64_t now)
{
	IdentityChange result;
	dlist_iter	iter;

	if (now - checked_at >= CHECK_INTERVAL)
	{
		checked_at = now;
		if (sources_changed())
		{
			load_own(now);
			identity_note_change(IDENTITIES_SOUGHT);
		}
	}
	if (missing_since >= 0 && identities.own->present &&
		now - missing_since >= (int64_t) sender_credentials_grace_period * 1000)
	{
		identity_drop(identities.own);
		identity_publish(identities.own);
	}
	dlist_foreach(iter, &identities.all)
		refresh_identity(dlist_container(Identity, node, iter.cur), now);
	if (!identities.region_seeker.fetching && now >= identities.region_seeker.fetch_at)
		identity_fetch_start(&identities.region_seeker, now);

	result = identities.change;
	identities.change = IDENTITIES_SAME;
	return result;
}

long
identity_refresh_timeout_ms(int64_t now, bool pending)
{
	int64_t		when = Min(identities.region_seeker.fetch_at, PG_INT64_MAX);
	dlist_iter	iter;

	if (missing_since >= 0 && identities.own->present)
		when = Min(when, missing_since + (int64_t) sender_credentials_grace_period * 1000);
	if (pending)
		when = Min(when, checked_at + CHECK_INTERVAL);
	dlist_foreach(iter, &identities.all)
	{
		Identity   *identity = dlist_container(Identity, node, iter.cur);

		when = Min(when, identity->expires_at);
		if (!identity->fetching)
			when = Min(when, identity->fetch_at);
		if (identity->helper.pid != 0)
			when = Min(when, identity->helper.fd < 0 ? now + HELPER_POLL :
					   identity->helper.deadline);
	}
	if (when == PG_INT64_MAX)
		return -1;
	return (long) Min(Max(when - now + 999, 0) / 1000, INT_MAX);
}

bool
identity_refresh_refused(Identity *identity, int64_t now, uint64_t used)
{
	if (used != identity->generation)
		return identity->present;	/* they were refreshed meanwhile */
	if (now - identity->refused_at < IDENTITY_REFUSED_INTERVAL || identity->fetching)
		return false;
	identity->refused_at = now;
	if (identity != identities.own)
		identity->fetch_at = now;
	else
	{
		load_own(now);
		if (identities.own->chain.nsteps > 0)
			identities.own->fetch_at = now;
	}
	return used != identity->generation && identity->present;
}
