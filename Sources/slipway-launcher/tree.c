#define _GNU_SOURCE
#include "tree.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEPEST = 500 };          // each level holds a descriptor while it is worked on

static bool is_dots(const char *name) { return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])); }

static DIR *enter(int at, const char *name, bool force) {
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(at, name, flags);
    struct stat st;
    if (fd < 0 && errno == EACCES && force && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)
        && fchmodat(at, name, 0700, 0) == 0)
        fd = openat(at, name, flags);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !list) close(fd);
    return list;
}

struct removal { int top; unsigned moved; };

// A directory too deep down is moved to the top and found there on the next round.
static int move_up(struct removal *removal, int at, const char *name) {
    char flat[32];
    snprintf(flat, sizeof flat, ".slipway-deep-%u", removal->moved++);
    if (renameat(at, name, removal->top, flat) == 0) return 0;
    DIR *list = errno == EACCES ? enter(at, name, true) : NULL;   // moving a directory writes its `..`
    if (!list) return -1;
    int result = fchmod(dirfd(list), 0700) || renameat(at, name, removal->top, flat) ? -1 : 0;
    closedir(list);
    return result;
}

static int remove_in(struct removal *removal, int at, const char *name, int depth) {
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return -1;
    if (depth > DEEPEST) return move_up(removal, at, name);
    DIR *list = enter(at, name, true);
    if (!list) return errno == ENOENT ? 0 : -1;       // somebody else removes, too
    struct stat st;
    if (!fstat(dirfd(list), &st) && (st.st_mode & 0700) != 0700) fchmod(dirfd(list), 0700);
    if (depth == 0) removal->top = dirfd(list);
    int result = 0, error = 0;
    for (struct dirent *entry; (entry = readdir(list));) {
        if (is_dots(entry->d_name)) continue;
        if (remove_in(removal, dirfd(list), entry->d_name, depth + 1)) { result = -1; error = errno; }
    }
    closedir(list);
    if (result) { errno = error; return -1; }
    return unlinkat(at, name, AT_REMOVEDIR) && errno != ENOENT ? -1 : 0;
}

int tree_remove(int at, const char *name) {
    struct removal removal = {0};
    for (;;) {
        unsigned before = removal.moved;
        if (remove_in(&removal, at, name, 0) == 0) return 0;
        if (removal.moved == before) return -1;   // no progress: errno says why
    }
}

static void measure_in(int at, const char *name, dev_t device, int depth, struct tree_size *size) {
    // Nobody builds that by accident: it is a place to hide bytes in.
    if (depth > DEEPEST) { size->bytes = TREE_UNMEASURABLE; return; }
    DIR *list = enter(at, name, false);
    if (!list) return;
    for (struct dirent *entry; (entry = readdir(list)) && size->bytes != TREE_UNMEASURABLE;) {
        struct stat st;
        if (is_dots(entry->d_name) || fstatat(dirfd(list), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
        if (st.st_dev != device) continue;
        // Hard links count once per name divided by their number, so that a thousand names of one file weigh one file.
        size->bytes += (uint64_t)st.st_blocks * 512 / (S_ISDIR(st.st_mode) || st.st_nlink == 0 ? 1 : st.st_nlink);
        size->files++;
        if (S_ISDIR(st.st_mode)) measure_in(dirfd(list), entry->d_name, device, depth + 1, size);
    }
    closedir(list);
}

void tree_measure(int at, const char *name, struct tree_size *size) {
    struct stat st;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode)) return;
    measure_in(at, name, st.st_dev, 0, size);
}
