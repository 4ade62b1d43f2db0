/*
 * The way to a database on another machine: passes TCP connections on, and
 * holds what goes to the server and what comes back for a time.
 *
 *   relay PORT MICROSECONDS
 *
 * Listens on a free port of the loopback, which it prints, for the server on
 * PORT. It ends when its standard input does. What is longer than the buffer is
 * held more than once; a delivery's statements are not.
 */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1024 * 1024)

/* In ns: the kernel may let a sleep end so much later. */
#define SLACK 1000

static struct timespec hold;

/* One direction of a connection. */
typedef struct way_t {
    int from;
    int to;
} way_t;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *pass_on(void *data)
{
    way_t *way = data;
    char *buffer = malloc(BUFFER);
    ssize_t length;

    prctl(PR_SET_TIMERSLACK, SLACK);
    while (buffer && (length = read(way->from, buffer, BUFFER)) > 0) {
        ssize_t sent = 0;
        ssize_t more = 1;

        nanosleep(&hold, NULL);
        while (sent < length && more > 0) {
            more = write(way->to, buffer + sent, (size_t)(length - sent));
            sent += more;
        }
    }
    shutdown(way->to, SHUT_RDWR);
    free(buffer);
    free(way);
    return NULL;
}

static void start(int from, int to)
{
    way_t *way = malloc(sizeof(*way));
    pthread_t thread;
    int on = 1;

    if (!way) {
        die("malloc");
    }
    way->from = from;
    way->to = to;
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (pthread_create(&thread, NULL, pass_on, way) != 0) {
        die("thread");
    }
    pthread_detach(thread);
}

/* Until nobody is interested any more. */
static void *wait_for_end(void *unused)
{
    char byte;

    (void)unused;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    exit(0);
}

static int make_socket(void)
{
    int made = socket(AF_INET, SOCK_STREAM, 0);

    if (made < 0) {
        die("socket");
    }
    return made;
}

int main(int argc, char **argv)
{
    struct sockaddr_in server = {.sin_family = AF_INET};
    struct sockaddr_in here = {.sin_family = AF_INET};
    socklen_t size = sizeof(here);
    int listener = make_socket();
    pthread_t end;
    int client;

    if (argc != 3) {
        fprintf(stderr, "usage: relay PORT MICROSECONDS\n");
        return 2;
    }
    here.sin_addr.s_addr = server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons((in_port_t)atoi(argv[1]));
    hold.tv_sec = atol(argv[2]) / 1000000;
    hold.tv_nsec = atol(argv[2]) % 1000000 * 1000;
    if (bind(listener, (struct sockaddr *)&here, sizeof(here)) != 0 ||
        listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)&here, &size) != 0 ||
        pthread_create(&end, NULL, wait_for_end, NULL) != 0) {
        die("listen");
    }
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    while ((client = accept(listener, NULL, NULL)) >= 0) {
        int onward = make_socket();

        if (connect(onward, (struct sockaddr *)&server, sizeof(server)) != 0) {
            die("connect");
        }
        start(client, onward);
        start(onward, client);
    }
    die("accept");
}
