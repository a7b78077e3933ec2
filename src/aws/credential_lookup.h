/*-------------------------------------------------------------------------
 *
 * credential_lookup.h
 *	  The places where the providers of credentials look, and the form of what
 *	  they find.
 *
 * Between credentials.c, which has the table of providers, and
 * credential_profile.c, which has the providers that read a profile.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIAL_LOOKUP_H
#define FIREHOSE_AWS_CREDENTIAL_LOOKUP_H

#include "aws/credentials.h"

#define CREDENTIAL_NFILES		2	/* the credentials file, the config file */
#define CREDENTIAL_REASON_SIZE	1024

/* Everything that providers read */
typedef struct CredentialLookup
{
	const CredentialSource *source;
	const char *profile;		/* name in effect */
	bool		profile_named;	/* by a setting or the environment */
	bool		ignore_environment; /* the settings decide alone */
	char	   *paths[CREDENTIAL_NFILES];	/* NULL if there is none */
	bool		path_named[CREDENTIAL_NFILES];	/* the same */
	ProfileFile files[CREDENTIAL_NFILES];
	/* "": all is well */
	char		errors[CREDENTIAL_NFILES][CREDENTIAL_REASON_SIZE];
	Profile		profiles[CREDENTIAL_NFILES];	/* the one in effect */
	Profile		services;		/* the section [services] that it names */
} CredentialLookup;

/* The result of a provider; blank before */
typedef struct CredentialFinding
{
	Credentials credentials;
	CredentialChain chain;
	bool		exposed;
} CredentialFinding;

/*
 * A provider fills the finding if it finds something, and otherwise says why
 * not.  No reason at all means that this provider is not configured.
 */
typedef CredentialsResult (*CredentialProviderFind) (const CredentialLookup *lookup,
													 CredentialFinding *finding,
													 char *reason, size_t reason_size);

/* Those of the profile in effect, in the order in which they are asked */
extern CredentialsResult credential_profile_role(const CredentialLookup *lookup,
												 CredentialFinding *finding,
												 char *reason, size_t reason_size);
extern CredentialsResult credential_profile_web_identity(const CredentialLookup *lookup,
														 CredentialFinding *finding,
														 char *reason, size_t reason_size);
extern CredentialsResult credential_profile_sso(const CredentialLookup *lookup,
												CredentialFinding *finding,
												char *reason, size_t reason_size);
extern CredentialsResult credential_profile_keys(const CredentialLookup *lookup,
												 CredentialFinding *finding,
												 char *reason, size_t reason_size);

/* Those that credential_source can name */
extern CredentialsResult credential_environment(const CredentialLookup *lookup,
												CredentialFinding *finding,
												char *reason, size_t reason_size);
extern CredentialsResult credential_container(const CredentialLookup *lookup,
											  CredentialFinding *finding,
											  char *reason, size_t reason_size);
extern CredentialsResult credential_metadata(const CredentialLookup *lookup,
											 CredentialFinding *finding,
											 char *reason, size_t reason_size);

/* NULL for what is not set or empty. */
static inline const char *
credential_nonempty(const char *text)
{
	return text != NULL && text[0] != '\0' ? text : NULL;
}

static inline const char *
credential_first_set(const char *a, const char *b)
{
	return credential_nonempty(a) != NULL ? a : credential_nonempty(b);
}

#endif							/* FIREHOSE_AWS_CREDENTIAL_LOOKUP_H */
