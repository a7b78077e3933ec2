/*-------------------------------------------------------------------------
 *
 * credential_profile.c
 *	  The providers of credentials that a profile configures.
 *
 * Called by credentials.c.  A profile is made of the config file and the
 * credentials file together; where both do, the credentials file counts, as
 * with the AWS CLI.  The rules for a role, its source and the order in which
 * the source's own providers are asked are botocore's, and a test compares
 * them with botocore itself.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/credential_lookup.h"

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* Write a reason and be the result that goes with it. */
#define fail(reason, reason_size, ...) \
	(snprintf(reason, reason_size, __VA_ARGS__), CREDENTIALS_FAILED)

/* A profile that is looked at, and the profile that named it */
typedef struct ProfileView
{
	const CredentialLookup *lookup;
	const char *name;
	Profile		own[CREDENTIAL_NFILES]; /* freed by close_view() */
	const Profile *profiles;	/* .own, or the lookup's */
	const struct ProfileView *parent;	/* the profile whose source this is */
} ProfileView;

static CredentialsResult find_role(const ProfileView *view, CredentialFinding *finding,
								   char *reason, size_t reason_size);

/* View the profile in effect, which the lookup has read already. */
static ProfileView
view_effective(const CredentialLookup *lookup)
{
	return (ProfileView) {
		.lookup = lookup, .name = lookup->profile, .profiles = lookup->profiles
	};
}

/* The value of a key, NULL if neither file has it. */
static const char *
get(const ProfileView *view, ProfileKey key)
{
	return view->profiles[0].values[key] != NULL ?
		view->profiles[0].values[key] : view->profiles[1].values[key];
}

/* Read another profile, the source of this one. */
static CredentialsResult
open_view(ProfileView *view, const ProfileView *parent, const char *name,
		  char *reason, size_t reason_size)
{
	const CredentialLookup *lookup = parent->lookup;

	memset(view, 0, sizeof(*view));
	view->lookup = lookup;
	view->name = name;
	view->parent = parent;
	view->profiles = view->own;
	for (int i = 0; i < CREDENTIAL_NFILES; i++)
	{
		const ProfileFile *file = &lookup->files[i];
		char		why[256];

		if (file->text != NULL &&
			!profile_parse(file->text, file->len,
						   i == 0 ? PROFILE_CREDENTIALS_FILE : PROFILE_CONFIG_FILE,
						   name, &view->own[i], why, sizeof(why)))
			return fail(reason, reason_size, "\"%s\": %s", lookup->paths[i], why);
	}
	return CREDENTIALS_FOUND;
}

static void
close_view(ProfileView *view)
{
	for (int i = 0; i < CREDENTIAL_NFILES; i++)
		profile_free(&view->own[i]);
}

/* Keys -------------------------------------------------------------------- */

/* Copy the keys that one file has for the profile. */
static CredentialsResult
find_keys(const ProfileView *view, int file, CredentialFinding *finding,
		  char *reason, size_t reason_size)
{
	char *const *values = view->profiles[file].values;
	const ProfileStamp *stamp = &view->lookup->files[file].stamp;
	char		place[CREDENTIAL_REASON_SIZE];

	if (values[PROFILE_ACCESS_KEY_ID] == NULL &&
		values[PROFILE_SECRET_ACCESS_KEY] == NULL)
		return CREDENTIALS_NOT_FOUND;
	snprintf(place, sizeof(place), "profile \"%s\" in \"%s\"",
			 view->name, view->lookup->paths[file]);
	for (int i = 0; i < 2; i++)
	{
		if (values[PROFILE_ACCESS_KEY_ID + i] == NULL)
			return fail(reason, reason_size, "%s is missing in %s",
						profile_key_name(PROFILE_ACCESS_KEY_ID + i), place);
	}
	if (!credentials_set(&finding->credentials, values[PROFILE_ACCESS_KEY_ID],
						 values[PROFILE_SECRET_ACCESS_KEY],
						 values[PROFILE_SESSION_TOKEN], 0, place,
						 reason, reason_size))
		return CREDENTIALS_FAILED;
	finding->exposed = (stamp->mode & 044) != 0;
	return CREDENTIALS_FOUND;
}

/*
 * Use the profile's credential_process.  A program runs as the server's user,
 * so only files that this user or root alone can write may name one.
 */
static CredentialsResult
find_process(const ProfileView *view, CredentialFinding *finding,
			 char *reason, size_t reason_size)
{
	const char *command = get(view, PROFILE_CREDENTIAL_PROCESS);
	int			file = view->profiles[0].values[PROFILE_CREDENTIAL_PROCESS] != NULL ? 0 : 1;
	const ProfileStamp *stamp = &view->lookup->files[file].stamp;
	CredentialStep *step;

	if (command == NULL)
		return CREDENTIALS_NOT_FOUND;
	if ((stamp->owner != geteuid() && stamp->owner != 0) || (stamp->mode & 022) != 0)
		return fail(reason, reason_size,
					"credential_process in \"%s\" is not run, because other users than the server's can write that file",
					view->lookup->paths[file]);
	step = credential_chain_add(&finding->chain, CREDENTIAL_STEP_PROCESS);
	if (step == NULL || !credential_step_set(step, CREDENTIAL_COMMAND, command))
		return fail(reason, reason_size, "out of memory");
	return CREDENTIALS_FETCH;
}

/*
 * The credentials file's keys, the credential_process, the config file's keys
 */
static CredentialsResult
find_keys_or_process(const ProfileView *view, CredentialFinding *finding,
					 char *reason, size_t reason_size)
{
	CredentialsResult result = find_keys(view, 0, finding, reason, reason_size);

	if (result == CREDENTIALS_NOT_FOUND)
		result = find_process(view, finding, reason, reason_size);
	if (result == CREDENTIALS_NOT_FOUND)
		result = find_keys(view, 1, finding, reason, reason_size);
	return result;
}

/* Say why the files have no credentials, though they can be read. */
static void
explain_files(const CredentialLookup *lookup, char *reason, size_t reason_size)
{
	for (int i = 0; i < CREDENTIAL_NFILES; i++)
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
	else if (!lookup->files[0].stamp.exists)
		snprintf(reason, reason_size, "file \"%s\" does not exist",
				 lookup->paths[0]);
	else
		snprintf(reason, reason_size, "profile \"%s\" not found in \"%s\"",
				 lookup->profile, lookup->paths[0]);
}

/*
 * All keys come from one file.  A file that cannot be opened is a failure only
 * if the other one has nothing; one with a bad value always is.  A profile
 * that was named must exist.
 */
CredentialsResult
credential_profile_keys(const CredentialLookup *lookup, CredentialFinding *finding,
						char *reason, size_t reason_size)
{
	ProfileView view = view_effective(lookup);
	CredentialsResult result;

	for (int i = 0; i < CREDENTIAL_NFILES; i++)
	{
		if (lookup->errors[i][0] != '\0' && lookup->files[i].text != NULL)
			return fail(reason, reason_size, "%s", lookup->errors[i]);
	}
	result = find_keys_or_process(&view, finding, reason, reason_size);
	if (result != CREDENTIALS_NOT_FOUND)
		return result;
	for (int i = 0; i < CREDENTIAL_NFILES; i++)
	{
		if (lookup->errors[i][0] != '\0')
			return fail(reason, reason_size, "%s", lookup->errors[i]);
	}
	explain_files(lookup, reason, reason_size);
	if (lookup->profile_named && !lookup->profiles[0].found && !lookup->profiles[1].found)
		return CREDENTIALS_FAILED;
	return CREDENTIALS_NOT_FOUND;
}

/* Web identity ------------------------------------------------------------ */

/* A variable of the environment, unless something else was named. */
static const char *
environment(const ProfileView *view, const char *variable)
{
	if (view->parent != NULL || view->lookup->ignore_environment)
		return NULL;
	return credential_nonempty(getenv(variable));
}

static CredentialsResult
find_web_identity(const ProfileView *view, CredentialFinding *finding,
				  char *reason, size_t reason_size)
{
	const char *file = credential_first_set(environment(view, "AWS_WEB_IDENTITY_TOKEN_FILE"),
											get(view, PROFILE_WEB_IDENTITY_TOKEN_FILE));
	const char *role = credential_first_set(environment(view, "AWS_ROLE_ARN"),
											get(view, PROFILE_ROLE_ARN));
	const char *session = credential_first_set(environment(view, "AWS_ROLE_SESSION_NAME"),
											   get(view, PROFILE_ROLE_SESSION_NAME));
	CredentialStep *step;

	if (file == NULL)
		return CREDENTIALS_NOT_FOUND;
	if (role == NULL)
		return fail(reason, reason_size,
					"a web identity token file is set, but neither AWS_ROLE_ARN nor role_arn of profile \"%s\" is",
					view->name);
	step = credential_chain_add(&finding->chain, CREDENTIAL_STEP_WEB_IDENTITY);
	if (step == NULL || !credential_step_set(step, CREDENTIAL_TOKEN_FILE, file) ||
		!credential_step_set(step, CREDENTIAL_ROLE_ARN, role) ||
		!credential_step_set(step, CREDENTIAL_SESSION_NAME, session))
		return fail(reason, reason_size, "out of memory");
	return CREDENTIALS_FETCH;
}

CredentialsResult
credential_profile_web_identity(const CredentialLookup *lookup,
								CredentialFinding *finding,
								char *reason, size_t reason_size)
{
	ProfileView view = view_effective(lookup);

	return find_web_identity(&view, finding, reason, reason_size);
}

/* IAM Identity Center ----------------------------------------------------- */

/* Write the path of a cached token: the SHA-1 of its name, below HOME. */
static bool
sso_token_path(const char *name, char *path, size_t path_size)
{
	const char *home = credential_nonempty(getenv("HOME"));
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	char		hex[2 * EVP_MAX_MD_SIZE + 1];

	if (home == NULL ||
		EVP_Digest(name, strlen(name), digest, &len, EVP_sha1(), NULL) != 1)
		return false;
	for (unsigned int i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	return (size_t) snprintf(path, path_size, "%s/.aws/sso/cache/%s.json",
							 home, hex) < path_size;
}

/*
 * Merge the keys of the session that the profile names.  Keys that both have
 * must have the same value.
 */
static CredentialsResult
merge_sso_session(const ProfileView *view, const char *session, Profile *merged,
				  char *reason, size_t reason_size)
{
	const ProfileFile *file = &view->lookup->files[1];
	char		why[256];

	if (file->text != NULL &&
		!profile_parse(file->text, file->len, PROFILE_SSO_SESSIONS, session,
					   merged, why, sizeof(why)))
		return fail(reason, reason_size, "\"%s\": %s", view->lookup->paths[1], why);
	if (!merged->found)
		return fail(reason, reason_size, "sso-session \"%s\" of profile \"%s\" does not exist",
					session, view->name);
	for (int key = 0; key < PROFILE_NKEYS; key++)
	{
		const char *value = get(view, key);

		if (value != NULL && merged->values[key] != NULL &&
			strcmp(value, merged->values[key]) != 0)
			return fail(reason, reason_size, "%s differs between profile \"%s\" and sso-session \"%s\"",
						profile_key_name(key), view->name, session);
	}
	return CREDENTIALS_FETCH;
}

/* Add the step that the profile and its session describe together. */
static CredentialsResult
add_sso_step(const ProfileView *view, const char *session, const Profile *merged,
			 CredentialFinding *finding, char *reason, size_t reason_size)
{
	static const ProfileKey needed[] = {
		PROFILE_SSO_ROLE_NAME, PROFILE_SSO_ACCOUNT_ID,
		PROFILE_SSO_START_URL, PROFILE_SSO_REGION
	};
	const char *values[lengthof(needed)];
	char		path[1024];
	CredentialStep *step;

	for (size_t i = 0; i < lengthof(needed); i++)
	{
		values[i] = credential_first_set(merged->values[needed[i]], get(view, needed[i]));
		if (values[i] == NULL)
			return fail(reason, reason_size, "%s is missing in profile \"%s\"",
						profile_key_name(needed[i]), view->name);
	}
	if (!sso_token_path(session != NULL ? session : values[2], path, sizeof(path)))
		return fail(reason, reason_size,
					"the cached token of IAM Identity Center is below HOME, which is not set");
	step = credential_chain_add(&finding->chain, CREDENTIAL_STEP_SSO);
	if (step == NULL || !credential_step_set(step, CREDENTIAL_SSO_TOKEN_FILE, path) ||
		!credential_step_set(step, CREDENTIAL_SSO_ROLE_NAME, values[0]) ||
		!credential_step_set(step, CREDENTIAL_SSO_ACCOUNT_ID, values[1]) ||
		!credential_step_set(step, CREDENTIAL_SSO_REGION, values[3]) ||
		!credential_step_set(step, CREDENTIAL_SSO_REFRESHABLE, session != NULL ? "true" : NULL))
		return fail(reason, reason_size, "out of memory");
	return CREDENTIALS_FETCH;
}

static CredentialsResult
find_sso(const ProfileView *view, CredentialFinding *finding,
		 char *reason, size_t reason_size)
{
	const char *session = get(view, PROFILE_SSO_SESSION);
	Profile		merged = {0};
	CredentialsResult result = CREDENTIALS_FETCH;

	if (get(view, PROFILE_SSO_ROLE_NAME) == NULL &&
		get(view, PROFILE_SSO_ACCOUNT_ID) == NULL)
		return CREDENTIALS_NOT_FOUND;
	if (session != NULL)
		result = merge_sso_session(view, session, &merged, reason, reason_size);
	if (result == CREDENTIALS_FETCH)
		result = add_sso_step(view, session, &merged, finding, reason, reason_size);
	profile_free(&merged);
	return result;
}

CredentialsResult
credential_profile_sso(const CredentialLookup *lookup, CredentialFinding *finding,
					   char *reason, size_t reason_size)
{
	ProfileView view = view_effective(lookup);

	return find_sso(&view, finding, reason, reason_size);
}

/* Roles ------------------------------------------------------------------- */

static bool
has_role(const ProfileView *view)
{
	return get(view, PROFILE_ROLE_ARN) != NULL &&
		get(view, PROFILE_WEB_IDENTITY_TOKEN_FILE) == NULL;
}

static bool
has_keys(const ProfileView *view)
{
	return get(view, PROFILE_ACCESS_KEY_ID) != NULL ||
		get(view, PROFILE_SECRET_ACCESS_KEY) != NULL;
}

/* Find the source that credential_source names. */
static CredentialsResult
find_named_source(const ProfileView *view, const char *name,
				  CredentialFinding *finding, char *reason, size_t reason_size)
{
	static const struct
	{
		const char *name;
		CredentialProviderFind find;
	}			sources[] =
	{
		{"Environment", credential_environment},
		{"Ec2InstanceMetadata", credential_metadata},
		{"EcsContainer", credential_container},
	};
	char		why[CREDENTIAL_REASON_SIZE] = "it is not configured";

	for (size_t i = 0; i < lengthof(sources); i++)
	{
		CredentialsResult result;

		if (strcmp(name, sources[i].name) != 0)
			continue;
		result = sources[i].find(view->lookup, finding, why, sizeof(why));
		if (result == CREDENTIALS_FOUND || result == CREDENTIALS_FETCH)
			return result;
		return fail(reason, reason_size, "credential_source %s of profile \"%s\": %s",
					name, view->name, why);
	}
	return fail(reason, reason_size, "credential_source \"%s\" of profile \"%s\" is unknown",
				name, view->name);
}

/* Find the credentials of a profile that is another one's source. */
static CredentialsResult
find_source(const ProfileView *view, CredentialFinding *finding,
			char *reason, size_t reason_size)
{
	CredentialsResult result;

	if (has_role(view) && !has_keys(view))
		return find_role(view, finding, reason, reason_size);
	result = find_web_identity(view, finding, reason, reason_size);
	if (result == CREDENTIALS_NOT_FOUND)
		result = find_sso(view, finding, reason, reason_size);
	if (result == CREDENTIALS_NOT_FOUND)
		result = find_keys_or_process(view, finding, reason, reason_size);
	if (result == CREDENTIALS_NOT_FOUND)
		result = fail(reason, reason_size,
					  "profile \"%s\", the source of profile \"%s\", has no credentials",
					  view->name, view->parent->name);
	return result;
}

/* Find the source that source_profile names; it may be the profile itself. */
static CredentialsResult
find_source_profile(const ProfileView *view, const char *name,
					CredentialFinding *finding, char *reason, size_t reason_size)
{
	ProfileView source;
	CredentialsResult result = open_view(&source, view, name, reason, reason_size);
	bool		visited = false;
	int			depth = 0;

	for (const ProfileView *v = view; v != NULL; v = v->parent, depth++)
		visited |= strcmp(v->name, name) == 0;
	if (result != CREDENTIALS_FAILED)
	{
		if (!source.profiles[0].found && !source.profiles[1].found)
			result = fail(reason, reason_size,
						  "source_profile \"%s\" of profile \"%s\" does not exist",
						  name, view->name);
		else if (depth >= CREDENTIAL_MAX_STEPS)
			result = fail(reason, reason_size, "more than %d roles follow each other",
						  CREDENTIAL_MAX_STEPS - 1);
		else if (visited && (strcmp(view->name, name) != 0 || !has_keys(&source)))
			result = fail(reason, reason_size,
						  "source_profile \"%s\" of profile \"%s\" leads back to itself",
						  name, view->name);
		else
			result = find_source(&source, finding, reason, reason_size);
	}
	close_view(&source);
	return result;
}

/* Add the step that assumes the profile's role with what was found. */
static CredentialsResult
add_role_step(const ProfileView *view, CredentialFinding *finding,
			  char *reason, size_t reason_size)
{
	const char *duration = get(view, PROFILE_DURATION_SECONDS);
	CredentialStep *step = credential_chain_add(&finding->chain,
												CREDENTIAL_STEP_ASSUME_ROLE);

	/* botocore ignores a duration that is no number */
	if (duration != NULL && duration[strspn(duration, "0123456789")] != '\0')
		duration = NULL;
	if (step == NULL)
		return fail(reason, reason_size, "more than %d roles follow each other",
					CREDENTIAL_MAX_STEPS - 1);
	if (!credential_step_set(step, CREDENTIAL_ROLE_ARN, get(view, PROFILE_ROLE_ARN)) ||
		!credential_step_set(step, CREDENTIAL_EXTERNAL_ID, get(view, PROFILE_EXTERNAL_ID)) ||
		!credential_step_set(step, CREDENTIAL_SESSION_NAME, get(view, PROFILE_ROLE_SESSION_NAME)) ||
		!credential_step_set(step, CREDENTIAL_DURATION, duration))
		return fail(reason, reason_size, "out of memory");
	return CREDENTIALS_FETCH;
}

/* Find the credentials of a profile with a role, its source first. */
static CredentialsResult
find_role(const ProfileView *view, CredentialFinding *finding,
		  char *reason, size_t reason_size)
{
	const char *source_profile = get(view, PROFILE_SOURCE_PROFILE);
	const char *credential_source = get(view, PROFILE_CREDENTIAL_SOURCE);
	CredentialsResult result;

	if (get(view, PROFILE_MFA_SERIAL) != NULL)
		return fail(reason, reason_size,
					"profile \"%s\" has mfa_serial, but a server cannot ask for a code",
					view->name);
	if (source_profile != NULL && credential_source != NULL)
		return fail(reason, reason_size,
					"profile \"%s\" has both source_profile and credential_source",
					view->name);
	if (source_profile != NULL)
		result = find_source_profile(view, source_profile, finding, reason, reason_size);
	else if (credential_source != NULL)
		result = find_named_source(view, credential_source, finding, reason, reason_size);
	else
		result = fail(reason, reason_size,
					  "profile \"%s\" has role_arn, but neither source_profile nor credential_source",
					  view->name);
	if (result == CREDENTIALS_FOUND || result == CREDENTIALS_FETCH)
		result = add_role_step(view, finding, reason, reason_size);
	return result;
}

CredentialsResult
credential_profile_role(const CredentialLookup *lookup, CredentialFinding *finding,
						char *reason, size_t reason_size)
{
	ProfileView view = view_effective(lookup);

	if (!has_role(&view))
		return CREDENTIALS_NOT_FOUND;
	return find_role(&view, finding, reason, reason_size);
}
