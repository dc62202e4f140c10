#define _GNU_SOURCE
#include "common.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fail(const char *what) {
    dprintf(2, "launcher: %s: %s\n", what, strerror(errno));
    _exit(111);
}

char *text(const char *format, ...) {
    va_list list;
    char *result;
    va_start(list, format);
    if (vasprintf(&result, format, list) < 0) fail("memory");
    va_end(list);
    return result;
}

int write_text_at(int directory, const char *path, const char *value) {
    int fd = openat(directory, path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    size_t size = strlen(value);
    ssize_t n = write(fd, value, size);
    int error = n < 0 ? errno : EIO;
    close(fd);
    if (n == (ssize_t)size) return 0;
    errno = error;
    return -1;
}

int write_text(const char *path, const char *value) { return write_text_at(AT_FDCWD, path, value); }

const char *read_text_at(int directory, const char *path) {
    static char content[8192];
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return NULL;
    ssize_t n = read(fd, content, sizeof content - 1);
    close(fd);
    if (n < 0) return NULL;
    content[n] = 0;
    return content;
}
