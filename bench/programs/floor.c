/*-------------------------------------------------------------------------
 *
 * floor.c
 *	  What sending records to Firehose costs at the least: base64 and SHA-256
 *	  by OpenSSL and the post by libcurl, and nothing else.  With "simd" the
 *	  base64 is that of the sender: what is left then is hash, TLS and kernel.
 *
 *	  floor URL CA_FILE RECORD_SIZE RECORDS [simd]
 *
 * The bytes, the size of batches, the kept-alive connection, libcurl's buffer
 * and the headers are those of the sender; there is no queue, no signature, no
 * reading of replies, and no session to tell.  Prints "cpu_ns requests".
 *
 *-------------------------------------------------------------------------
 */
#define _POSIX_C_SOURCE 200809L

#include <curl/curl.h>
#include <err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/base64.h"

#define BATCH_RECORDS	500
#define BATCH_BYTES		4000000

/* as http.c has it */
#define LARGE_BODY		(256 * 1024)
#define UPLOAD_BUFFER	(1024 * 1024)

/* records are read from here in turn: more than a CPU's own cache holds */
#define MEMORY			(64 * 1024 * 1024)

static char body[BATCH_BYTES / 3 * 4 + BATCH_RECORDS * 32 + 256];

static bool simd = false;

static double
cpu_ns(void)
{
	struct timespec cpu;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	return cpu.tv_sec * 1e9 + cpu.tv_nsec;
}

static size_t
ignore(char *data, size_t size, size_t n, void *arg)
{
	return size * n;
}

static char *
append(char *to, const char *text)
{
	size_t		length = strlen(text);

	memcpy(to, text, length);
	return to + length;
}

/* Write a record in base64; returns the place after it. */
static char *
encode(char *to, const unsigned char *record, size_t size)
{
	Base64State state;

	if (!simd)
		return to + EVP_EncodeBlock((unsigned char *) to, record, size);
	base64_init(&state);
	return base64_finish(&state, base64_update(&state, to, record, size));
}

/* The next batch; returns its length. */
static size_t
build_body(const unsigned char *memory, size_t *at, size_t size, long records)
{
	char	   *p = append(body, "{\"DeliveryStreamName\":\"bench\",\"Records\":[");

	for (long i = 0; i < records; i++)
	{
		if (*at + size > MEMORY)
			*at = 0;
		p = append(p, i > 0 ? ",{\"Data\":\"" : "{\"Data\":\"");
		p = encode(p, memory + *at, size);
		p = append(p, "\"}");
		*at += size;
	}
	p = append(p, "]}");
	return p - body;
}

static CURL *
prepare_curl(const char *url, const char *ca_file)
{
	CURL	   *curl = curl_easy_init();
	struct curl_slist *headers = NULL;

	headers = curl_slist_append(headers, "Content-Type: application/x-amz-json-1.1");
	headers = curl_slist_append(headers, "X-Amz-Target: Firehose_20150804.PutRecordBatch");
	headers = curl_slist_append(headers, "Expect:");
	headers = curl_slist_append(headers, "Accept:");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	return curl;
}

static void
post(CURL *curl, size_t length)
{
	CURLcode	code;
	long		status;

	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) length);
	if (length > LARGE_BODY)
		curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long) UPLOAD_BUFFER);
	code = curl_easy_perform(curl);
	if (code != CURLE_OK)
		errx(1, "%s", curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		errx(1, "status %ld", status);
}

int
main(int argc, char **argv)
{
	unsigned char *memory = malloc(MEMORY);
	unsigned char digest[EVP_MAX_MD_SIZE];
	size_t		at = 0;
	size_t		size;
	long		records;
	long		batch;
	long		requests = 0;
	CURL	   *curl;
	double		start;

	if (argc < 5 || argc > 6)
		errx(1, "usage: floor URL CA_FILE RECORD_SIZE RECORDS [simd]");
	simd = argc == 6;
	size = atol(argv[3]);
	records = atol(argv[4]);
	if (memory == NULL || size < 1 || size > BATCH_BYTES)
		errx(1, "nothing to send");
	for (size_t i = 0; i < MEMORY; i++)
		memory[i] = 'a' + i % 26;
	batch = BATCH_BYTES / size < BATCH_RECORDS ? BATCH_BYTES / size : BATCH_RECORDS;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	curl = prepare_curl(argv[1], argv[2]);
	post(curl, build_body(memory, &at, size, 1));	/* connects */

	start = cpu_ns();
	while (records > 0)
	{
		long		n = records < batch ? records : batch;
		size_t		length = build_body(memory, &at, size, n);

		if (EVP_Digest(body, length, digest, NULL, EVP_sha256(), NULL) != 1)
			errx(1, "no SHA-256");
		post(curl, length);
		records -= n;
		requests++;
	}
	printf("%.0f %ld\n", cpu_ns() - start, requests);
	return 0;
}
