#include "CAllocator.h"

// Read by jemalloc before main (its manual, TUNING): an arena per processor in place of four, and memory that nobody uses goes back
// within a second in place of ten. A thousand streams that begin together need twice of what they need later, and a process that
// keeps it looks as if it needed it.
__attribute__((visibility("default"))) const char *malloc_conf =
    "percpu_arena:percpu,dirty_decay_ms:1000,muzzy_decay_ms:0";
