#define _GNU_SOURCE
#include "outer.h"
#include "mounts.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char *arguments[600];
static unsigned count;

static void add_list(const char *first, ...) {
    va_list list;
    va_start(list, first);
    for (const char *one = first; one; one = va_arg(list, const char *)) {
        if (count + 1 >= sizeof arguments / sizeof *arguments) { errno = E2BIG; fail("bwrap's arguments"); }
        arguments[count++] = (char *)one;
    }
    va_end(list);
}
#define add(...) add_list(__VA_ARGS__, (char *)NULL)
#define LENGTH(list) (sizeof(list) / sizeof *(list))

static char *number(int value) { return text("%d", value); }

// A file whose content bubblewrap copies or shows; a bind mount would tell its path on the host.
static char *content(const char *value) {
    int fd = memfd_create("content", 0);
    if (fd < 0 || write(fd, value, strlen(value)) < 0 || lseek(fd, 0, SEEK_SET)) fail("memfd");
    return number(fd);
}

static char *hex(const uint8_t *bytes) {
    char *result = text("%32s", "");
    for (int i = 0; i < 16; i++) sprintf(result + 2 * i, "%02x", bytes[i]);
    return result;
}
static char *uuid(const uint8_t *bytes) {
    const char *h = hex(bytes);
    return text("%.8s-%.4s-%.4s-%.4s-%s", h, h + 8, h + 12, h + 16, h + 20);
}

static void namespaces(const struct outer *outer) {
    add("bwrap", "--unshare-pid", "--as-pid-1", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try");
    add("--hostname", "workspace", "--clearenv");
    if (outer->user_namespace >= 0) {
        // The keeper starts the zone under another uid: that, and no other right, is what these two are for.
        add("--userns", number(outer->user_namespace), "--uid", "999", "--gid", "999");
        add("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID");
    } else {
        add("--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL");
    }
    add("--json-status-fd", number(outer->status), "--info-fd", number(outer->info));
}

// Parents that bubblewrap makes by itself are 0700 and the agent's: the workload could not pass them.
static void parents(const char *path) {
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/'))
        add("--perms", "0755", "--dir", text("%.*s", (int)(slash - path), path));
}

static void system_files(void) {
    static const char *directories[] = {"/etc", "/etc/default", "/home", "/run", "/opt", "/var", "/sys"};
    for (unsigned i = 0; i < LENGTH(directories); i++) add("--perms", "0755", "--dir", directories[i]);
    add("--ro-bind", "/usr", "/usr");
    static const char *top[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
    for (unsigned i = 0; i < LENGTH(top); i++) {          // links where /usr is merged, else directories
        char to[64];
        ssize_t size = readlink(top[i], to, sizeof to - 1);
        if (size > 0) { to[size] = 0; add("--symlink", text("%s", to), top[i]); }
        else add("--ro-bind-try", top[i], top[i]);
    }
    static const char *shown[] = {
        "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl/certs", "ssl/openssl.cnf", "ca-certificates.conf", "localtime",
        "timezone", "os-release", "debian_version", "profile", "bash.bashrc", "inputrc", "terminfo", "magic", "mime.types", "services",
        "protocols", "perl", "python3", "python3.11", "java-17-openjdk", "fonts", "xdg", "gai.conf", "locale.alias", "default/locale",
    };
    add("--perms", "0755", "--dir", "/etc/ssl");
    for (unsigned i = 0; i < LENGTH(shown); i++) {
        char *path = text("/etc/%s", shown[i]);
        add("--ro-bind-try", path, path);
    }
}

static void own_etc(const struct outer *outer) {
    const char *files[][2] = {
        {"passwd", "agent:x:999:999::/:/usr/sbin/nologin\nwork:x:1000:1000::/home/work:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"},
        {"group", "agent:x:999:\nwork:x:1000:\nnogroup:x:65534:\n"},   // no tty: sshd would chown to it
        {"hosts", "127.0.0.1 localhost workspace\n::1 localhost\n"},
        {"hostname", "workspace\n"},
        {"resolv.conf", ""},
        {"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"},
        {"machine-id", text("%s\n", hex(outer->workspace))},
    };
    for (unsigned i = 0; i < LENGTH(files); i++) add("--perms", "0644", "--file", content(files[i][1]), text("/etc/%s", files[i][0]));
}

static void own_places(const struct outer *outer) {
    add("--proc", "/proc", "--dev", "/dev", "--bind", STAGE "/shm", "/dev/shm", "--remount-ro", "/dev");
    add("--bind", STAGE "/tmp", "/tmp", "--symlink", "/tmp", "/var/tmp");
    add("--perms", "0700", "--size", "1048576", "--tmpfs", "/run/slipway");
    add("--ro-bind", STAGE "/sock", "/run/slipway/sock", "--bind", STAGE "/agent", "/run/slipway/agent");
    add("--perms", "0400", "--ro-bind-data", content(text("%s\n", outer->token)), "/run/slipway/token");
    add("--perms", "0444", "--ro-bind-data", content("console=none\n"), "/run/slipway/cmdline");
    add("--bind", STAGE "/home", "/home/work", "--ro-bind", STAGE "/bin", "/opt/slipway");
    int index = 0;
    for (char **tool = options.tools; *tool; tool++, index++) {
        parents(*tool);
        add("--ro-bind", text(STAGE "/tools/%d", index), *tool);
    }
    add("--remount-ro", "/", "--chdir", "/");
}

_Noreturn void outer_exec(const struct outer *outer) {
    namespaces(outer);
    system_files();
    own_etc(outer);
    own_places(outer);
    add("--setenv", "PATH", "/usr/bin:/bin", "--setenv", "SLIPWAY_WORKSPACE", uuid(outer->workspace));
    add("--setenv", "SLIPWAY_SANDBOX_ID", hex(outer->sandbox), "--setenv", "SLIPWAY_TOOL_PATH", options.tool_path);
    add("--", "/opt/slipway/keeper", outer->user_namespace >= 0 ? "two" : "one", number(outer->ready), number(outer->lock));
    if (outer->probe) add("probe");
    arguments[count] = NULL;
    execv("/usr/bin/bwrap", arguments);
    fail("/usr/bin/bwrap");
}
