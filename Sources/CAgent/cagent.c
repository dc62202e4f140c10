#define _GNU_SOURCE
#include "CAgent.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

long cagent_send(int fd, const void *bytes, size_t length, const int *descriptors, int count, int wait) {
    union { char bytes[CMSG_SPACE(8 * sizeof(int))]; struct cmsghdr align; } control;
    struct iovec io = {(void *)bytes, length};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
    if (count < 0 || count > 8) return -EINVAL;
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
    }
    ssize_t sent;
    do sent = sendmsg(fd, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)); while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

long cagent_receive(int fd, void *bytes, size_t capacity) {
    ssize_t got;
    do got = recv(fd, bytes, capacity, 0); while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

int cagent_hide(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

int cagent_o_tmpfile(void) { return O_TMPFILE; }

int cagent_spawn(
    int *pid, const char *program, char *const arguments[], char *const environment[], int log, int inherited) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (inherited >= 0) posix_spawn_file_actions_adddup2(&actions, inherited, 100);
    posix_spawn_file_actions_adddup2(&actions, log, 1);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (inherited >= 0) posix_spawn_file_actions_adddup2(&actions, 100, 3);
    posix_spawn_file_actions_addclosefrom_np(&actions, inherited >= 0 ? 4 : 3);
    int error = posix_spawn(pid, program, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

void *cagent_memmem(const void *text, size_t length, const void *part, size_t partLength) {
    return memmem(text, length, part, partLength);
}

int cagent_dup3(int from, int to) { return dup3(from, to, O_CLOEXEC); }

uint64_t cagent_digest(uint64_t state, const void *bytes, size_t length) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++) state = (state ^ at[i]) * 0x100000001b3u;
    return state;
}
