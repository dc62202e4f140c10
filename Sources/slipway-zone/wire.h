// The wire between agent and zone, version 1: one message is one record of a SOCK_SEQPACKET socket, integers are little-endian.
//
//   0 u32 kind · 4 u32 request (echoed in the reply, 0 in events) · 8 u8[40] id of the command, opaque · 48 payload
//
// A reply's kind is the request's plus 0x100; every request has exactly one reply (LIST: one per command, then LIST_END).
#pragma once
#include <stdint.h>
#include <string.h>

enum {
    WIRE_VERSION = 1,
    WIRE_FD = 3,                 // the socket's descriptor in the zone and in the agent
    WIRE_MAX = 131072,           // bytes in one message
    WIRE_HEADER = 48,
    WIRE_ID = 40,
    WIRE_DESCRIPTORS = 8,        // most descriptors in one message
    WIRE_STRINGS = 4096,         // most arguments, and most variables, of one command
};

enum kind {
    K_HELLO = 1, K_START, K_SIGNAL, K_STATUS, K_LIST, K_FORGET, K_INPUT, K_CLOSE_INPUT, K_RESIZE,
    K_REPLY = 0x100,
    K_LIST_END = 0x105,
    K_MALFORMED = 0x1ff,
    K_EVENT_STATUS = 0x201, K_EVENT_OUTPUT = 0x202,
};

enum start_flags { START_RING = 1, START_HELPER = 2, START_INPUT = 4, START_PTY = 8, START_KNOWN = 15 };
enum start_stage { STAGE_REQUEST = 1, STAGE_FORK, STAGE_DIRECTORY, STAGE_EXEC };
enum signal_scope { SCOPE_LEADER, SCOPE_GROUP, SCOPE_SESSION };
enum state { STATE_UNKNOWN, STATE_RUNNING, STATE_EXITED, STATE_KILLED };

enum { START_PAYLOAD = 20, STATUS_PAYLOAD = 56 };

static inline uint32_t get32(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
static inline uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }
static inline void put32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}
static inline void put64(uint8_t *at, uint64_t value) {
    for (int i = 0; i < 8; i++) at[i] = (uint8_t)(value >> 8 * i);
}
