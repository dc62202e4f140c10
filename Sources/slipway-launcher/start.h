#pragma once
#include "place.h"

struct start {
    uint32_t number, flags;
    struct limits limits;
    uint8_t workspace[16], sandbox[16];
    char token[TOKEN_MOST + 1];
};
struct begun { int error; const char *why; uint32_t pid, obtained; uint64_t start_time; };

// Starts a sandbox and returns when its zone serves (or why it does not). Runs in a process of its own.
struct begun start_sandbox(const struct start *start);
