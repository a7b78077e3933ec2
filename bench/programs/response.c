/*-------------------------------------------------------------------------
 *
 * response.c
 *	  What it costs to read the response to a full batch.
 *
 *	  cc -O2 -Isrc bench/programs/response.c src/aws/response.c \
 *		  src/aws/json_scan.c src/aws/json_plain.c -o /tmp/response
 *	  /tmp/response
 *
 * Nothing in these responses has to be decoded, so one of them can be read
 * again and again.
 *
 *-------------------------------------------------------------------------
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/response.h"

#define NENTRIES	500
#define ROUNDS		2000
#define RUNS		5

static double
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

/* Write a response with RecordIds of id_len characters; 0: all throttled. */
static size_t
build_reply(char *buf, int id_len)
{
	char	   *out = buf;

	out += sprintf(out, "{\"FailedPutCount\":%d,\"Encrypted\":false,"
				   "\"RequestResponses\":[", id_len > 0 ? 0 : NENTRIES);
	for (int i = 0; i < NENTRIES; i++)
	{
		if (i > 0)
			*out++ = ',';
		if (id_len > 0)
		{
			out += sprintf(out, "{\"RecordId\":\"");
			memset(out, '0' + i % 10, id_len);
			out += id_len;
			out += sprintf(out, "\"}");
		}
		else
			out += sprintf(out, "{\"ErrorCode\":\"ServiceUnavailableException\","
						   "\"ErrorMessage\":\"Slow down.\"}");
	}
	out += sprintf(out, "]}");
	return out - buf;
}

int
main(void)
{
	static const int id_lens[] = {20, 56, 120, 220, 440, 0};
	char	   *response = malloc(1024 * 1024);
	ResponseEntry *entries = malloc(NENTRIES * sizeof(ResponseEntry));
	ResponseSummary summary;

	printf("%12s %10s %12s\n", "RecordId", "bytes", "ns per entry");
	for (size_t i = 0; i < sizeof(id_lens) / sizeof(id_lens[0]); i++)
	{
		size_t		len = build_reply(response, id_lens[i]);
		double		best = 0;

		for (int run = 0; run < RUNS; run++)
		{
			double		start = now_ns();
			double		ns;

			for (int round = 0; round < ROUNDS; round++)
			{
				if (response_parse_put_batch(response, len, NENTRIES, entries,
											 &summary) != RESPONSE_OK)
					return 1;
			}
			ns = (now_ns() - start) / ROUNDS / NENTRIES;
			if (run == 0 || ns < best)
				best = ns;
		}
		printf("%12d %10zu %12.1f\n", id_lens[i], len, best);
	}
	return 0;
}
