/*
 * group.c
 *		Which records of a stream share a Firehose record.
 *
 * Sender process only.  A pure computation on lengths; delivery.c chooses the
 * records, and request.c writes them.
 */
#include "sender/group.h"

#include <stddef.h>

#define Min(a, b)			((a) < (b) ? (a) : (b))
#define Max(a, b)			((a) > (b) ? (a) : (b))

/* The distance from the limit that is kept for what the ratio cannot know. */
#define RATIO_MARGIN		0.9

/* Smaller groups say nothing: a header of gzip, and no text to refer to. */
#define RATIO_LEAST_BYTES	16384

/* No text that is worth sending is smaller than this part of itself. */
#define LEAST_RATIO			0.01

void
group_list_reset(GroupList *list)
{
	list->ngroups = 0;
	list->nrecords = 0;
	list->bytes = 0;
	list->open = false;
}

/* Begin a group. */
static RecordGroup *
append_group(GroupList *list)
{
	RecordGroup *group = &list->groups[list->ngroups++];

	group->first = list->nrecords;
	group->nrecords = 0;
	group->bytes = 0;
	group->sent = 0;
	group->kept = false;
	return group;
}

static void
put_into(GroupList *list, RecordGroup *group, int nrecords, int64_t bytes)
{
	group->nrecords += nrecords;
	group->bytes += bytes;
	list->nrecords += nrecords;
	list->bytes += bytes;
}

/* Does the request's list have room for so much more? */
static bool
has_room(const GroupList *list, const GroupLimits *limits, int ngroups, int nrecords,
		 int64_t bytes)
{
	return list->ngroups == 0 ||
		(list->ngroups + ngroups <= Min(limits->groups, REQUEST_MAX_GROUPS) &&
		 list->nrecords + nrecords <= limits->records &&
		 list->bytes + bytes <= limits->bytes);
}

bool
group_list_add(GroupList *list, const GroupLimits *limits, uint32_t length, bool delimited)
{
	RecordGroup *last = list->ngroups > 0 ? &list->groups[list->ngroups - 1] : NULL;
	bool		joins = limits->pack && list->open &&
		last->nrecords < limits->group_records &&
		last->bytes + length <= limits->group_bytes;

	if (!has_room(list, limits, joins ? 0 : 1, 1, length))
		return false;
	if (!joins)
		last = append_group(list);
	put_into(list, last, 1, length);
	list->open = delimited;
	return true;
}

bool
group_list_add_group(GroupList *list, const GroupLimits *limits, int nrecords, int64_t bytes)
{
	if (!has_room(list, limits, 1, nrecords, bytes))
		return false;
	put_into(list, append_group(list), nrecords, bytes);
	list->open = false;
	return true;
}

bool
group_is_allowed(const GroupLimits *limits, int nrecords, int64_t bytes)
{
	return nrecords == 1 ||
		(limits->pack && nrecords <= limits->group_records && bytes <= limits->kept_bytes);
}

/* Upwards at once, downwards by a quarter of the difference. */
void
group_ratio_learn(GroupRatio *r, int64_t bytes, int64_t sent)
{
	double		ratio = (double) sent / (double) Max(bytes, 1);

	if (bytes < RATIO_LEAST_BYTES)
		return;
	r->ratio = ratio > r->ratio ? ratio : r->ratio * 0.75 + ratio * 0.25;
	r->ratio = Max(r->ratio, LEAST_RATIO);
}

void
group_ratio_exceeded(GroupRatio *r, int64_t bytes)
{
	r->ratio = Max(r->ratio, (double) GROUP_MAX_BYTES / (double) Max(bytes, 1));
}

int64_t
group_ratio_bytes(const GroupRatio *r)
{
	return (int64_t) (GROUP_MAX_BYTES * RATIO_MARGIN / r->ratio);
}
