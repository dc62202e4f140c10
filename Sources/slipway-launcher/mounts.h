// What a sandbox's root is made of, mounted in a mount namespace of its own: nothing shows in the host's mount table, and all of
// it vanishes with the last process.
#pragma once
#include "place.h"

// Where the pieces are put together: a tmpfs over a directory that every system has and no sandbox needs.
#define STAGE "/mnt"

// Makes the private mount namespace and puts bin, sock, agent, home, tmp, shm and tools/0 … into STAGE. Any user may search it, so
// that bubblewrap, which never runs as root, finds them wherever BASE lies. Returns what was obtained.
uint32_t mounts_make(const struct place *place);
