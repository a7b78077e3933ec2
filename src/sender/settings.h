/*
 * settings.h
 *		The settings of the sender.  They are defined in firehose.so, because
 *		no setting can be added to a prefix once it is reserved.  All of them
 *		can be set only in the configuration file or by ALTER SYSTEM, because
 *		the administrator decides where data and credentials go.
 */
#ifndef FIREHOSE_SENDER_SETTINGS_H
#define FIREHOSE_SENDER_SETTINGS_H

/* firehose.allowed_endpoints */
extern PGDLLEXPORT char *sender_allowed_endpoints;
/* firehose.credentials_file */
extern PGDLLEXPORT char *sender_credentials_file;
extern PGDLLEXPORT char *sender_config_file;	/* firehose.config_file */
extern PGDLLEXPORT char *sender_allowed_roles;	/* firehose.allowed_roles */
/* firehose.credentials_grace_period, ms */
extern PGDLLEXPORT int sender_credentials_grace_period;
/* firehose.credential_process_timeout, ms */
extern PGDLLEXPORT int sender_credential_process_timeout;
extern PGDLLEXPORT char *sender_profile;	/* firehose.profile */
extern PGDLLEXPORT char *sender_ca_file;	/* firehose.ca_file */
/* firehose.request_memory, kB */
extern PGDLLEXPORT int sender_request_memory;
extern PGDLLEXPORT int sender_max_connections;	/* firehose.max_connections */
/* firehose.probe_interval, ms */
extern PGDLLEXPORT int sender_probe_interval;
/* firehose.connect_timeout, ms */
extern PGDLLEXPORT int sender_connect_timeout;

extern void sender_define_settings(void);

#endif							/* FIREHOSE_SENDER_SETTINGS_H */
