#define _GNU_SOURCE
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ABOVE = 64 };             // descriptors are parked at or above it while 0, 1, 2 … are filled

struct report { int stage, error; };

static _Noreturn void give_up(int report, enum start_stage stage) {
    struct report r = {stage, errno};
    (void)!write(report, &r, sizeof r);
    _exit(127);
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)!write(fd, text, strlen(text));
    close(fd);
}

// Room for zone and agent when the workload forks until it cannot, and the workload is the first to go when memory runs out.
static void lower_limits(void) {
    struct rlimit processes = {480, 480};
    setrlimit(RLIMIT_NPROC, &processes);
    write_file("/proc/self/oom_score_adj", "500");
}

static bool place_descriptors(const struct child *child, int *report) {
    int count = child->descriptor_count;
    if (child->terminal[0]) {
        int terminal = open(child->terminal, O_RDWR | O_CLOEXEC);   // a new session's first terminal becomes its own
        if (terminal < 0 || ioctl(terminal, TIOCSCTTY, 0)) return false;
        for (int i = 0; i < 3; i++)
            if (dup2(terminal, i) < 0) return false;
        count = 3;
    } else {
        int parked[WIRE_DESCRIPTORS];
        for (int i = 0; i < count; i++)
            if ((parked[i] = fcntl(child->descriptors[i], F_DUPFD_CLOEXEC, ABOVE)) < 0) return false;
        for (int i = 0; i < count; i++)
            if (dup2(parked[i], i) < 0) return false;
    }
    // The report keeps the number after the last one; it is close-on-exec.
    if (*report != count) {
        if (dup3(*report, count, O_CLOEXEC) < 0) return false;
        *report = count;
    }
    return syscall(SYS_close_range, count + 1, ~0u, 0) == 0;
}

static _Noreturn void become(const struct child *child, const struct start *start, int report) {
    // First: /proc/self of a process that is not dumpable belongs to root.
    prctl(PR_SET_DUMPABLE, 1);
    setsid();
    int high = fcntl(report, F_DUPFD_CLOEXEC, ABOVE);
    if (high < 0 || (report = high, !place_descriptors(child, &report))) give_up(report, STAGE_FORK);

    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++) sigaction(s, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    if (!(start->flags & START_HELPER)) lower_limits();

    if (chdir(start->directory)) give_up(report, STAGE_DIRECTORY);
    for (char **variable = start->variables; *variable; variable++) putenv(*variable);
    execvp(start->arguments[0], start->arguments);
    give_up(report, STAGE_EXEC);
}

struct started child_start(const struct child *child, const struct start *start, pid_t *pid) {
    int report[2];
    if (pipe2(report, O_CLOEXEC)) return (struct started){.error = errno, .stage = STAGE_FORK};
    *pid = fork();
    if (*pid == 0) become(child, start, report[1]);
    int error = errno;
    close(report[1]);
    struct started result = {.error = *pid < 0 ? error : 0, .stage = STAGE_FORK};
    struct report r;
    ssize_t n = 0;
    if (*pid > 0)
        do n = read(report[0], &r, sizeof r); while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == sizeof r) {
        waitpid(*pid, NULL, 0);
        result = (struct started){.error = r.error ? r.error : EIO, .stage = (enum start_stage)r.stage};
    }
    return result;
}
