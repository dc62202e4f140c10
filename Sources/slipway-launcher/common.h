#pragma once
#include "verbs.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { AGENT = 999, WORKLOAD = 1000 };   // ids inside a sandbox

// How this launcher was started; never changes.
struct options {
    bool root;                   // two host uids per workspace
    bool guarded;
    int base;                    // BASE as a descriptor
    char *base_path;             // and by name: a descriptor keeps to the mount namespace it was opened in
    char *inner;                 // LIBEXEC/sandbox: agent, keeper, zone, seccomp.bpf
    const char *cgroups;         // usually /sys/fs/cgroup
    char **tools;                // further directories to show, at their own paths; NULL-terminated
    char *tool_path;             // PATH of the workload
    uid_t first_uid, socket_owner;
};
extern struct options options;

static inline uid_t agent_uid(uint32_t number) { return options.first_uid + 2 * number; }
static inline uid_t workload_uid(uint32_t number) { return options.first_uid + 2 * number + 1; }

// Prints "launcher: WHAT: why" on standard error and ends this (forked) process.
_Noreturn void fail(const char *what);
// As sprintf, into memory that is never freed: a start is a short-lived process.
char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Writes a whole small file such as those of /proc and cgroups. 0, or −1 with errno.
int write_text(const char *path, const char *value);
int write_text_at(int directory, const char *path, const char *value);
// Reads a small file; NULL when it cannot be read. The result is static.
const char *read_text_at(int directory, const char *path);
