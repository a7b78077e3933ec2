/*-------------------------------------------------------------------------
 *
 * profile.c
 *	  One profile of AWS's shared credentials and config files.
 *
 * Called by credentials.c and credential_chain.c.  A file is read whole into a
 * buffer that is wiped afterwards, and scanned line by line without copying
 * anything but the values of the profile that is asked for.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws/profile.h"

#define MAX_FILE_SIZE	(1024 * 1024)

#ifdef __APPLE__
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

/*
 * The keys as they are written.  A value that may contain blanks is taken as
 * it is; no comment can follow it.  The name of a service is a key of another
 * kind: its value is the endpoint_url of the deeper lines.
 */
static const struct
{
	const char *name;
	bool		may_have_blanks;
	bool		is_service;
}			keys[PROFILE_NKEYS] =
{
	[PROFILE_ACCESS_KEY_ID] = {"aws_access_key_id", false},
	[PROFILE_SECRET_ACCESS_KEY] = {"aws_secret_access_key", false},
	[PROFILE_SESSION_TOKEN] = {"aws_session_token", false},
	[PROFILE_REGION] = {"region", false},
	[PROFILE_ENDPOINT_URL] = {"endpoint_url", false},
	[PROFILE_ROLE_ARN] = {"role_arn", false},
	[PROFILE_SOURCE_PROFILE] = {"source_profile", true},
	[PROFILE_CREDENTIAL_SOURCE] = {"credential_source", false},
	[PROFILE_EXTERNAL_ID] = {"external_id", false},
	[PROFILE_ROLE_SESSION_NAME] = {"role_session_name", false},
	[PROFILE_DURATION_SECONDS] = {"duration_seconds", false},
	[PROFILE_MFA_SERIAL] = {"mfa_serial", false},
	[PROFILE_WEB_IDENTITY_TOKEN_FILE] = {"web_identity_token_file", true},
	[PROFILE_CREDENTIAL_PROCESS] = {"credential_process", true},
	[PROFILE_SSO_SESSION] = {"sso_session", true},
	[PROFILE_SSO_ACCOUNT_ID] = {"sso_account_id", false},
	[PROFILE_SSO_ROLE_NAME] = {"sso_role_name", false},
	[PROFILE_SSO_START_URL] = {"sso_start_url", true},
	[PROFILE_SSO_REGION] = {"sso_region", false},
	[PROFILE_USE_FIPS_ENDPOINT] = {"use_fips_endpoint", false},
	[PROFILE_USE_DUALSTACK_ENDPOINT] = {"use_dualstack_endpoint", false},
	[PROFILE_IGNORE_CONFIGURED_ENDPOINT_URLS] = {"ignore_configured_endpoint_urls", false},
	[PROFILE_METADATA_ENDPOINT] = {"ec2_metadata_service_endpoint", false},
	[PROFILE_METADATA_ENDPOINT_MODE] = {"ec2_metadata_service_endpoint_mode", false},
	[PROFILE_STS_REGIONAL_ENDPOINTS] = {"sts_regional_endpoints", false},
	[PROFILE_SERVICES] = {"services", true},
	[PROFILE_FIREHOSE_ENDPOINT_URL] = {"firehose", false, true},
	[PROFILE_STS_ENDPOINT_URL] = {"sts", false, true},
	[PROFILE_SSO_ENDPOINT_URL] = {"sso", false, true},
	[PROFILE_SSO_OIDC_ENDPOINT_URL] = {"sso_oidc", false, true},
};

/* A piece of the text */
typedef struct Slice
{
	const char *start;
	const char *end;
} Slice;

/*
 * How well a section fits the profile.  In the config file "[profile default]"
 * hides "[default]".
 */
typedef enum SectionMatch
{
	SECTION_OTHER,
	SECTION_PLAIN_DEFAULT,
	SECTION_EXACT
} SectionMatch;

/* A scan of one file on its way */
typedef struct ProfileScan
{
	ProfileFileKind kind;
	const char *name;			/* of the profile */
	Profile    *profile;
	SectionMatch best;			/* best section seen so far */
	bool		in_section;		/* is the current section that one? */

	/* the last key, to which deeper lines belong */
	bool		after_key;
	size_t		key_indent;
	int			key;			/* a ProfileKey, -1 for any other */
	bool		key_empty;		/* it has no value of its own */

	char	   *errmsg;
	size_t		errmsg_size;
} ProfileScan;

static bool parse_line(ProfileScan *scan, Slice line);
static bool continue_value(ProfileScan *scan, Slice line);
static void parse_section(ProfileScan *scan, Slice line);
static bool parse_property(ProfileScan *scan, Slice line);
static bool parse_service_property(ProfileScan *scan, Slice line);

/* Write a message and be false. */
#define fail(errmsg, errmsg_size, ...) \
	(snprintf(errmsg, errmsg_size, __VA_ARGS__), false)

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static Slice
trim(Slice slice)
{
	while (slice.start < slice.end && is_blank(*slice.start))
		slice.start++;
	while (slice.start < slice.end && is_blank(slice.end[-1]))
		slice.end--;
	return slice;
}

static bool
slice_is(Slice slice, const char *text)
{
	size_t		len = strlen(text);

	return (size_t) (slice.end - slice.start) == len &&
		memcmp(slice.start, text, len) == 0;
}

/* Cut off a comment: # or ; at the start or after white space. */
static Slice
strip_comment(Slice slice)
{
	for (const char *p = slice.start; p < slice.end; p++)
	{
		if ((*p == '#' || *p == ';') &&
			(p == slice.start || is_blank(p[-1])))
		{
			slice.end = p;
			break;
		}
	}
	return trim(slice);
}

bool
profile_parse(const char *text, size_t len, ProfileFileKind kind,
			  const char *name, Profile *profile,
			  char *errmsg, size_t errmsg_size)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";
	const char *end = text + len;
	ProfileScan scan = {
		.kind = kind,
		.name = name,
		.profile = profile,
		.errmsg = errmsg,
		.errmsg_size = errmsg_size
	};

	if (len >= 3 && memcmp(text, byte_order_mark, 3) == 0)
		text += 3;
	while (text < end)
	{
		const char *newline = memchr(text, '\n', end - text);
		Slice		line = {text, newline != NULL ? newline : end};

		if (!parse_line(&scan, line))
		{
			profile_free(profile);
			return false;
		}
		text = newline != NULL ? newline + 1 : end;
	}
	profile->found = scan.best != SECTION_OTHER;
	return true;
}

static bool
parse_line(ProfileScan *scan, Slice line)
{
	Slice		rest = trim(line);
	size_t		indent = rest.start - line.start;

	if (rest.start == rest.end || *rest.start == '#' || *rest.start == ';')
		return true;
	if (scan->after_key && indent > scan->key_indent)
		return continue_value(scan, rest);
	scan->after_key = false;
	scan->key_indent = indent;
	if (*rest.start != '[')
		return parse_property(scan, rest);
	parse_section(scan, rest);
	return true;
}

/*
 * A deeper line continues the value of the key before it.  Below a key without
 * a value there is a table of its own, which is read if the key is a service.
 * A value that is read here may not have a second line.
 */
static bool
continue_value(ProfileScan *scan, Slice line)
{
	if (scan->key < 0 || !scan->in_section)
		return true;
	if (keys[scan->key].is_service)
		return parse_service_property(scan, line);
	if (scan->key_empty)
		return true;
	return fail(scan->errmsg, scan->errmsg_size,
				"%s in profile \"%s\" contains a control character",
				keys[scan->key].name, scan->name);
}

/*
 * Take the name of a profile out of a section's: the credentials file has
 * "name", the config file "profile name" with optional quotes and "default".
 */
static SectionMatch
match_section(const ProfileScan *scan, Slice section)
{
	const char *word = scan->kind == PROFILE_SSO_SESSIONS ? "sso-session" :
		scan->kind == PROFILE_SERVICES_SECTIONS ? "services" : "profile";
	size_t		prefix = strlen(word);
	char		quote;

	if (scan->kind == PROFILE_CREDENTIALS_FILE)
		return slice_is(section, scan->name) ? SECTION_EXACT : SECTION_OTHER;

	if (scan->kind == PROFILE_CONFIG_FILE && slice_is(section, "default"))
		return strcmp(scan->name, "default") == 0 ? SECTION_PLAIN_DEFAULT :
			SECTION_OTHER;

	if ((size_t) (section.end - section.start) <= prefix ||
		memcmp(section.start, word, prefix) != 0 ||
		!is_blank(section.start[prefix]))
		return SECTION_OTHER;
	section.start += prefix;
	section = trim(section);

	quote = section.start < section.end ? *section.start : '\0';
	if ((quote == '"' || quote == '\'') &&
		section.end - section.start >= 2 && section.end[-1] == quote)
	{
		section.start++;
		section.end--;
	}
	return slice_is(section, scan->name) ? SECTION_EXACT : SECTION_OTHER;
}

/* Begin a section; an unknown kind of name begins one that is skipped. */
static void
parse_section(ProfileScan *scan, Slice line)
{
	SectionMatch match = SECTION_OTHER;

	line = strip_comment(line);
	while (line.end > line.start && line.end[-1] != ']')
		line.end--;
	if (line.end > line.start)
	{
		Slice		section = {line.start + 1, line.end - 1};

		match = match_section(scan, trim(section));
	}
	if (match > scan->best)
	{
		profile_free(scan->profile);
		scan->best = match;
	}
	scan->in_section = match != SECTION_OTHER && match == scan->best;
}

/* Keep a value, in place of one that came earlier. */
static bool
set_value(ProfileScan *scan, ProfileKey key, Slice value)
{
	char	  **place = &scan->profile->values[key];
	size_t		len = value.end - value.start;

	for (const char *p = value.start; p < value.end; p++)
	{
		if ((unsigned char) *p < ' ' || *p == 0x7f)
			return fail(scan->errmsg, scan->errmsg_size,
						"%s in profile \"%s\" contains a control character",
						keys[key].name, scan->name);
	}
	if (*place != NULL)
		OPENSSL_cleanse(*place, strlen(*place));
	free(*place);
	*place = NULL;
	if (len == 0)
		return true;

	*place = malloc(len + 1);
	if (*place == NULL)
		return fail(scan->errmsg, scan->errmsg_size, "out of memory");
	memcpy(*place, value.start, len);
	(*place)[len] = '\0';
	return true;
}

/* Is this the name of a key, in either case? */
static bool
is_key(Slice slice, const char *name)
{
	size_t		len = strlen(name);

	if ((size_t) (slice.end - slice.start) != len)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		char		c = slice.start[i];

		if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != name[i])
			return false;
	}
	return true;
}

/* "key = value" or "key: value"; a line with neither is ignored. */
static bool
parse_property(ProfileScan *scan, Slice line)
{
	Slice		key = line;
	Slice		value = line;

	while (value.start < line.end && *value.start != '=' && *value.start != ':')
		value.start++;
	if (value.start == line.end)
		return true;
	key.end = value.start++;
	key = trim(key);
	value = trim(value);
	scan->after_key = true;
	scan->key = -1;
	for (int i = 0; i < PROFILE_NKEYS; i++)
	{
		if (keys[i].is_service == (scan->kind == PROFILE_SERVICES_SECTIONS) &&
			is_key(key, keys[i].name))
			scan->key = i;
	}
	if (scan->key >= 0 && !keys[scan->key].may_have_blanks)
		value = strip_comment(value);
	scan->key_empty = value.start == value.end;
	return scan->key < 0 || !scan->in_section || keys[scan->key].is_service ||
		set_value(scan, scan->key, value);
}

/* "endpoint_url = value" below a service; other properties are ignored. */
static bool
parse_service_property(ProfileScan *scan, Slice line)
{
	const char *sign = memchr(line.start, '=', line.end - line.start);
	Slice		key = {line.start, sign};
	Slice		value = {sign, line.end};

	if (sign == NULL || !is_key(trim(key), keys[PROFILE_ENDPOINT_URL].name))
		return true;
	value.start++;
	return set_value(scan, scan->key, strip_comment(trim(value)));
}

static void
set_stamp(ProfileStamp *stamp, const struct stat *st)
{
	stamp->exists = true;
	stamp->device = st->st_dev;
	stamp->inode = st->st_ino;
	stamp->size = st->st_size;
	stamp->mtime = st->st_mtim.tv_sec;
	stamp->mtime_nsec = st->st_mtim.tv_nsec;
	stamp->ctime = st->st_ctim.tv_sec;
	stamp->ctime_nsec = st->st_ctim.tv_nsec;
	stamp->owner = st->st_uid;
	stamp->mode = st->st_mode;
}

/* Read up to size bytes; returns how many, or -1. */
static ssize_t
read_fully(int fd, char *buf, size_t size)
{
	size_t		total = 0;

	while (total < size)
	{
		ssize_t		n = read(fd, buf + total, size - total);

		if (n == 0)
			break;
		if (n > 0)
			total += n;
		else if (errno != EINTR)
			return -1;
	}
	return total;
}

/* Read an open file. */
static bool
read_open_file(int fd, const char *path, ProfileFile *file,
			   char *errmsg, size_t errmsg_size)
{
	struct stat st;
	ssize_t		len;

	if (fstat(fd, &st) != 0)
		return fail(errmsg, errmsg_size, "could not stat \"%s\": %s",
					path, strerror(errno));
	set_stamp(&file->stamp, &st);
	if (!S_ISREG(st.st_mode))
		return fail(errmsg, errmsg_size, "\"%s\" is not a regular file", path);
	if (st.st_size > MAX_FILE_SIZE)
		return fail(errmsg, errmsg_size, "\"%s\" is larger than %d bytes",
					path, MAX_FILE_SIZE);

	file->text = malloc(st.st_size + 1);
	if (file->text == NULL)
		return fail(errmsg, errmsg_size, "out of memory");
	len = read_fully(fd, file->text, st.st_size);
	file->len = st.st_size;
	if (len >= 0)
	{
		file->len = len;
		return true;
	}
	snprintf(errmsg, errmsg_size, "could not read \"%s\": %s",
			 path, strerror(errno));
	OPENSSL_cleanse(file->text, file->len);
	free(file->text);
	file->text = NULL;
	file->len = 0;
	return false;
}

bool
profile_file_read(const char *path, ProfileFile *file,
				  char *errmsg, size_t errmsg_size)
{
	int			fd;
	bool		ok;

	memset(file, 0, sizeof(*file));

	/* O_NONBLOCK: opening a FIFO would wait until something writes to it */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
	{
		struct stat st;

		if (errno == ENOENT || errno == ENOTDIR)
			return true;
		snprintf(errmsg, errmsg_size, "could not open \"%s\": %s",
				 path, strerror(errno));
		/* Not readable, but known: its mode or owner may be mended */
		if (stat(path, &st) == 0)
			set_stamp(&file->stamp, &st);
		return false;
	}
	ok = read_open_file(fd, path, file, errmsg, errmsg_size);
	close(fd);
	return ok;
}

void
profile_file_free(ProfileFile *file)
{
	if (file->text != NULL)
		OPENSSL_cleanse(file->text, file->len);
	free(file->text);
	memset(file, 0, sizeof(*file));
}

bool
profile_read(const char *path, ProfileFileKind kind, const char *name,
			 Profile *profile, ProfileStamp *stamp,
			 char *errmsg, size_t errmsg_size)
{
	ProfileFile file;
	char		reason[256];
	bool		ok = profile_file_read(path, &file, errmsg, errmsg_size);

	*stamp = file.stamp;
	if (ok && file.text != NULL &&
		!profile_parse(file.text, file.len, kind, name, profile,
					   reason, sizeof(reason)))
		ok = fail(errmsg, errmsg_size, "\"%s\": %s", path, reason);
	profile_file_free(&file);
	return ok;
}

bool
profile_changed(const char *path, const ProfileStamp *stamp)
{
	struct stat st;
	ProfileStamp now = {0};

	if (stat(path, &st) == 0)
		set_stamp(&now, &st);
	return now.exists != stamp->exists ||
		now.device != stamp->device ||
		now.inode != stamp->inode ||
		now.size != stamp->size ||
		now.mtime != stamp->mtime ||
		now.mtime_nsec != stamp->mtime_nsec ||
		now.ctime != stamp->ctime ||
		now.ctime_nsec != stamp->ctime_nsec;
}

const char *
profile_key_name(ProfileKey key)
{
	return keys[key].name;
}

void
profile_free(Profile *profile)
{
	for (int i = 0; i < PROFILE_NKEYS; i++)
	{
		if (profile->values[i] != NULL)
			OPENSSL_cleanse(profile->values[i], strlen(profile->values[i]));
		free(profile->values[i]);
	}
	memset(profile, 0, sizeof(*profile));
}
