#define _GNU_SOURCE
#include "CShimsSpawn.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Runs between fork and exec: async-signal-safe calls only. `report` is where the failure is to be written; it moves to 3.
static int become(const char *path, char *const arguments[], char *const environment[], const char *directory, int output, uid_t uid,
                  gid_t gid, const char *source, const char *target, int *report) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &action, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, 0);
    if (setsid() < 0) return errno;
    // Both out of the way of 0 to 3, whatever numbers they have.
    int null = open("/dev/null", O_RDWR);
    int log = fcntl(output < 0 ? null : output, F_DUPFD, 10);
    int pipe = fcntl(*report, F_DUPFD, 10);
    if (null < 0 || log < 0 || pipe < 0) return errno;
    *report = pipe;
    if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || dup2(pipe, 3) < 0) return errno;
    *report = 3;
    if (fcntl(3, F_SETFD, FD_CLOEXEC) < 0 || close_range(4, ~0U, 0) < 0) return errno;
    if (source) {
        // MS_SLAVE: what is unmounted outside is not held here.
        if (unshare(CLONE_NEWNS) < 0 || mount(0, "/", 0, MS_REC | MS_SLAVE, 0) < 0 || mount(source, target, 0, MS_BIND, 0) < 0)
            return errno;
    }
    if (uid != (uid_t)-1) {
        if (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) return errno;
    }
    umask(077);
    if (directory && chdir(directory) < 0) return errno;
    execve(path, arguments, environment);
    return errno;
}

pid_t slipway_spawn_session(const char *path, char *const arguments[], char *const environment[], const char *directory, int output,
                            uid_t uid, gid_t gid, const char *source, const char *target) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        int failure = become(path, arguments, environment, directory, output, uid, gid, source, target, &report[1]);
        _exit(write(report[1], &failure, sizeof failure) < 0 ? 126 : 127);
    }
    int failure = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0) {
        ssize_t count;
        do { count = read(report[0], &failure, sizeof failure); } while (count < 0 && errno == EINTR);
        if (count != sizeof failure) failure = 0;
    }
    close(report[0]);
    if (pid > 0 && failure) waitpid(pid, 0, 0);
    return failure ? -failure : pid;
}

int slipway_pidfd_open(pid_t pid) {
    int descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
    return descriptor < 0 ? -errno : descriptor;
}
