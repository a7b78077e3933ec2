/*-------------------------------------------------------------------------
 *
 * profile.h
 *	  One profile of AWS's shared credentials and config files.
 *
 * The dialect is that of the AWS SDKs for C and JavaScript: "key = value" with
 * lower-case keys, comments from a # or ; at the start of a line or after
 * white space, indented lines under a key without a value belong to that key
 * (and hold nothing that matters here), the last of several values wins.
 * Sections are [name] in the credentials file and [profile name] in the
 * config file, where the default profile may also be [default].
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
	PROFILE_CONFIG_FILE
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
	PROFILE_NKEYS
} ProfileKey;

/* Zero-initialise before the first use. */
typedef struct Profile
{
	bool		found;			/* is there a section for the profile? */
	char	   *values[PROFILE_NKEYS];	/* NULL if absent or empty */
} Profile;

/* What tells one version of a file from another. */
typedef struct ProfileStamp
{
	bool		exists;
	dev_t		device;
	ino_t		inode;
	off_t		size;
	time_t		mtime;
	long		mtime_nsec;
} ProfileStamp;

/*
 * Read one profile from text of the given length into a blank profile.  False
 * with a message if a value that is read contains a control character or
 * memory runs out; messages never contain a value.
 */
extern bool profile_parse(const char *text, size_t len, ProfileFileKind kind,
						  const char *name, Profile *profile,
						  char *errmsg, size_t errmsg_size);

/*
 * Read one profile from a file into a blank profile, and note the version of
 * the file.  A file that does not exist is a profile that is not found, not an
 * error.  Anything but a regular file of at most 1 MB is an error, so that
 * reading never blocks.
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
