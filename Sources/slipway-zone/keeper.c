// keeper: first process of a workspace's sandbox. Starts the zone (the workload's own nested sandbox) while it still has the
// right to change its uid, gives that right up, then starts the agent and starts it again whenever it dies.
//
//   keeper two|one READY LOCK [probe]
//
// two: the workload gets a uid of its own (1000; we are 999). READY: a descriptor that hears "R" when the zone serves. LOCK: a
// locked file, held for as long as the sandbox lives. probe: no agent; wait for the end.
#define _GNU_SOURCE
#include "rights.h"
#include "wire.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKLOAD = 1000, PATIENCE = 10000 /* ms for the zone to answer */ };

// A process that is not uid 0 keeps its capabilities when its uid changes, so they are dropped by hand, and the way back is tried.
static void become_workload(uid_t agent) {
    if (syscall(SYS_setresgid, WORKLOAD, WORKLOAD, WORKLOAD) || syscall(SYS_setresuid, WORKLOAD, WORKLOAD, WORKLOAD)) give_up("setresuid");
    drop_capabilities();
    if (syscall(SYS_setresuid, -1, agent, -1) == 0) { errno = EPERM; give_up("the way back to the agent's uid is open"); }
}

static const char *variable(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static _Noreturn void exec_zone(int socket, bool two_uids) {
    prctl(PR_SET_DUMPABLE, 1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int filter = open(FILTER_PATH, O_RDONLY | O_CLOEXEC), cmdline = open("/run/slipway/cmdline", O_RDONLY | O_CLOEXEC);
    if (filter < 0 || cmdline < 0) give_up("the zone's files");
    if (two_uids) become_workload(getuid());
    int fds[] = {socket, filter, cmdline};
    for (int i = 0; i < 3; i++)
        if (fcntl(fds[i], F_DUPFD_CLOEXEC, 64) != 64 + i) give_up("descriptors of the zone");
    for (int i = 0; i < 3; i++)
        if (dup2(64 + i, WIRE_FD + i) < 0) give_up("descriptors of the zone");
    syscall(SYS_close_range, WIRE_FD + 3, ~0u, 0);
    const char *argv[] = {
        "bwrap", "--unshare-user", "--uid", "1000", "--gid", "1000", "--disable-userns", "--unshare-pid", "--unshare-ipc",
        "--unshare-cgroup-try", "--as-pid-1", "--cap-drop", "ALL", "--clearenv", "--dev-bind", "/", "/", "--proc", "/proc",
        "--ro-bind-data", "5", "/proc/cmdline", "--tmpfs", "/run/slipway", "--remount-ro", "/run/slipway", "--seccomp", "4",
        "--setenv", "HOME", "/home/work", "--setenv", "PATH", variable("SLIPWAY_TOOL_PATH", "/usr/local/bin:/usr/bin:/bin"),
        "--setenv", "USER", "work", "--setenv", "LOGNAME", "work", "--setenv", "SHELL", "/bin/bash", "--setenv", "LANG", "C.UTF-8",
        "--setenv", "TERM", "xterm-256color", "--chdir", "/home/work", "--", "/opt/slipway/zone", NULL,
    };
    execv("/usr/bin/bwrap", (char *const *)argv);
    give_up("/usr/bin/bwrap");
}

static pid_t start_zone(int *socket, bool two_uids) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) give_up("socketpair");
    pid_t pid = fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) exec_zone(ends[1], two_uids);
    close(ends[1]);
    *socket = ends[0];
    return pid;
}

// The zone has answered: its sandbox stands and it serves.
static void greet_zone(int socket) {
    uint8_t hello[WIRE_HEADER] = {K_HELLO}, answer[128];
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    if (send(socket, hello, sizeof hello, MSG_NOSIGNAL) < 0) give_up("the zone did not start");
    if (poll(&wait, 1, PATIENCE) != 1) { errno = ETIMEDOUT; give_up("the zone did not answer"); }
    if (recv(socket, answer, sizeof answer, 0) < WIRE_HEADER + 16) { errno = ECONNRESET; give_up("the zone ended at once"); }
    unsigned version = get32(answer) == K_HELLO + K_REPLY ? get32(answer + WIRE_HEADER) : 0;
    if (version == WIRE_VERSION) return;
    char why[160];
    snprintf(why, sizeof why, "the file zone speaks version %u of the zone's wire, keeper version %u: they are of different builds", version, WIRE_VERSION);
    errno = EPROTO;
    give_up(why);
}

static pid_t start_agent(int socket, unsigned times) {
    pid_t pid = fork();
    if (pid) return pid;
    char count[16];
    snprintf(count, sizeof count, "%u", times);
    setenv("SLIPWAY_AGENT_START", count, 1);
    setenv("SLIPWAY_ZONE_FD", "3", 1);
    unsetenv("SLIPWAY_TOOL_PATH");
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(077);
    if (socket == WIRE_FD) fcntl(socket, F_SETFD, 0);
    else if (dup2(socket, WIRE_FD) < 0) _exit(127);
    syscall(SYS_close_range, WIRE_FD + 1, ~0u, 0);
    execl("/opt/slipway/agent", "/opt/slipway/agent", (char *)NULL);
    give_up("/opt/slipway/agent");
}

static uint64_t milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// Waits for a child's end, at most `limit` ms (−1: as long as it takes). Orphans are reaped on the way. 0: time is up.
static pid_t wait_child(int64_t limit, int *status) {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    uint64_t until = milliseconds() + (uint64_t)(limit < 0 ? 0 : limit);
    for (;;) {
        pid_t pid = waitpid(-1, status, WNOHANG);
        if (pid > 0) return pid;
        uint64_t now = milliseconds();
        if (limit >= 0 && now >= until) return 0;
        uint64_t rest = limit < 0 ? 3600 * 1000 : until - now;
        struct timespec time = {(time_t)(rest / 1000), (long)(rest % 1000) * 1000000};
        sigtimedwait(&child, NULL, &time);
    }
}

// Returns how the sandbox ends: with the zone, or with an agent that says it is done.
static int keep(pid_t zone, int socket) {
    enum { SHORT = 100, LONG = 5000, STEADY = 10000 };
    int64_t pause = SHORT;
    for (unsigned times = 1;; times++) {
        uint64_t began = milliseconds();
        pid_t agent = start_agent(socket, times), ended;
        int status;
        do ended = wait_child(-1, &status); while (ended != zone && ended != agent);
        if (ended == zone) { dprintf(2, "slipway sandbox: the zone ended with status %d\n", status); return 1; }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
        dprintf(2, "slipway sandbox: the agent ended with status %d, start %u\n", status, times);
        if (milliseconds() - began > STEADY) pause = SHORT;
        for (uint64_t until = milliseconds() + (uint64_t)pause;;) {
            // One look at the clock: at a second one less than nothing could be left, which means without end.
            int64_t left = (int64_t)(until - milliseconds());
            if (left <= 0) break;
            if (wait_child(left, &status) == zone) return 1;
        }
        if ((pause *= 2) > LONG) pause = LONG;
    }
}

int main(int count, char **arguments) {
    if (count < 4) { errno = EINVAL; give_up("usage: keeper two|one READY LOCK [probe]"); }
    bool two_uids = !strcmp(arguments[1], "two"), probe = count > 4 && !strcmp(arguments[4], "probe");
    // Only these two stay: bwrap leaves the descriptor of the user namespace open.
    enum { READY = WIRE_FD + 1, LOCK };
    int ready = fcntl(atoi(arguments[2]), F_DUPFD_CLOEXEC, 64), lock = fcntl(atoi(arguments[3]), F_DUPFD_CLOEXEC, 64);
    if (ready < 0 || lock < 0 || dup3(ready, READY, O_CLOEXEC) < 0 || dup3(lock, LOCK, O_CLOEXEC) < 0) give_up("READY or LOCK");
    close(WIRE_FD);
    syscall(SYS_close_range, LOCK + 1, ~0u, 0);
    prctl(PR_SET_DUMPABLE, 0);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);

    int socket;
    pid_t zone = start_zone(&socket, two_uids);
    drop_capabilities();
    load_filter();
    if (!filtered()) { errno = EPERM; give_up("the seccomp filter refuses nothing"); }
    greet_zone(socket);
    (void)!write(READY, "R", 1);
    close(READY);
    if (!probe) return keep(zone, socket);
    // The launcher still reads who we are, then ends us; without a launcher we end by ourselves.
    int status;
    (void)wait_child(PATIENCE, &status);
    return 0;
}
