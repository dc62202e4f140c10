// Limits by cgroup: version 2 where it has the controllers, else version 1, in both cases the version 2 tree for killing.
#pragma once
#include "common.h"

// Puts this process, and all it will start, into the group of a workspace, with its limits. Returns what was obtained.
uint32_t cgroup_enter(uint32_t number, const struct limits *limits);
// The following find the groups through a process of the sandbox. 0 or an error number; ENOTSUP when no group can do it.
int cgroup_limit(pid_t pid, uint32_t number, const struct limits *limits);
int cgroup_freeze(pid_t pid, uint32_t number, bool frozen);
int cgroup_kill(pid_t pid, uint32_t number);
// Bytes and processes in use; left alone where no group counts them.
void cgroup_usage(pid_t pid, uint32_t number, uint64_t *memory, uint32_t *processes);
// Removes the empty groups of a workspace that is not running.
void cgroup_remove(uint32_t number);
