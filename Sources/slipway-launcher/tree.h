// Trees that somebody hostile has written: no link is followed, no name is trusted, nothing is opened but directories.
#pragma once
#include <stdint.h>

// Removes a directory and what is in it. 0, or −1 with errno.
int tree_remove(int at, const char *name);

// bytes of a tree that is built to defy measuring.
#define TREE_UNMEASURABLE UINT64_MAX

struct tree_size { uint64_t bytes, files; };
// Adds up what a tree takes on disk; stays on one file system.
void tree_measure(int at, const char *name, struct tree_size *size);
