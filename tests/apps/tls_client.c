/* An HTTPS client that calls the library from C: `tls_client PORT COUNT`.
 *
 * Says `ready`, waits for a line, asks COUNT times on one connection, one JSON object a line for each (method, target, status,
 * start_ns, last_ns), then says `done`. It looks at each answer before it reads it, and uses each of the library's forms in
 * turn. It trusts any certificate. Of BoringSSL it uses the forms that it has.
 */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#ifdef OPENSSL_IS_BORINGSSL
#define ONLY_PLAIN 1
#define SSL_read_ex(tls, into, room, got) (*(got) = 0, 0)
#define SSL_write_ex SSL_read_ex
#define SSL_peek_ex SSL_read_ex
#else
#define ONLY_PLAIN 0
#endif

static unsigned long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void need(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "cannot %s\n", what);
	exit(1);
}

/* By the forms that give the length, or by those that have a place for it. */
static int read_some(SSL *tls, char *into, size_t room, int extended)
{
	size_t got = 0;

	if (!extended || ONLY_PLAIN)
		return SSL_read(tls, into, room);
	return SSL_read_ex(tls, into, room, &got) == 1 ? (int)got : -1;
}

static int write_all(SSL *tls, const char *from, size_t length, int extended)
{
	size_t written = 0;

	if (!extended || ONLY_PLAIN)
		return SSL_write(tls, from, length) == (int)length;
	return SSL_write_ex(tls, from, length, &written) == 1 && written == length;
}

/* Reads a response with its body; gives the status. */
static int read_response(SSL *tls, int extended)
{
	static char text[1 << 20];
	int have = 0, status = 0, got;
	char *end = NULL, *length;
	size_t seen;

	need(extended && !ONLY_PLAIN ? SSL_peek_ex(tls, text, sizeof(text), &seen) == 1 : SSL_peek(tls, text, sizeof(text)) > 0, "peek");
	do {
		got = read_some(tls, text + have, sizeof(text) - 1 - have, extended);
		need(got > 0, "read");
		have += got;
		text[have] = 0;
		end = end ? end : strstr(text, "\r\n\r\n");
		length = strcasestr(text, "\r\ncontent-length:");
	} while (!end || have < end + 4 - text + atoi(length ? strchr(length, ':') + 1 : "0"));
	sscanf(text, "HTTP/1.1 %d", &status);
	return status;
}

int main(int count_arguments, char **arguments)
{
	struct sockaddr_in peer = { .sin_family = AF_INET };
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	int plain = socket(AF_INET, SOCK_STREAM, 0);
	char request[256];
	SSL *tls;

	need(count_arguments == 3 && context && plain >= 0, "begin");
	puts("ready");
	fflush(stdout);
	need(getchar() == '\n', "wait for a line");
	peer.sin_port = htons(atoi(arguments[1]));
	inet_pton(AF_INET, "127.0.0.1", &peer.sin_addr);
	need(connect(plain, (struct sockaddr *)&peer, sizeof(peer)) == 0, "connect");
	tls = SSL_new(context);
	need(SSL_set_fd(tls, plain) && SSL_connect(tls) == 1, "shake hands");
	for (int number = 0; number < atoi(arguments[2]); number++) {
		int length = snprintf(request, sizeof(request), "GET /items/%d HTTP/1.1\r\nHost: here\r\n\r\n", number);
		unsigned long long start_ns = now_ns();
		int status;

		need(write_all(tls, request, length, number % 2), "write");
		status = read_response(tls, number % 2);
		printf("{\"method\": \"GET\", \"target\": \"/items/%d\", \"status\": %d, \"start_ns\": %llu, \"last_ns\": %llu}\n",
		       number, status, start_ns, now_ns());
	}
	SSL_shutdown(tls);
	SSL_free(tls);
	puts("done");
	return 0;
}
