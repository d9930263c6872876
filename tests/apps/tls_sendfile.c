/* An HTTPS server that sends files with SSL_sendfile: `tls_sendfile CERTIFICATE KEY FILE`.
 *
 * Says its port, serves one connection, and answers each request with the file. SSL_sendfile needs a kernel that encrypts.
 * Where none does, this program's BIO says that it does while a file is sent: so the library goes its usual way, and the
 * file passes in the clear, which the client expects.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int pretends;

static void need(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "cannot %s\n", what);
	exit(1);
}

static int connection_of(BIO *bio)
{
	return (int)(long)BIO_get_data(bio);
}

static int write_bytes(BIO *bio, const char *bytes, int length)
{
	return send(connection_of(bio), bytes, length, 0);
}

static int read_bytes(BIO *bio, char *bytes, int length)
{
	return recv(connection_of(bio), bytes, length, 0);
}

static long control(BIO *bio, int command, long number, void *pointer)
{
	(void)number;
	switch (command) {
	case BIO_C_GET_FD:
		if (pointer)
			*(int *)pointer = connection_of(bio);
		return connection_of(bio);
	case BIO_CTRL_GET_KTLS_SEND:
		return pretends;
	case BIO_CTRL_FLUSH:
		return 1;
	}
	return 0;
}

static BIO *wrap(int connection)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "stand-in");
	BIO *bio;

	BIO_meth_set_write(method, write_bytes);
	BIO_meth_set_read(method, read_bytes);
	BIO_meth_set_ctrl(method, control);
	bio = BIO_new(method);
	BIO_set_data(bio, (void *)(long)connection);
	BIO_set_init(bio, 1);
	return bio;
}

/* False: the client has gone. */
static int read_request(SSL *tls)
{
	char text[4096];
	int have = 0, got;

	do {
		got = SSL_read(tls, text + have, sizeof(text) - 1 - have);
		if (got <= 0)
			return 0;
		have += got;
		text[have] = 0;
	} while (!strstr(text, "\r\n\r\n"));
	return 1;
}

static void answer(SSL *tls, int file, long length)
{
	char head[256];
	int bytes = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", length);
	long done = 0, sent;

	need(SSL_write(tls, head, bytes) == bytes, "write");
	while (done < length) {
		pretends = 1;
		sent = SSL_sendfile(tls, file, done, length - done, 0);
		pretends = 0;
		need(sent > 0, "send the file");
		done += sent;
	}
}

int main(int count, char **arguments)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(own);
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int listener = socket(AF_INET, SOCK_STREAM, 0), connection, file;
	struct stat about;
	SSL *tls;
	BIO *bio;

	need(count == 4 && context && bind(listener, (struct sockaddr *)&own, size) == 0 && listen(listener, 1) == 0,
	     "begin");
	need(SSL_CTX_use_certificate_chain_file(context, arguments[1]) == 1 &&
		     SSL_CTX_use_PrivateKey_file(context, arguments[2], SSL_FILETYPE_PEM) == 1,
	     "load the certificate");
	file = open(arguments[3], O_RDONLY);
	need(file >= 0 && fstat(file, &about) == 0, "open the file");
	getsockname(listener, (struct sockaddr *)&own, &size);
	printf("%d\n", ntohs(own.sin_port));
	fflush(stdout);
	connection = accept(listener, NULL, NULL);
	tls = SSL_new(context);
	bio = wrap(connection);
	SSL_set_bio(tls, bio, bio);
	need(SSL_accept(tls) == 1, "shake hands");
	while (read_request(tls))
		answer(tls, file, about.st_size);
	SSL_free(tls);
	close(connection);
	/* Until the books are closed. */
	getchar();
	return 0;
}
