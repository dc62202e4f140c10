// The commands of the zone: what was started, how it ended, where its output goes.
#pragma once
#include "ring.h"
#include "wire.h"
#include <stdbool.h>
#include <sys/types.h>

enum { COMMANDS = 256 };

struct command {
    bool used;
    uint8_t id[WIRE_ID];
    enum state state;
    pid_t pid;                   // also its process group and its session
    uint32_t code;               // exit code or signal number
    uint64_t started, ended;     // nanoseconds since 1970
    uint64_t cpu, peak;          // microseconds, KiB
    int output, input;           // our ends of its pipes, or twice the terminal's master; −1: none
    struct ring ring;
    bool tell_status, tell_output;   // events not sent yet
};

// What a START message asks for. Strings point into the message; descriptors belong to whoever filled this in.
struct start {
    uint32_t flags, capacity;
    uint16_t rows, columns;
    const char *directory;
    char **arguments, **variables;
    int descriptors[WIRE_DESCRIPTORS], descriptor_count;
};

struct started { int error; enum start_stage stage; struct command *command; };

extern struct command commands[COMMANDS];

void commands_init(void);
struct command *command_find(const uint8_t *id);
unsigned command_count(void);

// Starts a command under an id that is not in the table. On an error nothing of it ran and the id is still unknown.
struct started command_start(const uint8_t *id, const struct start *start);
// Reads at most RING_STEP bytes of output. False when the output is over.
bool command_pump(struct command *command);
// Takes note of every child that ended.
void commands_reap(void);
// Ends every command with all its jobs.
void commands_kill(void);
int command_forget(struct command *command);
// Returns 0 or an error number; `reached` counts what got the signal.
int command_signal(const struct command *command, uint32_t signal, enum signal_scope scope, uint32_t *reached);
int command_input(struct command *command, const uint8_t *bytes, size_t count, uint32_t *taken);
int command_close_input(struct command *command);
int command_resize(struct command *command, uint16_t rows, uint16_t columns);
