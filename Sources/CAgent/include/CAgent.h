#pragma once
// What Swift's Glibc module does not show and the agent needs: control messages, prctl, GNU extensions, and a spawn that leaks
// nothing. Plain types only: with _GNU_SOURCE the system's headers would not agree with those that Swift has read.
#include <stddef.h>
#include <stdint.h>

/// Sends one record with up to 8 descriptors. Returns bytes sent or -errno.
long cagent_send(int fd, const void *bytes, size_t length, const int *descriptors, int count, int wait);

/// Receives one record; without a control buffer no descriptor can be slipped in. Returns its length, 0 at the end, or -errno.
long cagent_receive(int fd, void *bytes, size_t capacity);

/// After this nobody with the same uid can trace this process or read its memory and descriptors.
int cagent_hide(void);

int cagent_o_tmpfile(void);

void *cagent_memmem(const void *text, size_t length, const void *part, size_t partLength);

/// FNV-1a, 64 bits, going on from `state`. In C, since a debug build of the same loop in Swift takes a second per megabyte.
uint64_t cagent_digest(uint64_t state, const void *bytes, size_t length);

/// dup3 with close-on-exec.
int cagent_dup3(int from, int to);

/// Starts a program in a session of its own with stdin from /dev/null, `log` as stdout and stderr, and `inherited` (or none: -1)
/// as descriptor 3; everything above is closed. Returns 0 or the error number.
int cagent_spawn(int *pid, const char *program, char *const arguments[], char *const environment[], int log, int inherited);
