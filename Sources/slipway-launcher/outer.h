#pragma once
#include "place.h"

struct outer {
    int user_namespace;          // −1: bubblewrap makes its own (case B)
    int status, info, ready, lock;
    const uint8_t *workspace, *sandbox;
    const char *token;
    bool probe;
};
// Becomes the outer bubblewrap.
_Noreturn void outer_exec(const struct outer *outer);
