#define _GNU_SOURCE
#include "request.h"
#include "command.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct reply { uint8_t bytes[WIRE_HEADER + STATUS_PAYLOAD]; size_t size; };

static struct reply outbox[OUTBOX];
static unsigned first, queued;

static uint8_t *reply(uint32_t kind, uint32_t request, const uint8_t *id, size_t payload) {
    struct reply *r = &outbox[(first + queued++) % OUTBOX];
    memset(r, 0, sizeof *r);
    put32(r->bytes, kind);
    put32(r->bytes + 4, request);
    memcpy(r->bytes + 8, id, WIRE_ID);
    r->size = WIRE_HEADER + payload;
    return r->bytes + WIRE_HEADER;
}

static void reply_two(uint32_t kind, uint32_t request, const uint8_t *id, int error, uint32_t second) {
    uint8_t *payload = reply(kind, request, id, 8);
    put32(payload, (uint32_t)error);
    put32(payload + 4, second);
}

static void put_status(uint8_t *payload, const struct command *command) {
    put32(payload, command->state);
    put32(payload + 4, command->code);
    put32(payload + 8, (uint32_t)command->pid);
    put32(payload + 12, command->output >= 0);
    put64(payload + 16, command->started);
    put64(payload + 24, command->ended);
    put64(payload + 32, command->ring.total);
    put64(payload + 40, command->cpu);
    put64(payload + 48, command->peak);
}

// ---- START

static char *arguments[WIRE_STRINGS + 1], *variables[WIRE_STRINGS + 1];

static char *next_string(char **at, const char *end) {
    char *text = *at, *zero = memchr(text, 0, (size_t)(end - text));
    if (!zero) return NULL;
    *at = zero + 1;
    return text;
}

static bool strings(char **at, const char *end, char **list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!(list[i] = next_string(at, end))) return false;
    list[count] = NULL;
    return true;
}

static bool parse_start(struct start *start, uint8_t *payload, size_t size) {
    if (size < START_PAYLOAD) return false;
    uint32_t argument_count = get32(payload + 4), variable_count = get32(payload + 8);
    start->flags = get32(payload);
    start->capacity = get32(payload + 12);
    start->rows = get16(payload + 16);
    start->columns = get16(payload + 18);
    bool ring = start->flags & START_RING, fed = start->flags & (START_INPUT | START_PTY);
    if (start->flags & ~(uint32_t)START_KNOWN || argument_count < 1 || argument_count > WIRE_STRINGS || variable_count > WIRE_STRINGS)
        return false;
    if (ring ? start->descriptor_count < 1 || start->descriptor_count > (fed ? 1 : 2) : start->descriptor_count < 3 || fed) return false;
    char *at = (char *)payload + START_PAYLOAD;
    const char *end = (char *)payload + size;
    start->arguments = arguments;
    start->variables = variables;
    if (!(start->directory = next_string(&at, end))) return false;
    if (!strings(&at, end, arguments, argument_count) || !strings(&at, end, variables, variable_count) || at != end) return false;
    for (uint32_t i = 0; i < variable_count; i++)
        if (variables[i][0] == '=' || !strchr(variables[i], '=')) return false;
    return arguments[0][0] != 0;
}

static void start(uint32_t request, const uint8_t *id, struct start *asked, uint8_t *payload, size_t size) {
    static const uint8_t nobody[WIRE_ID];
    struct command *known = command_find(id);
    struct started result = {.command = known};
    if (!known) {
        if (!memcmp(id, nobody, WIRE_ID) || !parse_start(asked, payload, size)) result = (struct started){EINVAL, STAGE_REQUEST, NULL};
        else result = command_start(id, asked);
    }
    uint8_t *answer = reply(K_START + K_REPLY, request, id, 16);
    put32(answer, (uint32_t)result.error);
    put32(answer + 4, result.error ? 0 : (uint32_t)result.command->pid);
    put32(answer + 8, known != NULL);
    put32(answer + 12, result.error ? result.stage : 0);
}

// ---- the rest

static void answer(uint32_t kind, uint32_t request, const uint8_t *id, uint8_t *payload, size_t size) {
    struct command *command = command_find(id);
    uint32_t second = 0;
    int error = ENOENT;
    switch (kind) {
    case K_HELLO: {
        uint8_t *p = reply(K_HELLO + K_REPLY, request, id, 16);
        put32(p, WIRE_VERSION);
        put32(p + 4, command_count());
        put32(p + 8, COMMANDS);
        return;
    }
    case K_STATUS: {
        static const struct command unknown = {.output = -1};
        put_status(reply(K_STATUS + K_REPLY, request, id, STATUS_PAYLOAD), command ? command : &unknown);
        return;
    }
    case K_LIST:
        for (int i = 0; i < COMMANDS; i++)
            if (commands[i].used) put_status(reply(K_STATUS + K_REPLY, request, commands[i].id, STATUS_PAYLOAD), &commands[i]);
        put32(reply(K_LIST_END, request, id, 4), command_count());
        return;
    case K_SIGNAL:
        if (size != 8) break;
        if (command) error = command_signal(command, get32(payload), (enum signal_scope)get32(payload + 4), &second);
        reply_two(kind + K_REPLY, request, id, error, second);
        return;
    case K_FORGET:
        if (command) error = command_forget(command);
        reply_two(kind + K_REPLY, request, id, error, 0);
        return;
    case K_INPUT:
        if (command) error = command_input(command, payload, size, &second);
        reply_two(kind + K_REPLY, request, id, error, second);
        return;
    case K_CLOSE_INPUT:
        if (command) error = command_close_input(command);
        reply_two(kind + K_REPLY, request, id, error, 0);
        return;
    case K_RESIZE:
        if (size != 4) break;
        if (command) error = command_resize(command, get16(payload), get16(payload + 2));
        reply_two(kind + K_REPLY, request, id, error, 0);
        return;
    }
    reply_two(K_MALFORMED, request, id, EINVAL, 0);
}

bool request_read(int fd) {
    static uint8_t message[WIRE_MAX];
    union { char bytes[CMSG_SPACE(WIRE_DESCRIPTORS * sizeof(int))]; struct cmsghdr align; } control;
    struct iovec part = {message, sizeof message};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;

    struct start asked = {0};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&head); c; c = CMSG_NXTHDR(&head, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        asked.descriptor_count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(asked.descriptors, CMSG_DATA(c), (size_t)asked.descriptor_count * sizeof(int));
    }
    static const uint8_t nobody[WIRE_ID];
    if (n < WIRE_HEADER || head.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        reply_two(K_MALFORMED, n >= 8 ? get32(message + 4) : 0, nobody, EINVAL, 0);
    else if (get32(message) == K_START)
        start(get32(message + 4), message + 8, &asked, message + WIRE_HEADER, (size_t)n - WIRE_HEADER);
    else
        answer(get32(message), get32(message + 4), message + 8, message + WIRE_HEADER, (size_t)n - WIRE_HEADER);
    for (int i = 0; i < asked.descriptor_count; i++) close(asked.descriptors[i]);
    return true;
}

bool replies_waiting(void) { return queued > 0; }

static bool send_queued(int fd) {
    while (queued > 0) {
        if (send(fd, outbox[first].bytes, outbox[first].size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return errno != EAGAIN && errno != ENOBUFS;
        first = (first + 1) % OUTBOX;
        queued--;
    }
    return true;
}

bool replies_send(int fd) {
    if (!send_queued(fd)) return false;
    for (int i = 0; i < COMMANDS; i++) {
        struct command *command = &commands[i];
        if (!command->used || !(command->tell_status || command->tell_output)) continue;
        if (command->tell_status) put_status(reply(K_EVENT_STATUS, 0, command->id, STATUS_PAYLOAD), command);
        else put64(reply(K_EVENT_OUTPUT, 0, command->id, 8), command->ring.total);
        command->tell_status = command->tell_output = false;   // a status tells the total, too
        if (!send_queued(fd)) return false;
    }
    return true;
}
