/*-------------------------------------------------------------------------
 *
 * test_credentials.c
 *	  The chain of providers asks in AWS's order, explains itself without
 *	  telling a secret, and notices files that change.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws/credentials.h"
#include "tap.h"

static char dir[] = "/tmp/test_credentials.XXXXXX";
static char errmsg[2048];
static CredentialState state;

static const char *const variables[] = {
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_PROFILE",
	"AWS_REGION", "AWS_DEFAULT_REGION", "HOME",
};

/* A path in the test's directory; the last four stay valid. */
static const char *
path_of(const char *name)
{
	static char paths[4][200];
	static int	next;

	next = (next + 1) % 4;
	snprintf(paths[next], sizeof(paths[next]), "%s/%s", dir, name);
	return paths[next];
}

static void
write_file(const char *name, const char *text)
{
	FILE	   *file = fopen(path_of(name), "w");

	fputs(text, file);
	fclose(file);
}

static void
clear_environment(void)
{
	for (size_t i = 0; i < lengthof(variables); i++)
		unsetenv(variables[i]);
}

/* Load with these settings; the message must hold no secret. */
static CredentialsResult
load(const char *credentials_file, const char *config_file, const char *profile)
{
	CredentialSource source = {credentials_file, config_file, profile};
	CredentialsResult result = credentials_load(&state, &source, errmsg,
												sizeof(errmsg));

	ok(strstr(errmsg, "HUSH") == NULL, "  no secret in the message");
	return result;
}

/* Compare what was found, and by whom. */
static void
is_found(const char *id, const char *secret, const char *token,
		 const char *provider)
{
	is_str(state.credentials.access_key_id, id, "  access key id");
	is_str(state.credentials.secret_access_key, secret, "  secret");
	is_str(state.credentials.session_token, token, "  token");
	is_str(state.provider, provider, "  provider");
}

/* Fill a message's %1$s with the test's directory and compare. */
static void
is_message(const char *format, const char *name)
{
	char		expected[2048];
	char	   *out = expected;

	for (const char *p = format; *p != '\0'; p++)
	{
		if (*p == '$')
			out += sprintf(out, "%s", dir);
		else
			*out++ = *p;
	}
	*out = '\0';
	is_str(errmsg, expected, name);
}

static void
test_nothing(void)
{
	clear_environment();
	is_int(load(NULL, NULL, NULL), CREDENTIALS_NOT_FOUND, "nothing at all");
	is_message("no credentials found: environment: AWS_ACCESS_KEY_ID is not set; "
			   "shared files: neither a credentials file nor HOME is set",
			   "  message");
	ok(!credentials_changed(&state), "  and nothing to change");
	ok(state.provider == NULL, "  no provider");

	setenv("HOME", dir, 1);
	is_int(load("", "", ""), CREDENTIALS_NOT_FOUND, "a home without files");
	is_message("no credentials found: environment: AWS_ACCESS_KEY_ID is not set; "
			   "shared files: file \"$/.aws/credentials\" does not exist",
			   "  message");
	ok(!credentials_changed(&state), "  unchanged");
	write_file(".aws/credentials", "[default]\naws_access_key_id=HOMEID\naws_secret_access_key=HUSH1\n");
	ok(credentials_changed(&state), "until a file appears");
}

static void
test_files(void)
{
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FOUND, "files below HOME");
	is_found("HOMEID", "HUSH1", NULL, "shared files");
	is_str(errmsg, "", "  no message");
	ok(!credentials_changed(&state), "  unchanged");

	write_file(".aws/config", "[default]\nregion=eu-west-1\nendpoint_url=https://x\naws_access_key_id=OTHER\naws_secret_access_key=HUSH2\n");
	ok(credentials_changed(&state), "a config file appears");
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FOUND, "both files");
	is_found("HOMEID", "HUSH1", NULL, "shared files");
	is_str(state.region, "eu-west-1", "  region from the config file");
	is_str(state.endpoint_url, "https://x", "  endpoint_url as well");

	write_file(".aws/credentials", "[default]\nregion=us-east-2\n");
	ok(credentials_changed(&state), "a file changes");
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FOUND, "keys in the config file");
	is_found("OTHER", "HUSH2", NULL, "shared files");
	is_str(state.region, "us-east-2", "  the credentials file goes first");

	setenv("AWS_PROFILE", "p", 1);
	is_int(load(NULL, NULL, NULL), CREDENTIALS_NOT_FOUND, "AWS_PROFILE");
	is_message("no credentials found: environment: AWS_ACCESS_KEY_ID is not set; "
			   "shared files: profile \"p\" not found in \"$/.aws/credentials\"",
			   "  message");
	is_found("OTHER", "HUSH2", NULL, "shared files");
	ok(state.region == NULL, "  keys are kept, the region is not");

	setenv("AWS_SHARED_CREDENTIALS_FILE", path_of("other"), 1);
	setenv("AWS_CONFIG_FILE", path_of("config"), 1);
	write_file("other", "[p]\naws_access_key_id=PID\naws_secret_access_key=HUSH3\naws_session_token=HUSH4\n");
	write_file("config", "[profile p]\nregion=ap-south-1\n");
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FOUND, "files from variables");
	is_found("PID", "HUSH3", "HUSH4", "shared files");
	is_str(state.region, "ap-south-1", "  region of the profile");
}

static void
test_environment(void)
{
	setenv("AWS_ACCESS_KEY_ID", "ENVID", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "HUSH5", 1);
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FOUND, "environment");
	is_found("ENVID", "HUSH5", NULL, "environment");
	is_str(state.region, "ap-south-1", "  region still from the profile");
	setenv("AWS_SESSION_TOKEN", "HUSH6", 1);
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FOUND, "with a token");
	is_found("ENVID", "HUSH5", "HUSH6", "environment");

	is_int(load(path_of("other"), NULL, NULL), CREDENTIALS_FOUND,
		   "a file that is set explicitly goes first");
	is_found("PID", "HUSH3", "HUSH4", "settings");
	is_int(load(NULL, NULL, "p"), CREDENTIALS_FOUND, "so does a profile");
	is_found("PID", "HUSH3", "HUSH4", "settings");

	setenv("AWS_SECRET_ACCESS_KEY", "", 1);
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FAILED, "half a pair");
	is_message("AWS_SECRET_ACCESS_KEY is missing in the environment", "  message");
	is_found("PID", "HUSH3", "HUSH4", "settings");
	setenv("AWS_SECRET_ACCESS_KEY", "HUSH\r\nX-Evil: 1", 1);
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FAILED, "a line break");
	setenv("AWS_SECRET_ACCESS_KEY", "HUSH 7", 1);
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FAILED, "a blank");
	setenv("AWS_SECRET_ACCESS_KEY", "HUSH\xc3\xa9", 1);
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FAILED, "a non-ASCII character");
	is_message("AWS_SECRET_ACCESS_KEY in the environment contains a blank, a control character or a non-ASCII character",
			   "  message");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_ACCESS_KEY_ID");
}

static void
test_settings(void)
{
	is_int(load(path_of("nowhere"), NULL, NULL), CREDENTIALS_FAILED,
		   "an explicit file that does not exist");
	is_message("file \"$/nowhere\" does not exist", "  message");
	is_int(load(path_of("other"), NULL, "q"), CREDENTIALS_FAILED,
		   "an explicit profile that does not exist");
	is_message("profile \"q\" not found in \"$/other\"", "  message");

	write_file("other", "[p]\naws_access_key_id=PID\n");
	is_int(load(path_of("other"), NULL, NULL), CREDENTIALS_FAILED,
		   "a profile without a secret");
	is_message("aws_secret_access_key is missing in profile \"p\" in \"$/other\"",
			   "  message");
	write_file("other", "[p]\naws_secret_access_key=HUSH\n");
	is_int(load(path_of("other"), NULL, NULL), CREDENTIALS_FAILED,
		   "a profile without an id");
	is_message("aws_access_key_id is missing in profile \"p\" in \"$/other\"",
			   "  message");
	write_file("other", "[p]\nregion=r\n");
	is_int(load(path_of("other"), NULL, NULL), CREDENTIALS_FAILED,
		   "a profile without both");
	is_message("aws_access_key_id is missing in profile \"p\" in \"$/other\"",
			   "  message");

	write_file("other", "[p]\naws_access_key_id=PID\naws_secret_access_key=HUSH\nrole_arn=arn:x\n");
	is_int(load(path_of("other"), NULL, NULL), CREDENTIALS_FAILED,
		   "a profile with a role");
	is_message("role_arn in profile \"p\" in \"$/other\" is not supported",
			   "  message");
	write_file("other", "[p]\naws_access_key_id=PID\naws_secret_access_key=HUSH\x01\n");
	is_int(load(path_of("other"), NULL, NULL), CREDENTIALS_FAILED,
		   "a control character in the secret");
	is_message("\"$/other\": aws_secret_access_key in profile \"p\" contains a control character",
			   "  message");
	is_int(load(dir, NULL, NULL), CREDENTIALS_FAILED, "a directory");
	is_message("\"$\" is not a regular file", "  message");

	write_file("conf2", "[profile p]\naws_access_key_id=CID\naws_secret_access_key=HUSH8\n");
	is_int(load(NULL, path_of("conf2"), "p"), CREDENTIALS_FAILED,
		   "a bad credentials file is not passed over");
	unlink(path_of("other"));
	is_int(load(NULL, path_of("conf2"), "p"), CREDENTIALS_FOUND,
		   "an explicit config file");
	is_found("CID", "HUSH8", NULL, "settings");
}

static void
test_region(void)
{
	setenv("AWS_CONFIG_FILE", path_of("config"), 1);
	(void) load(NULL, NULL, "p");
	is_str(credentials_region(&state, NULL), "ap-south-1", "region: profile");
	setenv("AWS_DEFAULT_REGION", "a", 1);
	is_str(credentials_region(&state, ""), "a", "region: AWS_DEFAULT_REGION");
	setenv("AWS_REGION", "b", 1);
	is_str(credentials_region(&state, NULL), "b", "region: AWS_REGION");
	is_str(credentials_region(&state, "c"), "c", "region: explicit");
	clear_environment();
	(void) load(NULL, NULL, NULL);
	is_str(credentials_region(&state, NULL), NULL, "region: none");
}

int
main(void)
{
	static const char *const files[] = {
		".aws/credentials", ".aws/config", "config", "conf2", ".aws",
	};
	CredentialState blank = {0};

	if (!ok(mkdtemp(dir) != NULL, "directory for files") ||
		!ok(mkdir(path_of(".aws"), 0700) == 0, "and its .aws"))
		return done_testing();
	test_nothing();
	test_files();
	test_environment();
	test_settings();
	test_region();

	credentials_free(&state);
	ok(memcmp(&state, &blank, sizeof(state)) == 0, "nothing is left");
	for (size_t i = 0; i < lengthof(files); i++)
		remove(path_of(files[i]));
	rmdir(dir);
	return done_testing();
}
