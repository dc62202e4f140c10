#define _GNU_SOURCE
#include "processes.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

pid_t slipway_spawn_with_socket(const char *path, char *const arguments[], char *const environment[], int socket, int second) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t pid = 0;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, socket, 3);   // also when they are equal: it clears close-on-exec
    if (second >= 0) posix_spawn_file_actions_adddup2(&files, second, 4);
    posix_spawn_file_actions_addclosefrom_np(&files, second >= 0 ? 5 : 4);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    int error = posix_spawn(&pid, path, &files, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error ? -error : pid;
}

pid_t slipway_spawn_with_files(const char *path, char *const arguments[], char *const environment[], const int files[], int count) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t pid = 0;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    // First out of the way of each other, then to their places.
    int above = count;
    for (int i = 0; i < count; i++) if (files[i] >= above) above = files[i] + 1;
    for (int i = 0; i < count; i++) posix_spawn_file_actions_adddup2(&actions, files[i], above + i);
    for (int i = 0; i < count; i++) posix_spawn_file_actions_adddup2(&actions, above + i, i);
    posix_spawn_file_actions_addclosefrom_np(&actions, count);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    int error = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error ? -error : pid;
}

int slipway_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int slipway_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int slipway_give_up_root(uid_t uid, gid_t gid) {
    if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)) return -errno;
    return setuid(0) == 0 ? -EPERM : 0;
}
