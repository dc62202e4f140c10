#define _GNU_SOURCE
#include "start.h"
#include "cgroup.h"
#include "mounts.h"
#include "outer.h"
#include "process.h"
#include "userns.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 15000 };       // ms from the fork to a serving zone

// Where the parent learns from the child: what it obtained, bubblewrap's word on the pid, the keeper's word that it serves.
struct pipes { int obtained[2], info[2], ready[2]; };

static void limit(int resource, rlim_t value) {
    struct rlimit wanted = {value, value}, now;
    if (getrlimit(resource, &now) == 0 && now.rlim_max < value) wanted.rlim_cur = wanted.rlim_max = now.rlim_max;
    setrlimit(resource, &wanted);
}

static void process_limits(const struct limits *limits, uint32_t obtained) {
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, 16384);
    limit(RLIMIT_FSIZE, (rlim_t)8 << 30);
    if (!(obtained & O_PROCESSES)) limit(RLIMIT_NPROC, limits->processes);          // counted per user namespace and uid
    if (!(obtained & O_MEMORY)) limit(RLIMIT_DATA, limits->memory > (2ull << 30) ? limits->memory : 2ull << 30);   // of each process
}

static void redirect(const struct place *place) {
    int log = openat(place->state, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log < 0 || null < 0) fail("log");
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
}

// Becomes bubblewrap. The order matters: the cgroup before any namespace, so that all of it is counted; mounts while still root;
// then never root again.
static _Noreturn void become_sandbox(const struct start *start, const struct place *place, const struct pipes *pipes) {
    redirect(place);
    setsid();
    umask(022);
    uint32_t obtained = cgroup_enter(start->number, &start->limits);
    // The number of processes is counted in each user namespace; set outside, it would count all that this user runs on the host.
    if (!options.root) enter_own_user_namespace();
    process_limits(&start->limits, obtained);
    int status = openat(place->state, "status.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), users = -1;
    if (status < 0) fail("status.json");
    obtained |= mounts_make(place);
    if (options.root) {
        uid_t agent = agent_uid(start->number);
        users = user_namespace(agent, text("%d %u 1\n%d %u 1\n", AGENT, agent, WORKLOAD, workload_uid(start->number)));
        if (setgroups(0, NULL) || setresgid(agent, agent, agent) || setresuid(agent, agent, agent)) fail("become the agent's uid");
        obtained |= O_OWN_UIDS;
    }
    (void)!write(pipes->obtained[1], &obtained, sizeof obtained);

    // Only these go on; bubblewrap itself closes what its monitor does not need.
    int keep[] = {status, pipes->info[1], pipes->ready[1], place->lock, users};
    syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
    for (int i = 0; i < 5; i++)
        if (keep[i] >= 0) fcntl(keep[i], F_SETFD, 0);
    outer_exec(&(struct outer){
        .user_namespace = users, .status = status, .info = pipes->info[1], .ready = pipes->ready[1], .lock = place->lock,
        .workspace = start->workspace, .sandbox = start->sandbox, .token = start->token, .probe = start->flags & F_PROBE,
    });
}

static bool wait_readable(int fd, int64_t until) {
    for (;;) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        int64_t rest = until - ((int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000);
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int n = poll(&wait, 1, rest < 0 ? 0 : (int)rest);
        if (n >= 0 || errno != EINTR) return n == 1;
    }
}

// {"child-pid": N, …}
static uint32_t read_pid(int fd) {
    char json[512];
    ssize_t n = read(fd, json, sizeof json - 1);
    if (n <= 0) return 0;
    json[n] = 0;
    const char *at = strstr(json, "\"child-pid\"");
    unsigned pid = 0;
    return at && sscanf(at, "\"child-pid\" : %u", &pid) == 1 ? pid : 0;
}

// The last line that was written to the log since `from`.
static const char *last_words(const struct place *place, off_t from) {
    static char tail[1024];
    int fd = openat(place->state, "log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) return "the sandbox ended while it was starting";
    if (st.st_size - from > (off_t)sizeof tail - 1) from = st.st_size - (off_t)sizeof tail + 1;
    ssize_t n = pread(fd, tail, sizeof tail - 1, from);
    close(fd);
    while (n > 0 && tail[n - 1] == '\n') n--;
    if (n <= 0) return "the sandbox ended while it was starting";
    tail[n] = 0;
    char *line = strrchr(tail, '\n');
    return line ? line + 1 : tail;
}

static off_t log_size(const struct place *place) {
    struct stat st;
    if (fstatat(place->state, "log", &st, AT_SYMLINK_NOFOLLOW)) return 0;
    if (st.st_size < 1 << 20) return st.st_size;
    renameat(place->state, "log", place->state, "log.old");
    return 0;
}

// What a living sandbox is, for whoever comes after us.
static void write_record(const struct place *place, const struct start *start, const struct begun *begun) {
    char line[128], id[33];
    for (int i = 0; i < 16; i++) snprintf(id + 2 * i, 3, "%02x", start->sandbox[i]);
    int size = snprintf(line, sizeof line, "%u %llu %u %s\n", begun->pid, (unsigned long long)begun->start_time, begun->obtained, id);
    int fd = openat(place->state, "record.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return;
    if (write(fd, line, (size_t)size) == size) renameat(place->state, "record.new", place->state, "record");
    close(fd);
}

static struct begun wait_for(pid_t child, const struct place *place, const struct start *start, const struct pipes *pipes, off_t log) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t until = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + PATIENCE;
    struct begun begun = {.error = EIO};
    char byte = 0;
    if (!wait_readable(pipes->info[0], until)) begun.error = ETIMEDOUT;
    else if ((begun.pid = read_pid(pipes->info[0]))) {
        begun.start_time = process_start_time((pid_t)begun.pid);
        if (!wait_readable(pipes->ready[0], until)) begun.error = ETIMEDOUT;
        else if (read(pipes->ready[0], &byte, 1) == 1 && begun.start_time) begun.error = 0;
    }
    (void)!read(pipes->obtained[0], &begun.obtained, sizeof begun.obtained);
    if (!begun.error) {
        write_record(place, start, &begun);
        return begun;
    }
    kill(child, SIGKILL);
    if (begun.pid && begun.start_time) sandbox_kill((struct identity){(pid_t)begun.pid, begun.start_time}, start->number);
    waitpid(child, NULL, 0);
    begun.why = begun.error == ETIMEDOUT ? "the sandbox was not ready in time" : last_words(place, log);
    return begun;
}

struct begun start_sandbox(const struct start *start) {
    struct place place;
    struct pipes pipes;
    int error = place_open(&place, start->number, start->workspace);
    if (error) return (struct begun){.error = error, .why = error == EEXIST ? "the place belongs to another workspace" : "the workspace's place cannot be opened"};
    if ((error = place_lock(&place))) return (struct begun){.error = error, .why = "a sandbox of this workspace is running"};
    unlinkat(place.state, "record", 0);
    off_t log = log_size(&place);
    if (pipe2(pipes.obtained, O_CLOEXEC) || pipe2(pipes.info, O_CLOEXEC) || pipe2(pipes.ready, O_CLOEXEC)) return (struct begun){.error = errno, .why = "no descriptors are left"};
    pid_t child = fork();
    if (child < 0) return (struct begun){.error = errno, .why = "no process could be started"};
    if (child == 0) become_sandbox(start, &place, &pipes);
    close(pipes.obtained[1]);
    close(pipes.info[1]);
    close(pipes.ready[1]);
    struct begun begun = wait_for(child, &place, start, &pipes, log);
    place_close(&place);
    return begun;
}
