/*
 * delivery_groups.c
 *		Which of a stream's records go into the next request, in which groups,
 *		and where they go back to.
 *
 * Sender process only.  Records of a group stand one behind the other in the
 * lists; the first one says how many they are (ClaimedRecord.group).  They
 * leave a list together and come back together, to its front, in their order.
 */
#include "postgres.h"

#include "sender/delivery_groups.h"
#include "stream/destination.h"

#define NO_LIMIT			SIZE_MAX

void
delivery_group_limits(const Delivery *d, GroupLimits *limits)
{
	const StreamOptions *o = &d->options;
	bool		gzip = o->compression == COMPRESSION_GZIP;
	double		bytes;

	limits->pack = o->pack;
	limits->groups = Min(pace_max_records(&d->health.pace), REQUEST_MAX_GROUPS);
	limits->group_records = destination_max_parts(o->destination, REQUEST_MAX_RECORDS);
	limits->group_bytes = gzip ? group_ratio_bytes(&d->ratio) : GROUP_MAX_BYTES;
	limits->kept_bytes = gzip ? PG_INT64_MAX : GROUP_MAX_BYTES;
	limits->records = limits->groups;
	bytes = Min((double) o->max_batch_bytes, (double) pace_max_bytes(&d->health.pace) / delivery_ratio(d));
	if (o->pack)
	{
		limits->records = Min((int64) limits->groups * limits->group_records, REQUEST_MAX_RECORDS);
		bytes = Min(bytes, (double) limits->groups * (double) limits->group_bytes);
	}
	limits->bytes = Max(1, (int64) bytes);
}

/* The group that the record at this place begins; 0: none that may be kept. */
static int
kept_group(const ReadyList *from, int at, const GroupLimits *limits, int64 *bytes)
{
	int			n = ready_list_get(from, at)->group;

	*bytes = 0;
	if (n == 0 || n > from->count - at)
		return 0;
	for (int i = 0; i < n; i++)
		*bytes += ready_list_get(from, at + i)->length;
	return group_is_allowed(limits, n, *bytes) ? n : 0;
}

/*
 * The memory for a request; no limit if all there is to choose from fits into
 * it, so that it need not be computed for each record.
 */
static Size
room_for_choice(const Delivery *d)
{
	Size		room = budget_room(&d->budget);
	RequestShape all = {
		.nrecords = d->ready.count + d->suspects.count,
		.ngroups = Min(d->ready.count + d->suspects.count, REQUEST_MAX_GROUPS),
		.payload = d->ready.bytes + d->suspects.bytes,
		.gzip = d->options.compression == COMPRESSION_GZIP
	};

	return request_cost(&all) <= room ? NO_LIMIT : room;
}

/* Is there memory for a request that has so much more? */
static bool
is_affordable(const Delivery *d, const GroupList *list, int nrecords, int64 bytes, Size room)
{
	RequestShape shape;

	if (room == NO_LIMIT)
		return true;
	shape = delivery_shape(d, list);
	shape.ngroups++;
	shape.nrecords += nrecords;
	shape.payload += bytes;
	return list->ngroups == 0 || request_cost(&shape) <= room;
}

/*
 * Add what stands at this place of a list to those chosen, a record or a
 * group.  Returns how many records it is, 0: no more goes into the request.
 */
static int
choose_next(Delivery *d, const ReadyList *from, int at, const GroupLimits *limits, Size room,
			GroupList *list)
{
	const ClaimedRecord *first = ready_list_get(from, at);
	int64		bytes;
	int			n = kept_group(from, at, limits, &bytes);

	if (n == 0)
	{
		bool		delimited = limits->pack &&
			queue_reader_ends_line(&d->target.reader, first);

		return is_affordable(d, list, 1, first->length, room) &&
			group_list_add(list, limits, first->length, delimited) ? 1 : 0;
	}
	if (!is_affordable(d, list, n, bytes, room) ||
		!group_list_add_group(list, limits, n, bytes))
		return 0;
	list->groups[list->ngroups - 1].kept = true;
	return n;
}

/* Of refused groups at most half of a request, so that others go beside. */
int
delivery_choose(Delivery *d, int64 now, GroupList *list)
{
	GroupLimits limits;
	Size		room = room_for_choice(d);
	int			most;
	int			nsuspects = 0;
	int			n = 1;

	delivery_group_limits(d, &limits);
	most = delivery_suspects_due(d, now) ? Max(1, limits.groups / 2) : 0;
	group_list_reset(list);
	for (int at = 0; at < d->suspects.count && nsuspects < most; at += n)
	{
		n = choose_next(d, &d->suspects, at, &limits, room, list);
		if (n == 0)
			return nsuspects;
		group_list_close(list);
		nsuspects++;
	}
	for (int at = 0; at < d->ready.count && n > 0; at += n)
		n = choose_next(d, &d->ready, at, &limits, room, list);
	return nsuspects;
}

RequestShape
delivery_shape(const Delivery *d, const GroupList *list)
{
	RequestShape shape = {
		.nrecords = list->nrecords,
		.ngroups = list->ngroups,
		.payload = list->bytes,
		.gzip = d->options.compression == COMPRESSION_GZIP
	};

	return shape;
}

void
delivery_take(Delivery *d, const GroupList *list, int nsuspects, Request *request)
{
	int			nrecords = 0;
	int64		bytes = 0;

	for (int g = 0; g < nsuspects; g++)
	{
		nrecords += list->groups[g].nrecords;
		bytes += list->groups[g].bytes;
	}
	ready_list_pop_many(&d->suspects, request->records, nrecords, bytes);
	ready_list_pop_many(&d->ready, request->records + nrecords, list->nrecords - nrecords,
						list->bytes - bytes);
	memcpy(request->groups, list->groups, list->ngroups * sizeof(RecordGroup));
	for (int i = 0; i < list->nrecords; i++)
		request->records[i].group = 0;
	for (int g = 0; d->options.pack && g < list->ngroups; g++)
		request->records[list->groups[g].first].group = list->groups[g].nrecords;
	request->nrecords = list->nrecords;
	request->ngroups = list->ngroups;
	request->nsuspects = nsuspects;
	request->payload = list->bytes;
}

/* Put a span of a request's records to the front of a list. */
static void
put_span(Delivery *d, ReadyList *to, Request *request, int first, int nrecords)
{
	if (to == &d->ready && nrecords > 0)
		d->came_back = true;
	for (int i = nrecords; i-- > 0;)
		ready_list_push_front(to, &request->records[first + i]);
}

/*
 * Cut a group in two, which are groups from now on.  False: it is one record.
 */
static bool
halve(Request *request, const RecordGroup *group)
{
	int			half = group->nrecords / 2;

	if (half == 0)
		return false;
	request->records[group->first].group = half;
	request->records[group->first + half].group = group->nrecords - half;
	return true;
}

void
delivery_take_back(Delivery *d, Request *request, int taken)
{
	int			sent = 0;
	int			end = request->nrecords;

	/* only what is compressed can turn out too large */
	if (request->ngroups == taken && d->options.compression == COMPRESSION_NONE)
		return;
	for (int g = 0; g < request->ngroups; g++)
		sent += request->groups[g].nrecords;
	for (int g = taken; g-- > 0;)
	{
		const RecordGroup *group = &request->groups[g];
		int			first = Max(group->first, sent);

		if (first < end && (first > group->first || !group->kept))
			request->records[first].group = 0;
		put_span(d, g < request->nsuspects ? &d->suspects : &d->ready, request, first,
				 Max(end - first, 0));
		end = Min(end, group->first);
	}
	request->nrecords = sent;
	request->nsuspects = Min(request->nsuspects, request->ngroups);
	request->payload = 0;
	for (int g = 0; g < request->ngroups; g++)
		request->payload += request->groups[g].bytes;
	if (sent > 0 && d->options.pack)
		request->records[0].group = request->groups[0].nrecords;
}

void
delivery_put_back(Delivery *d, Request *request, int group)
{
	put_span(d, &d->ready, request, request->groups[group].first, request->groups[group].nrecords);
}

void
delivery_put_all_back(Delivery *d, Request *request)
{
	put_span(d, &d->ready, request, 0, request->nrecords);
}

void
delivery_put_halves_back(Delivery *d, Request *request)
{
	(void) halve(request, &request->groups[0]);
	delivery_put_all_back(d, request);
}

void
delivery_put_records_back(Delivery *d, Request *request)
{
	request->records[0].group = 0;
	delivery_put_all_back(d, request);
}

void
delivery_restore_order(Delivery *d)
{
	ClaimedRecord claimed;

	while (d->suspects.count > 0)
	{
		ready_list_pop_front(&d->suspects, &claimed);
		ready_list_push_front(&d->ready, &claimed);
	}
	ready_list_sort(&d->ready);
	for (int i = 0; i < d->ready.count; i++)
		ready_list_get(&d->ready, i)->group = 0;
	d->unordered = false;
}

void
delivery_suspect(Delivery *d, Request *request, int group)
{
	const RecordGroup *g = &request->groups[group];

	/* one that cannot be halved makes way for the others */
	if (group < request->nsuspects && !halve(request, g))
		ready_list_push_back(&d->suspects, &request->records[g->first]);
	else
		put_span(d, &d->suspects, request, g->first, g->nrecords);
}
