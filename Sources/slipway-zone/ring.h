// The output of a command, in a file of bounded size: a header of 4096 bytes, then byte i of the output at 4096 + i % capacity.
//
// A file of a command that has written nothing stays empty; else
//
//   0 "SLIPRING" · 8 u32 version · 12 u32 final · 16 u64 capacity · 24 u64 total · 32 u64 lost
//
// Bytes are written before the total that covers them, RING_STEP at a time: a reader that reads total, bytes, total again knows
// that indices from (second total + RING_STEP − capacity) on are sound.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RING_STEP = 65536, RING_LEAST = 131072, RING_MOST = 1 << 30 };

struct ring {
    int fd;                      // −1: no ring, bytes are dropped
    uint64_t capacity, total, lost;
};

// Takes the descriptor over when it succeeds. The file is emptied.
bool ring_open(struct ring *ring, int fd, uint32_t capacity);
void ring_write(struct ring *ring, const uint8_t *bytes, size_t count);
// Marks the output as complete and closes the file.
void ring_close(struct ring *ring);
