/*
 * group.h
 *		Which records of a stream share a Firehose record.
 *
 * With the option pack, records of a stream travel together: a group of them,
 * in order and one behind the other, is one Firehose record, and has one entry
 * in the request and in the response.  Without it each is a group of its own.
 *
 * Limits of records and limits of groups are kept apart: Firehose's count and
 * size limits are those of groups.  A group that was sent once is sent again
 * as it was, unless it was too large; ClaimedRecord.group of its first record
 * says how many belong to it.  Knows no PostgreSQL.
 */
#ifndef FIREHOSE_SENDER_GROUP_H
#define FIREHOSE_SENDER_GROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Firehose: at most 500 records in a call, of at most 1,000 KiB each. */
#define REQUEST_MAX_GROUPS		500
#define GROUP_MAX_BYTES			1024000

/*
 * Records of a request: with those of 100 bytes it is 1.6 MB of payload, and
 * the sender's own notes on them are as much again.
 */
#define REQUEST_MAX_RECORDS		16384

/* A group in a request. */
typedef struct RecordGroup
{
	int			first;			/* of the request's records */
	int			nrecords;
	int64_t		bytes;			/* of these together */
	int64_t		sent;			/* as they were sent, before base64 */
	bool		kept;			/* it was sent before */
} RecordGroup;

typedef struct GroupLimits
{
	bool		pack;
	int			groups;			/* of a request */
	int			records;
	int64_t		bytes;
	int			group_records;	/* of a group; one record may have more bytes */
	int64_t		group_bytes;
	int64_t		kept_bytes;		/* of a group that was sent before */
} GroupLimits;

/* The groups chosen for a request. */
typedef struct GroupList
{
	int			ngroups;
	int			nrecords;
	int64_t		bytes;
	bool		open;			/* the last group may grow */
	RecordGroup groups[REQUEST_MAX_GROUPS];
} GroupList;

extern void group_list_reset(GroupList *list);

/*
 * Add a record that belongs to no group yet: to the last one, or as a new one.
 * False: it does not fit into the request.  The first one always does.  Behind
 * a record that does not end in a delimiter a new group begins.
 */
extern bool group_list_add(GroupList *list, const GroupLimits *limits, uint32_t length,
						   bool delimited);

/*
 * Add a group that was sent before, as it was.  False: it does not fit.
 */
extern bool group_list_add_group(GroupList *list, const GroupLimits *limits, int nrecords,
								 int64_t bytes);

/* Would that group be allowed, by itself, by limits that may have changed? */
extern bool group_is_allowed(const GroupLimits *limits, int nrecords, int64_t bytes);

/* The next record begins a new group. */
static inline void
group_list_close(GroupList *list)
{
	list->open = false;
}

/*
 * By what part does gzip change the size of a stream's records?  Learnt from
 * what was sent; at first that it does not.
 */
typedef struct GroupRatio
{
	double		ratio;			/* bytes sent, of each byte of records */
} GroupRatio;

static inline void
group_ratio_init(GroupRatio *r)
{
	r->ratio = 1;
}

extern void group_ratio_learn(GroupRatio *r, int64_t bytes, int64_t sent);

/* A group of so many bytes was too large. */
extern void group_ratio_exceeded(GroupRatio *r, int64_t bytes);

/* So many bytes of records should stay within the limit of a group. */
extern int64_t group_ratio_bytes(const GroupRatio *r);

#endif							/* FIREHOSE_SENDER_GROUP_H */
