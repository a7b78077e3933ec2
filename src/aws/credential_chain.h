/*-------------------------------------------------------------------------
 *
 * credential_chain.h
 *	  The list of steps that have to be carried out to have credentials.
 *
 * The first step gets credentials from a service or a program, unless there
 * are some from the start; each further step assumes a role with those of the
 * step before it.  credentials.h makes such a list from the environment and
 * the files, credential_fetch.h carries it out.
 *
 * Knows no PostgreSQL.  A chain holds no secret, but it may hold an address
 * that is as good as one (a container's), so messages do not quote it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_CREDENTIAL_CHAIN_H
#define FIREHOSE_AWS_CREDENTIAL_CHAIN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Roles assumed one after the other.  AWS allows longer chains, which no
 * set-up is known to need.
 */
#define CREDENTIAL_MAX_STEPS	8

typedef enum CredentialStepKind
{
	CREDENTIAL_STEP_METADATA,	/* URL */
	CREDENTIAL_STEP_CONTAINER,	/* URL */
	CREDENTIAL_STEP_WEB_IDENTITY,	/* ROLE_ARN, TOKEN_FILE, SESSION_NAME */
	CREDENTIAL_STEP_SSO,		/* SSO_* */
	CREDENTIAL_STEP_PROCESS,	/* COMMAND */
	CREDENTIAL_STEP_ASSUME_ROLE /* ROLE_ARN, EXTERNAL_ID, SESSION_NAME,
								 * DURATION */
} CredentialStepKind;

typedef enum CredentialStepValue
{
	CREDENTIAL_URL,
	CREDENTIAL_ROLE_ARN,
	CREDENTIAL_EXTERNAL_ID,
	CREDENTIAL_SESSION_NAME,
	CREDENTIAL_DURATION,
	CREDENTIAL_TOKEN_FILE,
	CREDENTIAL_COMMAND,
	CREDENTIAL_SSO_TOKEN_FILE,
	CREDENTIAL_SSO_REGION,
	CREDENTIAL_SSO_ACCOUNT_ID,
	CREDENTIAL_SSO_ROLE_NAME,
	CREDENTIAL_SSO_REFRESHABLE, /* "true": the token is one of a session */
	CREDENTIAL_STEP_NVALUES
} CredentialStepValue;

typedef struct CredentialStep
{
	CredentialStepKind kind;
	char	   *values[CREDENTIAL_STEP_NVALUES];	/* malloc'd or NULL */
} CredentialStep;

/* Zero-initialise before the first use. */
typedef struct CredentialChain
{
	int			nsteps;
	CredentialStep steps[CREDENTIAL_MAX_STEPS];
} CredentialChain;

/* Add a step; NULL if there are too many. */
extern CredentialStep *credential_chain_add(CredentialChain *chain,
											CredentialStepKind kind);

/* Copy a value into a step; NULL and "" leave it out.  False: no memory. */
extern bool credential_step_set(CredentialStep *step,
								CredentialStepValue which, const char *value);

/* Have these two chains the same steps with the same values? */
extern bool credential_chain_equal(const CredentialChain *a,
								   const CredentialChain *b);

/* Free everything; the chain is blank again. */
extern void credential_chain_free(CredentialChain *chain);

/* The name of a kind of step, for messages and views. */
extern const char *credential_step_name(CredentialStepKind kind);

/*
 * May credentials be fetched from this URL of a container's agent or of the
 * metadata service?  By https from anywhere; by http from loopback and from
 * the link-local addresses that AWS uses for it.  *direct is set if it must
 * never be reached through a proxy.  False with a message that does not quote
 * the URL.
 */
extern bool credential_url_allowed(const char *url, bool *direct,
								   char *errmsg, size_t errmsg_size);

#endif							/* FIREHOSE_AWS_CREDENTIAL_CHAIN_H */
