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

enum {
    ABOVE = 64,                  // descriptors are parked at or above it while 0, 1, 2 … are filled
    OWN_VARIABLES = 1024,        // most that the zone itself was started with
};

struct failure { volatile int stage, error; };

// A child inherits its score: so the workload is the first to go when memory runs out, and the zone goes with nobody. The file is
// opened while it still belongs to us.
static int oom_file = -1;
enum { ZONE, COMMAND };

void child_prepare(void) {
    oom_file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom_file < 0) dprintf(2, "zone: oom_score_adj: %s\n", strerror(errno));
    // What a command inherits; once here instead of for each.
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++) sigaction(s, &standard, NULL);
}

static void oom_score(int whose) {
    const char *score = whose == COMMAND ? "500" : "0";
    if (oom_file >= 0) (void)!pwrite(oom_file, score, strlen(score), 0);
}

static _Noreturn void give_up(struct failure *failure, enum start_stage stage) {
    failure->error = errno;
    failure->stage = (int)stage;
    _exit(127);
}

static bool place_descriptors(const struct child *child) {
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
    return syscall(SYS_close_range, count, ~0u, 0) == 0;
}

// Until the exec this process is not dumpable, like the zone: it has the zone's descriptors, which the rest of the workload, being
// the same user, could else take out of it. The kernel closes what is close-on-exec before it makes the new program dumpable.
//
// It runs on the zone's memory, which waits: whatever it writes there stays. Why it failed is told in `failure`.
static _Noreturn __attribute__((noinline)) void become(const struct child *child, const struct start *start, struct failure *failure) {
    // The zone's, whose file this is: it waits, and the command must not run before it. What this child inherited stays, since a kernel
    // of 5.10 or later leaves a vfork's child alone.
    oom_score(ZONE);
    if (setsid() < 0 || !place_descriptors(child)) give_up(failure, STAGE_FORK);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    struct rlimit processes = {480, 480};             // room for zone and agent when the workload forks until it cannot
    if (!(start->flags & START_HELPER)) setrlimit(RLIMIT_NPROC, &processes);

    if (chdir(start->directory)) give_up(failure, STAGE_DIRECTORY);
    execvp(start->arguments[0], start->arguments);
    give_up(failure, STAGE_EXEC);
}

// Sets `environ`, which the exec takes along and which says where programs are, to the zone's own with those of the command.
static bool set_environment(char **own, char **variables) {
    static char *merged[OWN_VARIABLES + WIRE_STRINGS + 1];
    size_t count = 0;
    for (; own[count] && count < OWN_VARIABLES; count++) merged[count] = own[count];
    if (own[count]) return false;
    for (; *variables; variables++) {
        size_t name = (size_t)(strchr(*variables, '=') - *variables) + 1, at = 0;
        while (at < count && strncmp(merged[at], *variables, name)) at++;
        merged[at] = *variables;
        if (at == count) count++;
    }
    merged[count] = NULL;
    environ = merged;
    return true;
}

struct started child_start(const struct child *child, const struct start *start, pid_t *pid) {
    char **own = environ;
    if (!set_environment(own, start->variables)) return (struct started){.error = E2BIG, .stage = STAGE_REQUEST};
    struct failure failure = {0};
    if (!(start->flags & START_HELPER)) oom_score(COMMAND);
    // Not fork: copying page tables and the faults after it take longer than the exec. Returns when the child has become the command.
    *pid = vfork();
    if (*pid == 0) become(child, start, &failure);
    int error = errno;
    environ = own;
    oom_score(ZONE);
    if (*pid < 0) return (struct started){.error = error, .stage = STAGE_FORK};
    if (!failure.stage) return (struct started){0};
    waitpid(*pid, NULL, 0);
    return (struct started){.error = failure.error ? failure.error : EIO, .stage = (enum start_stage)failure.stage};
}
