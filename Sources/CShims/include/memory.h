#pragma once
#include <malloc.h>

/// Once, before there are threads. By default each thread's heap gives its last 128 KiB back and takes them again, with a system call and
/// page faults each time: under load about once per model call.
static inline void slipway_keep_freed_memory(void) {
    mallopt(M_TOP_PAD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
}
