/*
 * settings.c
 *		The settings of the sender; settings.h says why firehose.so defines
 *		them.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "aws/endpoint.h"
#include "aws/role_arn.h"
#include "sender/settings.h"

char	   *sender_allowed_endpoints;
char	   *sender_allowed_roles;
char	   *sender_credentials_file;
char	   *sender_config_file;
char	   *sender_profile;
char	   *sender_ca_file;
int			sender_credentials_grace_period;
int			sender_credential_process_timeout;
int			sender_request_memory;
int			sender_max_connections;
int			sender_probe_interval;
int			sender_connect_timeout;

static bool
check_allowed_endpoints(char **newval, void **extra, GucSource source)
{
	char		wrong[256];

	if (endpoint_valid_allowed_list(*newval, wrong, sizeof(wrong)))
		return true;
	GUC_check_errdetail("%s.", wrong);
	return false;
}

static bool
check_allowed_roles(char **newval, void **extra, GucSource source)
{
	char		wrong[ROLE_ARN_SIZE + 100];

	if (role_arn_valid_allowed_list(*newval, wrong, sizeof(wrong)))
		return true;
	GUC_check_errdetail("%s.", wrong);
	GUC_check_errhint("A pattern looks like \"arn:aws:iam::123456789012:role/firehose-*\".");
	return false;
}

void
sender_define_settings(void)
{
	DefineCustomStringVariable("firehose.allowed_endpoints",
							   "Sets where streams with an endpoint of their own may send to.",
							   "A comma-separated list of patterns such as "
							   "\"https://vpce-*.firehose.eu-west-1.vpce.amazonaws.com\"; "
							   "\"aws\" stands for AWS's own endpoints.",
							   &sender_allowed_endpoints, "aws", PGC_SIGHUP,
							   GUC_LIST_INPUT | GUC_SUPERUSER_ONLY,
							   check_allowed_endpoints, NULL, NULL);
	DefineCustomStringVariable("firehose.allowed_roles",
							   "Sets which IAM roles streams may name in their option role_arn.",
							   "A comma-separated list of patterns such as "
							   "\"arn:aws:iam::123456789012:role/firehose-*\"; by default none.",
							   &sender_allowed_roles, "", PGC_SIGHUP,
							   GUC_LIST_INPUT | GUC_SUPERUSER_ONLY,
							   check_allowed_roles, NULL, NULL);
	DefineCustomIntVariable("firehose.credentials_grace_period",
							"Sets how long credentials are used after their file has gone or become unusable.",
							NULL,
							&sender_credentials_grace_period, 60000, 0, 86400000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.credential_process_timeout",
							"Sets how long a credential_process may take. It is ended then, with all that it has started.",
							NULL,
							&sender_credential_process_timeout, 60000, 100, 600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomStringVariable("firehose.credentials_file",
							   "Sets the path of the AWS credentials file.",
							   "By default the places that every AWS tool uses.",
							   &sender_credentials_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("firehose.config_file",
							   "Sets the path of the AWS configuration file.",
							   "By default the places that every AWS tool uses.",
							   &sender_config_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("firehose.profile",
							   "Sets the profile in the AWS credentials and configuration files.",
							   NULL,
							   &sender_profile, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("firehose.ca_file",
							   "Sets the file of certificate authorities that endpoints are checked against.",
							   "By default the system's.",
							   &sender_ca_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.request_memory",
							"Sets how much memory a sender may use for requests, their responses, and connections.",
							"A quarter of it is for connections, 64 kB for each. Streams that find no room wait their turn.",
							&sender_request_memory, 64 * 1024, 16 * 1024, 16 * 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.max_connections",
							"Sets how many connections a sender may have, idle ones included.",
							"There are fewer if a quarter of firehose.request_memory or the system's limit of open files does not suffice.",
							&sender_max_connections, 256, 4, 10000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.probe_interval",
							"Sets how often a parked stream is tried again.",
							"The time from one trial to the next is between this and twice this.",
							&sender_probe_interval, 30000, 100, 3600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("firehose.connect_timeout",
							"Sets how long connecting to an endpoint may take, name resolution and TLS included.",
							NULL,
							&sender_connect_timeout, 10000, 100, 600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}
