#define _GNU_SOURCE
#include "process.h"
#include "cgroup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATIENCE = 5000 };        // ms for killed processes to be gone

uint64_t process_start_time(pid_t pid) {
    const char *stat = read_text_at(AT_FDCWD, text("/proc/%d/stat", pid));
    const char *end = stat ? strrchr(stat, ')') : NULL;   // the name may hold spaces and parentheses
    unsigned long long start = 0;
    if (!end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start) != 1) return 0;
    return start;
}

// The first process of a sandbox runs under its workspace's agent uid (case B: under ours).
static bool belongs(pid_t pid, uint32_t number) {
    const char *status = read_text_at(AT_FDCWD, text("/proc/%d/status", pid));
    const char *line = status ? strstr(status, "\nUid:") : NULL;
    unsigned uid;
    return line && sscanf(line, "\nUid: %u", &uid) == 1 && uid == (options.root ? agent_uid(number) : geteuid());
}

static bool is_over(int pidfd, int patience) {
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    return poll(&wait, 1, patience) == 1;
}

// Opened first, compared after: the number cannot have been given away in between. A zombie still has both, hence is_over.
int process_open(struct identity identity, uint32_t number) {
    int fd = identity.pid > 1 ? (int)syscall(SYS_pidfd_open, identity.pid, 0) : (errno = ESRCH, -1);
    if (fd < 0) return -1;
    int error = 0;
    if (process_start_time(identity.pid) != identity.start || is_over(fd, 0)) error = ESRCH;
    else if (!belongs(identity.pid, number)) error = EPERM;
    if (!error) return fd;
    close(fd);
    errno = error;
    return -1;
}

int sandbox_kill(struct identity identity, uint32_t number) {
    int fd = process_open(identity, number);
    if (fd < 0) return errno == ESRCH ? 0 : errno;
    // The first process takes its pid namespace, and all namespaces in it, along. Its group holds bubblewrap's monitor as well.
    cgroup_kill(identity.pid, number);
    int error = syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) && errno != ESRCH ? errno : 0;
    if (!error && !is_over(fd, PATIENCE)) error = ETIMEDOUT;
    close(fd);
    return error;
}

// ---- where no cgroup helps: the tree of processes, from the first one down

// Calls `visit` for a process and everything beneath it.
static void walk(pid_t pid, int depth, void (*visit)(pid_t, void *), void *context) {
    visit(pid, context);
    DIR *tasks = depth < 400 ? opendir(text("/proc/%d/task", pid)) : NULL;
    if (!tasks) return;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.') continue;
        const char *children = read_text_at(AT_FDCWD, text("/proc/%d/task/%s/children", pid, task->d_name));
        char *list = children ? strdup(children) : NULL, *rest = list;
        for (char *one; rest && (one = strsep(&rest, " "));)
            if (*one) walk(atoi(one), depth + 1, visit, context);
        free(list);
    }
    closedir(tasks);
}

struct signalling { int signal; pid_t spare; unsigned reached, known; pid_t seen[4096]; };

static void signal_one(pid_t pid, void *context) {
    struct signalling *s = context;
    if (pid == s->spare) return;
    for (unsigned i = 0; i < s->known; i++)
        if (s->seen[i] == pid) return;
    if (kill(pid, s->signal) == 0) s->reached++;
    if (s->known < sizeof s->seen / sizeof *s->seen) s->seen[s->known++] = pid;
}

// Not atomic: repeated until a look finds nobody new.
static int stop_tree(pid_t first, bool stop) {
    static struct signalling s;
    s = (struct signalling){.signal = stop ? SIGSTOP : SIGCONT, .spare = first};
    for (int look = 0; look < 50; look++) {
        unsigned before = s.known;
        walk(first, 0, signal_one, &s);
        if (s.known == before) return 0;
    }
    return EAGAIN;
}

int sandbox_freeze(struct identity identity, uint32_t number, bool frozen) {
    int fd = process_open(identity, number);
    if (fd < 0) return errno;
    int error = cgroup_freeze(identity.pid, number, frozen);
    if (error == ENOTSUP) error = stop_tree(identity.pid, frozen);
    close(fd);
    return error;
}

struct counting { uint64_t memory; uint32_t processes; };

static void count_one(pid_t pid, void *context) {
    struct counting *c = context;
    const char *content = read_text_at(AT_FDCWD, text("/proc/%d/statm", pid));
    unsigned long long resident, shared;
    c->processes++;
    if (content && sscanf(content, "%*u %llu %llu", &resident, &shared) == 2 && resident >= shared)
        c->memory += (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void sandbox_count(pid_t first, uint64_t *memory, uint32_t *processes) {
    struct counting c = {0};
    walk(first, 0, count_one, &c);
    *memory = c.memory;
    *processes = c.processes;
}
