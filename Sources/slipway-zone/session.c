// Signals to a command: its first process, its process group, or everything in its session.
#define _GNU_SOURCE
#include "command.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// The session of a process; −1 when it is gone. The name in field 2 may hold spaces and parentheses.
static pid_t session_of(const char *pid) {
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%.10s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return -1;
    text[n] = 0;
    char *end = strrchr(text, ')'), state;
    int parent, group, session;
    return end && sscanf(end + 1, " %c %d %d %d", &state, &parent, &group, &session) == 4 && state != 'Z' ? session : -1;
}

static uint32_t signal_session(pid_t session, int number) {
    DIR *list = opendir("/proc");
    if (!list) return 0;
    uint32_t reached = 0;
    for (struct dirent *entry; (entry = readdir(list));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || session_of(entry->d_name) != session) continue;
        if (kill(atoi(entry->d_name), number) == 0) reached++;
    }
    closedir(list);
    return reached;
}

int command_signal(const struct command *command, uint32_t number, enum signal_scope scope, uint32_t *reached) {
    *reached = 0;
    if (number > 64 || scope > SCOPE_SESSION) return EINVAL;
    bool alive = command->state == STATE_RUNNING;
    // The number of a first process that ended is not given away while its group or session has members. A process with that
    // number is therefore a stranger, and so are its group and its session.
    if (!alive && kill(command->pid, 0) == 0) return ESRCH;
    switch (scope) {
    case SCOPE_LEADER:
        if (!alive) return ESRCH;
        if (kill(command->pid, (int)number)) return errno;
        *reached = 1;
        return 0;
    case SCOPE_GROUP:
        if (kill(-command->pid, (int)number)) return errno;
        *reached = 1;
        return 0;
    case SCOPE_SESSION:
        // What forks while the list is read is found by the next look; a signal that ends nothing is sent once.
        for (int look = 0; look < 20; look++) {
            uint32_t found = signal_session(command->pid, (int)number);
            if (found > *reached) *reached = found;   // those that are still ending are met again
            if (found == 0 || number != SIGKILL) break;
        }
        return *reached ? 0 : ESRCH;
    }
    return EINVAL;
}
