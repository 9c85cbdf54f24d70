/* cut_write.c - preloaded into a job: ends its process in the middle of a write
 *
 *   CE_CUT_WRITE=NAME:COUNT:BYTES
 *
 * The COUNT-th pwrite (from 1) to a file whose path ends in NAME writes BYTES bytes of
 * what it was given, or one less than all, and kills the process. A kernel finishes a
 * write before it looks at signals, so that a kill from outside never does this; a
 * machine that goes down does.
 */

#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t write_at(int fd, const void *data, size_t bytes, off_t offset);

static atomic_ulong writes;

static int is_named(int fd, const char *name, size_t length)
{
    char link[64];
    char path[4096];
    ssize_t bytes = 0;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    bytes = readlink(link, path, sizeof(path));
    return bytes >= (ssize_t)length && memcmp(path + bytes - length, name, length) == 0;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    union { /* ISO C has no conversion from void * to a function */
        void *object;
        write_at *call;
    } next = {.object = dlsym(RTLD_NEXT, "pwrite")};
    const char *wanted = getenv("CE_CUT_WRITE");
    size_t length = wanted != NULL ? strcspn(wanted, ":") : 0;

    if (length > 0 && is_named(fd, wanted, length)) {
        char *end = NULL;
        unsigned long count = strtoul(wanted + length + 1, &end, 10);
        size_t part = strtoul(end + 1, NULL, 10);

        if (atomic_fetch_add(&writes, 1) + 1 == count) {
            (void)next.call(fd, data, part < bytes ? part : bytes - 1, offset);
            (void)kill(getpid(), SIGKILL);
        }
    }
    return next.call(fd, data, bytes, offset);
}
