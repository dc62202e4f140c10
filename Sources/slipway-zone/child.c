#define _GNU_SOURCE
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ABOVE = 64 };             // descriptors are parked at or above it while 0, 1, 2 … are filled

struct report { int stage, error; };

// A child inherits its score: so the workload is the first to go when memory runs out, and the zone goes with nobody. The file is
// opened while it still belongs to us.
static int oom_file = -1;
enum { ZONE, COMMAND };

void child_prepare(void) {
    oom_file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom_file < 0) dprintf(2, "zone: oom_score_adj: %s\n", strerror(errno));
}

static void oom_score(int whose) {
    const char *score = whose == COMMAND ? "500" : "0";
    if (oom_file >= 0) (void)!pwrite(oom_file, score, strlen(score), 0);
}

static _Noreturn void give_up(int report, enum start_stage stage) {
    struct report r = {stage, errno};
    (void)!write(report, &r, sizeof r);
    _exit(127);
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

// Until the exec this process is not dumpable, like the zone: it has the zone's descriptors, which the rest of the workload, being
// the same user, could else take out of it. The kernel closes what is close-on-exec before it makes the new program dumpable.
static _Noreturn void become(const struct child *child, const struct start *start, int report) {
    setsid();
    int high = fcntl(report, F_DUPFD_CLOEXEC, ABOVE);
    if (high < 0 || (report = high, !place_descriptors(child, &report))) give_up(report, STAGE_FORK);

    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++) sigaction(s, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    struct rlimit processes = {480, 480};             // room for zone and agent when the workload forks until it cannot
    if (!(start->flags & START_HELPER)) setrlimit(RLIMIT_NPROC, &processes);

    if (chdir(start->directory)) give_up(report, STAGE_DIRECTORY);
    for (char **variable = start->variables; *variable; variable++) putenv(*variable);
    execvp(start->arguments[0], start->arguments);
    give_up(report, STAGE_EXEC);
}

struct started child_start(const struct child *child, const struct start *start, pid_t *pid) {
    int report[2];
    if (pipe2(report, O_CLOEXEC)) return (struct started){.error = errno, .stage = STAGE_FORK};
    if (!(start->flags & START_HELPER)) oom_score(COMMAND);
    *pid = fork();
    if (*pid == 0) become(child, start, report[1]);
    int error = errno;
    oom_score(ZONE);
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
