#define _GNU_SOURCE
#include "privileges.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct gift { uid_t uid; gid_t gid; const uid_t *from; int count; dev_t device; };

static int is_from(const struct gift *gift, uid_t owner) {
    for (int i = 0; i < gift->count; i++)
        if (gift->from[i] == owner) return 1;
    return 0;
}

// Takes the descriptor over.
static int give_folder(const struct gift *gift, int folder, int depth) {
    DIR *list = depth < 64 ? fdopendir(folder) : (errno = ELOOP, NULL);
    if (!list) { close(folder); return -1; }
    int failed = 0;
    for (struct dirent *entry; !failed && (entry = readdir(list));) {
        struct stat st;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        int one = openat(folder, entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (one < 0) { failed = errno != ENOENT; continue; }
        failed = fstat(one, &st) != 0;
        if (!failed && st.st_dev == gift->device && is_from(gift, st.st_uid)) {
            if (S_ISDIR(st.st_mode)) {
                int inner = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                failed = inner < 0 || give_folder(gift, inner, depth + 1);
            } else if (st.st_nlink == 1) {
                failed = fchownat(one, "", gift->uid, gift->gid, AT_EMPTY_PATH) != 0;
            }
        }
        close(one);
    }
    if (!failed) failed = fchown(folder, gift->uid, gift->gid) != 0;
    int error = errno;
    closedir(list);
    errno = error;
    return failed ? -1 : 0;
}

int slipway_give_tree(const char *path, uid_t uid, gid_t gid, const uid_t *from, int count) {
    struct gift gift = {uid, gid, from, count, 0};
    struct stat st;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return -1;
    if (fstat(folder, &st)) { close(folder); return -1; }
    gift.device = st.st_dev;
    return give_folder(&gift, folder, 0);
}

int slipway_open_path(const char *path) { return open(path, O_PATH | O_CLOEXEC); }
