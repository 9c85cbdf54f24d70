/* file_write.c - files that appear whole or not at all
 *
 * The new content goes to a temporary file beside the old one and reaches the
 * disk before it takes the name; a crash leaves the old file and perhaps a
 * stray NAME.tmp-*.
 */

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux writes at most about 2 GiB with one call. */
#define WRITE_BYTES ((size_t)1 << 30)

static bool write_all(int fd, const unsigned char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t count = write(fd, data, bytes < WRITE_BYTES ? bytes : WRITE_BYTES);

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return false;
        }
        data += count;
        bytes -= (size_t)count;
    }
    return true;
}

/* Leaves errno telling why it failed. */
static bool
write_temporary(const char *path, const struct ce_file_piece *pieces, size_t count)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool written = fd >= 0;

    for (size_t i = 0; written && i < count; i++) {
        written = write_all(fd, pieces[i].data, pieces[i].bytes);
    }
    written = written && fsync(fd) == 0;
    if (fd >= 0) {
        int why = errno;
        bool closed = close(fd) == 0;

        if (!written) {
            errno = why;
        }
        written = written && closed;
    }
    return written;
}

/* Makes the rename itself durable; some file systems cannot, which costs only
 * the newest file after a power failure. */
static void sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int fd = dir != NULL ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
    free(dir);
}

/* What is there may be replaced: nothing or a regular file. A rename onto
 * /dev/null or a symbolic link would destroy it. */
static bool is_replaceable(const char *path)
{
    struct stat info;

    return lstat(path, &info) != 0 || S_ISREG(info.st_mode);
}

enum ce_status ce_file_write_pieces_atomic(const char *path,
                                           const struct ce_file_piece *pieces,
                                           size_t count,
                                           struct ce_error *err)
{
    char *temporary = NULL;

    if (!is_replaceable(path)) {
        return ce_fail(err, CE_ERR_IO, "%s: not a regular file", path);
    }
    if (asprintf(&temporary,
                 "%s.tmp-%ld-%llx",
                 path,
                 (long)getpid(),
                 (unsigned long long)ce_clock_ns()) < 0) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to write it", path);
    }
    enum ce_status status = CE_OK;

    if (!write_temporary(temporary, pieces, count) || rename(temporary, path) != 0) {
        status = ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
        (void)unlink(temporary);
    } else {
        sync_directory_of(path);
    }
    free(temporary);
    return status;
}

enum ce_status ce_file_write_atomic(const char *path,
                                    const void *data,
                                    size_t bytes,
                                    struct ce_error *err)
{
    const struct ce_file_piece piece = {.data = data, .bytes = bytes};

    return ce_file_write_pieces_atomic(path, &piece, 1, err);
}
