#define _GNU_SOURCE
#include "command.h"
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct command commands[COMMANDS];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void clear(struct command *command) { *command = (struct command){.output = -1, .input = -1, .ring.fd = -1}; }

void commands_init(void) {
    for (int i = 0; i < COMMANDS; i++) clear(&commands[i]);
}

struct command *command_find(const uint8_t *id) {
    for (int i = 0; i < COMMANDS; i++)
        if (commands[i].used && !memcmp(commands[i].id, id, WIRE_ID)) return &commands[i];
    return NULL;
}

unsigned command_count(void) {
    unsigned count = 0;
    for (int i = 0; i < COMMANDS; i++) count += commands[i].used;
    return count;
}

static struct started failed(enum start_stage stage, int error) { return (struct started){.error = error, .stage = stage}; }

// The terminal's master, and the name of its other side.
static int open_terminal(const struct start *start, char *name, size_t size) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) return -1;
    struct winsize window = {.ws_row = start->rows ? start->rows : 24, .ws_col = start->columns ? start->columns : 80};
    if (grantpt(master) || unlockpt(master) || ptsname_r(master, name, size) || ioctl(master, TIOCSWINSZ, &window)) {
        int error = errno;
        close(master);
        errno = error;
        return -1;
    }
    return master;
}

static bool pipe_pair(int *ours, int *theirs, bool we_read) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return false;
    *ours = ends[we_read ? 0 : 1];
    *theirs = ends[we_read ? 1 : 0];
    return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

// Gives the child its descriptors and keeps our ends in the command. The ring is opened from a copy, so that the caller's
// descriptor stays the caller's.
static bool connect_child(struct command *command, struct child *child, const struct start *start) {
    bool ring = start->flags & START_RING;
    if (ring) {
        int file = fcntl(start->descriptors[0], F_DUPFD_CLOEXEC, 0);
        if (file < 0) return false;
        if (!ring_open(&command->ring, file, start->capacity)) { close(file); return false; }
    }
    if (start->flags & START_PTY) {
        command->output = open_terminal(start, child->terminal, sizeof child->terminal);
        if (command->output < 0 || fcntl(command->output, F_SETFL, O_NONBLOCK)) return false;
        command->input = fcntl(command->output, F_DUPFD_CLOEXEC, 0);
        return command->input >= 0;
    }
    if (!ring) {
        for (int i = 0; i < start->descriptor_count; i++) child->descriptors[i] = start->descriptors[i];
        child->descriptor_count = start->descriptor_count;
        return true;
    }
    child->descriptor_count = 3;
    if (!pipe_pair(&command->output, &child->output, true)) return false;
    child->descriptors[1] = child->descriptors[2] = child->output;
    if (start->flags & START_INPUT) {
        if (!pipe_pair(&command->input, &child->input, false)) return false;
    } else if (start->descriptor_count < 2) {
        child->input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    child->descriptors[0] = child->input >= 0 ? child->input : start->descriptors[1];
    return child->descriptors[0] >= 0;
}

struct started command_start(const uint8_t *id, const struct start *start) {
    struct command *command = NULL;
    for (int i = 0; i < COMMANDS && !command; i++)
        if (!commands[i].used) command = &commands[i];
    if (!command) return failed(STAGE_REQUEST, ENOSPC);
    clear(command);

    struct child child = {.output = -1, .input = -1};
    struct started result = {.error = 0, .command = command};
    if (connect_child(command, &child, start)) {
        result = child_start(&child, start, &command->pid);
    } else {
        result = failed(errno == EINVAL ? STAGE_REQUEST : STAGE_FORK, errno);
    }
    close_fd(&child.output);
    close_fd(&child.input);
    if (result.error) {
        close_fd(&command->output);
        close_fd(&command->input);
        ring_close(&command->ring);
        clear(command);
        return result;
    }
    memcpy(command->id, id, WIRE_ID);
    command->used = true;
    command->state = STATE_RUNNING;
    command->started = now();
    result.command = command;
    return result;
}

bool command_pump(struct command *command) {
    static uint8_t bytes[RING_STEP];
    ssize_t n = read(command->output, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n > 0) {
        ring_write(&command->ring, bytes, (size_t)n);
        command->tell_output = true;
        return true;
    }
    // The end of a pipe, or EIO: nobody has the terminal open any more.
    close_fd(&command->output);
    close_fd(&command->input);
    ring_close(&command->ring);
    command->tell_status = true;
    return false;
}

// All that the command itself wrote comes before the news of its end. Bounded: a child it left behind may write for ever.
static void drain(struct command *command) {
    int waiting;
    for (int i = 0; i < 32 && command->output >= 0 && ioctl(command->output, FIONREAD, &waiting) == 0 && waiting > 0; i++)
        command_pump(command);
    if (command->output >= 0) command_pump(command);   // perhaps its end
}

void commands_reap(void) {
    int status;
    struct rusage used;
    for (pid_t pid; (pid = wait4(-1, &status, WNOHANG, &used)) > 0;) {
        for (int i = 0; i < COMMANDS; i++) {
            struct command *command = &commands[i];
            if (!command->used || command->pid != pid || command->state != STATE_RUNNING) continue;
            command->state = WIFSIGNALED(status) ? STATE_KILLED : STATE_EXITED;
            command->code = (uint32_t)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            command->ended = now();
            command->cpu = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000u
                + (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
            command->peak = (uint64_t)used.ru_maxrss;
            command->tell_status = true;
            drain(command);
        }
    }
}

void commands_kill(void) {
    uint32_t reached;
    for (int i = 0; i < COMMANDS; i++)
        if (commands[i].used) command_signal(&commands[i], SIGKILL, SCOPE_SESSION, &reached);
}

int command_forget(struct command *command) {
    if (command->state == STATE_RUNNING || command->output >= 0) return EBUSY;
    close_fd(&command->input);
    clear(command);
    return 0;
}

int command_input(struct command *command, const uint8_t *bytes, size_t count, uint32_t *taken) {
    if (command->input < 0) return EBADF;
    ssize_t n = write(command->input, bytes, count);
    if (n < 0) return errno;
    *taken = (uint32_t)n;
    return 0;
}

int command_close_input(struct command *command) {
    if (command->input < 0) return EBADF;
    close_fd(&command->input);
    return 0;
}

int command_resize(struct command *command, uint16_t rows, uint16_t columns) {
    struct winsize window = {.ws_row = rows, .ws_col = columns};
    return command->output >= 0 && ioctl(command->output, TIOCSWINSZ, &window) == 0 ? 0 : ENOTTY;
}
