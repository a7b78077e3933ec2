/*-------------------------------------------------------------------------
 *
 * test_group.c
 *	  Which records share a Firehose record, and gzip's part in it.
 *
 *-------------------------------------------------------------------------
 */
#include <libdeflate.h>
#include <stdlib.h>

#include "sender/group.h"
#include "sender/gzip.h"
#include "tap.h"

static GroupList list;

static GroupLimits
usual_limits(void)
{
	GroupLimits limits = {
		.pack = true,
		.groups = 500,
		.records = REQUEST_MAX_RECORDS,
		.bytes = 4194304,
		.group_records = REQUEST_MAX_RECORDS,
		.group_bytes = GROUP_MAX_BYTES,
		.kept_bytes = GROUP_MAX_BYTES
	};

	return limits;
}

/* Add n records of a length; returns how many went in. */
static int
add(const GroupLimits *limits, int n, uint32_t length)
{
	int			added = 0;

	while (added < n && group_list_add(&list, limits, length, true))
		added++;
	return added;
}

/* The groups follow each other, without a gap, and their sums are right. */
static bool
is_sound(void)
{
	int			records = 0;
	int64_t		bytes = 0;

	for (int i = 0; i < list.ngroups; i++)
	{
		const RecordGroup *group = &list.groups[i];

		if (group->first != records || group->nrecords < 1)
			return false;
		records += group->nrecords;
		bytes += group->bytes;
	}
	return records == list.nrecords && bytes == list.bytes;
}

static void
test_bytes_of_a_group(void)
{
	GroupLimits limits = usual_limits();

	group_list_reset(&list);
	is_int(add(&limits, 10, 102400), 10, "ten records");
	is_int(list.ngroups, 1, "of 1,024,000 bytes together are one group");
	is_int(list.groups[0].bytes, 1024000, "of that size");
	is_int(add(&limits, 1, 0), 1, "an empty record");
	is_int(list.ngroups, 1, "still goes into it");
	is_int(add(&limits, 1, 1), 1, "one byte more");
	is_int(list.ngroups, 2, "is a second group");

	group_list_reset(&list);
	add(&limits, 9, 102400);
	add(&limits, 1, 102401);
	is_int(list.ngroups, 2, "1,024,001 bytes are two groups");
	ok(is_sound(), "which are sound");
}

static void
test_records_of_a_group(void)
{
	GroupLimits limits = usual_limits();

	limits.group_records = 500;
	group_list_reset(&list);
	add(&limits, 500, 10);
	is_int(list.ngroups, 1, "500 records are one group");
	add(&limits, 1, 10);
	is_int(list.ngroups, 2, "501 are two");
	is_int(list.groups[0].nrecords, 500, "the first of 500");
	add(&limits, 100000, 10);
	is_int(list.nrecords, REQUEST_MAX_RECORDS, "a request has no more records than that");
	ok(is_sound(), "and is sound");
}

static void
test_request(void)
{
	GroupLimits limits = usual_limits();

	group_list_reset(&list);
	is_int(add(&limits, 5, 1024000), 4, "4,194,304 bytes take four of 1,024,000");
	is_int(add(&limits, 1, 98304), 1, "and 98,304 more");
	is_int(add(&limits, 1, 1), 0, "but no byte beyond");
	is_int(list.ngroups, 5, "in five groups");

	limits.pack = false;
	group_list_reset(&list);
	is_int(add(&limits, 600, 100), 500, "without pack a request has 500 records");
	is_int(list.ngroups, 500, "each a group");

	limits.groups = 1;
	limits.bytes = 1;
	group_list_reset(&list);
	is_int(add(&limits, 2, 1000), 1, "one record always passes, and one alone");
}

static void
test_boundaries(void)
{
	GroupLimits limits = usual_limits();

	group_list_reset(&list);
	group_list_add(&list, &limits, 10, true);
	group_list_add(&list, &limits, 10, false);
	group_list_add(&list, &limits, 10, true);
	is_int(list.ngroups, 2, "nothing is joined to a record without its delimiter");
	is_int(list.groups[0].nrecords, 2, "which may join others");

	group_list_reset(&list);
	ok(group_list_add_group(&list, &limits, 3, 30), "a group that was sent before");
	group_list_add(&list, &limits, 10, true);
	ok(group_list_add_group(&list, &limits, 2, 20), "and another");
	is_int(list.ngroups, 3, "is joined by nothing");
	is_int(list.groups[0].nrecords, 3, "the first is as it was");
	is_int(list.groups[2].nrecords, 2, "the last, too");
	ok(is_sound(), "they are sound");

	limits.records = 5;
	group_list_reset(&list);
	ok(group_list_add_group(&list, &limits, 100, 1000), "the first group always fits");
	ok(!group_list_add_group(&list, &limits, 1, 10), "a second one must fit as a whole");

	ok(group_is_allowed(&limits, 1, 2000000), "one record is always allowed");
	ok(group_is_allowed(&limits, 2, 1024000), "a group of the largest size");
	ok(!group_is_allowed(&limits, 2, 1024001), "a larger one no more");
	ok(!group_is_allowed(&limits, REQUEST_MAX_RECORDS + 1, 10), "nor one of too many records");
	limits.pack = false;
	ok(!group_is_allowed(&limits, 2, 20), "nor any without pack");
}

/* Random limits and lengths: nothing is lost, every limit is kept. */
static void
test_random(void)
{
	bool		sound = true;
	bool		within = true;

	srand(1);
	for (int round = 0; round < 20000; round++)
	{
		GroupLimits limits = usual_limits();
		int			n = 1 + rand() % 40;
		int			added = 0;

		limits.groups = 1 + rand() % 6;
		limits.records = 1 + rand() % 30;
		limits.bytes = 1 + rand() % 3000;
		limits.group_records = 1 + rand() % 8;
		limits.group_bytes = 1 + rand() % 1000;
		limits.pack = rand() % 4 > 0;
		group_list_reset(&list);
		for (int i = 0; i < n; i++)
		{
			bool		fits = rand() % 5 == 0 ?
				group_list_add_group(&list, &limits, 1 + rand() % 5, rand() % 500) :
				group_list_add(&list, &limits, rand() % 300, rand() % 6 > 0);

			if (!fits)
				break;
			added++;
		}
		sound &= added > 0 && is_sound();
		within &= list.ngroups == 1 || (list.ngroups <= limits.groups &&
										list.nrecords <= limits.records && list.bytes <= limits.bytes);
	}
	ok(sound, "20,000 random lists are sound");
	ok(within, "and within the limits of a request");
}

static void
test_ratio(void)
{
	GroupRatio	r;

	group_ratio_init(&r);
	ok(group_ratio_bytes(&r) < GROUP_MAX_BYTES && group_ratio_bytes(&r) > 900000,
	   "at first nothing is expected of compression");
	for (int i = 0; i < 20; i++)
		group_ratio_learn(&r, 1000000, 100000);
	ok(group_ratio_bytes(&r) > 8000000 && group_ratio_bytes(&r) <= 10240000,
	   "what it does is learnt (%lld)", (long long) group_ratio_bytes(&r));
	group_ratio_learn(&r, 100, 120);
	ok(group_ratio_bytes(&r) > 8000000, "not from a few bytes");
	group_ratio_exceeded(&r, 4000000);
	ok(group_ratio_bytes(&r) < 4000000, "a group that was too large teaches at once");
	group_ratio_learn(&r, 1000000, 1000000);
	ok(group_ratio_bytes(&r) < GROUP_MAX_BYTES, "and so does what does not compress");
	for (int i = 0; i < 100; i++)
		group_ratio_learn(&r, 1000000, 0);
	ok(group_ratio_bytes(&r) < 100000000, "no ratio is absurd");
}

static void
test_gzip(void)
{
	static char lines[1000000];
	static char member[1024000];
	static char again[1024000];
	static char back[1000000];
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	size_t		length;
	size_t		back_length = 0;

	for (size_t i = 0; i < sizeof(lines); i++)
		lines[i] = i % 100 == 99 ? '\n' : (char) ('a' + (i * i / 100) % 7);
	ok(gzip_begin(), "the compressor is there");
	length = gzip_compress(lines, sizeof(lines), member, sizeof(member));
	ok(length > 20 && length < sizeof(lines) / 2, "lines become a member (%d bytes)", (int) length);
	ok(memcmp(member, "\x1f\x8b\x08\0\0\0\0\0", 8) == 0, "without a time or a name");
	is_int(libdeflate_gzip_decompress(d, member, length, back, sizeof(back), &back_length),
		   LIBDEFLATE_SUCCESS, "which gunzip takes");
	ok(back_length == sizeof(lines) && memcmp(lines, back, sizeof(lines)) == 0, "and gives them back");
	gzip_trim();
	ok(gzip_begin(), "another compressor");
	is_int(gzip_compress(lines, sizeof(lines), again, sizeof(again)), length, "makes the same");
	ok(memcmp(member, again, length) == 0, "byte for byte");
	is_int(gzip_compress(lines, sizeof(lines), again, length + 64), length, "what fits is made");
	is_int(gzip_compress(lines, sizeof(lines), again, length - 1), 0, "one byte less does not do");

	for (size_t i = 0; i < sizeof(lines); i++)
		lines[i] = (char) (rand() >> 7);
	for (size_t n = 0; n <= sizeof(lines); n = n * 3 + 1)
	{
		length = gzip_compress(lines, n, member, sizeof(member));
		if (length == 0 || length > gzip_bound(n, 1))
			ok(false, "noise of %d bytes stays within the bound: %d", (int) n, (int) length);
	}
	ok(true, "noise stays within the bound");
	is_int(gzip_compress(lines, 0, member, sizeof(member)) > 0, 1, "nothing is a member, too");
	libdeflate_free_decompressor(d);
	gzip_trim();
}

int
main(void)
{
	test_bytes_of_a_group();
	test_records_of_a_group();
	test_request();
	test_boundaries();
	test_random();
	test_ratio();
	test_gzip();
	return done_testing();
}
