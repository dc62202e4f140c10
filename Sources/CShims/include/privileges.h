// How a server that root started gives its rights up.
#pragma once
#include <sys/types.h>

// Makes this process, which must have one thread, the given user with that user's groups (never root's): no capability but
// `keep_low_ports` (to listen on ports below 1024), none to be got by running a program, not to be traced or dumped by others of that user.
// 0, or the negated errno; -EPERM also when the way back turns out to be open.
int slipway_become_user(const char *name, uid_t uid, gid_t gid, int keep_low_ports);

// From here on what this process mounts is seen by it and its children alone. 0, or the negated errno.
int slipway_private_mounts(void);
// Covers a folder with an empty one that anybody may pass through.
int slipway_cover_folder(const char *path);
// Shows what a descriptor stands for at a path, which must be a folder if it is one, else a file.
int slipway_show_at(int descriptor, const char *path);

// Makes a user and group the owner of a folder and what is in it, the folder itself last. No link is followed, no mount crossed, and
// what belongs to none of `from`, or has a second name elsewhere, is left alone. 0, or -1 with errno.
int slipway_give_tree(const char *path, uid_t uid, gid_t gid, const uid_t *from, int count);

// A descriptor of a file or folder that stands for it and nothing more: no right to read is needed. −1 with errno.
int slipway_open_path(const char *path);
