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

static bool write_all(int fd, uint64_t offset, const unsigned char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t count =
            pwrite(fd, data, bytes < WRITE_BYTES ? bytes : WRITE_BYTES, (off_t)offset);

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return false;
        }
        data += count;
        offset += (uint64_t)count;
        bytes -= (size_t)count;
    }
    return true;
}

void ce_file_sync_name(const char *path)
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

static enum ce_status fail_errno(const struct ce_file_writer *writer,
                                 struct ce_error *err)
{
    return ce_fail(err, CE_ERR_IO, "%s: %s", writer->path, strerror(errno));
}

/* The writer has path and temporary; a name that could not be created is not ours
 * to remove. */
static enum ce_status create_temporary(struct ce_file_writer *writer,
                                       struct ce_error *err)
{
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (writer->fd >= 0) {
        return CE_OK;
    }
    enum ce_status status = fail_errno(writer, err);

    free(writer->temporary);
    writer->temporary = NULL;
    return status;
}

enum ce_status ce_file_writer_open(struct ce_file_writer *writer,
                                   const char *path,
                                   struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *writer = (struct ce_file_writer){.fd = -1};
    if (!is_replaceable(path)) {
        return ce_fail(err, CE_ERR_IO, "%s: not a regular file", path);
    }
    writer->path = strdup(path);
    if (writer->path == NULL || asprintf(&writer->temporary,
                                         "%s.tmp-%ld-%llx",
                                         path,
                                         (long)getpid(),
                                         (unsigned long long)ce_clock_ns()) < 0) {
        writer->temporary = NULL;
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory to write it", path);
    } else {
        status = create_temporary(writer, err);
    }
    if (status != CE_OK) {
        ce_file_writer_close(writer);
    }
    return status;
}

enum ce_status ce_file_writer_put(struct ce_file_writer *writer,
                                  uint64_t offset,
                                  const void *data,
                                  size_t bytes,
                                  struct ce_error *err)
{
    return write_all(writer->fd, offset, data, bytes) ? CE_OK : fail_errno(writer, err);
}

enum ce_status ce_file_writer_commit(struct ce_file_writer *writer,
                                     struct ce_error *err)
{
    bool synced = fsync(writer->fd) == 0;
    int why = errno;
    bool closed = close(writer->fd) == 0;

    writer->fd = -1;
    if (!synced) {
        errno = why;
    }
    if (!synced || !closed || rename(writer->temporary, writer->path) != 0) {
        return fail_errno(writer, err);
    }
    ce_file_sync_name(writer->path);
    free(writer->temporary);
    writer->temporary = NULL;
    return CE_OK;
}

void ce_file_writer_close(struct ce_file_writer *writer)
{
    if (writer->temporary != NULL) {
        if (writer->fd >= 0) {
            (void)close(writer->fd);
        }
        (void)unlink(writer->temporary);
    }
    free(writer->temporary);
    free(writer->path);
    *writer = (struct ce_file_writer){.fd = -1};
}

enum ce_status ce_file_write_pieces_atomic(const char *path,
                                           const struct ce_file_piece *pieces,
                                           size_t count,
                                           struct ce_error *err)
{
    struct ce_file_writer writer;
    enum ce_status status = ce_file_writer_open(&writer, path, err);
    uint64_t offset = 0;

    for (size_t i = 0; status == CE_OK && i < count; i++) {
        status =
            ce_file_writer_put(&writer, offset, pieces[i].data, pieces[i].bytes, err);
        offset += pieces[i].bytes;
    }
    if (status == CE_OK) {
        status = ce_file_writer_commit(&writer, err);
    }
    ce_file_writer_close(&writer);
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
