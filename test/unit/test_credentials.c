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
	"AWS_REGION", "AWS_DEFAULT_REGION", "HOME", "AWS_DEFAULT_PROFILE",
	"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_DISABLED",
	"AWS_EC2_METADATA_SERVICE_ENDPOINT",
	"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_USE_FIPS_ENDPOINT",
	"AWS_USE_DUALSTACK_ENDPOINT", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
	"AWS_STS_REGIONAL_ENDPOINTS",
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
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
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
			   "shared files: neither a credentials file nor HOME is set; "
			   "container: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set; "
			   "instance metadata: AWS_EC2_METADATA_DISABLED is true",
			   "  message");
	ok(!credentials_changed(&state), "  and nothing to change");
	ok(state.provider == NULL, "  no provider");

	setenv("HOME", dir, 1);
	is_int(load("", "", ""), CREDENTIALS_NOT_FOUND, "a home without files");
	is_message("no credentials found: environment: AWS_ACCESS_KEY_ID is not set; "
			   "shared files: file \"$/.aws/credentials\" does not exist; "
			   "container: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set; "
			   "instance metadata: AWS_EC2_METADATA_DISABLED is true",
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
	is_str(state.endpoints.profile_urls[ENDPOINT_FIREHOSE], "https://x", "  endpoint_url as well");

	write_file(".aws/credentials", "[default]\nregion=us-east-2\n");
	ok(credentials_changed(&state), "a file changes");
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FOUND, "keys in the config file");
	is_found("OTHER", "HUSH2", NULL, "shared files");
	is_str(state.region, "us-east-2", "  the credentials file goes first");

	setenv("AWS_PROFILE", "p", 1);
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FAILED, "AWS_PROFILE");
	is_message("profile \"p\" not found in \"$/.aws/credentials\"",
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
	is_message("the secret access key in the environment contains a blank, a control character or a non-ASCII character",
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
		   "a profile with a role and no source");
	is_message("profile \"p\" has role_arn, but neither source_profile nor credential_source",
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

/* The steps of the chain, as "kind(value,...) kind(...)" */
static const char *
steps(void)
{
	static char text[1000];
	size_t		len = 0;

	text[0] = '\0';
	for (int i = 0; i < state.chain.nsteps; i++)
	{
		const CredentialStep *step = &state.chain.steps[i];

		len += snprintf(text + len, sizeof(text) - len, "%s%s(", i > 0 ? " " : "",
						credential_step_name(step->kind));
		for (int v = 0; v < CREDENTIAL_STEP_NVALUES; v++)
		{
			if (step->values[v] != NULL)
				len += snprintf(text + len, sizeof(text) - len, "%s%s",
								text[len - 1] == '(' ? "" : ",", step->values[v]);
		}
		len += snprintf(text + len, sizeof(text) - len, ")");
	}
	return text;
}

/* Load, and compare what is to be fetched. */
static void
is_fetch(const char *name, const char *expected)
{
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FETCH, name);
	is_str(steps(), expected, "  its steps");
	if (errmsg[0] != '\0')
		printf("# %s\n", errmsg);
}

static void
is_failure(const char *name, const char *message)
{
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FAILED, name);
	is_message(message, "  message");
}

static void
write_config(const char *text)
{
	write_file("config", text);
	setenv("AWS_CONFIG_FILE", path_of("config"), 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", path_of("nowhere"), 1);
}

static const char *const false_friends[] = {
	"http://169.254.170.2.example.com/v2", "http://169.254.170.23@example.com/",
	"http://169.254.170.23:80@example.com/", "http://169.254.170.23:8080000/", "http://169.254.170.230/",
	"http://[fd00:ec2::23]x/", "http://169.254.170.2:/", "http://169.254.170.2/a b", "http://169.254.170.2/\x01",
	"http://example.com/", "ftp://169.254.170.2/"
};

static void
test_services(void)
{
	clear_environment();
	setenv("AWS_EC2_METADATA_DISABLED", "false", 1);
	is_fetch("last resort", "instance metadata(http://169.254.169.254)");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6", 1);
	is_fetch("by IPv6", "instance metadata(http://[fd00:ec2::254])");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1", 1);
	is_fetch("elsewhere", "instance metadata(http://127.0.0.1:1)");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://10.0.0.1", 1);
	is_failure("by http beyond this machine",
			   "the endpoint of the metadata service: URL must begin with https://, except for loopback addresses");
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/x", 1);
	is_failure("a container's address by http beyond this machine",
			   "AWS_CONTAINER_CREDENTIALS_FULL_URI: URL must begin with https://, except for loopback addresses");
	/* what only looks like a link-local address */
	for (size_t i = 0; i < sizeof(false_friends) / sizeof(false_friends[0]); i++)
	{
		bool		direct;
		char		problem[200];

		ok(!credential_url_allowed(false_friends[i], &direct, problem, sizeof(problem)),
		   "refused: %s", false_friends[i]);
	}
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials", 1);
	is_fetch("Pod Identity", "container(http://169.254.170.23/v1/credentials)");
	setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", 1);
	is_fetch("ECS goes first", "container(http://169.254.170.2/v2/x)");
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/t", 1);
	is_failure("web identity without a role",
			   "a web identity token file is set, but neither AWS_ROLE_ARN nor role_arn of profile \"default\" is");
	setenv("AWS_ROLE_ARN", "arn:r", 1);
	is_fetch("web identity", "web identity(arn:r,/t)");
}

static void
test_roles(void)
{
	clear_environment();
	write_config("[default]\nrole_arn=arn:a\nsource_profile=b\nexternal_id=x y\nduration_seconds=900\n"
				 "[profile b]\nrole_arn=arn:b\nsource_profile=c\nrole_session_name=s\n"
				 "[profile c]\naws_access_key_id=CID\naws_secret_access_key=HUSH\n");
	is_fetch("roles that follow each other", "assume role(arn:b,s) assume role(arn:a,x y,900)");
	is_str(state.credentials.access_key_id, "CID", "  from these keys");
	write_config("[default]\nrole_arn=arn:a\nsource_profile=b\n[profile b]\nrole_arn=arn:b\nsource_profile=default\n");
	is_failure("in a circle", "source_profile \"default\" of profile \"b\" leads back to itself");
	write_config("[default]\nrole_arn=arn:a\nsource_profile=default\naws_access_key_id=DID\naws_secret_access_key=HUSH\n");
	is_fetch("its own keys", "assume role(arn:a)");
	is_str(state.credentials.access_key_id, "DID", "  from these");
	write_config("[default]\nrole_arn=arn:a\ncredential_source=Ec2InstanceMetadata\n");
	is_failure("metadata switched off",
			   "credential_source Ec2InstanceMetadata of profile \"default\": AWS_EC2_METADATA_DISABLED is true");
	setenv("AWS_EC2_METADATA_DISABLED", "", 1);
	is_fetch("and on", "instance metadata(http://169.254.169.254) assume role(arn:a)");
	ok(state.credentials.access_key_id == NULL, "  from nothing");
	write_config("[default]\nrole_arn=arn:a\nweb_identity_token_file=/t\n");
	is_fetch("web identity of a profile", "web identity(arn:a,/t)");
	write_config("[default]\nrole_arn=arn:a\nsource_profile=b\nmfa_serial=m\n");
	is_failure("a code that cannot be entered here",
			   "profile \"default\" has mfa_serial, but a server cannot ask for a code");
	write_config("[default]\ncredential_process=/bin/x 'a b'\n");
	is_fetch("a process", "credential process(/bin/x 'a b')");
	chmod(path_of("config"), 0666);
	is_failure("that any user could have written",
			   "credential_process in \"$/config\" is not run, because other users than the server's can write that file");
	unlink(path_of("config"));
}

static void
test_sso(void)
{
	clear_environment();
	setenv("HOME", "/h", 1);
	write_config("[default]\nsso_session=s\nsso_account_id=1\nsso_role_name=r\n"
				 "[sso-session s]\nsso_region=eu-west-1\nsso_start_url=https://x/start\n");
	is_fetch("a session", "IAM Identity Center(/h/.aws/sso/cache/a0f1490a20d0211c997b44bc357e1972deab8ae3.json,eu-west-1,1,r,true)");
	write_config("[default]\nsso_account_id=1\nsso_role_name=r\nsso_region=eu-west-1\nsso_start_url=s\n");
	is_fetch("without one", "IAM Identity Center(/h/.aws/sso/cache/a0f1490a20d0211c997b44bc357e1972deab8ae3.json,eu-west-1,1,r)");
	write_config("[default]\nsso_account_id=1\nsso_role_name=r\n");
	is_failure("half of it", "sso_start_url is missing in profile \"default\"");
	write_config("[default]\nsso_session=t\nsso_account_id=1\n");
	is_failure("no such session", "sso-session \"t\" of profile \"default\" does not exist");
}

static void
test_switches(void)
{
	clear_environment();
	write_config("[default]\nuse_fips_endpoint=true\nendpoint_url=https://x\nregion=r\n[profile q]\nregion=q\n");
	(void) load(NULL, NULL, NULL);
	is_int(state.endpoints.flags, 1, "use_fips_endpoint");
	is_str(state.endpoints.profile_urls[ENDPOINT_SSO], "https://x", "endpoint_url");
	ok(!state.endpoints.ignore_urls && !state.endpoints.global_sts, "  nothing else");
	setenv("AWS_USE_FIPS_ENDPOINT", "false", 1);
	setenv("AWS_USE_DUALSTACK_ENDPOINT", "TRUE", 1);
	setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", 1);
	(void) load(NULL, NULL, NULL);
	is_int(state.endpoints.flags, 2, "the environment decides");
	ok(state.endpoints.ignore_urls, "endpoint_url is ignored");
	setenv("AWS_DEFAULT_PROFILE", "q", 1);
	(void) load(NULL, NULL, NULL);
	is_str(state.region, "q", "AWS_DEFAULT_PROFILE");
}

static void
test_endpoints(void)
{
	clear_environment();
	write_config("[default]\naws_access_key_id=A\naws_secret_access_key=HUSH\nservices = mine\nendpoint_url = https://all\nsts_regional_endpoints = legacy\n"
				 "[services mine]\nfirehose =\n  endpoint_url = https://one\n");
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FOUND, "services");
	is_str(state.endpoints.profile_urls[ENDPOINT_FIREHOSE], "https://one", "  its endpoint of Firehose");
	is_str(state.endpoints.profile_urls[ENDPOINT_STS], "https://all", "  the profile's for others");
	ok(state.endpoints.global_sts, "sts_regional_endpoints");
	setenv("AWS_STS_REGIONAL_ENDPOINTS", "regional", 1);
	(void) load(NULL, NULL, NULL);
	ok(!state.endpoints.global_sts, "the environment decides");
	write_config("[default]\nservices = theirs\n[services mine]\nfirehose =\n  endpoint_url = https://one\n");
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FAILED, "services that do not exist");
	is_message("services \"theirs\" of profile \"default\" does not exist", "  message");
	is_str(state.endpoints.profile_urls[ENDPOINT_FIREHOSE], NULL, "  and nothing is left of others");
	write_config("[default]\nservices = mine\n[services mine]\nfirehose =\n  endpoint_url = https://o\001ne\n");
	is_int(load(NULL, NULL, NULL), CREDENTIALS_FAILED, "a bad value in them");
}

static void
test_region(void)
{
	write_config("[profile p]\nregion=ap-south-1\n");
	unsetenv("AWS_SHARED_CREDENTIALS_FILE");
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
	test_services();
	test_roles();
	test_sso();
	test_switches();
	test_endpoints();
	test_region();

	credentials_free(&state);
	ok(memcmp(&state, &blank, sizeof(state)) == 0, "nothing is left");
	for (size_t i = 0; i < lengthof(files); i++)
		remove(path_of(files[i]));
	rmdir(dir);
	return done_testing();
}
