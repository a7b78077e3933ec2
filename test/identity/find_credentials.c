/*-------------------------------------------------------------------------
 *
 * find_credentials.c
 *	  Find the credentials that the environment and its files lead to, and
 *	  print "found ID SECRET TOKEN", "none: why" or "failed: why".  Given a
 *	  service and a region, print instead the URL of the service that they
 *	  lead to, and the region that a request to it is signed for.
 *
 * What the sender does in its event loop is done here one after the other,
 * over plain sockets and to loopback only, so that compare_with_botocore.py
 * can compare the result with botocore's.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aws/command_line.h"
#include "aws/credential_fetch.h"
#include "aws/endpoint.h"

static char response[256 * 1024];

/* Write all of a text to a socket. */
static bool
send_text(int fd, const char *text, size_t len)
{
	while (len > 0)
	{
		ssize_t		n = write(fd, text, len);

		if (n <= 0)
			return false;
		text += n;
		len -= n;
	}
	return true;
}

/* Send a request to a port of loopback; the whole response, or NULL. */
static const char *
exchange(const CredentialRequest *request, size_t *length)
{
	static const char prefix[] = "http://127.0.0.1:";
	struct sockaddr_in address = {.sin_family = AF_INET};
	const char *port = request->url + sizeof(prefix) - 1;
	const char *path = strchr(port, '/');
	char		head[64 * 1024];
	int			n;
	int			fd = socket(AF_INET, SOCK_STREAM, 0);
	ssize_t		got;

	*length = 0;
	if (strncmp(request->url, prefix, sizeof(prefix) - 1) != 0)
		return NULL;
	address.sin_port = htons(atoi(port));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
	{
		close(fd);
		return NULL;
	}
	n = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n",
				 request->method, path, request->body_length);
	if (request->nheaders == 0 || strncmp(request->headers[0], "Host:", 5) != 0)
		n += snprintf(head + n, sizeof(head) - n, "Host: 127.0.0.1:%d\r\n", atoi(port));
	for (int i = 0; i < request->nheaders; i++)
		n += snprintf(head + n, sizeof(head) - n, "%s\r\n", request->headers[i]);
	n += snprintf(head + n, sizeof(head) - n, "\r\n");
	if (send_text(fd, head, n) && (request->body == NULL ||
								   send_text(fd, request->body, request->body_length)))
	{
		while ((got = read(fd, response + *length, sizeof(response) - 1 - *length)) > 0)
			*length += got;
	}
	close(fd);
	response[*length] = '\0';
	return *length > 0 ? response : NULL;
}

/* Send the request and go on with its response. */
static CredentialFetchAction
perform(CredentialFetch *fetch)
{
	size_t		length;
	const char *text = exchange(&fetch->request, &length);
	char	   *body;

	if (text == NULL || (body = strstr(text, "\r\n\r\n")) == NULL)
		return credential_fetch_no_response(fetch, "no response");
	body += 4;
	return credential_fetch_response(fetch, atoi(text + sizeof("HTTP/1.1 ") - 1), body,
									 response + length - body, time(NULL));
}

/* Run the command and go on with its output. */
static CredentialFetchAction
run(CredentialFetch *fetch)
{
	char	   *argv[COMMAND_LINE_MAX_WORDS + 1];
	char		why[200];
	int			ends[2];
	int			status;
	size_t		length = 0;
	ssize_t		got;
	pid_t		pid;

	if (!command_line_split(fetch->command, argv, why, sizeof(why)) || pipe(ends) != 0)
		return credential_fetch_no_response(fetch, why);
	pid = fork();
	if (pid == 0)
	{
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(ends[1]);
	while ((got = read(ends[0], response + length, sizeof(response) - length)) > 0)
		length += got;
	close(ends[0]);
	waitpid(pid, &status, 0);
	return credential_fetch_output(fetch, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
								   response, length, time(NULL));
}

static void
print_credentials(const Credentials *credentials)
{
	printf("found %s %s %s\n", credentials->access_key_id, credentials->secret_access_key,
		   credentials->session_token != NULL ? credentials->session_token : "-");
}

/* Print the endpoint of a service in a region. */
static int
print_endpoint(const CredentialState *state, const char *service, const char *region)
{
	static const char *const names[ENDPOINT_NSERVICES] = {"firehose", "sts", "sso", "sso-oidc"};
	Endpoint	endpoint;
	char		errmsg[200];
	const char *signing_region = region;
	int			i = 0;
	bool		found;

	while (strcmp(names[i], service) != 0)
	{
		if (++i == ENDPOINT_NSERVICES)
			return 2;
	}
	found = i == ENDPOINT_FIREHOSE ?
		endpoint_resolve(NULL, &state->endpoints, region, state->endpoints.flags,
						 &endpoint, errmsg, sizeof(errmsg)) :
		endpoint_of_credentials(i, &state->endpoints, region, &endpoint, &signing_region,
								errmsg, sizeof(errmsg));
	if (!found)
		printf("failed: %s\n", errmsg);
	else
		printf("%s %s\n", endpoint.url, signing_region);
	return 0;
}

int
main(int argc, char *argv[])
{
	CredentialSource source = {0};
	CredentialState state = {0};
	CredentialFetch fetch = {0};
	CredentialFetchAction action;
	char		errmsg[4096];
	CredentialsResult result;

	result = credentials_load(&state, &source, errmsg, sizeof(errmsg));
	if (argc == 3)
	{
		int			status = print_endpoint(&state, argv[1], argv[2]);

		credentials_free(&state);
		return status;
	}
	if (result == CREDENTIALS_FOUND)
		print_credentials(&state.credentials);
	else if (result != CREDENTIALS_FETCH)
		printf("%s: %s\n", result == CREDENTIALS_NOT_FOUND ? "none" : "failed", errmsg);
	else
	{
		action = credential_fetch_start(&fetch, &state.chain, &state.credentials,
										credentials_region(&state, NULL), &state.endpoints,
										time(NULL));
		while (action == CREDENTIAL_FETCH_SEND || action == CREDENTIAL_FETCH_RUN)
			action = action == CREDENTIAL_FETCH_SEND ? perform(&fetch) : run(&fetch);
		if (action == CREDENTIAL_FETCH_DONE)
			print_credentials(&fetch.credentials);
		else
			printf("failed: %s\n", fetch.errmsg);
	}
	credential_fetch_free(&fetch);
	credentials_free(&state);
	return 0;
}
