// zone: first process of the workload's pid namespace. Starts commands for the agent, pumps their output, keeps how they ended.
//
// It has no token, no capability and the workload's own uid. As process 1 it cannot be killed from inside; not dumpable, it
// cannot be traced or looked into.
#define _GNU_SOURCE
#include "child.h"
#include "command.h"
#include "request.h"
#include "rights.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { SOCKET = COMMANDS, SIGNALS };   // epoll's words; below COMMANDS they name a command

static int loop;

static void watch(int operation, int fd, uint32_t events, unsigned word) {
    struct epoll_event event = {.events = events, .data.u32 = word};
    if (epoll_ctl(loop, operation, fd, &event) && operation == EPOLL_CTL_ADD) give_up("epoll");
}

static int signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) give_up("signalfd");
    return fd;
}

static void drain(int fd) {
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) > 0) {}
}

// Output of commands that were started since the last look. A closed descriptor leaves epoll by itself.
static void watch_new_output(void) {
    static bool watched[COMMANDS];
    for (unsigned i = 0; i < COMMANDS; i++) {
        bool open = commands[i].used && commands[i].output >= 0;
        if (open && !watched[i]) watch(EPOLL_CTL_ADD, commands[i].output, EPOLLIN, i);
        watched[i] = open;
    }
}

// The agent's end is closed: in a sandbox everything ends with the zone, outside of one it has to be ended.
static int leave(bool direct) {
    if (direct) commands_kill();
    return 0;
}

// --direct: outside a sandbox, for tests of the agent's protocol. There is no wall then.
int main(int count_of_arguments, char **arguments) {
    bool direct = count_of_arguments == 2 && !strcmp(arguments[1], "--direct");
    child_prepare();
    prctl(PR_SET_DUMPABLE, 0);
    if (direct) prctl(PR_SET_CHILD_SUBREAPER, 1);
    else if (!filtered()) { errno = EPERM; give_up("no seccomp filter is in force"); }
    fcntl(WIRE_FD, F_SETFD, FD_CLOEXEC);
    commands_init();
    loop = epoll_create1(EPOLL_CLOEXEC);
    int children = signals();
    watch(EPOLL_CTL_ADD, WIRE_FD, EPOLLIN, SOCKET);
    watch(EPOLL_CTL_ADD, children, EPOLLIN, SIGNALS);

    for (;;) {
        struct epoll_event ready[64];
        int count = epoll_wait(loop, ready, 64, -1);
        if (count < 0 && errno != EINTR) give_up("epoll_wait");
        for (int i = 0; i < count; i++) {
            unsigned word = ready[i].data.u32;
            if (word == SIGNALS) drain(children), commands_reap();
            else if (word < COMMANDS) { if (commands[word].output >= 0) command_pump(&commands[word]); }
            else if (ready[i].events & EPOLLIN && !replies_waiting()) { if (!request_read(WIRE_FD)) return leave(direct); }
            else if (ready[i].events & EPOLLHUP) return leave(direct);   // the keeper is gone, and with it the sandbox
        }
        watch_new_output();
        // While replies wait for room no request is read: whoever asks and never listens waits for himself alone.
        bool all = replies_send(WIRE_FD);
        watch(EPOLL_CTL_MOD, WIRE_FD, all ? EPOLLIN : EPOLLOUT | (replies_waiting() ? 0 : EPOLLIN), SOCKET);
    }
}
