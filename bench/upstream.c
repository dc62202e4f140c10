// A model provider for measurements: answers POST …/chat/completions and …/messages, streamed when the body asks for it.
//
//   upstream PORT [FIRST_BYTE_MS=0] [INTERVAL_MS=0] [EVENTS=20]
//
// One process, one epoll loop, keep-alive; the answer's bytes are made once at start, so that what is measured is the proxy.
#define _GNU_SOURCE
#include <arpa/inet.h>
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
#include <errno.h>

enum { CHAT, MESSAGES, KINDS };
#define MAX_EVENTS 4096

struct event { char *bytes; int length; };
static struct event stream_events[KINDS][MAX_EVENTS];
static int stream_count[KINDS];
static struct event plain[KINDS];
static int first_byte_ms, interval_ms, delta_events = 20;

struct connection {
    int fd, length, capacity, busy, kind, streamed, next;
    char *input, *output;
    int output_length, output_sent;
    double due;
    struct connection *before, *after;  // in one of the lists of those that wait for their time
};
// Whoever waits in one list waits equally long, so that its first is always the next one: thousands may wait.
static struct connection before_first = {.before = &before_first, .after = &before_first};
static struct connection between = {.before = &between, .after = &between};
static struct connection *const lists[] = {&before_first, &between};
static int epoll_fd;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void add_event(int kind, const char *text) {
    struct event *e = &stream_events[kind][stream_count[kind]++];
    e->length = asprintf(&e->bytes, "%zx\r\n%s\r\n", strlen(text), text);
}

static void build_answers(void) {
    char text[1024];
    add_event(CHAT, "data: {\"id\":\"cc1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n");
    add_event(MESSAGES, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench-model\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    for (int i = 0; i < delta_events; i++) {
        snprintf(text, sizeof text, "data: {\"id\":\"cc1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word%d \"},\"finish_reason\":null}]}\n\n", i);
        add_event(CHAT, text);
        snprintf(text, sizeof text, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word%d \"}}\n\n", i);
        add_event(MESSAGES, text);
    }
    snprintf(text, sizeof text, "data: {\"id\":\"cc1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"cc1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench-model\",\"choices\":[],\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\ndata: [DONE]\n\n", delta_events, delta_events + 25);
    add_event(CHAT, text);
    snprintf(text, sizeof text, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":%d}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", delta_events);
    add_event(MESSAGES, text);
#define SENTENCE "Hello from the upstream, about twenty words of filler so that the body has a realistic size for a short answer."
    const char *bodies[KINDS] = {
        "{\"id\":\"cc1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"" SENTENCE "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":20,\"total_tokens\":45}}",
        "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench-model\",\"content\":[{\"type\":\"text\",\"text\":\"" SENTENCE "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":20}}"};
    for (int k = 0; k < KINDS; k++)
        plain[k].length = asprintf(&plain[k].bytes, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(bodies[k]), bodies[k]);
}

static void unlist(struct connection *c) {
    if (!c->before) return;
    c->before->after = c->after;
    c->after->before = c->before;
    c->before = c->after = NULL;
}

static void list_until(struct connection *list, struct connection *c, double due) {
    unlist(c);
    c->due = due;
    c->before = list->before;
    c->after = list;
    list->before->after = c;
    list->before = c;
}

static void destroy(struct connection *c) {
    unlist(c);
    close(c->fd);
    free(c->input);
    free(c->output);
    free(c);
}

// Sends, keeping what the socket does not take now. False when the peer is gone.
static int send_all(struct connection *c, const char *bytes, int length) {
    if (!c->output_length) {
        ssize_t sent = send(c->fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return 0;
        if (sent < 0) sent = 0;
        bytes += sent;
        length -= sent;
        if (!length) return 1;
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
    }
    c->output = realloc(c->output, c->output_length + length);
    memcpy(c->output + c->output_length, bytes, length);
    c->output_length += length;
    return 1;
}

static int flush(struct connection *c) {
    while (c->output_sent < c->output_length) {
        ssize_t sent = send(c->fd, c->output + c->output_sent, c->output_length - c->output_sent, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN;
        c->output_sent += sent;
    }
    c->output_length = c->output_sent = 0;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
    return 1;
}

static int answer_requests(struct connection *c);

// The next piece of the answer: everything at once without an interval, else one event.
static int answer(struct connection *c) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    if (!c->streamed) {
        unlist(c);
        c->busy = 0;
        return send_all(c, plain[c->kind].bytes, plain[c->kind].length) && answer_requests(c);
    }
    for (;;) {
        if (c->next == 0 && !send_all(c, head, sizeof head - 1)) return 0;
        struct event *e = &stream_events[c->kind][c->next++];
        if (!send_all(c, e->bytes, e->length)) return 0;
        if (c->next == stream_count[c->kind]) {
            unlist(c);
            c->busy = 0;
            return send_all(c, "0\r\n\r\n", 5) && answer_requests(c);
        }
        if (interval_ms) {
            list_until(&between, c, (c->due ? c->due : now_ms()) + interval_ms);
            return 1;
        }
    }
}

// Reads whole requests off the input and starts to answer the first; the rest waits until that is done.
static int answer_requests(struct connection *c) {
    while (!c->busy && c->length > 0) {
        c->input[c->length] = 0;
        char *end = memmem(c->input, c->length, "\r\n\r\n", 4);
        if (!end) return 1;
        int head_length = end + 4 - c->input;
        *end = 0;
        char *field = strcasestr(c->input, "\r\ncontent-length:");
        int chunked = !field && strcasestr(c->input, "\r\ntransfer-encoding: chunked") != NULL;
        int expects = strcasestr(c->input, "\r\nexpect: 100") != NULL;
        long body_length = field ? atol(field + 17) : 0;
        *end = '\r';
        int total = head_length + body_length;
        if (chunked) {
            char *last = memmem(c->input + head_length - 2, c->length - head_length + 2, "\r\n0\r\n\r\n", 7);
            if (!last) return 1;
            total = last + 7 - c->input;
        } else {
            if (expects && c->length == head_length && !send_all(c, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return 0;
            if (c->length < total) return 1;
        }
        char *line_end = memchr(c->input, '\r', head_length);
        c->kind = memmem(c->input, line_end - c->input, "/messages", 9) ? MESSAGES : CHAT;
        c->streamed = 0;
        char *body = c->input + head_length, *found = body;
        while ((found = memmem(found, c->input + total - found, "\"stream\"", 8))) {
            found += 8;
            while (*found == ' ' || *found == ':') found++;
            if (!strncmp(found, "true", 4)) c->streamed = 1;
        }
        memmove(c->input, c->input + total, c->length - total);
        c->length -= total;
        c->busy = 1;
        c->next = 0;
        c->due = 0;
        if (first_byte_ms) list_until(&before_first, c, now_ms() + first_byte_ms);
        else if (!answer(c)) return 0;
    }
    return 1;
}

static int receive(struct connection *c) {
    if (c->capacity - c->length < 8192) {
        c->capacity *= 2;
        c->input = realloc(c->input, c->capacity + 1);
    }
    ssize_t got = recv(c->fd, c->input + c->length, c->capacity - c->length, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return 0;
    if (got > 0) c->length += got;
    return got <= 0 || answer_requests(c);
}

int main(int argc, char **argv) {
    if (argc < 2) return fprintf(stderr, "usage: upstream PORT [FIRST_BYTE_MS] [INTERVAL_MS] [EVENTS]\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    if (argc > 2) first_byte_ms = atoi(argv[2]);
    if (argc > 3) interval_ms = atoi(argv[3]);
    if (argc > 4) delta_events = atoi(argv[4]) < MAX_EVENTS - 2 ? atoi(argv[4]) : MAX_EVENTS - 2;
    build_answers();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) return perror("upstream: bind"), 1;
    epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, ready[512];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int timeout = -1;
        for (int l = 0; l < 2; l++) {
            if (lists[l]->after == lists[l]) continue;
            double left = lists[l]->after->due - now_ms();
            int whole = left <= 0 ? 0 : (int)left + 1;
            if (timeout < 0 || whole < timeout) timeout = whole;
        }
        int count = epoll_wait(epoll_fd, ready, 512, timeout);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (!c) {
                int fd;
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    c = calloc(1, sizeof *c);
                    c->fd = fd;
                    c->capacity = 4096;
                    c->input = malloc(c->capacity + 1);
                    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
                    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
                }
                continue;
            }
            int alive = 1;
            if (ready[i].events & EPOLLOUT) alive = flush(c);
            if (alive && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = receive(c);
            if (!alive) destroy(c);
        }
        double t = now_ms();
        for (int l = 0; l < 2; l++)
            for (struct connection *c = lists[l]->after; c != lists[l] && c->due <= t; c = lists[l]->after) {
                unlist(c);
                if (!answer(c)) destroy(c);
            }
    }
}
