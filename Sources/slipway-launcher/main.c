// slipway-launcher: makes, stops and removes sandboxes for the server, which holds the other end of descriptor 3.
//
//   slipway-launcher --base DIR --libexec DIR [--first-uid N] [--cgroups DIR] [--tools DIR:DIR…] [--tool-path PATH]
//                    [--socket-owner UID] [--guarded]
//
// --guarded is for a server that gives root up and could not start another: what serves is then a child of a process that only
// waits, and starts it again should it die.
//
// Each request is done by a process of its own, so a slow one holds up none and a failure costs one request.
#define _GNU_SOURCE
#include "cgroup.h"
#include "place.h"
#include "process.h"
#include "start.h"
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct options options = {.cgroups = "/sys/fs/cgroup", .first_uid = 1900000000};

static uint32_t get32(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24; }
static uint64_t get64(const uint8_t *at) { return get32(at) | (uint64_t)get32(at + 4) << 32; }
static void put32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}
static void put64(uint8_t *at, uint64_t value) {
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

enum { SENTENCE_MOST = 1008 };
struct reply { uint8_t bytes[16 + LOG_MOST]; size_t size; };

static void put_error(struct reply *reply, int error, const char *why) {
    put32(reply->bytes + 12, (uint32_t)error);
    const char *sentence = why ? why : strerror(error);
    size_t size = strlen(sentence);
    if (size > SENTENCE_MOST) size = SENTENCE_MOST;
    memcpy(reply->bytes + 16, sentence, size);
    reply->size = 16 + size;
}

static void put_sandbox(struct reply *reply, uint32_t pid, uint32_t obtained, uint64_t start, const uint8_t *sandbox, const uint8_t *workspace) {
    put32(reply->bytes + 16, pid);
    put32(reply->bytes + 20, obtained);
    put64(reply->bytes + 24, start);
    memcpy(reply->bytes + 32, sandbox, 16);
    memcpy(reply->bytes + 48, workspace, 16);
    reply->size = 64;
}

static struct limits limits_of(const uint8_t *m) { return (struct limits){get64(m + 16), get32(m + 24), get32(m + 28)}; }
static bool sound(struct limits l) {
    return l.memory >= 64 << 20 && l.memory <= 1ull << 50 && l.processes >= 32 && l.processes <= 1 << 20 && l.cpu >= 1 && l.cpu <= 100000;
}

static void do_start(const uint8_t *m, size_t size, struct reply *reply) {
    struct start start = {.number = get32(m + 8), .flags = get32(m + 12)};
    size_t token = size >= 66 ? m[64] | (size_t)m[65] << 8 : 0;
    if (size < 66 || token > TOKEN_MOST || size != 66 + token) { put_error(reply, EINVAL, NULL); return; }
    start.limits = limits_of(m);
    memcpy(start.workspace, m + 32, 16);
    memcpy(start.sandbox, m + 48, 16);
    memcpy(start.token, m + 66, token);
    bool printable = true;
    for (size_t i = 0; i < token; i++) printable &= start.token[i] > ' ' && start.token[i] < 127;
    bool probe = start.flags & F_PROBE;
    if (!sound(start.limits) || !printable || (start.number == PROBE_NUMBER) != probe) { put_error(reply, EINVAL, NULL); return; }
    struct begun begun = start_sandbox(&start);
    if (probe && !begun.error) {
        sandbox_kill((struct identity){(pid_t)begun.pid, begun.start_time}, start.number);
        cgroup_remove(start.number);
        struct place place;
        if (place_open(&place, start.number, NULL) == 0) {
            place_remove(&place);
            place_close(&place);
        }
    }
    if (begun.error) put_error(reply, begun.error, begun.why);
    else put_sandbox(reply, begun.pid, begun.obtained, begun.start_time, start.sandbox, start.workspace);
}

static bool unhex(const char *text, uint8_t *bytes) {
    for (int i = 0; i < 16; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1) return false;
        bytes[i] = (uint8_t)byte;
    }
    return true;
}

static void do_status(uint32_t number, struct reply *reply) {
    struct place place;
    int error = place_open(&place, number, NULL);
    if (error) { put_error(reply, error, NULL); return; }
    uint8_t sandbox[16], workspace[16];
    char id[33];
    unsigned pid, obtained;
    unsigned long long start;
    const char *record = read_text_at(place.state, "record");
    bool read = record && sscanf(record, "%u %llu %u %32s", &pid, &start, &obtained, id) == 4 && unhex(id, sandbox);
    const char *owner = read ? read_text_at(place.state, "owner") : NULL;
    if (!place_is_running(&place) || !owner || !unhex(owner, workspace)) put_error(reply, ESRCH, NULL);
    else put_sandbox(reply, pid, obtained, start, sandbox, workspace);
}

static void do_remove(const uint8_t *m, size_t size, uint32_t number, struct reply *reply) {
    struct place place;
    int error = size == 32 ? place_open(&place, number, NULL) : EINVAL;
    if (error == ENOENT) return;                     // removed before
    if (!error) {
        const char *owner = read_text_at(place.state, "owner");
        uint8_t workspace[16];
        // A place without an owner was being removed or made when somebody was killed.
        if (owner && (!unhex(owner, workspace) || memcmp(workspace, m + 16, 16))) error = EEXIST;
        else error = place_remove(&place);
    }
    if (error) put_error(reply, error, error == EBUSY ? "a sandbox of this workspace is running" : error == EEXIST ? "the place belongs to another workspace" : NULL);
    else cgroup_remove(number);
}

static void do_log(const uint8_t *m, size_t size, uint32_t number, struct reply *reply) {
    struct place place;
    int error = size == 32 ? place_open(&place, number, NULL) : EINVAL;
    if (error) { put_error(reply, error, NULL); return; }
    uint8_t workspace[16];
    const char *owner = read_text_at(place.state, "owner");
    if (!owner || !unhex(owner, workspace) || memcmp(workspace, m + 16, 16)) { put_error(reply, EEXIST, NULL); return; }
    int fd = openat(place.state, "log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) { put_error(reply, errno, NULL); return; }
    ssize_t n = pread(fd, reply->bytes + 16, LOG_MOST, st.st_size > LOG_MOST ? st.st_size - LOG_MOST : 0);
    if (n < 0) put_error(reply, errno, NULL);
    else reply->size = 16 + (size_t)n;
}

static void do_usage(struct identity who, uint32_t number, struct reply *reply) {
    struct tree_size size = {0};
    uint64_t memory = 0;
    uint32_t processes = 0;
    int fd = process_open(who, number);
    if (fd >= 0) {
        sandbox_count(who.pid, &memory, &processes);
        cgroup_usage(who.pid, number, &memory, &processes);
        close(fd);
    }
    tree_measure(options.base, text("ws/%u/upper", number), &size);
    struct tree_size agent = {0};
    tree_measure(options.base, text("ws/%u/agent", number), &agent);
    put64(reply->bytes + 16, memory);
    put64(reply->bytes + 24, size.bytes == TREE_UNMEASURABLE ? size.bytes : size.bytes + agent.bytes);
    put64(reply->bytes + 32, size.files + agent.files);
    put32(reply->bytes + 40, processes);
    reply->size = 48;
}

static void serve(const uint8_t *m, size_t size) {
    struct reply reply = {.size = 16};
    uint32_t verb = get32(m), number = get32(m + 8);
    put32(reply.bytes, verb + V_REPLY);
    memcpy(reply.bytes + 4, m + 4, 8);
    struct identity who = {size >= 32 ? (pid_t)get32(m + 16) : 0, size >= 32 ? get64(m + 24) : 0};
    int error = 0;
    if (number > NUMBER_MOST) error = EINVAL;
    else switch (verb) {
        case V_START: do_start(m, size, &reply); break;
        case V_KILL: error = size == 32 ? sandbox_kill(who, number) : EINVAL; break;
        case V_FREEZE: case V_THAW: error = size == 32 ? sandbox_freeze(who, number, verb == V_FREEZE) : EINVAL; break;
        case V_REMOVE: do_remove(m, size, number, &reply); break;
        case V_USAGE: if (size == 32) do_usage(who, number, &reply); else error = EINVAL; break;
        case V_STATUS: do_status(number, &reply); break;
        case V_LOG: do_log(m, size, number, &reply); break;
        case V_LIMITS: {
            struct identity whose = {size == 48 ? (pid_t)get32(m + 32) : 0, size == 48 ? get64(m + 40) : 0};
            int fd = size == 48 && sound(limits_of(m)) ? process_open(whose, number) : (errno = EINVAL, -1);
            struct limits limits = limits_of(m);
            error = fd < 0 ? errno : cgroup_limit(whose.pid, number, &limits);
            break;
        }
        default: error = EINVAL;
    }
    if (error) put_error(&reply, error, NULL);
    (void)!send(VERB_FD, reply.bytes, reply.size, MSG_NOSIGNAL);
}

// ---- options

// The uids of all workspaces must be nobody's: not an account's, not part of a range that was given to one.
static void check_uids(void) {
    uint64_t first = options.first_uid, last = first + 2 * NUMBER_MOST + 1;
    static const char *lists[] = {"/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid"};
    for (int i = 0; i < 4; i++) {
        FILE *file = fopen(lists[i], "re");
        char line[1024];
        while (file && fgets(line, sizeof line, file)) {
            unsigned long long from, many = 1;
            int fields = i < 2 ? sscanf(line, "%*[^:]:%*[^:]:%llu", &from) : sscanf(line, "%*[^:]:%llu:%llu", &from, &many);
            if (fields < 1 || from > last || from + many <= first) continue;
            errno = EEXIST;
            fail(text("%s uses ids from %llu on; choose another --first-uid", lists[i], from));
        }
        if (file) fclose(file);
    }
}

static char **split(char *list) {
    char **result = calloc(34, sizeof *result);
    for (unsigned i = 0; list && i < 32;) {
        char *one = strsep(&list, ":");
        if (*one == '/' && one[1]) result[i++] = one;
    }
    return result;
}

static void read_options(int count, char **arguments) {
    static const struct option known[] = {{"base", 1, NULL, 'b'}, {"libexec", 1, NULL, 'l'}, {"first-uid", 1, NULL, 'u'},
        {"cgroups", 1, NULL, 'c'}, {"tools", 1, NULL, 't'}, {"tool-path", 1, NULL, 'p'}, {"socket-owner", 1, NULL, 's'},
        {"guarded", 0, NULL, 'g'}, {0}};
    const char *base = NULL, *libexec = NULL;
    char *tools = NULL;
    options.tool_path = "/usr/local/bin:/usr/bin:/bin";
    for (int option; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) switch (option) {
        case 'b': base = optarg; break;
        case 'l': libexec = optarg; break;
        case 'u': options.first_uid = (uid_t)strtoul(optarg, NULL, 10); break;
        case 'c': options.cgroups = optarg; break;
        case 't': tools = optarg; break;
        case 'p': options.tool_path = optarg; break;
        case 's': options.socket_owner = (uid_t)strtoul(optarg, NULL, 10); break;
        case 'g': options.guarded = true; break;
        default: _exit(2);
    }
    errno = EINVAL;
    if (!base || !libexec) fail("--base and --libexec are needed");
    options.root = geteuid() == 0;
    if (!options.root) options.socket_owner = geteuid();
    options.tools = split(tools);
    options.inner = realpath(text("%s/sandbox", libexec), NULL);
    if (!options.inner) fail(text("%s/sandbox", libexec));
    if (options.root) check_uids();
    base_prepare(base);
}

// Returns in the process that serves.
static void guard(void) {
    for (;;) {
        pid_t child = fork(), ended;
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            prctl(PR_SET_CHILD_SUBREAPER, 1);
            return;
        }
        int status = 0;
        while (child > 0 && (ended = waitpid(-1, &status, 0)) != child && (ended > 0 || errno == EINTR)) {}
        if (child > 0 && WIFEXITED(status)) _exit(WEXITSTATUS(status));
        sleep(1);                                     // no more often than this, whatever goes on
    }
}

int main(int count, char **arguments) {
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);                          // a terminal's ^C is the server's to handle; we end with the server
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);                 // bubblewrap's monitors come to us when their starter is done
    fcntl(VERB_FD, F_SETFD, FD_CLOEXEC);
    clearenv();
    read_options(count, arguments);
    if (options.guarded) guard();
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { files.rlim_cur = files.rlim_max; setrlimit(RLIMIT_NOFILE, &files); }
    struct sigaction reap = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    sigaction(SIGCHLD, &reap, NULL);
    if (fork() == 0) {                                // it may take a while
        close(VERB_FD);
        base_finish_removals();
        _exit(0);
    }
    uint8_t ready[16] = {0};                          // a reply to nothing: the options are in order
    put32(ready + 8, LAUNCHER_VERSION);
    if (send(VERB_FD, ready, sizeof ready, MSG_NOSIGNAL) < 0) fail("descriptor 3");

    for (;;) {
        static uint8_t message[VERB_MOST];
        ssize_t n = recv(VERB_FD, message, sizeof message, MSG_TRUNC);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;                         // the server is gone; the sandboxes are not
        if (n < 16 || n > (ssize_t)sizeof message) continue;
        pid_t child = fork();
        if (child == 0) {
            signal(SIGCHLD, SIG_DFL);
            signal(SIGINT, SIG_DFL);
            serve(message, (size_t)n);
            _exit(0);
        }
        if (child < 0) {
            struct reply reply = {.size = 16};
            put32(reply.bytes, get32(message) + V_REPLY);
            memcpy(reply.bytes + 4, message + 4, 8);
            put_error(&reply, errno, "no process could be started");
            (void)!send(VERB_FD, reply.bytes, reply.size, MSG_NOSIGNAL);
        }
    }
}
