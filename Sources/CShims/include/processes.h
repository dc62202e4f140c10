// Helper processes that talk over one socket, and what watches and demotes processes.
#pragma once
#include <sys/epoll.h>
#include <sys/types.h>

// Starts a program in a process group of its own, with nothing inherited but standard output and error, and `socket` as
// descriptor 3. `second`, unless it is negative, must be 10 or more and becomes descriptor 4. Signals are as after log-in.
// Returns the process id, or the negated errno.
pid_t slipway_spawn_with_socket(const char *path, char *const arguments[], char *const environment[], int socket, int second);

// The same without a socket: the child's descriptors are these, from 0 on, and no others.
pid_t slipway_spawn_with_files(const char *path, char *const arguments[], char *const environment[], const int files[], int count);

// A file that is nowhere but in memory; -1 and errno when there is none left.
int slipway_memory_file(const char *name);

// A pipe that no other program inherits.
int slipway_pipe(int ends[2]);

// Gives up root for good: every thread of the process gets this user, this group and no other. 0, or the negated errno; never 0 when
// the way back is open.
int slipway_give_up_root(uid_t uid, gid_t gid);
