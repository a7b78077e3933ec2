/*
 * option_values.h
 *		The values of a stream's options.
 */
#ifndef FIREHOSE_STREAM_OPTION_VALUES_H
#define FIREHOSE_STREAM_OPTION_VALUES_H

typedef enum StreamDelimiter
{
	DELIMITER_DEFAULT,			/* newline for text and json, none for bytea */
	DELIMITER_NEWLINE,
	DELIMITER_NONE
} StreamDelimiter;

typedef enum StreamOrder
{
	ORDER_FIRST,				/* of first attempts only */
	/* no record before an earlier one is settled */
	ORDER_STRICT
} StreamOrder;

typedef enum StreamStatusOption
{
	STATUS_DEFAULT,				/* all for puts, failed for pipelines */
	STATUS_ALL,					/* a row for every finished record */
	STATUS_FAILED,				/* rows for failed records only */
	STATUS_NONE
} StreamStatusOption;

typedef enum StreamCompression
{
	COMPRESSION_NONE,
	COMPRESSION_GZIP
} StreamCompression;

/* A switch that may be left to the environment and the AWS profile */
typedef enum StreamSwitch
{
	SWITCH_DEFAULT = -1,
	SWITCH_OFF,
	SWITCH_ON
} StreamSwitch;

/*
 * An option's value, or the default of its setting.  Times in milliseconds,
 * rates per second (0: no limit).
 */
typedef struct StreamOptions
{
	/* Firehose's name: 1 to 64 of [a-zA-Z0-9_.-] */
	char		stream_name[65];
	char	   *region;			/* "" : the environment's or profile's */
	char	   *role_arn;		/* "" : the server's own identity */
	char	   *external_id;	/* of the role; "" : none */
	int			use_fips;		/* StreamSwitch */
	int			use_dualstack;	/* the same */
	char	   *endpoint_url;	/* "" : derived from the region */
	int			delimiter;		/* StreamDelimiter; resolved, it may be the
								 * destination's */
	int			on_full;		/* OnFull */
	int			max_batch_records;	/* 1 to 500 */
	int			max_batch_bytes;	/* 1,024,000 to 4,194,304, before base64 */
	int			linger;
	bool		pack;			/* records share Firehose records */
	int			pack_linger;
	int			compression;	/* StreamCompression */
	int			destination;	/* StreamDestination */
	int			max_in_flight;	/* concurrent requests, 1 to 64 */
	int			request_timeout;
	int			records_per_second;
	int			bytes_per_second;
	int			requests_per_second;
	int			status;			/* StreamStatusOption */
	int			order;			/* StreamOrder */
	int			max_attempts;	/* of a record that is refused; 0: no limit */
	int			max_age;		/* of the same, seconds; 0: no limit */
	bool		enabled;
	bool		paused;
} StreamOptions;

#endif							/* FIREHOSE_STREAM_OPTION_VALUES_H */
