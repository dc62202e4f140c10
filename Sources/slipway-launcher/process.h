// Processes by identity: a number together with the time it started, which is never used twice.
#pragma once
#include "common.h"

struct identity { pid_t pid; uint64_t start; };

// Start time of a process in ticks since boot; 0 when there is none.
uint64_t process_start_time(pid_t pid);
// A pidfd of the first process of a workspace's sandbox; −1 with errno when it is gone (ESRCH) or another one's (EPERM).
int process_open(struct identity identity, uint32_t number);
// Ends a sandbox and waits until it has ended. 0 or an error number.
int sandbox_kill(struct identity identity, uint32_t number);
int sandbox_freeze(struct identity identity, uint32_t number, bool frozen);
// Resident memory and number of the processes of a sandbox, added up: where no cgroup counts.
void sandbox_count(pid_t first, uint64_t *memory, uint32_t *processes);
