#pragma once
#include <sys/types.h>

/// Starts a program in a session of its own, without the caller's signal mask, signal handlers and descriptors.
///
/// `directory` becomes the working directory; standard input is /dev/null, output and error go to `output`.
/// When `uid` is not (uid_t)-1 the program runs as that user, with `gid` as its only group.
/// When `source` is not NULL that folder is also seen as `target`, by this program alone (a mount namespace; needs root).
/// Returns the process id, or the negated errno of the step that failed (also when exec fails).
pid_t slipway_spawn_session(const char *path, char *const arguments[], char *const environment[], const char *directory, int output,
                            uid_t uid, gid_t gid, const char *source, const char *target);

/// A descriptor that becomes readable when the process ends (close-on-exec), or the negated errno.
int slipway_pidfd_open(pid_t pid);
