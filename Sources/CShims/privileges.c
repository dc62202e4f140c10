#define _GNU_SOURCE
#include "privileges.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { GROUPS_MOST = 256 };

static int set_groups(const char *name, gid_t gid) {
    gid_t groups[GROUPS_MOST];
    int count = GROUPS_MOST, kept = 0;
    if (getgrouplist(name, gid, groups, &count) < 0) count = GROUPS_MOST;
    for (int i = 0; i < count; i++)
        if (groups[i] != 0) groups[kept++] = groups[i];
    return setgroups((size_t)kept, groups);
}

static int set_capabilities(uint64_t wanted) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};
    for (int i = 0; i < 2; i++) data[i].effective = data[i].permitted = (uint32_t)(wanted >> 32 * i);
    return (int)syscall(SYS_capset, &head, data);
}

static int has_exactly(uint64_t wanted) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &head, data)) return 0;
    uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return permitted == wanted && !data[0].inheritable && !data[1].inheritable;
}

int slipway_become_user(const char *name, uid_t uid, gid_t gid, int keep_low_ports) {
    uint64_t kept = keep_low_ports ? 1ull << CAP_NET_BIND_SERVICE : 0;
    if (uid == 0 || gid == 0) return -EINVAL;
    // Where root may not even do this (in a container) no_new_privs below has the same effect.
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++) {}
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (prctl(PR_SET_KEEPCAPS, kept ? 1 : 0, 0, 0, 0)) return -errno;
    if (set_groups(name, gid) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)) return -errno;
    if (set_capabilities(kept) || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -errno;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) return -errno;
    uid_t real, effective, saved;
    if (getresuid(&real, &effective, &saved) || real != uid || effective != uid || saved != uid) return -EPERM;
    return setuid(0) == 0 || setgid(0) == 0 || seteuid(0) == 0 || !has_exactly(kept) ? -EPERM : 0;
}

int slipway_private_mounts(void) {
    // What is unmounted outside is not held here.
    return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) ? -errno : 0;
}

int slipway_cover_folder(const char *path) {
    return mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=256k,nr_inodes=512,mode=0711") ? -errno : 0;
}

int slipway_show_at(int descriptor, const char *path) {
    char from[64];
    snprintf(from, sizeof from, "/proc/self/fd/%d", descriptor);
    return mount(from, path, NULL, MS_BIND | MS_REC, NULL) ? -errno : 0;
}
