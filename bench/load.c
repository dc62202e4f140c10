// A closed-loop load on one address of this machine, with the time to the first byte of each answer.
//
//   load PORT PATH CONNECTIONS SECONDS BODY_FILE [HEADER…]        as many requests as the connections carry
//   load -1 PORT PATH CONNECTIONS SECONDS BODY_FILE [HEADER…]     one request a connection, all at once, then until all have ended
//
// Prints one line of JSON: times in milliseconds; `stall` is the longest silence inside an answer. The first error's text goes to
// standard error.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 32768
#define MAX_SAMPLES (1 << 22)

struct connection {
    int fd, length, in_body, chunked, request_sent, failed;
    long body_length, received;
    double started, first, last;
    char buffer[BUFFER + 1];
};

static int port, epoll_fd, request_length, once;
static char *request;
static float *latency, *first_byte;
static long samples, errors;
static double worst_stall;
static char first_error[300];

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void note_error(const char *text) {
    errors++;
    if (!*first_error) snprintf(first_error, sizeof first_error, "%.280s", text);
}

static int open_connection(struct connection *c) {
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address)) {
        note_error(strerror(errno));
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
        return 0;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
    return 1;
}

static void send_request(struct connection *c) {
    c->length = c->in_body = c->chunked = c->received = c->failed = 0;
    c->body_length = -1;
    c->first = c->last = 0;
    c->started = now_us();
    if (c->fd < 0 && !open_connection(c)) return;
    for (int sent = 0; sent < request_length;) {
        ssize_t n = send(c->fd, request + sent, request_length - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            note_error("send failed");
            close(c->fd);
            c->fd = -1;
            return;
        }
        sent += n;
    }
}

// Reads the answer's head. Returns 1 when the body has begun.
static int read_head(struct connection *c) {
    c->buffer[c->length] = 0;
    char *end = memmem(c->buffer, c->length, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    char *field = strcasestr(c->buffer, "\r\ncontent-length:");
    if (field) c->body_length = atol(field + 17);
    c->chunked = strcasestr(c->buffer, "\r\ntransfer-encoding: chunked") != NULL;
    int status = atoi(c->buffer + 9), head_length = end + 4 - c->buffer;
    if (status != 200) {
        c->failed = 1;
        char text[300];
        snprintf(text, sizeof text, "%d %.*s", status, c->length - head_length < 250 ? c->length - head_length : 250, c->buffer + head_length);
        note_error(text);
    }
    memmove(c->buffer, c->buffer + head_length, c->length - head_length);
    c->length -= head_length;
    c->in_body = 1;
    return 1;
}

// 1 when the answer is complete.
static int read_body(struct connection *c) {
    if (c->chunked) {
        if (c->length >= 5 && !memcmp(c->buffer + c->length - 5, "0\r\n\r\n", 5)) return 1;
        if (c->length > 64) {
            memmove(c->buffer, c->buffer + c->length - 16, 16);
            c->length = 16;
        }
        return 0;
    }
    c->received += c->length;
    c->length = 0;
    return c->body_length >= 0 && c->received >= c->body_length;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && !strcmp(argv[1], "-1")) once = 1, argv++, argc--;
    if (argc < 6) return fprintf(stderr, "usage: load [-1] PORT PATH CONNECTIONS SECONDS BODY_FILE [HEADER…]\n"), 2;
    port = atoi(argv[1]);
    int connections = atoi(argv[3]);
    double seconds = atof(argv[4]);
    FILE *file = fopen(argv[5], "r");
    if (!file) return perror(argv[5]), 2;
    fseek(file, 0, SEEK_END);
    long body_length = ftell(file);
    rewind(file);
    request = malloc(body_length + 16384);
    request_length = sprintf(request, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: */*\r\n", argv[2], port);
    for (int i = 6; i < argc; i++) request_length += sprintf(request + request_length, "%s\r\n", argv[i]);
    request_length += sprintf(request + request_length, "Content-Length: %ld\r\n\r\n", body_length);
    if (fread(request + request_length, 1, body_length, file) != (size_t)body_length) return perror(argv[5]), 2;
    request_length += body_length;
    fclose(file);

    latency = malloc(MAX_SAMPLES * sizeof(float));
    first_byte = malloc(MAX_SAMPLES * sizeof(float));
    epoll_fd = epoll_create1(0);
    struct connection *all = calloc(connections, sizeof *all);
    double start = now_us(), end = start + seconds * 1e6;
    for (int i = 0; i < connections; i++) {
        all[i].fd = -1;
        send_request(&all[i]);
    }
    struct epoll_event ready[512];
    int open = connections;
    while (open > 0 && (now_us() < end)) {
        int count = epoll_wait(epoll_fd, ready, 512, 100);
        double t = now_us();
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            ssize_t n = recv(c->fd, c->buffer + c->length, BUFFER - c->length, MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN) continue;
            if (n <= 0) {
                note_error("the connection was closed inside an answer");
                close(c->fd);
                c->fd = -1;
                if (once) open--;
                else send_request(c);
                continue;
            }
            c->length += n;
            if (c->in_body && c->last && t - c->last > worst_stall) worst_stall = t - c->last;
            if (!c->in_body && !read_head(c)) continue;
            if (!c->first && c->length > 0) c->first = t;
            c->last = t;
            if (!read_body(c)) continue;
            if (samples < MAX_SAMPLES && !c->failed) {
                latency[samples] = t - c->started;
                first_byte[samples++] = (c->first ? c->first : t) - c->started;
            }
            if (once) {
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
                open--;
            } else send_request(c);
        }
    }
    double elapsed = (now_us() - start) / 1e6;
    if (*first_error) fprintf(stderr, "first error: %s\n", first_error);
    if (!samples) return printf("{\"rps\":0,\"n\":0,\"errors\":%ld,\"unfinished\":%d}\n", errors, open), 1;
    qsort(latency, samples, sizeof(float), by_value);
    qsort(first_byte, samples, sizeof(float), by_value);
#define AT(list, quantile) (list[(long)((samples - 1) * quantile)] / 1000.0)
    printf("{\"rps\":%.0f,\"n\":%ld,\"errors\":%ld,\"unfinished\":%d,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.1f,\"first50\":%.3f,\"first99\":%.3f,\"stall\":%.1f}\n",
        samples / elapsed, samples, errors, once ? open : 0, AT(latency, .5), AT(latency, .9), AT(latency, .99), AT(latency, 1.0), AT(first_byte, .5), AT(first_byte, .99), worst_stall / 1000);
}
