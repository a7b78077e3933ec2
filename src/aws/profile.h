/*-------------------------------------------------------------------------
 *
 * profile.h
 *	  One profile of AWS's shared credentials and config files.
 *
 * The dialect is that of the AWS CLI, which reads these files with Python's
 * configparser: "key = value" or "key: value", keys in either case, comments
 * from a # or ; at the start of a line, lines that are indented deeper than
 * the key before them belong to it, text behind a section's bracket is
 * ignored.  Sections are [name] in the credentials file, and [profile name] in
 * the config file, where the default profile may also be [default],
 * [sso-session name] and [services name].  Below the name of a service in the
 * last there are lines of their own, of which endpoint_url is read.
 *
 * It is more lenient in three points, as other SDKs are: a comment may follow
 * a value that cannot contain a blank, the last of several sections or values
 * wins, and any other line is ignored.  A byte order mark is skipped.
 *
 * Knows no PostgreSQL.  Values are malloc'd and are wiped when freed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_PROFILE_H
#define FIREHOSE_AWS_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

typedef enum ProfileFileKind
{
	PROFILE_CREDENTIALS_FILE,
	PROFILE_CONFIG_FILE,
	PROFILE_SSO_SESSIONS,		/* the config file's sections [sso-session] */
	PROFILE_SERVICES_SECTIONS	/* and its sections [services] */
} ProfileFileKind;

/* The keys that are read; all others are ignored. */
typedef enum ProfileKey
{
	PROFILE_ACCESS_KEY_ID,
	PROFILE_SECRET_ACCESS_KEY,
	PROFILE_SESSION_TOKEN,
	PROFILE_REGION,
	PROFILE_ENDPOINT_URL,
	PROFILE_ROLE_ARN,
	PROFILE_SOURCE_PROFILE,
	PROFILE_CREDENTIAL_SOURCE,
	PROFILE_EXTERNAL_ID,
	PROFILE_ROLE_SESSION_NAME,
	PROFILE_DURATION_SECONDS,
	PROFILE_MFA_SERIAL,
	PROFILE_WEB_IDENTITY_TOKEN_FILE,
	PROFILE_CREDENTIAL_PROCESS,
	PROFILE_SSO_SESSION,
	PROFILE_SSO_ACCOUNT_ID,
	PROFILE_SSO_ROLE_NAME,
	PROFILE_SSO_START_URL,
	PROFILE_SSO_REGION,
	PROFILE_USE_FIPS_ENDPOINT,
	PROFILE_USE_DUALSTACK_ENDPOINT,
	PROFILE_IGNORE_CONFIGURED_ENDPOINT_URLS,
	PROFILE_METADATA_ENDPOINT,
	PROFILE_METADATA_ENDPOINT_MODE,
	PROFILE_STS_REGIONAL_ENDPOINTS,
	PROFILE_SERVICES,
	/* of sections [services]: endpoint_url below the name of the service */
	PROFILE_FIREHOSE_ENDPOINT_URL,
	PROFILE_STS_ENDPOINT_URL,
	PROFILE_SSO_ENDPOINT_URL,
	PROFILE_SSO_OIDC_ENDPOINT_URL,
	PROFILE_NKEYS
} ProfileKey;

/* Zero-initialise before the first use. */
typedef struct Profile
{
	bool		found;			/* is there a section for the profile? */
	char	   *values[PROFILE_NKEYS];	/* NULL if absent or empty */
} Profile;

/* The properties by which versions of a file are told apart. */
typedef struct ProfileStamp
{
	bool		exists;
	dev_t		device;
	ino_t		inode;
	off_t		size;
	time_t		mtime;
	long		mtime_nsec;
	time_t		ctime;			/* tells a new owner or mode, and cp -p */
	long		ctime_nsec;
	uid_t		owner;
	mode_t		mode;
} ProfileStamp;

/* A file in memory.  Zero-initialise before the first use. */
typedef struct ProfileFile
{
	ProfileStamp stamp;
	char	   *text;			/* NULL if there is no file */
	size_t		len;
} ProfileFile;

/*
 * Read one profile from text of the given length into a blank profile.  False
 * with a message if a value that is read contains a control character or
 * memory runs out; messages never contain a value.
 */
extern bool profile_parse(const char *text, size_t len, ProfileFileKind kind,
						  const char *name, Profile *profile,
						  char *errmsg, size_t errmsg_size);

/*
 * Read a file into a blank ProfileFile, and note its version.  A file that
 * does not exist has no text and is no error.  Anything but a regular file of
 * at most 1 MB is an error, so that reading never blocks.
 */
extern bool profile_file_read(const char *path, ProfileFile *file,
							  char *errmsg, size_t errmsg_size);

/* Wipe and free the text; the file is blank again. */
extern void profile_file_free(ProfileFile *file);

/*
 * Read one profile from a file into a blank profile, and note the version of
 * the file.  A file that does not exist is a profile that is not found, not an
 * error.
 */
extern bool profile_read(const char *path, ProfileFileKind kind,
						 const char *name, Profile *profile,
						 ProfileStamp *stamp,
						 char *errmsg, size_t errmsg_size);

/* Is the file another version than the one noted? */
extern bool profile_changed(const char *path, const ProfileStamp *stamp);

/* The name of a key as it is written in the files. */
extern const char *profile_key_name(ProfileKey key);

/* Wipe and free the values; the profile is blank again. */
extern void profile_free(Profile *profile);

#endif							/* FIREHOSE_AWS_PROFILE_H */
