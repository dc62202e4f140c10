// What keeper and zone give up, and how they make sure of it.
#pragma once
#include <stdbool.h>

#define FILTER_PATH "/opt/slipway/seccomp.bpf"

// Says on standard error what failed and why, and ends the process.
_Noreturn void give_up(const char *what);
// Clears every capability set of this process; the kernel does that by itself only for uid 0.
void drop_capabilities(void);
// Puts the workload's filter on this process and what it starts.
void load_filter(void);
// Whether calls that the filter must refuse are refused by it: a filter file that is wrong means no sandbox.
bool filtered(void);
