/*
 * Puts from libpq; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
 *
 *     cc -I$(pg_config --includedir) c_libpq.c -lpq && ./a.out STREAM FULL_STREAM
 *
 * The queue of FULL_STREAM has no room: what to do then is shown, too.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static PGconn *connection;

/* Run a statement; the caller clears the result. */
static PGresult *
run(const char *query, const char *stream, const char *data, int length)
{
	const char *values[] = {stream, data};
	int			lengths[] = {0, length};
	int			formats[] = {0, length > 0};	/* 1: bytes as they are */

	return PQexecParams(connection, query, data ? 2 : stream ? 1 : 0, NULL,
						values, lengths, formats, 0);
}

/* The same for what must succeed; returns its only value, if any. */
static char *
must(const char *query, const char *stream, const char *data, int length)
{
	PGresult   *result = run(query, stream, data, length);
	char	   *value = NULL;

	if (PQresultStatus(result) != PGRES_TUPLES_OK &&
		PQresultStatus(result) != PGRES_COMMAND_OK)
	{
		fprintf(stderr, "%s", PQresultErrorMessage(result));
		exit(1);
	}
	if (PQntuples(result) > 0)
		value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

/* The SQLSTATE of a statement; "" if it succeeds. */
static const char *
sqlstate(const char *query, const char *stream, const char *data, int length)
{
	static char state[6];
	PGresult   *result = run(query, stream, data, length);
	const char *field = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	snprintf(state, sizeof(state), "%s", field ? field : "");
	PQclear(result);
	return state;
}

/* Put in a transaction that goes on if the queue stays full. */
static int
put_patiently(const char *stream, const char *text)
{
	for (int attempt = 0; attempt < 3; attempt++)
	{
		const char *state;

		must("SAVEPOINT put", NULL, NULL, 0);
		state = sqlstate("SELECT firehose_put_text($1, $2)", stream, text, 0);
		if (*state == '\0')
			return 1;
		if (strcmp(state, "53000") != 0)
			exit(1);
		must("ROLLBACK TO SAVEPOINT put", NULL, NULL, 0);
		usleep(100000 << attempt);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	const char *stream = argv[1];
	const char *full = argv[argc - 1];
	char	   *id;

	connection = PQconnectdb("");
	if (PQstatus(connection) != CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(connection));
		return 1;
	}

	/* one record; sent when the transaction commits */
	must("BEGIN", NULL, NULL, 0);
	must("SELECT firehose_put_json($1, $2)", stream, "{\"page\": \"/\", \"n\": 1}", 0);
	must("SELECT firehose_put_text($1, $2)", stream, "line", 0);
	must("SELECT firehose_put_bytes($1, $2)", stream, "\x00\xff\n", 3);
	must("CALL firehose_send($1, $2)", stream, "{\"sent\": true}", 0);

	/* several */
	must("SELECT firehose_put_jsons($1, $2)", stream, "[{\"n\": 2}, {\"n\": 3}]", 0);
	must("SELECT firehose_put_texts($1, $2)", stream, "{a,b}", 0);
	must("SELECT firehose_put_texts($1, $2)", stream, "{}", 0);
	must("SELECT firehose_put_bytes_array($1, $2)", stream, "{\"\\\\x01\",\"\\\\x5c783032\"}", 0);
	must("COMMIT", NULL, NULL, 0);

	/* what is rolled back is not sent, unless it is put at once */
	must("BEGIN", NULL, NULL, 0);
	must("SELECT firehose_put_text($1, 'rolled back')", stream, NULL, 0);
	must("SELECT firehose_put_text($1, 'at once', false)", stream, NULL, 0);
	must("ROLLBACK", NULL, NULL, 0);

	/* the outcome */
	id = must("SELECT firehose_put_text($1, 'waited for')", stream, NULL, 0);
	puts(must("SELECT firehose_wait($1)", id, NULL, 0));

	must("BEGIN", NULL, NULL, 0);
	if (!put_patiently(full, "never sent"))
		puts("full");
	must("SELECT firehose_put_text($1, 'went on')", stream, NULL, 0);
	must("COMMIT", NULL, NULL, 0);

	/* an error that no other attempt mends */
	puts(sqlstate("SELECT firehose_put_json($1, $2)", stream, "no JSON", 0));
	PQfinish(connection);
	return 0;
}
