/*
 * identity.c
 *		The identities that the sender has towards AWS, and their present
 *		state.
 *
 * Sender process only.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "aws/secret.h"
#include "sender/identity.h"
#include "sender/identity_internal.h"

Identities identities = {.all = DLIST_STATIC_INIT(identities.all)};

static uint64_t last_generation = 0;	/* over all identities */
static Oid	my_dboid;
static bool region_wanted = false;	/* of the instance */

/*
 * Set up -------------------------------------------------------------------
 */

static Identity *
create_identity(const char *role_arn, const char *external_id)
{
	/* it has keys that were derived from credentials */
	Identity   *identity = secret_alloc(sizeof(Identity));

	if (identity == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	identity->role_arn = MemoryContextStrdup(TopMemoryContext, role_arn);
	identity->external_id = MemoryContextStrdup(TopMemoryContext, external_id);
	identity->expires_at = IDENTITY_NEVER;
	identity->fetch_at = 0;
	identity->refused_at = -IDENTITY_REFUSED_INTERVAL;
	identity->helper.fd = -1;
	identity->marked = true;
	strlcpy(identity->problem, "credentials were not looked for yet", sizeof(identity->problem));
	strlcpy(identity->stats.role_arn, role_arn, sizeof(identity->stats.role_arn));
	identity->stats.dboid = my_dboid;
	identity->entry = identity_stats_take(my_dboid);
	dlist_push_tail(&identities.all, &identity->node);
	return identity;
}

void
identity_init(Oid dboid)
{
	my_dboid = dboid;
	retry_random_seed(&identities.random,
					  (uint64) GetCurrentTimestamp() ^ ((uint64) MyProcPid << 32));
	identity_stats_clear(dboid);
	identities.own = create_identity("", "");
	/* until credentials_load() says what to fetch */
	identities.own->fetch_at = IDENTITY_NEVER;
	identities.region_seeker.fetch_at = IDENTITY_NEVER;
	identities.region_seeker.entry = -1;
	identities.region_seeker.helper.fd = -1;
}

Identity *
identity_of(const char *role_arn, const char *external_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &identities.all)
	{
		Identity   *identity = dlist_container(Identity, node, iter.cur);

		if (strcmp(identity->role_arn, role_arn) == 0 &&
			(identity == identities.own || strcmp(identity->external_id, external_id) == 0))
		{
			identity->marked = true;
			return identity;
		}
	}
	return create_identity(role_arn, external_id);
}

void
identity_unmark(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &identities.all)
		dlist_container(Identity, node, iter.cur)->marked = false;
}

void
identity_mark(Identity *identity)
{
	if (identity != NULL)
		identity->marked = true;
}

/* One that is just fetching goes the next time. */
void
identity_forget_unmarked(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &identities.all)
	{
		Identity   *identity = dlist_container(Identity, node, iter.cur);

		if (identity->marked || identity == identities.own || identity->fetching)
			continue;
		dlist_delete(&identity->node);
		identity_stats_release(identity->entry);
		credentials_wipe(&identity->credentials);
		credential_chain_free(&identity->chain);
		credential_fetch_free(&identity->fetch);
		sigv4_key_clear(&identity->signing_key);
		pfree(identity->role_arn);
		pfree(identity->external_id);
		secret_free(identity);
	}
}

/* State ------------------------------------------------------------ */

IdentityState
identity_state(const Identity *identity)
{
	if (identity->present)
		return IDENTITY_READY;
	if (identity != identities.own && !identities.own->present)
		return identity_state(identities.own);
	return identity->failures == 0 && (identity->fetching || identity->fetch_at != IDENTITY_NEVER) ?
		IDENTITY_FETCHING : IDENTITY_FAILED;
}

const char *
identity_problem(const Identity *identity)
{
	return identity->present || identities.own->present ?
		identity->problem : identities.own->problem;
}

uint64_t
identity_generation(const Identity *identity)
{
	return identity->generation;
}

const Credentials *
identity_credentials(const Identity *identity)
{
	return &identity->credentials;
}

SigV4Key *
identity_signing_key(Identity *identity)
{
	return &identity->signing_key;
}

const char *
identity_region(const char *option)
{
	const char *region = credentials_region(&identities.found, option);

	if (region != NULL)
		return region;
	if (identities.instance_region[0] == '\0' && !region_wanted)
	{
		region_wanted = true;
		identities.region_seeker.fetch_at = 0;
	}
	return identities.instance_region[0] != '\0' ? identities.instance_region : NULL;
}

const EndpointConfig *
identity_endpoints(void)
{
	return &identities.found.endpoints;
}

void
identity_publish(Identity *identity)
{
	identity->stats.state = identity_state(identity);
	identity_stats_publish(identity->entry, &identity->stats);
}

/*
 * Getting and losing credentials
 * ------------------------------------------------
 */

/* The server has credentials again: assume the roles that waited for them. */
static void
fetch_waiting_roles(int64_t now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &identities.all)
	{
		Identity   *identity = dlist_container(Identity, node, iter.cur);

		if (identity != identities.own && !identity->present && !identity->fetching)
			identity->fetch_at = now;
	}
}

void
identity_take(Identity *identity, const Credentials *credentials, const char *source,
	 const char *principal, int64_t lifetime, int64_t now)
{
	if (!identity->present || !credentials_equal(&identity->credentials, credentials))
	{
		credentials_wipe(&identity->credentials);
		if (!credentials_copy(&identity->credentials, credentials))
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		identity->generation = ++last_generation;
		identity->stats.fetched_at = GetCurrentTimestamp();
		identity_note_change(IDENTITIES_REFRESHED);
	}
	if (identity == identities.own && !identities.own->present)
		fetch_waiting_roles(now);
	if (identity->logged)
		ereport(LOG,
				(errmsg("firehose sender: credentials of %s found again, from %s",
						identity == identities.own ? "the server" : identity->role_arn, source)));
	identity->logged = false;
	identity->present = true;
	identity->failures = 0;
	identity->expires_at = identity->fetch_at = IDENTITY_NEVER;
	if (lifetime != IDENTITY_NEVER)
	{
		identity->expires_at = now + lifetime;
		identity->fetch_at = now + retry_refresh_delay(&identities.random, lifetime);
	}
	identity->stats.fetches++;
	identity->stats.expires_at = lifetime == IDENTITY_NEVER ? 0 :
		GetCurrentTimestamp() + lifetime;
	strlcpy(identity->stats.source, source, sizeof(identity->stats.source));
	strlcpy(identity->stats.principal, principal, sizeof(identity->stats.principal));
	identity_publish(identity);
}

void
identity_drop(Identity *identity)
{
	if (!identity->present)
		return;
	identity->present = false;
	identity->expires_at = IDENTITY_NEVER;
	identity->generation = ++last_generation;
	credentials_wipe(&identity->credentials);
	sigv4_key_clear(&identity->signing_key);
	identity_note_change(IDENTITIES_REFRESHED);
}

void
identity_note_failure(Identity *identity, const char *problem)
{
	/* streams that wait for the credentials have to be told of the failure */
	if (identity->failures++ == 0 && !identity->present)
		identity_note_change(IDENTITIES_REFRESHED);
	strlcpy(identity->problem, problem, sizeof(identity->problem));
	identity->stats.failures++;
	strlcpy(identity->stats.last_error, problem, sizeof(identity->stats.last_error));
	identity->stats.last_error_at = GetCurrentTimestamp();
	if (!identity->logged)
		ereport(LOG,
				(errmsg("firehose sender: could not get credentials of %s: %s",
						identity == identities.own ? "the server" : identity->role_arn, problem),
				 identity->present ?
				 errdetail("The old ones are used meanwhile.") : 0));
	identity->logged = true;
	identity_publish(identity);
}
