/*-------------------------------------------------------------------------
 *
 * sink.c
 *	  An endpoint that costs next to nothing: answers PutRecord and
 *	  PutRecordBatch as Firehose does and keeps only a count.
 *
 *	  sink --port-file FILE [--cert FILE --key FILE] [--short-record-ids]
 *		   [--log FILE --log-prefix BASE64]
 *
 * Counterpart of the benchmarks, where test/emulator would be the bottleneck.
 * It verifies nothing.  Listens on loopback, with --cert by TLS; a thread
 * serves each connection.  The port file gets the port.  GET /stats answers
 * "requests records bytes cpu_ns", and DELETE /stats sets the first three to
 * zero.  After GET /delay/MS it takes so long to answer each request.  Records
 * whose data begins so, in base64, have a line in the log: the time (ns since
 * 1970) when they were answered, and their data.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE		(128 * 1024)
#define MAX_HEAD		16384
#define MAX_RECORDS		500

/* What AWS gives has about 220 characters. */
#define LONG_ID			220
#define SHORT_ID		16

typedef struct Connection
{
	int			fd;
	SSL		   *ssl;			/* NULL: plain */
	char	   *data;			/* READ_SIZE bytes, of which .. */
	size_t		used;			/* .. so many are filled */
	char	   *response;
	char	   *body;			/* of the request, if there is a log */
	size_t		body_size;		/* what is allocated */
} Connection;

/* What the head of a request says. */
typedef struct Head
{
	size_t		length;			/* of itself */
	size_t		body;
	bool		is_batch;
	bool		is_get;
	bool		is_delete;
	int			delay;			/* that is asked for, -1: none is */
	bool		wants_continue;
} Head;

static SSL_CTX *tls = NULL;
static int	id_length = LONG_ID;
static atomic_int delay_ms;
static FILE *log_file = NULL;
static char log_prefix[128];	/* with the quote before it */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_ullong total_requests;
static atomic_ullong total_records;
static atomic_ullong total_bytes;

static ssize_t
read_some(Connection *c, char *to, size_t size)
{
	return c->ssl ? SSL_read(c->ssl, to, size) : read(c->fd, to, size);
}

static bool
write_all(Connection *c, const char *from, size_t size)
{
	while (size > 0)
	{
		ssize_t		n = c->ssl ? SSL_write(c->ssl, from, size) :
			write(c->fd, from, size);

		if (n <= 0)
			return false;
		from += n;
		size -= n;
	}
	return true;
}

/* The value of a header, NULL if the head has none. */
static const char *
find_header(const char *head, const char *name)
{
	const char *found = strcasestr(head, name);

	return found ? found + strlen(name) : NULL;
}

/* Read up to the end of a head; false: there is no further request. */
static bool
read_head(Connection *c, Head *head)
{
	char	   *end;
	const char *value;

	c->data[c->used] = '\0';
	while ((end = strstr(c->data, "\r\n\r\n")) == NULL)
	{
		ssize_t		n;

		if (c->used >= MAX_HEAD ||
			(n = read_some(c, c->data + c->used, READ_SIZE - 1 - c->used)) <= 0)
			return false;
		c->used += n;
		c->data[c->used] = '\0';
	}
	*end = '\0';
	head->length = end + 4 - c->data;
	value = find_header(c->data, "\r\nContent-Length:");
	head->body = value ? strtoull(value, NULL, 10) : 0;
	value = find_header(c->data, "\r\nX-Amz-Target:");
	head->is_batch = value && strncmp(value + strspn(value, " "),
									  "Firehose_20150804.PutRecordBatch", 32) == 0;
	head->wants_continue = find_header(c->data, "\r\nExpect:") != NULL;
	head->is_get = strncmp(c->data, "GET ", 4) == 0;
	head->is_delete = strncmp(c->data, "DELETE ", 7) == 0;
	head->delay = strncmp(c->data, "GET /delay/", 11) == 0 ? atoi(c->data + 11) : -1;
	return true;
}

static size_t
count_braces(const char *data, size_t length)
{
	size_t		total = 0;

	/* in short stretches, so that the compiler counts in bytes */
	while (length > 0)
	{
		size_t		n = length < 255 * 16 ? length : 255 * 16;
		uint32_t	some = 0;

		for (size_t i = 0; i < n; i++)
			some += data[i] == '{';
		total += some;
		data += n;
		length -= n;
	}
	return total;
}

/* Keep a part of the body for the log. */
static void
keep_body(Connection *c, size_t at, const char *data, size_t length)
{
	if (log_file == NULL)
		return;
	if (at + length > c->body_size)
	{
		c->body_size = 2 * (at + length);
		c->body = realloc(c->body, c->body_size);
		if (c->body == NULL)
			errx(1, "out of memory");
	}
	memcpy(c->body + at, data, length);
}

/* The request is answered: log the records that begin as they are to. */
static void
log_body(Connection *c, size_t length)
{
	size_t		prefix = strlen(log_prefix);
	char	   *found = c->body;
	struct timespec now;

	if (log_file == NULL || length == 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	while ((found = memmem(found, c->body + length - found, log_prefix, prefix)) != NULL)
	{
		char	   *end = memchr(found + 1, '"', c->body + length - found - 1);

		if (end == NULL)
			break;
		pthread_mutex_lock(&log_lock);
		fprintf(log_file, "%lld%09ld %.*s\n", (long long) now.tv_sec, now.tv_nsec,
				(int) (end - found - 1), found + 1);
		fflush(log_file);
		pthread_mutex_unlock(&log_lock);
		found = end;
	}
}

/*
 * Read the body.  Returns its number of records, -1 if it breaks off: each is
 * an object in the one that is the body, and nothing else in it has braces.
 */
static int
read_body(Connection *c, const Head *head)
{
	size_t		here = c->used - head->length;
	size_t		left = head->body;
	size_t		braces;

	if (here > left)
		here = left;
	braces = count_braces(c->data + head->length, here);
	keep_body(c, 0, c->data + head->length, here);
	left -= here;
	c->used = 0;				/* no client sends ahead */
	while (left > 0)
	{
		ssize_t		n = read_some(c, c->data, left < READ_SIZE ? left : READ_SIZE);

		if (n <= 0)
			return -1;
		braces += count_braces(c->data, n);
		keep_body(c, head->body - left, c->data, n);
		left -= n;
	}
	return (int) braces - 1;
}

/* A record id that no other record has, in characters of base64. */
static char *
write_id(char *to)
{
	static const char digits[] = "0123456789abcdef";
	static atomic_ullong next;
	unsigned long long n = atomic_fetch_add(&next, 1);

	memset(to, 'R', id_length);
	for (int i = 0; i < 16; i++)
		to[id_length - 1 - i] = digits[n >> (4 * i) & 15];
	return to + id_length;
}

#define APPEND(to, literal) (memcpy(to, literal, sizeof(literal) - 1), to + sizeof(literal) - 1)

static size_t
write_reply(char *response, const Head *head, int records)
{
	char	   *p = response;

	if (!head->is_batch)
	{
		p = APPEND(p, "{\"RecordId\":\"");
		p = write_id(p);
		p = APPEND(p, "\",\"Encrypted\":false}");
		return p - response;
	}
	p = APPEND(p, "{\"FailedPutCount\":0,\"Encrypted\":false,\"RequestResponses\":[");
	for (int i = 0; i < records; i++)
	{
		if (i > 0)
			*p++ = ',';
		p = APPEND(p, "{\"RecordId\":\"");
		p = write_id(p);
		p = APPEND(p, "\"}");
	}
	p = APPEND(p, "]}");
	return p - response;
}

static size_t
write_stats(char *response, const Head *head)
{
	struct timespec cpu;

	if (head->is_delete)
	{
		total_requests = total_records = total_bytes = 0;
		return sprintf(response, "ok\n");
	}
	if (head->delay >= 0)
	{
		delay_ms = head->delay;
		return sprintf(response, "ok\n");
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	return sprintf(response, "%llu %llu %llu %llu\n", total_requests, total_records,
				   total_bytes, cpu.tv_sec * 1000000000ULL + cpu.tv_nsec);
}

/* Answer one request; false: the connection is over. */
static bool
serve(Connection *c)
{
	Head		head;
	size_t		length;
	char		text[512];
	int			n;

	if (!read_head(c, &head))
		return false;
	if (head.wants_continue && !write_all(c, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		return false;
	if (head.is_get || head.is_delete)
	{
		c->used = 0;
		head.body = 0;
		length = write_stats(c->response, &head);
	}
	else
	{
		int			records = read_body(c, &head);

		if (records < 0 || records > MAX_RECORDS)
			return false;
		length = write_reply(c->response, &head, records);
		total_requests++;
		total_records += records;
		total_bytes += head.body;
		if (delay_ms > 0)
			usleep(delay_ms * 1000);
	}

	/* the headers that Firehose's replies have */
	n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n"
				 "x-amzn-RequestId: d26dc1c0-0a1b-4b5c-8a51-3f1bd3a0a3a1\r\n"
				 "x-amz-id-2: %076d\r\n"
				 "Date: Sat, 01 Jan 2022 00:00:00 GMT\r\n"
				 "Content-Type: application/x-amz-json-1.1\r\n"
				 "Content-Length: %zu\r\n\r\n", 0, length);
	if (!write_all(c, text, n) || !write_all(c, c->response, length))
		return false;
	log_body(c, head.body);
	return true;
}

static void *
serve_connection(void *arg)
{
	Connection	c = {.fd = (int) (intptr_t) arg};

	c.data = malloc(READ_SIZE + 1);
	c.response = malloc(MAX_RECORDS * (LONG_ID + 32) + 256);
	if (c.data == NULL || c.response == NULL)
		errx(1, "out of memory");
	if (tls != NULL)
	{
		c.ssl = SSL_new(tls);
		SSL_set_fd(c.ssl, c.fd);
	}
	if (c.ssl == NULL || SSL_accept(c.ssl) == 1)
	{
		while (serve(&c))
			;
	}
	SSL_free(c.ssl);
	close(c.fd);
	free(c.data);
	free(c.response);
	free(c.body);
	return NULL;
}

static void
prepare_tls(const char *cert, const char *key)
{
	tls = SSL_CTX_new(TLS_server_method());
	if (tls == NULL || SSL_CTX_use_certificate_file(tls, cert, SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
		errx(1, "cannot use %s and %s", cert, key);
	/* many records of TLS with one read */
	SSL_CTX_set_read_ahead(tls, 1);
	SSL_CTX_set_default_read_buffer_len(tls, READ_SIZE);
}

static int
listen_on_loopback(const char *port_file)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	length = sizeof(address);
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE	   *file;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, length) < 0 ||
		listen(fd, 128) < 0 ||
		getsockname(fd, (struct sockaddr *) &address, &length) < 0)
		err(1, "cannot listen");
	file = fopen(port_file, "w");
	if (file == NULL || fprintf(file, "%d\n", ntohs(address.sin_port)) < 0 ||
		fclose(file) != 0)
		err(1, "%s", port_file);
	return fd;
}

int
main(int argc, char **argv)
{
	const char *port_file = NULL;
	const char *cert = NULL;
	const char *key = NULL;
	const char *log_name = NULL;
	int			listener;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--short-record-ids") == 0)
			id_length = SHORT_ID;
		else if (i + 1 < argc && strcmp(argv[i], "--port-file") == 0)
			port_file = argv[++i];
		else if (i + 1 < argc && strcmp(argv[i], "--cert") == 0)
			cert = argv[++i];
		else if (i + 1 < argc && strcmp(argv[i], "--key") == 0)
			key = argv[++i];
		else if (i + 1 < argc && strcmp(argv[i], "--log") == 0)
			log_name = argv[++i];
		else if (i + 1 < argc && strcmp(argv[i], "--log-prefix") == 0)
			snprintf(log_prefix, sizeof(log_prefix), "\"%s", argv[++i]);
		else
			errx(1, "unknown argument %s", argv[i]);
	}
	if (port_file == NULL)
		errx(1, "--port-file is needed");
	if (log_name != NULL && (log_file = fopen(log_name, "a")) == NULL)
		err(1, "%s", log_name);
	signal(SIGPIPE, SIG_IGN);
	if (cert != NULL)
		prepare_tls(cert, key);
	listener = listen_on_loopback(port_file);

	for (;;)
	{
		int			fd = accept(listener, NULL, NULL);
		int			one = 1;
		pthread_t	thread;

		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (pthread_create(&thread, NULL, serve_connection, (void *) (intptr_t) fd) != 0)
			errx(1, "cannot create a thread");
		pthread_detach(thread);
	}
}
