/*-------------------------------------------------------------------------
 *
 * profile.c
 *	  One profile of AWS's shared credentials and config files.
 *
 * Called by credentials.c.  The file is read whole into a buffer that is wiped
 * afterwards, and scanned line by line without copying anything but the
 * values of the profile that is asked for.
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
#endif

static const char *const key_names[PROFILE_NKEYS] =
{
	[PROFILE_ACCESS_KEY_ID] = "aws_access_key_id",
	[PROFILE_SECRET_ACCESS_KEY] = "aws_secret_access_key",
	[PROFILE_SESSION_TOKEN] = "aws_session_token",
	[PROFILE_REGION] = "region",
	[PROFILE_ENDPOINT_URL] = "endpoint_url",
	[PROFILE_ROLE_ARN] = "role_arn",
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
	bool		in_nested;		/* do indented lines belong to the last key? */
	char	   *errmsg;
	size_t		errmsg_size;
} ProfileScan;

static bool parse_line(ProfileScan *scan, Slice line);
static void parse_section(ProfileScan *scan, Slice line);
static bool parse_property(ProfileScan *scan, Slice line);

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
	const char *end = text + len;
	ProfileScan scan = {
		.kind = kind,
		.name = name,
		.profile = profile,
		.errmsg = errmsg,
		.errmsg_size = errmsg_size
	};

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
	bool		indented = line.start < line.end && is_blank(*line.start);

	line = strip_comment(trim(line));
	if (line.start == line.end || (indented && scan->in_nested))
		return true;
	scan->in_nested = false;
	if (*line.start != '[')
		return parse_property(scan, line);
	parse_section(scan, line);
	return true;
}

/*
 * Take the name of a profile out of a section's: the credentials file has
 * "name", the config file "profile name" with optional quotes and "default".
 */
static SectionMatch
match_section(const ProfileScan *scan, Slice section)
{
	size_t		prefix = strlen("profile");
	char		quote;

	if (scan->kind == PROFILE_CREDENTIALS_FILE)
		return slice_is(section, scan->name) ? SECTION_EXACT : SECTION_OTHER;

	if (slice_is(section, "default"))
		return strcmp(scan->name, "default") == 0 ? SECTION_PLAIN_DEFAULT :
			SECTION_OTHER;

	if ((size_t) (section.end - section.start) <= prefix ||
		memcmp(section.start, "profile", prefix) != 0 ||
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

/* Begin a section; what is no section's name begins one of no interest. */
static void
parse_section(ProfileScan *scan, Slice line)
{
	SectionMatch match = SECTION_OTHER;

	if (line.end[-1] == ']')
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
						key_names[key], scan->name);
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

/* "key = value"; a line without "=" says nothing. */
static bool
parse_property(ProfileScan *scan, Slice line)
{
	const char *equals = memchr(line.start, '=', line.end - line.start);
	Slice		key = line;
	Slice		value = line;

	if (equals == NULL)
		return true;
	key.end = equals;
	key = trim(key);
	value.start = equals + 1;
	value = trim(value);
	scan->in_nested = value.start == value.end;
	if (!scan->in_section)
		return true;

	for (int i = 0; i < PROFILE_NKEYS; i++)
	{
		if (slice_is(key, key_names[i]))
			return set_value(scan, i, value);
	}
	return true;
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

/* Read an open file and parse it. */
static bool
read_file(int fd, const char *path, ProfileFileKind kind, const char *name,
		  Profile *profile, ProfileStamp *stamp,
		  char *errmsg, size_t errmsg_size)
{
	struct stat st;
	char	   *buf;
	ssize_t		len;
	char		reason[256];
	bool		ok;

	if (fstat(fd, &st) != 0)
		return fail(errmsg, errmsg_size, "could not stat \"%s\": %s",
					path, strerror(errno));
	set_stamp(stamp, &st);
	if (!S_ISREG(st.st_mode))
		return fail(errmsg, errmsg_size, "\"%s\" is not a regular file", path);
	if (st.st_size > MAX_FILE_SIZE)
		return fail(errmsg, errmsg_size, "\"%s\" is larger than %d bytes",
					path, MAX_FILE_SIZE);

	buf = malloc(st.st_size + 1);
	if (buf == NULL)
		return fail(errmsg, errmsg_size, "out of memory");
	len = read_fully(fd, buf, st.st_size);
	if (len < 0)
		ok = fail(errmsg, errmsg_size, "could not read \"%s\": %s",
				  path, strerror(errno));
	else
	{
		ok = profile_parse(buf, len, kind, name, profile,
						   reason, sizeof(reason));
		if (!ok)
			snprintf(errmsg, errmsg_size, "\"%s\": %s", path, reason);
	}
	OPENSSL_cleanse(buf, st.st_size + 1);
	free(buf);
	return ok;
}

bool
profile_read(const char *path, ProfileFileKind kind, const char *name,
			 Profile *profile, ProfileStamp *stamp,
			 char *errmsg, size_t errmsg_size)
{
	int			fd;
	bool		ok;

	memset(stamp, 0, sizeof(*stamp));

	/* O_NONBLOCK: opening a FIFO would wait for somebody to write to it */
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
			set_stamp(stamp, &st);
		return false;
	}
	ok = read_file(fd, path, kind, name, profile, stamp,
				   errmsg, errmsg_size);
	close(fd);
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
		now.mtime_nsec != stamp->mtime_nsec;
}

const char *
profile_key_name(ProfileKey key)
{
	return key_names[key];
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
