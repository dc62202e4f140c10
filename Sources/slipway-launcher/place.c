#define _GNU_SOURCE
#include "place.h"
#include "tree.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define GONE ".gone"

static int open_directory(int at, const char *name) { return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

// Makes a directory if needed and gives it owner (root mode only) and mode.
static int make(int at, const char *name, mode_t mode, uid_t owner) {
    if (mkdirat(at, name, mode) && errno != EEXIST) return -1;
    int fd = open_directory(at, name);
    if (fd < 0) return -1;
    if ((options.root && fchown(fd, owner, owner)) || fchmod(fd, mode)) { close(fd); return -1; }
    return fd;
}

static bool make_only(int at, const char *name, mode_t mode, uid_t owner) {
    int fd = make(at, name, mode, owner);
    if (fd < 0) return false;
    close(fd);
    return true;
}

// The owner is written once, whole, before anything else is in the place.
static int check_owner(int state, const uint8_t *workspace, bool create) {
    char hex[34];
    for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", workspace[i]);
    strcpy(hex + 32, "\n");
    const char *owner = read_text_at(state, "owner");
    if (owner) return strcmp(owner, hex) ? EEXIST : 0;
    if (!create || errno != ENOENT) return errno;
    int fd = openat(state, "owner.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return errno;
    bool written = write(fd, hex, 33) == 33;
    close(fd);
    return written && renameat(state, "owner.new", state, "owner") == 0 ? 0 : EIO;
}

int place_open(struct place *place, uint32_t number, const uint8_t *workspace) {
    *place = (struct place){.number = number, .directory = -1, .state = -1, .lock = -1};
    const char *path = text("ws/%u", number);
    place->directory = workspace ? make(options.base, path, 0711, 0) : open_directory(options.base, path);
    if (place->directory < 0) return errno;
    place->state = workspace ? make(place->directory, "state", 0700, 0) : open_directory(place->directory, "state");
    int error = place->state < 0 ? errno : 0;
    if (!error && workspace) error = check_owner(place->state, workspace, true);
    if (!error && workspace
        && !(make_only(place->directory, "upper", 0755, WORKLOAD) && make_only(place->directory, "work", 0755, WORKLOAD)
             && make_only(place->directory, "agent", 0700, agent_uid(number))))
        error = errno;
    if (!error) {
        place->lock = openat(place->state, "lock", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (place->lock < 0) error = errno;
    }
    if (error) place_close(place);
    return error;
}

void place_close(struct place *place) {
    if (place->lock >= 0) close(place->lock);
    if (place->state >= 0) close(place->state);
    if (place->directory >= 0) close(place->directory);
    place->lock = place->state = place->directory = -1;
}

int place_lock(struct place *place) { return flock(place->lock, LOCK_EX | LOCK_NB) ? (errno == EWOULDBLOCK ? EBUSY : errno) : 0; }

bool place_is_running(const struct place *place) {
    if (flock(place->lock, LOCK_SH | LOCK_NB)) return true;
    flock(place->lock, LOCK_UN);
    return false;
}

int place_remove(struct place *place) {
    int error = place_lock(place);
    if (error) return error;
    // Out of the way first, so that a start meanwhile finds no place rather than half of one.
    const char *gone = text("ws/%u" GONE, place->number);
    if (tree_remove(options.base, gone) || renameat(options.base, text("ws/%u", place->number), options.base, gone)) return errno;
    return tree_remove(options.base, gone) ? errno : 0;
}

void base_finish_removals(void) {
    int fd = open_directory(options.base, "ws");
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) return;
    for (struct dirent *entry; (entry = readdir(list));) {
        size_t length = strlen(entry->d_name);
        if (length > strlen(GONE) && !strcmp(entry->d_name + length - strlen(GONE), GONE)) tree_remove(fd, entry->d_name);
    }
    closedir(list);
}

void base_prepare(const char *path) {
    struct stat st;
    options.base_path = realpath(path, NULL);
    options.base = options.base_path ? open(options.base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (options.base < 0 || fstat(options.base, &st)) fail(path);
    if (st.st_uid != geteuid() || st.st_mode & 022) {
        errno = EPERM;
        fail(text("%s must belong to the launcher's user and be writable by nobody else", path));
    }
    // On disk a home belongs to 1000:1000; each sandbox sees it as its own workload's, through an idmapped mount.
    bool made = make_only(options.base, "ws", 0711, 0) && make_only(options.base, "skel", 0755, WORKLOAD);
    if (!made || !make_only(options.base, "sock", 0755, options.socket_owner)) fail(path);
}
