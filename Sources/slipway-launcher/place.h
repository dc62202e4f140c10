// A workspace's place beneath BASE: ws/N, and who it belongs to.
#pragma once
#include "common.h"

struct place {
    uint32_t number;
    int directory, state;        // ws/N and ws/N/state
    int lock;                    // state/lock; held by the sandbox's first process while it lives
};

// Opens a place, and makes it when `workspace` is given. 0 or an error number: EEXIST when it belongs to another workspace,
// ENOENT when there is none.
int place_open(struct place *place, uint32_t number, const uint8_t *workspace);
void place_close(struct place *place);
// Takes the lock for the sandbox that is about to start: EBUSY while one lives.
int place_lock(struct place *place);
bool place_is_running(const struct place *place);
// Removes everything in it; the place must not be running.
int place_remove(struct place *place);
// Checks BASE and makes what is common to all workspaces. Ends the process when BASE is unfit.
void base_prepare(const char *path);
// Removes what a launcher that was killed had begun to remove.
void base_finish_removals(void);
