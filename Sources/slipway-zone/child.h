// The moment between fork and exec.
#pragma once
#include "command.h"

struct child {
    char terminal[64];           // name of the terminal's side for the child; empty: descriptors instead
    int descriptors[WIRE_DESCRIPTORS], descriptor_count;   // become 0, 1, 2 …
    int output, input;           // those of the above that were made for the child and are to be closed here
};

// Once, before the zone gives up being dumpable.
void child_prepare(void);
// Returns after the exec has succeeded or failed.
struct started child_start(const struct child *child, const struct start *start, pid_t *pid);
