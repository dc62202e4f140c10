#define _GNU_SOURCE
#include "cgroup.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PERIOD = 100000 };        // µs, of the cpu limit

// A hierarchy: its folder beneath the mount point of cgroups, and how a line of /proc/PID/cgroup names it.
static const struct hierarchy { const char *folder, *name; } version1[] = {
    {"memory", "memory"}, {"pids", "pids"}, {"cpu", "cpu"}, {"freezer", "freezer"},
};
enum { MEMORY, PIDS, CPU, FREEZER, VERSION1 };

static bool is_unified(void) { return access(text("%s/cgroup.controllers", options.cgroups), F_OK) == 0; }
static const char *version2_mount(void) {
    if (is_unified()) return options.cgroups;
    char *hybrid = text("%s/unified", options.cgroups);
    return access(text("%s/cgroup.procs", hybrid), F_OK) == 0 ? hybrid : NULL;
}

// The path of a process in a hierarchy ("" is version 2), from lines such as "4:memory:/a/b", "2:cpu,cpuacct:/", "0::/a".
static char *path_of(pid_t pid, const char *name) {
    FILE *file = fopen(text(pid ? "/proc/%d/cgroup" : "/proc/self/cgroup", pid), "re");
    if (!file) return NULL;
    char line[4096], *found = NULL;
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(++controllers, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        if (!*name) { if (!*controllers) found = strdup(path); continue; }
        for (char *rest = controllers, *one; !found && (one = strsep(&rest, ","));)
            if (!strcmp(one, name)) found = strdup(path);
    }
    fclose(file);
    return found;
}

// Where our groups lie: beneath the server's own group, so that what limits the server limits them too. In version 2 a group with
// processes hands out no controllers, so there they lie at the top; so they do when our own group cannot be seen (a container).
static char *parent(const char *mount, const char *name) {
    char *own = *name ? path_of(0, name) : NULL;
    char *beneath = own && strcmp(own, "/") ? text("%s%s", mount, own) : NULL;
    return text("%s/slipway", beneath && access(beneath, W_OK) == 0 ? beneath : mount);
}

static bool make(const char *directory) { return mkdir(directory, 0755) == 0 || errno == EEXIST; }
static bool set(const char *directory, const char *file, const char *value) {
    return write_text(text("%s/%s", directory, file), value) == 0;
}
// Named by BASE as well: two servers on one host must not meet in a group.
static char *group_name(uint32_t number) {
    struct stat st;
    if (fstat(options.base, &st)) fail("BASE");
    return text("%llx-ws-%u", (unsigned long long)st.st_ino, number);
}
static char *group(const char *above, uint32_t number) {
    char *own = text("%s/%s", above, group_name(number));
    return make(above) && make(own) ? own : NULL;
}

static uint32_t limit_version2(const char *own, const struct limits *limits) {
    uint32_t got = 0;
    if (set(own, "memory.max", text("%llu", (unsigned long long)limits->memory))) got |= O_MEMORY;
    set(own, "memory.swap.max", "0");
    set(own, "memory.oom.group", "0");                // a command that eats too much dies alone
    if (set(own, "pids.max", text("%u", limits->processes))) got |= O_PROCESSES;
    if (set(own, "cpu.max", text("%llu %d", (unsigned long long)limits->cpu * PERIOD / 100, PERIOD))) got |= O_CPU;
    return got;
}

static bool limit_version1(int which, const char *own, const struct limits *limits) {
    switch (which) {
    case MEMORY:
        set(own, "memory.memsw.limit_in_bytes", "-1");   // never below the other one, not even for a moment
        if (!set(own, "memory.limit_in_bytes", text("%llu", (unsigned long long)limits->memory))) return false;
        set(own, "memory.memsw.limit_in_bytes", text("%llu", (unsigned long long)limits->memory));
        return true;
    case PIDS: return set(own, "pids.max", text("%u", limits->processes));
    case CPU:
        return set(own, "cpu.cfs_period_us", text("%d", PERIOD))
            && set(own, "cpu.cfs_quota_us", text("%llu", (unsigned long long)limits->cpu * PERIOD / 100));
    }
    return true;
}

static uint32_t enter_version2(const char *mount, uint32_t number, const struct limits *limits) {
    char *above = parent(mount, "");
    if (is_unified()) {
        make(above);
        // One by one: a controller that is missing must not take the others with it.
        static const char *controllers[] = {"+memory", "+pids", "+cpu"};
        for (int i = 0; i < 3; i++) set(mount, "cgroup.subtree_control", controllers[i]), set(above, "cgroup.subtree_control", controllers[i]);
    }
    char *own = group(above, number);
    if (!own) return 0;
    uint32_t got = limit_version2(own, limits);
    if (!set(own, "cgroup.procs", "0")) return 0;
    if (got) got |= O_CGROUP_V2;
    if (access(text("%s/cgroup.kill", own), W_OK) == 0) got |= O_CGROUP_KILL;
    if (access(text("%s/cgroup.freeze", own), W_OK) == 0) got |= O_FREEZER;
    return got;
}

uint32_t cgroup_enter(uint32_t number, const struct limits *limits) {
    static const uint32_t bits[VERSION1] = {O_MEMORY, O_PROCESSES, O_CPU, O_FREEZER};
    const char *mount = version2_mount();
    uint32_t got = mount ? enter_version2(mount, number, limits) : 0;
    for (int i = 0; i < VERSION1; i++) {
        char *folder = text("%s/%s", options.cgroups, version1[i].folder);
        if (got & bits[i] || access(folder, F_OK)) continue;
        char *own = group(parent(folder, version1[i].name), number);
        if (own && limit_version1(i, own, limits) && set(own, "cgroup.procs", "0")) got |= bits[i];
        else if (options.root) dprintf(2, "launcher: no %s limit by cgroup: %s\n", version1[i].name, strerror(errno));
    }
    return got;
}

// ---- groups of a living sandbox, by where its first process is

// NULL unless the process is in a group of this workspace.
static char *group_of(pid_t pid, uint32_t number, const char *mount, const char *name) {
    char *path = path_of(pid, name), *end = text("/slipway/%s", group_name(number));
    if (!path || strlen(path) < strlen(end) || strcmp(path + strlen(path) - strlen(end), end)) return NULL;
    return text("%s%s", mount, path);
}
static char *version2_of(pid_t pid, uint32_t number) {
    const char *mount = version2_mount();
    return mount ? group_of(pid, number, mount, "") : NULL;
}
static char *version1_of(pid_t pid, uint32_t number, int which) {
    return group_of(pid, number, text("%s/%s", options.cgroups, version1[which].folder), version1[which].name);
}

int cgroup_limit(pid_t pid, uint32_t number, const struct limits *limits) {
    char *own = version2_of(pid, number);
    bool done = own && limit_version2(own, limits);
    for (int i = 0; i < FREEZER; i++)
        if ((own = version1_of(pid, number, i))) done |= limit_version1(i, own, limits);
    return done ? 0 : ENOTSUP;
}

static bool shows(const char *directory, const char *file, const char *word) {
    const char *content = read_text_at(AT_FDCWD, text("%s/%s", directory, file));
    return content && strstr(content, word);
}

int cgroup_freeze(pid_t pid, uint32_t number, bool frozen) {
    char *own = version2_of(pid, number);
    const char *file = "cgroup.events", *word = frozen ? "frozen 1" : "frozen 0";
    if (!own || !set(own, "cgroup.freeze", frozen ? "1" : "0")) {
        own = version1_of(pid, number, FREEZER);
        file = "freezer.state";
        word = frozen ? "FROZEN" : "THAWED";
        if (!own || !set(own, file, word)) return ENOTSUP;
    }
    for (int waited = 0; waited < 2000; waited++, poll(NULL, 0, 1))
        if (shows(own, file, word)) return 0;
    return ETIMEDOUT;
}

int cgroup_kill(pid_t pid, uint32_t number) {
    char *own = version2_of(pid, number);
    return own && set(own, "cgroup.kill", "1") ? 0 : ENOTSUP;
}

static bool number_in(const char *directory, const char *file, uint64_t *value) {
    const char *content = directory ? read_text_at(AT_FDCWD, text("%s/%s", directory, file)) : NULL;
    if (!content || *content < '0' || *content > '9') return false;
    *value = strtoull(content, NULL, 10);
    return true;
}

void cgroup_usage(pid_t pid, uint32_t number, uint64_t *memory, uint32_t *processes) {
    uint64_t count;
    char *own = version2_of(pid, number);
    if (!number_in(own, "memory.current", memory)) number_in(version1_of(pid, number, MEMORY), "memory.usage_in_bytes", memory);
    if (number_in(own, "pids.current", &count) || number_in(version1_of(pid, number, PIDS), "pids.current", &count)) *processes = (uint32_t)count;
}

void cgroup_remove(uint32_t number) {
    const char *mount = version2_mount();
    if (mount) rmdir(text("%s/%s", parent(mount, ""), group_name(number)));
    for (int i = 0; i < VERSION1; i++) {
        char *folder = text("%s/%s", options.cgroups, version1[i].folder);
        rmdir(text("%s/%s", parent(folder, version1[i].name), group_name(number)));
    }
}
