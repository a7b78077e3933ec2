/*-------------------------------------------------------------------------
 *
 * credentials.c
 *	  Find the AWS credentials, and notice when they change.
 *
 * Called by the sender, at its start, when a file has changed, and when
 * Firehose refuses the keys.  One load reads both files once; the providers
 * then only choose.  The header tells how a provider that needs the network
 * would join them.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/credentials.h"

#define NFILES			2
#define REASON_SIZE		1024

/* The two files, in the order in which they are looked at */
static const struct
{
	ProfileFileKind kind;
	const char *variable;		/* that names the file */
	const char *default_path;	/* below HOME */
}			files[NFILES] =
{
	{PROFILE_CREDENTIALS_FILE, "AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials"},
	{PROFILE_CONFIG_FILE, "AWS_CONFIG_FILE", "/.aws/config"},
};

/* All that providers look at */
typedef struct CredentialLookup
{
	const CredentialSource *source;
	const char *profile;		/* name in effect */
	char	   *paths[NFILES];	/* NULL if there is none */
	ProfileStamp stamps[NFILES];
	Profile		profiles[NFILES];
	char		errors[NFILES][REASON_SIZE];	/* "" if the file was read */
} CredentialLookup;

/*
 * A provider fills credentials (blank before) if it finds them, and otherwise
 * says why not.  No reason at all means that nobody asked for this provider.
 */
typedef struct CredentialProvider
{
	const char *name;
	CredentialsResult (*find) (const CredentialLookup *lookup,
							   Credentials *credentials,
							   char *reason, size_t reason_size);
} CredentialProvider;

static CredentialsResult find_in_settings(const CredentialLookup *lookup,
										  Credentials *credentials,
										  char *reason, size_t reason_size);
static CredentialsResult find_in_environment(const CredentialLookup *lookup,
											 Credentials *credentials,
											 char *reason, size_t reason_size);
static CredentialsResult find_in_files(const CredentialLookup *lookup,
									   Credentials *credentials,
									   char *reason, size_t reason_size);

/* In the order in which they are asked */
static const CredentialProvider providers[] =
{
	{"settings", find_in_settings},
	{"environment", find_in_environment},
	{"shared files", find_in_files},
};

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* NULL for what is not set or empty. */
static const char *
nonempty(const char *text)
{
	return text != NULL && text[0] != '\0' ? text : NULL;
}

static const char *
first_set(const char *a, const char *b)
{
	return nonempty(a) != NULL ? a : nonempty(b);
}

/* Write a reason and be the result that goes with it. */
#define fail(reason, reason_size, ...) \
	(snprintf(reason, reason_size, __VA_ARGS__), CREDENTIALS_FAILED)

static void
wipe(char **text)
{
	if (*text != NULL)
		OPENSSL_cleanse(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void
wipe_credentials(Credentials *credentials)
{
	wipe(&credentials->access_key_id);
	wipe(&credentials->secret_access_key);
	wipe(&credentials->session_token);
	credentials->expiration = 0;
}

/*
 * The path of a file: from the settings, the environment, or HOME.  NULL if
 * none of them is set, as HOME often is not for a system service.
 */
static char *
find_path(int file, const CredentialSource *source)
{
	const char *setting = source->config_file;
	const char *home = nonempty(getenv("HOME"));
	const char *named;
	size_t		size;
	char	   *path;

	if (files[file].kind == PROFILE_CREDENTIALS_FILE)
		setting = source->credentials_file;
	named = first_set(setting, getenv(files[file].variable));
	if (named != NULL)
		return strdup(named);
	if (home == NULL)
		return NULL;
	size = strlen(home) + strlen(files[file].default_path) + 1;
	path = malloc(size);
	if (path != NULL)
		snprintf(path, size, "%s%s", home, files[file].default_path);
	return path;
}

/* Read the profile from both files. */
static void
begin_lookup(CredentialLookup *lookup, const CredentialSource *source)
{
	memset(lookup, 0, sizeof(*lookup));
	lookup->source = source;
	lookup->profile = first_set(source->profile, getenv("AWS_PROFILE"));
	if (lookup->profile == NULL)
		lookup->profile = "default";

	for (int i = 0; i < NFILES; i++)
	{
		lookup->paths[i] = find_path(i, source);
		if (lookup->paths[i] != NULL)
			(void) profile_read(lookup->paths[i], files[i].kind,
								lookup->profile, &lookup->profiles[i],
								&lookup->stamps[i],
								lookup->errors[i], REASON_SIZE);
	}
}

/*
 * Hand what was learnt about the files to the state, credentials apart, and
 * free the rest.
 */
static void
end_lookup(CredentialLookup *lookup, CredentialState *state)
{
	wipe(&state->region);
	wipe(&state->endpoint_url);
	for (int i = 0; i < NFILES; i++)
	{
		char	  **values = lookup->profiles[i].values;

		if (state->region == NULL)
		{
			state->region = values[PROFILE_REGION];
			values[PROFILE_REGION] = NULL;
		}
		if (state->endpoint_url == NULL)
		{
			state->endpoint_url = values[PROFILE_ENDPOINT_URL];
			values[PROFILE_ENDPOINT_URL] = NULL;
		}
		profile_free(&lookup->profiles[i]);

		free(state->paths[i]);
		state->paths[i] = lookup->paths[i];
		state->stamps[i] = lookup->stamps[i];
	}
}

/* Explain that no provider found anything, provider by provider. */
static void
append_reason(char *errmsg, size_t errmsg_size, const char *provider,
			  const char *reason)
{
	size_t		len = strlen(errmsg);

	snprintf(errmsg + len, errmsg_size - len, "%s%s: %s",
			 len == 0 ? "no credentials found: " : "; ", provider, reason);
}

CredentialsResult
credentials_load(CredentialState *state, const CredentialSource *source,
				 char *errmsg, size_t errmsg_size)
{
	CredentialLookup lookup;
	Credentials found = {0};
	CredentialsResult result = CREDENTIALS_NOT_FOUND;

	errmsg[0] = '\0';
	begin_lookup(&lookup, source);
	for (size_t i = 0; i < lengthof(providers); i++)
	{
		char		reason[REASON_SIZE] = "";

		result = providers[i].find(&lookup, &found, reason, sizeof(reason));
		if (result == CREDENTIALS_FOUND)
		{
			wipe_credentials(&state->credentials);
			state->credentials = found;
			state->provider = providers[i].name;
			errmsg[0] = '\0';
			break;
		}
		wipe_credentials(&found);
		if (result == CREDENTIALS_FAILED)
		{
			snprintf(errmsg, errmsg_size, "%s", reason);
			break;
		}
		if (reason[0] != '\0')
			append_reason(errmsg, errmsg_size, providers[i].name, reason);
	}
	end_lookup(&lookup, state);
	return result;
}

bool
credentials_changed(const CredentialState *state)
{
	for (int i = 0; i < NFILES; i++)
	{
		if (state->paths[i] != NULL &&
			profile_changed(state->paths[i], &state->stamps[i]))
			return true;
	}
	return false;
}

const char *
credentials_region(const CredentialState *state, const char *explicit_region)
{
	const char *region = first_set(explicit_region, getenv("AWS_REGION"));

	return first_set(region, first_set(getenv("AWS_DEFAULT_REGION"),
									   state->region));
}

void
credentials_free(CredentialState *state)
{
	wipe_credentials(&state->credentials);
	wipe(&state->region);
	wipe(&state->endpoint_url);
	for (int i = 0; i < NFILES; i++)
		free(state->paths[i]);
	memset(state, 0, sizeof(*state));
}

/* The three strings that make credentials, and how messages call them */
typedef struct KeySet
{
	const char *values[3];		/* id, secret, token; NULL or "" if absent */
	const char *names[3];
	const char *place;			/* "the environment" */
} KeySet;

/*
 * Copy a set of keys of which at least one is there.  All three end up in
 * headers of HTTP or next to them, so they have to be visible ASCII.
 */
static CredentialsResult
copy_keys(const KeySet *set, Credentials *credentials,
		  char *reason, size_t reason_size)
{
	char	  **places[3] = {
		&credentials->access_key_id,
		&credentials->secret_access_key,
		&credentials->session_token
	};

	for (int i = 0; i < 3; i++)
	{
		const char *value = nonempty(set->values[i]);

		if (value == NULL)
		{
			if (i == 2)			/* only temporary credentials have a token */
				continue;
			return fail(reason, reason_size, "%s is missing in %s",
						set->names[i], set->place);
		}
		for (const char *p = value; *p != '\0'; p++)
		{
			if (*p <= ' ' || *p >= 0x7f)
				return fail(reason, reason_size,
							"%s in %s contains a blank, a control character or a non-ASCII character",
							set->names[i], set->place);
		}
		*places[i] = strdup(value);
		if (*places[i] == NULL)
			return fail(reason, reason_size, "out of memory");
	}
	return CREDENTIALS_FOUND;
}

/* Is there any part of credentials? */
static bool
any_key(const KeySet *set)
{
	return nonempty(set->values[0]) != NULL || nonempty(set->values[1]) != NULL;
}

/*
 * A file or a profile that was named in the settings has to have them.
 */
static CredentialsResult
find_in_settings(const CredentialLookup *lookup, Credentials *credentials,
				 char *reason, size_t reason_size)
{
	CredentialsResult result;

	if (nonempty(lookup->source->credentials_file) == NULL &&
		nonempty(lookup->source->profile) == NULL)
		return CREDENTIALS_NOT_FOUND;

	/* Keys of the config file must not stand in for a file that is missing */
	if (nonempty(lookup->source->credentials_file) != NULL &&
		lookup->errors[0][0] == '\0' && !lookup->stamps[0].exists)
		return fail(reason, reason_size, "file \"%s\" does not exist",
					lookup->source->credentials_file);

	result = find_in_files(lookup, credentials, reason, reason_size);
	return result == CREDENTIALS_NOT_FOUND ? CREDENTIALS_FAILED : result;
}

static CredentialsResult
find_in_environment(const CredentialLookup *lookup, Credentials *credentials,
					char *reason, size_t reason_size)
{
	KeySet		set = {
		.names = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN"},
		.place = "the environment"
	};

	(void) lookup;
	for (int i = 0; i < 3; i++)
		set.values[i] = getenv(set.names[i]);
	if (!any_key(&set))
	{
		snprintf(reason, reason_size, "%s is not set", set.names[0]);
		return CREDENTIALS_NOT_FOUND;
	}
	return copy_keys(&set, credentials, reason, reason_size);
}

/* Say why the files have no credentials, though they can be read. */
static void
explain_files(const CredentialLookup *lookup, char *reason, size_t reason_size)
{
	for (int i = 0; i < NFILES; i++)
	{
		if (lookup->profiles[i].found)
		{
			snprintf(reason, reason_size,
					 "%s is missing in profile \"%s\" in \"%s\"",
					 profile_key_name(PROFILE_ACCESS_KEY_ID),
					 lookup->profile, lookup->paths[i]);
			return;
		}
	}
	if (lookup->paths[0] == NULL)
		snprintf(reason, reason_size,
				 "neither a credentials file nor HOME is set");
	else if (!lookup->stamps[0].exists)
		snprintf(reason, reason_size, "file \"%s\" does not exist",
				 lookup->paths[0]);
	else
		snprintf(reason, reason_size, "profile \"%s\" not found in \"%s\"",
				 lookup->profile, lookup->paths[0]);
}

/*
 * All keys come from one file, the credentials file first.  A profile with a
 * role is refused: its keys are those of another identity, and using them as
 * they are would not be what its author meant.
 */
static CredentialsResult
find_in_files(const CredentialLookup *lookup, Credentials *credentials,
			  char *reason, size_t reason_size)
{
	for (int i = 0; i < NFILES; i++)
	{
		const Profile *profile = &lookup->profiles[i];

		if (lookup->errors[i][0] != '\0')
			return fail(reason, reason_size, "%s", lookup->errors[i]);
		if (profile->values[PROFILE_ROLE_ARN] != NULL)
			return fail(reason, reason_size,
						"%s in profile \"%s\" in \"%s\" is not supported",
						profile_key_name(PROFILE_ROLE_ARN),
						lookup->profile, lookup->paths[i]);
	}

	for (int i = 0; i < NFILES; i++)
	{
		const Profile *profile = &lookup->profiles[i];
		char		place[REASON_SIZE];
		KeySet		set;

		for (int k = 0; k < 3; k++)
		{
			set.values[k] = profile->values[PROFILE_ACCESS_KEY_ID + k];
			set.names[k] = profile_key_name(PROFILE_ACCESS_KEY_ID + k);
		}
		if (!any_key(&set))
			continue;
		snprintf(place, sizeof(place), "profile \"%s\" in \"%s\"",
				 lookup->profile, lookup->paths[i]);
		set.place = place;
		return copy_keys(&set, credentials, reason, reason_size);
	}
	explain_files(lookup, reason, reason_size);
	return CREDENTIALS_NOT_FOUND;
}
