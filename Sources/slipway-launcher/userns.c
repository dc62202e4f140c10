#define _GNU_SOURCE
#include "userns.h"
#include "common.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// A child unshares, the parent writes the maps, the descriptor keeps the namespace when the child is gone.
int user_namespace(uid_t owner, const char *map) {
    int up[2], down[2];
    char byte;
    if (pipe2(up, O_CLOEXEC) || pipe2(down, O_CLOEXEC)) fail("pipe");
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        close(down[1]);
        if (owner != geteuid() && (setgroups(0, NULL) || setresgid(owner, owner, owner) || setresuid(owner, owner, owner))) fail("owner of the user namespace");
        if (unshare(CLONE_NEWUSER)) fail("a user namespace is refused");
        (void)!write(up[1], "u", 1);
        (void)!read(down[0], &byte, 1);
        _exit(0);
    }
    close(up[1]);
    close(down[0]);
    if (read(up[0], &byte, 1) != 1) { errno = EPERM; fail("user namespace"); }
    if (write_text(text("/proc/%d/setgroups", child), "deny")) fail("setgroups");
    if (write_text(text("/proc/%d/uid_map", child), map)) fail("uid_map");
    if (write_text(text("/proc/%d/gid_map", child), map)) fail("gid_map");
    int fd = open(text("/proc/%d/ns/user", child), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail("ns/user");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(up[0]);
    close(down[1]);
    return fd;
}

void enter_own_user_namespace(void) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    prctl(PR_SET_DUMPABLE, 1);                        // else /proc/self is root's, and the maps cannot be written
    if (unshare(CLONE_NEWUSER)) fail("user namespaces are not allowed to this user");
    if (write_text("/proc/self/setgroups", "deny")) fail("setgroups");
    if (write_text("/proc/self/uid_map", text("%u %u 1", uid, uid))) fail("uid_map");
    if (write_text("/proc/self/gid_map", text("%u %u 1", gid, gid))) fail("gid_map");
}
