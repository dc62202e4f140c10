#include "ring.h"
#include "wire.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DATA = 4096 };

static bool write_all(int fd, const uint8_t *bytes, size_t count, uint64_t at) {
    while (count > 0) {
        ssize_t n = pwrite(fd, bytes, count, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n; count -= (size_t)n; at += (uint64_t)n;
    }
    return true;
}

static void write_header(const struct ring *ring, bool final) {
    uint8_t header[40] = "SLIPRING";
    put32(header + 8, 1);
    put32(header + 12, final);
    put64(header + 16, ring->capacity);
    put64(header + 24, ring->total);
    put64(header + 32, ring->lost);
    (void)write_all(ring->fd, header, sizeof header, 0);
}

bool ring_open(struct ring *ring, int fd, uint32_t capacity) {
    struct stat st;
    if (capacity < RING_LEAST || capacity > RING_MOST || fstat(fd, &st) || !S_ISREG(st.st_mode)) { errno = EINVAL; return false; }
    if (st.st_size > 0 && ftruncate(fd, 0)) return false;
    *ring = (struct ring){.fd = fd, .capacity = capacity};
    return true;
}

void ring_write(struct ring *ring, const uint8_t *bytes, size_t count) {
    if (ring->fd < 0) return;
    uint64_t at = ring->total % ring->capacity, first = ring->capacity - at;
    if (first > count) first = count;
    // A full disk must not stop the command: what cannot be stored is counted and dropped.
    if (write_all(ring->fd, bytes, first, DATA + at) && write_all(ring->fd, bytes + first, count - first, DATA)) ring->total += count;
    else ring->lost += count;
    write_header(ring, false);
}

void ring_close(struct ring *ring) {
    if (ring->fd < 0) return;
    if (ring->total > 0 || ring->lost > 0) write_header(ring, true);
    close(ring->fd);
    ring->fd = -1;
}
