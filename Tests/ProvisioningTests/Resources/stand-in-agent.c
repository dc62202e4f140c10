// A stand-in for the workspace agent: says hello on the first socket it finds, then carries messages between that socket and the
// zone. A START that comes with no descriptors gets a ring file named by the first eight characters of its id.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ZONE = 3, MOST = 131072, RING = 1 };
static uint8_t message[MOST];

static int dial(void) {
    for (;; usleep(5000)) {
        DIR *list = opendir("/run/slipway/sock");
        for (struct dirent *entry; list && (entry = readdir(list));) {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            if (!strstr(entry->d_name, ".sock")) continue;
            snprintf(address.sun_path, sizeof address.sun_path, "/run/slipway/sock/%.80s", entry->d_name);
            int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
            if (connect(fd, (void *)&address, sizeof address) == 0) { closedir(list); return fd; }
            close(fd);
        }
        if (list) closedir(list);
    }
}

static void hello(int server) {
    char token[600] = {0}, line[2048];
    int fd = open("/run/slipway/token", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, token, sizeof token - 1) < 0) exit(3);
    close(fd);
    token[strcspn(token, "\n")] = 0;
    int journal = open("/run/slipway/agent/journal", O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    if (journal < 0) exit(4);
    dprintf(journal, "hello\n");
    close(journal);
    int size = snprintf(line, sizeof line, "hello uid=%d pid=%d sandbox=%s workspace=%s start=%s token=%s", getuid(), getpid(),
        getenv("SLIPWAY_SANDBOX_ID"), getenv("SLIPWAY_WORKSPACE"), getenv("SLIPWAY_AGENT_START"), token);
    send(server, line, (size_t)size, MSG_NOSIGNAL);
}

// With RING: its ring file.
static void to_zone(size_t size) {
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr head; } control = {0};
    struct iovec part = {message, size};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    int ring = -1;
    if (size > 68 && message[0] == 2 && message[48] & RING) {
        char path[64];
        mkdir("/run/slipway/agent/out", 0700);
        snprintf(path, sizeof path, "/run/slipway/agent/out/%.8s", (char *)message + 8);
        ring = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (ring < 0) goto send;
        control.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof ring)};
        memcpy(CMSG_DATA(&control.head), &ring, sizeof ring);
        head.msg_control = &control;
        head.msg_controllen = CMSG_SPACE(sizeof ring);
    }
send:
    if (sendmsg(ZONE, &head, MSG_NOSIGNAL) < 0) exit(5);
    if (ring >= 0) close(ring);
}

// Kind 0x7000: the content of a ring file, read by whoever may: "R" and the bytes from the given offset.
static void send_ring(int server) {
    char path[64];
    uint64_t from;
    static uint8_t bytes[65536];
    snprintf(path, sizeof path, "/run/slipway/agent/out/%.8s", (char *)message + 8);
    memcpy(&from, message + 48, 8);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : pread(fd, bytes, sizeof bytes, (off_t)from);
    if (fd >= 0) close(fd);
    memmove(message + 48, bytes, n > 0 ? (size_t)n : 0);
    send(server, message, 48 + (n > 0 ? (size_t)n : 0), MSG_NOSIGNAL);
}

int main(void) {
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int server = dial();
        hello(server);
        for (;;) {
            struct pollfd wait[2] = {{server, POLLIN, 0}, {ZONE, POLLIN, 0}};
            poll(wait, 2, -1);
            if (wait[1].revents & POLLIN) {
                ssize_t n = recv(ZONE, message, sizeof message, 0);
                if (n > 0) send(server, message, (size_t)n, MSG_NOSIGNAL);
            }
            if (wait[0].revents) {
                ssize_t n = recv(server, message, sizeof message, 0);
                if (n <= 0) break;
                if (message[1] == 0x70) send_ring(server);
                else if (message[1] == 0x71) raise(SIGKILL);
                else to_zone((size_t)n);
            }
        }
        close(server);
    }
}
