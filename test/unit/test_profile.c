/*-------------------------------------------------------------------------
 *
 * test_profile.c
 *	  The dialect of AWS's files is read as AWS's SDKs read it, files of any
 *	  other kind than a regular one are refused at once, and changes are seen.
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws/profile.h"
#include "tap.h"

typedef struct Case
{
	const char *name;
	ProfileFileKind kind;
	const char *profile;
	const char *text;
	bool		found;
	const char *values[PROFILE_NKEYS];	/* id, secret, token, region, ... */
} Case;

#define CREDENTIALS PROFILE_CREDENTIALS_FILE
#define CONFIG PROFILE_CONFIG_FILE
#define NONE {NULL}

static const Case cases[] = {
	{"empty file", CREDENTIALS, "default", "", false, NONE},
	{"plain", CREDENTIALS, "default",
		"[default]\naws_access_key_id = AK\naws_secret_access_key=SK\naws_session_token =ST\n",
	true, {"AK", "SK", "ST"}},
	{"no newline at the end", CREDENTIALS, "default",
	"[default]\nregion=r", true, {NULL, NULL, NULL, "r"}},
	{"CR LF", CREDENTIALS, "default",
	"[default]\r\naws_access_key_id = AK\r\n\r\n", true, {"AK"}},
	{"all keys", CREDENTIALS, "p",
		"[p]\naws_access_key_id=1\naws_secret_access_key=2\naws_session_token=3\nregion=4\nendpoint_url=5\nrole_arn=6\nother=7\n",
	true, {"1", "2", "3", "4", "5", "6"}},
	{"the right section", CREDENTIALS, "b",
		"region=0\n[a]\nregion=1\n[b]\nregion=2\n[c]\nregion=3\n",
	true, {NULL, NULL, NULL, "2"}},
	{"a section is not a prefix", CREDENTIALS, "b",
	"[bb]\nregion=1\n[]\nregion=2\n", false, NONE},
	{"an empty section", CREDENTIALS, "b", "[b]\n", true, NONE},
	{"blanks in the brackets", CREDENTIALS, "b", "[ \tb ]\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"comment behind a section", CREDENTIALS, "b", "[b] # x\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"a section without its bracket ends the one before", CREDENTIALS, "b",
	"[b]\nregion=1\n[c\nregion=2\n", true, {NULL, NULL, NULL, "1"}},
	{"a section in two parts", CREDENTIALS, "b",
		"[b]\nregion=1\n[c]\n[b]\nregion=2\naws_access_key_id=AK\n",
	true, {"AK", NULL, NULL, "2"}},
	{"a name with blanks", CREDENTIALS, "my profile",
	"[my profile]\nregion=1\n", true, {NULL, NULL, NULL, "1"}},

	{"comments", CREDENTIALS, "p",
		"# [p]\n; x\n  # region=0\n[p]\n#region=1\n;region=2\nregion=3 # region=4\naws_access_key_id=AK ; x\n",
	true, {"AK", NULL, NULL, "3"}},
	{"# is part of a value if no blank is before it", CREDENTIALS, "p",
		"[p]\naws_secret_access_key=a#b;c/+=\naws_session_token=x\t#y\n",
	true, {NULL, "a#b;c/+=", "x"}},
	{"a value that is a comment", CREDENTIALS, "p",
	"[p]\nregion = # none\n", true, NONE},
	{"the last value wins", CREDENTIALS, "p",
	"[p]\nregion=1\nregion=2\n", true, {NULL, NULL, NULL, "2"}},
	{"an empty value takes one back", CREDENTIALS, "p",
	"[p]\nregion=1\nregion=\n", true, NONE},
	{"keys are in either case", CREDENTIALS, "p",
	"[p]\nREGION=1\nRegion=2\n", true, {NULL, NULL, NULL, "2"}},
	{"a colon separates as well", CREDENTIALS, "p",
		"[p]\nregion: 1\nregion 2\nrole_arn = arn:aws:x\n",
	true, {NULL, NULL, NULL, "1", NULL, "arn:aws:x"}},
	{"a byte order mark", CREDENTIALS, "p", "\xef\xbb\xbf[p]\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"text behind a section", CREDENTIALS, "p", "[p] old\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"a value that may have blanks has no comment", CREDENTIALS, "p",
		"[p]\nsource_profile = a # b\n",
	true, {NULL, NULL, NULL, NULL, NULL, NULL, "a # b"}},
	{"no value is quoted", CREDENTIALS, "p", "[p]\nregion=\"1\"\n",
	true, {NULL, NULL, NULL, "\"1\""}},
	{"a blank inside a value", CREDENTIALS, "p", "[p]\nrole_arn = a b \n",
	true, {NULL, NULL, NULL, NULL, NULL, "a b"}},

	{"indented lines belong to a key without a value", CREDENTIALS, "p",
		"[p]\ns3 =\n  region = 1\n\n\tregion = 2\naws_access_key_id=AK\n",
	true, {"AK"}},
	{"otherwise they are lines like any other", CREDENTIALS, "p",
		"[p]\n  region = 1\n  aws_access_key_id = AK\n",
	true, {"AK", NULL, NULL, "1"}},
	{"a deeper line is no key", CREDENTIALS, "p",
		"[p]\nother = x\n  region = 1\n\n  region = 2\naws_access_key_id=AK\n",
	true, {"AK"}},
	{"a nested block of another section ends with it", CREDENTIALS, "p",
		"[o]\ns3 =\n  region = 1\n[p]\n  region = 2\n",
	true, {NULL, NULL, NULL, "2"}},

	{"config: profile p", CONFIG, "p", "[profile p]\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"config: quoted", CONFIG, "p q", "[profile \"p q\"]\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"config: single quotes", CONFIG, "p", "[profile\t'p']\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"config: one quote only", CONFIG, "p", "[profile \"p]\nregion=1\n",
	false, NONE},
	{"config: just p", CONFIG, "p", "[p]\nregion=1\n", false, NONE},
	{"config: profilep", CONFIG, "p", "[profilep]\nregion=1\n", false, NONE},
	{"config: profile alone", CONFIG, "p", "[profile]\nregion=1\n[profile ]\n",
	false, NONE},
	{"config: default", CONFIG, "default", "[default]\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"config: profile default", CONFIG, "default",
	"[profile default]\nregion=1\n", true, {NULL, NULL, NULL, "1"}},
	{"config: profile default hides default before it", CONFIG, "default",
		"[default]\nregion=1\naws_access_key_id=AK\n[profile default]\nregion=2\n",
	true, {NULL, NULL, NULL, "2"}},
	{"config: and behind it", CONFIG, "default",
		"[profile default]\nregion=2\n[default]\nregion=1\naws_access_key_id=AK\n",
	true, {NULL, NULL, NULL, "2"}},
	{"config: other kinds of sections", CONFIG, "p",
		"[sso-session p]\nregion=1\n[services p]\nregion=2\n",
	false, NONE},
	{"sso-session", PROFILE_SSO_SESSIONS, "p",
		"[profile p]\nsso_region=0\n[sso-session \"p\"]\nregion=1\n",
	true, {NULL, NULL, NULL, "1"}},
	{"services", PROFILE_SERVICES_SECTIONS, "p",
		"[profile p]\nfirehose =\n  endpoint_url = 0\n[services p]\nregion = no\n"
		"firehose =\n  region = no\n  ENDPOINT_URL = https://f:1 # x\nS3 =\n  endpoint_url = no\n"
		"sts=\n\tendpoint_url=https://s\n[services q]\nsso =\n  endpoint_url = no\n",
		true, {[PROFILE_FIREHOSE_ENDPOINT_URL] = "https://f:1",
	[PROFILE_STS_ENDPOINT_URL] = "https://s"}},
	{"services: what is not below a service", PROFILE_SERVICES_SECTIONS, "p",
		"[services p]\nendpoint_url = 1\nsso = 2\n  endpoint_url 3\nsso_oidc = endpoint_url = 4\n",
	true, NONE},
	{"services: a section for profiles has none", CONFIG, "p",
	"[profile p]\nfirehose =\n  endpoint_url = 1\nservices = my own\n", true, {[PROFILE_SERVICES] = "my own"}},
	{"credentials: profile p is a name", CREDENTIALS, "p",
	"[profile p]\nregion=1\n", false, NONE},
};

static char errmsg[300];

static void
test_cases(void)
{
	for (size_t i = 0; i < lengthof(cases); i++)
	{
		const Case *c = &cases[i];
		Profile		profile = {0};
		size_t		len = strlen(c->text);
		char	   *text = malloc(len + 1);
		bool		same = true;

		memcpy(text, c->text, len);
		ok(profile_parse(text, len, c->kind, c->profile, &profile,
						 errmsg, sizeof(errmsg)) &&
		   profile.found == c->found, "%s", c->name);
		for (int k = 0; k < PROFILE_NKEYS; k++)
		{
			const char *got = profile.values[k];

			if (got == NULL ? c->values[k] != NULL :
				c->values[k] == NULL || strcmp(got, c->values[k]) != 0)
				same = false;
		}
		ok(same, "  its values");
		profile_free(&profile);
		free(text);
	}
}

static void
test_control_characters(void)
{
	static const char text[] = "[p]\naws_secret_access_key = SECRET\0SECRET\n";
	static const char *const texts[] = {
		"[p]\nregion = a\x01\n", "[p]\nregion = a\177b\n",
		"[p]\nregion = a\tb\n", "[p]\nregion = a\rb\n",
		"[p]\nregion = a\n  b\n",
	};
	Profile		profile = {0};

	ok(!profile_parse(text, sizeof(text) - 1, CREDENTIALS, "p", &profile,
					  errmsg, sizeof(errmsg)), "NUL in a value");
	is_str(errmsg,
		   "aws_secret_access_key in profile \"p\" contains a control character",
		   "  the message does not tell the secret");
	for (size_t i = 0; i < lengthof(texts); i++)
	{
		ok(!profile_parse(texts[i], strlen(texts[i]), CREDENTIALS, "p",
						  &profile, errmsg, sizeof(errmsg)),
		   "control character %zu", i);
		ok(profile_parse(texts[i], strlen(texts[i]), CREDENTIALS, "q",
						 &profile, errmsg, sizeof(errmsg)),
		   "  is no matter in another profile");
	}
}

/* Write a file, in place or as a new one. */
static void
write_file(const char *path, const char *text)
{
	FILE	   *file = fopen(path, "w");

	fputs(text, file);
	fclose(file);
}

/* Set the time at which a file was modified. */
static void
set_time(const char *path, const ProfileStamp *stamp)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}};

	times[1].tv_sec = stamp->mtime;
	times[1].tv_nsec = stamp->mtime_nsec;
	utimensat(AT_FDCWD, path, times, 0);
}

/* Other text of the same size, within the time that a file system has. */
static void
test_rotation(const char *dir)
{
	char		path[200];
	char		other[200];
	Profile		profile = {0};
	ProfileStamp stamp;

	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	write_file(path, "[p]\nregion=12\n");
	profile_read(path, CREDENTIALS, "p", &profile, &stamp, errmsg, sizeof(errmsg));
	profile_free(&profile);
	write_file(other, "[p]\nregion=21\n");
	set_time(other, &stamp);
	rename(other, path);
	ok(profile_changed(path, &stamp), "another file in its place, as cp -p makes it");
	ok(profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					errmsg, sizeof(errmsg)), "read again");
	is_str(profile.values[PROFILE_REGION], "21", "  its content is the new one");
	profile_free(&profile);
	write_file(path, "[p]\nregion=22\n");
	set_time(path, &stamp);
	ok(profile_changed(path, &stamp), "other text of the same size and time in the same file");
	unlink(path);
}

/* What is in a directory that cannot be entered is noticed when it can be. */
static void
test_directory(const char *dir)
{
	char		path[200];
	char		inner[100];
	Profile		profile = {0};
	ProfileStamp stamp;

	if (geteuid() == 0)
		return;					/* who may enter all */
	snprintf(inner, sizeof(inner), "%s/inner", dir);
	snprintf(path, sizeof(path), "%s/file", inner);
	mkdir(inner, 0700);
	write_file(path, "[p]\nregion=1\n");
	ok(profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					errmsg, sizeof(errmsg)), "a file in a directory");
	profile_free(&profile);
	chmod(inner, 0);
	ok(profile_changed(path, &stamp), "whose directory is closed");
	ok(!profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					 errmsg, sizeof(errmsg)), "cannot be read");
	ok(!profile_changed(path, &stamp), "which does not change by itself");
	chmod(inner, 0700);
	ok(profile_changed(path, &stamp), "but when it is opened");
	unlink(path);
	rmdir(inner);
}

static void
test_files(const char *dir)
{
	char		path[200];
	char		other[200];
	Profile		profile = {0};
	ProfileStamp stamp;

	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(other, sizeof(other), "%s/other", dir);

	ok(profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					errmsg, sizeof(errmsg)) && !profile.found && !stamp.exists,
	   "a file that does not exist");
	ok(!profile_changed(path, &stamp), "still does not");
	write_file(path, "[p]\nregion=1\n");
	ok(profile_changed(path, &stamp), "now it does");

	ok(profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					errmsg, sizeof(errmsg)) && profile.found && stamp.exists,
	   "a file that exists");
	is_str(profile.values[PROFILE_REGION], "1", "  is read");
	profile_free(&profile);
	ok(!profile_changed(path, &stamp), "and has not changed");
	write_file(path, "[p]\nregion=11\n");
	ok(profile_changed(path, &stamp), "now it has another size");

	ok(profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					errmsg, sizeof(errmsg)), "read again");
	profile_free(&profile);
	chmod(path, 0640);
	ok(profile_changed(path, &stamp), "another mode");
	ok(profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					errmsg, sizeof(errmsg)) && (stamp.mode & 0777) == 0640,
	   "read again");
	profile_free(&profile);
	write_file(other, "[p]\nregion=12\n");
	rename(other, path);
	ok(profile_changed(path, &stamp), "another file in its place");
	ok(profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					errmsg, sizeof(errmsg)), "read again");
	profile_free(&profile);
	unlink(path);
	ok(profile_changed(path, &stamp), "none in its place");

	mkfifo(path, 0600);
	ok(!profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					 errmsg, sizeof(errmsg)), "a FIFO does not block");
	ok(strstr(errmsg, "is not a regular file") != NULL, "  message");
	unlink(path);
	ok(!profile_read(dir, CREDENTIALS, "p", &profile, &stamp,
					 errmsg, sizeof(errmsg)), "a directory is refused");

	write_file(path, "x");
	truncate(path, 1024 * 1024 + 1);
	ok(!profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					 errmsg, sizeof(errmsg)), "a large file is refused");
	write_file(path, "[p]\nregion=a\x01\n");
	ok(!profile_read(path, CREDENTIALS, "p", &profile, &stamp,
					 errmsg, sizeof(errmsg)), "a control character in a file");
	ok(strstr(errmsg, path) != NULL, "  the message names the file");
	ok(!profile_changed(path, &stamp), "  it is not read again until it changes");
	unlink(path);

	snprintf(other, sizeof(other), "%s/file/x", dir);
	write_file(path, "");
	ok(profile_read(other, CREDENTIALS, "p", &profile, &stamp,
					errmsg, sizeof(errmsg)) && !stamp.exists,
	   "a file below a file does not exist");
	unlink(path);

	if (geteuid() != 0)			/* root may read anything */
	{
		write_file(path, "[p]\n");
		chmod(path, 0);
		ok(!profile_read(path, CREDENTIALS, "p", &profile, &stamp,
						 errmsg, sizeof(errmsg)), "a file that may not be read");
		ok(!profile_changed(path, &stamp), "  is not tried until it changes");
		unlink(path);
	}
}

int
main(void)
{
	char		dir[] = "/tmp/test_profile.XXXXXX";

	test_cases();
	test_control_characters();
	if (ok(mkdtemp(dir) != NULL, "directory for files"))
	{
		test_files(dir);
		test_rotation(dir);
		test_directory(dir);
		rmdir(dir);
	}
	is_str(profile_key_name(PROFILE_ENDPOINT_URL), "endpoint_url", "key name");
	return done_testing();
}
