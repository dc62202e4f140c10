// Messages of the agent: read, checked, done, answered.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { OUTBOX = 264 };           // replies to one request: one per command and the end of the list, with room to spare

// Takes one message off the socket and queues its replies. False when the socket is closed.
bool request_read(int fd);
// Sends what is queued: replies first, then events. False when the socket is full and there is more.
bool replies_send(int fd);
bool replies_waiting(void);
