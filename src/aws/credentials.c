/*-------------------------------------------------------------------------
 *
 * credentials.c
 *	  Find the AWS credentials, and notice when they change.
 *
 * Called by the sender, at its start, when a file has changed, when the
 * credentials run out, and when Firehose refuses them.  One load reads both
 * files once; the providers then only choose.  Those that read a profile are
 * in credential_profile.c.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws/credential_lookup.h"
#include "aws/secret.h"

/* The two files, in the order in which they are looked at */
static const struct
{
	ProfileFileKind kind;
	const char *variable;		/* that names the file */
	const char *default_path;	/* below HOME */
}			files[CREDENTIAL_NFILES] =
{
	{PROFILE_CREDENTIALS_FILE, "AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials"},
	{PROFILE_CONFIG_FILE, "AWS_CONFIG_FILE", "/.aws/config"},
};

static CredentialsResult find_in_settings(const CredentialLookup *lookup,
										  CredentialFinding *finding,
										  char *reason, size_t reason_size);

/* In the order in which they are asked */
static const struct
{
	const char *name;
	CredentialProviderFind find;
}			providers[] =
{
	{"settings", find_in_settings},
	{"environment", credential_environment},
	{"assume role", credential_profile_role},
	{"web identity", credential_profile_web_identity},
	{"IAM Identity Center", credential_profile_sso},
	{"shared files", credential_profile_keys},
	{"container", credential_container},
	{"instance metadata", credential_metadata},
};

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* Write a reason and be the result that goes with it. */
#define fail(reason, reason_size, ...) \
	(snprintf(reason, reason_size, __VA_ARGS__), CREDENTIALS_FAILED)

void
credential_wipe_text(char **text)
{
	if (*text != NULL)
		OPENSSL_cleanse(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

void
credentials_wipe(Credentials *credentials)
{
	secret_free(credentials->access_key_id);
	secret_free(credentials->secret_access_key);
	secret_free(credentials->session_token);
	memset(credentials, 0, sizeof(*credentials));
}

bool
credentials_set(Credentials *credentials, const char *access_key_id,
				const char *secret_access_key, const char *session_token,
				time_t expiration, const char *place,
				char *errmsg, size_t errmsg_size)
{
	static const char *const names[3] = {
		"the access key id", "the secret access key", "the session token"
	};
	const char *values[3] = {access_key_id, secret_access_key, session_token};
	char	  **places[3] = {
		&credentials->access_key_id,
		&credentials->secret_access_key,
		&credentials->session_token
	};

	credentials_wipe(credentials);
	for (int i = 0; i < 3; i++)
	{
		const char *value = credential_nonempty(values[i]);

		/* only temporary credentials have one */
		if (value == NULL && i == 2)
			continue;
		if (value == NULL)
		{
			snprintf(errmsg, errmsg_size, "%s is missing in %s", names[i], place);
			return false;
		}
		for (const char *p = value; *p != '\0'; p++)
		{
			if (*p <= ' ' || *p >= 0x7f)
			{
				snprintf(errmsg, errmsg_size,
						 "%s in %s contains a blank, a control character or a non-ASCII character",
						 names[i], place);
				return false;
			}
		}
		*places[i] = secret_copy(value);
		if (*places[i] == NULL)
		{
			snprintf(errmsg, errmsg_size, "out of memory");
			return false;
		}
	}
	credentials->expiration = expiration;
	return true;
}

/* Are these two texts the same? Either may be absent. */
static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
credentials_equal(const Credentials *a, const Credentials *b)
{
	return same(a->access_key_id, b->access_key_id) &&
		same(a->secret_access_key, b->secret_access_key) &&
		same(a->session_token, b->session_token);
}

/* Copy a string that may be absent; false if there is no memory. */
static bool
copy(char **to, const char *from)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from == NULL || *to != NULL;
}

/* The same in memory for secrets. */
static bool
copy_secret(char **to, const char *from)
{
	*to = from != NULL ? secret_copy(from) : NULL;
	return from == NULL || *to != NULL;
}

bool
credentials_copy(Credentials *to, const Credentials *from)
{
	to->expiration = from->expiration;
	return copy_secret(&to->access_key_id, from->access_key_id) &&
		copy_secret(&to->secret_access_key, from->secret_access_key) &&
		copy_secret(&to->session_token, from->session_token);
}

/* Write a path, a leading "~/" being HOME; NULL if that is not set. */
static char *
expand_path(const char *path)
{
	const char *home = credential_nonempty(getenv("HOME"));
	size_t		size;
	char	   *result;

	if (strncmp(path, "~/", 2) != 0)
		return strdup(path);
	if (home == NULL)
		return NULL;
	size = strlen(home) + strlen(path);
	result = malloc(size);
	if (result != NULL)
		snprintf(result, size, "%s%s", home, path + 1);
	return result;
}

/*
 * The path of a file: from the settings, the environment, or HOME.  NULL if
 * none of them is set, as HOME often is not for a system service.
 */
static char *
find_path(int file, const CredentialSource *source, bool *named)
{
	const char *setting = files[file].kind == PROFILE_CREDENTIALS_FILE ?
		source->credentials_file : source->config_file;
	const char *path = credential_first_set(setting, getenv(files[file].variable));
	char		default_path[32];

	*named = path != NULL;
	if (path != NULL)
		return expand_path(path);
	snprintf(default_path, sizeof(default_path), "~%s", files[file].default_path);
	return expand_path(default_path);
}

/* Read one of the files, and the profile from it. */
static void
read_file(CredentialLookup *lookup, int i)
{
	ProfileFile *file = &lookup->files[i];
	char	   *error = lookup->errors[i];
	char		reason[256];

	lookup->paths[i] = find_path(i, lookup->source, &lookup->path_named[i]);
	if (lookup->paths[i] == NULL ||
		!profile_file_read(lookup->paths[i], file, error, CREDENTIAL_REASON_SIZE) ||
		file->text == NULL ||
		profile_parse(file->text, file->len, files[i].kind, lookup->profile,
					  &lookup->profiles[i], reason, sizeof(reason)))
		return;
	snprintf(error, CREDENTIAL_REASON_SIZE, "\"%s\": %s", lookup->paths[i], reason);
}

/* Read the profile from both files. */
static void
begin_lookup(CredentialLookup *lookup, const CredentialSource *source)
{
	memset(lookup, 0, sizeof(*lookup));
	lookup->source = source;
	lookup->ignore_environment = credential_nonempty(source->credentials_file) != NULL ||
		credential_nonempty(source->profile) != NULL;
	lookup->profile = credential_first_set(source->profile, getenv("AWS_DEFAULT_PROFILE"));
	if (lookup->profile == NULL)
		lookup->profile = credential_nonempty(getenv("AWS_PROFILE"));
	lookup->profile_named = lookup->profile != NULL;
	if (lookup->profile == NULL)
		lookup->profile = "default";
	for (int i = 0; i < CREDENTIAL_NFILES; i++)
		read_file(lookup, i);
}

/* The value of a key of the profile in effect, NULL if neither file has it. */
static const char *
profile_value(const CredentialLookup *lookup, ProfileKey key)
{
	return lookup->profiles[0].values[key] != NULL ?
		lookup->profiles[0].values[key] : lookup->profiles[1].values[key];
}

/* Is a switch on: its variable, or else the profile's key? */
static bool
is_on(const CredentialLookup *lookup, const char *variable, ProfileKey key)
{
	const char *value = credential_first_set(getenv(variable), profile_value(lookup, key));

	return value != NULL && strcasecmp(value, "true") == 0;
}

/* The address of the metadata service; NULL if it is switched off. */
static const char *
metadata_url(const CredentialLookup *lookup)
{
	const char *disabled = getenv("AWS_EC2_METADATA_DISABLED");
	const char *url = credential_first_set(getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
										   profile_value(lookup, PROFILE_METADATA_ENDPOINT));
	const char *mode = credential_first_set(getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
											profile_value(lookup, PROFILE_METADATA_ENDPOINT_MODE));

	if (disabled != NULL && strcasecmp(disabled, "true") == 0)
		return NULL;
	if (url != NULL)
		return url;
	return mode != NULL && strcasecmp(mode, "ipv6") == 0 ?
		"http://[fd00:ec2::254]" : "http://169.254.169.254";
}

/*
 * Read the section [services] that the profile names.  False with a message if
 * it cannot be read or does not exist; its endpoints must not be taken for
 * AWS's own then.
 */
static bool
read_services(CredentialLookup *lookup, char *errmsg, size_t errmsg_size)
{
	const char *name = profile_value(lookup, PROFILE_SERVICES);
	const ProfileFile *file = &lookup->files[1];
	char		reason[256];

	if (name == NULL)
		return true;
	if (file->text != NULL &&
		!profile_parse(file->text, file->len, PROFILE_SERVICES_SECTIONS, name,
					   &lookup->services, reason, sizeof(reason)))
		snprintf(errmsg, errmsg_size, "\"%s\": %s", lookup->paths[1], reason);
	else if (!lookup->services.found)
		snprintf(errmsg, errmsg_size, "services \"%s\" of profile \"%s\" does not exist",
				 name, lookup->profile);
	return lookup->services.found;
}

/* Note what the profile and the environment say about endpoints. */
static void
take_endpoints(const CredentialLookup *lookup, EndpointConfig *endpoints)
{
	static const ProfileKey of_services[ENDPOINT_NSERVICES] = {
		[ENDPOINT_FIREHOSE] = PROFILE_FIREHOSE_ENDPOINT_URL,
		[ENDPOINT_STS] = PROFILE_STS_ENDPOINT_URL,
		[ENDPOINT_SSO] = PROFILE_SSO_ENDPOINT_URL,
		[ENDPOINT_SSO_OIDC] = PROFILE_SSO_OIDC_ENDPOINT_URL,
	};
	const char *sts = credential_first_set(getenv("AWS_STS_REGIONAL_ENDPOINTS"),
										   profile_value(lookup, PROFILE_STS_REGIONAL_ENDPOINTS));

	for (int i = 0; i < ENDPOINT_NSERVICES; i++)
	{
		credential_wipe_text(&endpoints->profile_urls[i]);
		(void) copy(&endpoints->profile_urls[i],
					credential_first_set(lookup->services.values[of_services[i]],
										 profile_value(lookup, PROFILE_ENDPOINT_URL)));
	}
	endpoints->ignore_urls = is_on(lookup, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
								   PROFILE_IGNORE_CONFIGURED_ENDPOINT_URLS);
	endpoints->global_sts = sts != NULL && strcmp(sts, "legacy") == 0;
	endpoints->flags =
		(is_on(lookup, "AWS_USE_FIPS_ENDPOINT", PROFILE_USE_FIPS_ENDPOINT) ? ENDPOINT_FIPS : 0) |
		(is_on(lookup, "AWS_USE_DUALSTACK_ENDPOINT", PROFILE_USE_DUALSTACK_ENDPOINT) ?
		 ENDPOINT_DUALSTACK : 0);
}

/* Note what else the profile and the environment name. */
static void
take_client_settings(const CredentialLookup *lookup, CredentialState *state)
{
	credential_wipe_text(&state->region);
	credential_wipe_text(&state->metadata_url);
	(void) copy(&state->region, profile_value(lookup, PROFILE_REGION));
	(void) copy(&state->metadata_url, metadata_url(lookup));
	take_endpoints(lookup, &state->endpoints);
}

/* Hand the paths and versions of the files to the state, and free the rest. */
static void
end_lookup(CredentialLookup *lookup, CredentialState *state)
{
	take_client_settings(lookup, state);
	profile_free(&lookup->services);
	for (int i = 0; i < CREDENTIAL_NFILES; i++)
	{
		profile_free(&lookup->profiles[i]);
		free(state->paths[i]);
		state->paths[i] = lookup->paths[i];
		state->stamps[i] = lookup->files[i].stamp;
		profile_file_free(&lookup->files[i]);
	}
}

/* Keep a finding in place of what was found before. */
static void
keep_finding(CredentialState *state, CredentialFinding *finding, const char *provider)
{
	credentials_wipe(&state->credentials);
	credential_chain_free(&state->chain);
	state->credentials = finding->credentials;
	state->chain = finding->chain;
	state->exposed = finding->exposed;
	state->provider = provider;
}

/* Remember that a provider was passed over, and why. */
static void
append_reason(CredentialState *state, const char *provider, const char *reason)
{
	size_t		len = strlen(state->passed_over);

	if (reason[0] != '\0')
		snprintf(state->passed_over + len, sizeof(state->passed_over) - len,
				 "%s%s: %s", len == 0 ? "" : "; ", provider, reason);
}

CredentialsResult
credentials_load(CredentialState *state, const CredentialSource *source,
				 char *errmsg, size_t errmsg_size)
{
	CredentialLookup lookup;
	CredentialsResult result = CREDENTIALS_NOT_FOUND;

	errmsg[0] = state->passed_over[0] = '\0';
	begin_lookup(&lookup, source);
	if (!read_services(&lookup, errmsg, errmsg_size))
		result = CREDENTIALS_FAILED;
	for (size_t i = 0; i < lengthof(providers) && result == CREDENTIALS_NOT_FOUND; i++)
	{
		CredentialFinding finding = {0};
		char		reason[CREDENTIAL_REASON_SIZE] = "";

		result = providers[i].find(&lookup, &finding, reason, sizeof(reason));
		if (result == CREDENTIALS_FOUND || result == CREDENTIALS_FETCH)
		{
			keep_finding(state, &finding, providers[i].name);
			break;
		}
		credentials_wipe(&finding.credentials);
		credential_chain_free(&finding.chain);
		if (result == CREDENTIALS_FAILED)
			snprintf(errmsg, errmsg_size, "%s", reason);
		else
			append_reason(state, providers[i].name, reason);
	}
	if (result == CREDENTIALS_NOT_FOUND)
		snprintf(errmsg, errmsg_size, "no credentials found: %s", state->passed_over);
	end_lookup(&lookup, state);
	return result;
}

bool
credentials_changed(const CredentialState *state)
{
	for (int i = 0; i < CREDENTIAL_NFILES; i++)
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
	const char *region = credential_first_set(explicit_region, getenv("AWS_REGION"));

	return credential_first_set(region,
								credential_first_set(getenv("AWS_DEFAULT_REGION"),
													 state->region));
}

void
credentials_free(CredentialState *state)
{
	credentials_wipe(&state->credentials);
	credential_chain_free(&state->chain);
	credential_wipe_text(&state->region);
	credential_wipe_text(&state->metadata_url);
	for (int i = 0; i < ENDPOINT_NSERVICES; i++)
		credential_wipe_text(&state->endpoints.profile_urls[i]);
	for (int i = 0; i < CREDENTIAL_NFILES; i++)
		free(state->paths[i]);
	memset(state, 0, sizeof(*state));
}

/* Providers --------------------------------------------------------------- */

/*
 * A file or a profile that was named in the settings has to have them; the
 * environment has no say then.
 */
static CredentialsResult
find_in_settings(const CredentialLookup *lookup, CredentialFinding *finding,
				 char *reason, size_t reason_size)
{
	static const CredentialProviderFind in_profile[] = {
		credential_profile_role, credential_profile_web_identity,
		credential_profile_sso, credential_profile_keys
	};
	CredentialsResult result = CREDENTIALS_NOT_FOUND;

	if (!lookup->ignore_environment)
		return CREDENTIALS_NOT_FOUND;

	/* Keys of the config file must not stand in for a file that is missing */
	if (credential_nonempty(lookup->source->credentials_file) != NULL &&
		lookup->errors[0][0] == '\0' && !lookup->files[0].stamp.exists)
		return fail(reason, reason_size, "file \"%s\" does not exist",
					lookup->source->credentials_file);
	if (credential_nonempty(lookup->source->credentials_file) != NULL &&
		lookup->errors[0][0] != '\0')
		return fail(reason, reason_size, "%s", lookup->errors[0]);

	for (size_t i = 0; i < lengthof(in_profile) && result == CREDENTIALS_NOT_FOUND; i++)
		result = in_profile[i] (lookup, finding, reason, reason_size);
	return result == CREDENTIALS_NOT_FOUND ? CREDENTIALS_FAILED : result;
}

CredentialsResult
credential_environment(const CredentialLookup *lookup, CredentialFinding *finding,
					   char *reason, size_t reason_size)
{
	const char *id = credential_nonempty(getenv("AWS_ACCESS_KEY_ID"));
	const char *secret = credential_nonempty(getenv("AWS_SECRET_ACCESS_KEY"));

	(void) lookup;
	if (id == NULL && secret == NULL)
	{
		snprintf(reason, reason_size, "AWS_ACCESS_KEY_ID is not set");
		return CREDENTIALS_NOT_FOUND;
	}
	if (id == NULL || secret == NULL)
		return fail(reason, reason_size, "%s is missing in the environment",
					id == NULL ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY");
	return credentials_set(&finding->credentials, id, secret,
						   getenv("AWS_SESSION_TOKEN"), 0, "the environment",
						   reason, reason_size) ? CREDENTIALS_FOUND : CREDENTIALS_FAILED;
}

/* Add a step that asks this URL. */
static CredentialsResult
add_url_step(CredentialFinding *finding, CredentialStepKind kind,
			 const char *url, const char *place, char *reason, size_t reason_size)
{
	CredentialStep *step;
	bool		direct;
	char		why[256];

	if (!credential_url_allowed(url, &direct, why, sizeof(why)))
		return fail(reason, reason_size, "%s: %s", place, why);
	step = credential_chain_add(&finding->chain, kind);
	if (step == NULL || !credential_step_set(step, CREDENTIAL_URL, url))
		return fail(reason, reason_size, "out of memory");
	return CREDENTIALS_FETCH;
}

CredentialsResult
credential_container(const CredentialLookup *lookup, CredentialFinding *finding,
					 char *reason, size_t reason_size)
{
	const char *relative = credential_nonempty(getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"));
	const char *full = credential_nonempty(getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
	char		url[1100];

	(void) lookup;
	if (relative == NULL && full == NULL)
	{
		snprintf(reason, reason_size,
				 "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set");
		return CREDENTIALS_NOT_FOUND;
	}
	if (relative == NULL)
		return add_url_step(finding, CREDENTIAL_STEP_CONTAINER, full,
							"AWS_CONTAINER_CREDENTIALS_FULL_URI", reason, reason_size);
	if (relative[0] != '/')
		return fail(reason, reason_size,
					"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with \"/\"");
	snprintf(url, sizeof(url), "http://169.254.170.2%s", relative);
	return add_url_step(finding, CREDENTIAL_STEP_CONTAINER, url,
						"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", reason, reason_size);
}

CredentialsResult
credential_metadata(const CredentialLookup *lookup, CredentialFinding *finding,
					char *reason, size_t reason_size)
{
	const char *url = metadata_url(lookup);

	if (url == NULL)
	{
		snprintf(reason, reason_size, "AWS_EC2_METADATA_DISABLED is true");
		return CREDENTIALS_NOT_FOUND;
	}
	return add_url_step(finding, CREDENTIAL_STEP_METADATA, url,
						"the endpoint of the metadata service", reason, reason_size);
}
