#define _GNU_SOURCE
#include "mounts.h"
#include "userns.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mount.h>

// <sys/mount.h> of older C libraries and <linux/mount.h> exclude each other; these are the calls used here.
extern int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
extern int umount2(const char *target, int flags);
enum { DETACH = 2 };

enum { TOOLS_MOST = 32 };

// A copy of a mounted directory that is not yet anywhere.
static int take(const char *path, int recursive) {
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
    if (tree < 0) fail(path);
    return tree;
}
static void put(int tree, const char *on) {
    if (mkdir(on, 0755) && errno != EEXIST) fail(on);
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, on, MOVE_MOUNT_F_EMPTY_PATH)) fail(text("mount on %s", on));
    close(tree);
}

// bwrap's own --size limits pages but not inodes, whose default is half of the machine's pages at about 1 KB of kernel memory each.
static void memory_disk(const char *on, const char *settings) {
    if (mkdir(on, 0755) && errno != EEXIST) fail(on);
    if (mount("tmpfs", on, "tmpfs", MS_NOSUID | MS_NODEV, settings)) fail(text("tmpfs on %s", on));
}

// An idmapped view of BASE: what is 1000's on disk is this workspace's. 0 stays 0, else the overlay comes up read-only.
static int mapped_base(uint32_t number) {
    int tree = take(options.base_path, 0);
    if (!options.root) return tree;
    struct mount_attr attributes = {
        .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
        .userns_fd = (uint64_t)user_namespace(0, text("0 0 1\n%d %u 1\n", WORKLOAD, workload_uid(number))),
    };
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes))
        fail("the file system of the data directory cannot be mounted with mapped ids");
    close((int)attributes.userns_fd);
    return tree;
}

// Relative names, so that the mount table inside does not tell the host's directories. redirect_dir off keeps layers portable.
static void mount_home(int base, uint32_t number) {
    put(base, STAGE "/base");
    if (mkdir(STAGE "/home", 0755)) fail("home");
    if (chdir(STAGE "/base")) fail("base");
    const char *layers = text("lowerdir=skel,upperdir=ws/%u/upper,workdir=ws/%u/work,%s", number, number,
        options.root ? "redirect_dir=off,metacopy=off,index=off" : "userxattr");
    if (mount("overlay", STAGE "/home", "overlay", MS_NOSUID | MS_NODEV, layers)) fail("the home's overlay");
    if (chdir("/")) fail("/");
    umount2(STAGE "/base", DETACH);   // the overlay keeps a reference of its own
}

uint32_t mounts_make(const struct place *place) {
    if (unshare(CLONE_NEWNS)) fail("a mount namespace is refused");
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL)) fail("private mounts");

    // Everything is taken before the stage covers anything, so it does not matter where it lies.
    int base = mapped_base(place->number), bin = take(options.inner, 0), sock = take(text("%s/sock", options.base_path), 0);
    int agent = take(text("%s/ws/%u/agent", options.base_path, place->number), 0), tools[TOOLS_MOST], count = 0;
    for (char **tool = options.tools; *tool && count < TOOLS_MOST; tool++) tools[count++] = take(*tool, AT_RECURSIVE);

    memory_disk(STAGE, "size=1m,nr_inodes=256,mode=0711");
    put(bin, STAGE "/bin");
    put(sock, STAGE "/sock");
    put(agent, STAGE "/agent");
    mount_home(base, place->number);
    memory_disk(STAGE "/shm", "size=64m,nr_inodes=4096,mode=1777");
    memory_disk(STAGE "/tmp", "size=256m,nr_inodes=65536,mode=1777");
    if (mkdir(STAGE "/tools", 0755)) fail("tools");
    for (int i = 0; i < count; i++) put(tools[i], text(STAGE "/tools/%d", i));
    return O_OVERLAY | (options.root ? O_IDMAPPED : 0);
}
