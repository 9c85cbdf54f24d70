/* journal_file.c - appends to a journal */

#include "eval/journal_file.h"

#include "base/file.h"
#include "eval/journal_frame.h"
#include "eval/journal_outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_CAPACITY ((size_t)4096)

/* ---- opening */

static enum ce_status fail_errno(const char *path, struct ce_error *err)
{
    return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
}

static enum ce_status cut(int fd, uint64_t end, const char *path, struct ce_error *err)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return fail_errno(path, err);
    }
    if ((uint64_t)info.st_size == end) {
        return CE_OK;
    }
    return ftruncate(fd, (off_t)end) == 0 && fdatasync(fd) == 0 ? CE_OK
                                                                : fail_errno(path, err);
}

enum ce_status ce_journal_file_open(struct ce_journal_file *file,
                                    const char *path,
                                    uint64_t end,
                                    uint32_t header_crc,
                                    struct ce_error *err)
{
    *file = (struct ce_journal_file){
        .path = strdup(path), .fd = -1, .header_crc = header_crc, .written = end};
    enum ce_status status = CE_OK;

    (void)pthread_mutex_init(&file->writer, NULL);
    (void)pthread_mutex_init(&file->lock, NULL);
    if (file->path == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory to write it", path);
    } else {
        status = ce_file_open(&file->fd, path, O_WRONLY, err);
    }
    if (status == CE_OK) {
        status = cut(file->fd, end, path, err);
    }
    if (status != CE_OK) {
        ce_journal_file_close(file);
    }
    return status;
}

void ce_journal_file_close(struct ce_journal_file *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    (void)pthread_mutex_destroy(&file->writer);
    (void)pthread_mutex_destroy(&file->lock);
    free(file->path);
    free(file->writing.data);
    free(file->pending.data);
    *file = (struct ce_journal_file){.fd = -1};
}

/* ---- appending */

static bool reserve(struct ce_journal_buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity == 0 ? FIRST_CAPACITY : buffer->capacity;

    while (capacity - buffer->bytes < more) {
        capacity *= 2; /* a record has at most 2^26 bytes */
    }
    if (capacity == buffer->capacity) {
        return true;
    }
    unsigned char *larger = realloc(buffer->data, capacity);

    if (larger == NULL) {
        return false;
    }
    buffer->data = larger;
    buffer->capacity = capacity;
    return true;
}

/* With the lock. */
static enum ce_status report_failure(const struct ce_journal_file *file,
                                     struct ce_error *err)
{
    return file->failure == CE_OK ? CE_OK
                                  : ce_fail(err, file->failure, "%s", file->why.text);
}

enum ce_status ce_journal_file_append(struct ce_journal_file *file,
                                      const struct ce_journal_item *item,
                                      const struct ce_outcome *outcome,
                                      size_t *pending,
                                      struct ce_error *err)
{
    size_t message = ce_journal_outcome_bytes(item, outcome);
    struct ce_journal_buffer *buffer = &file->pending;
    size_t record = CE_JOURNAL_FRAME_BYTES + message;

    if (message > CE_JOURNAL_MOST_BYTES) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s: an outcome of %zu bytes is more than a record holds",
                       file->path,
                       message);
    }
    (void)pthread_mutex_lock(&file->lock);
    enum ce_status status = report_failure(file, err);

    if (status == CE_OK && !reserve(buffer, record)) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory for a record", file->path);
    } else if (status == CE_OK) {
        unsigned char *to = buffer->data + buffer->bytes;

        ce_journal_outcome_pack(item, outcome, to + CE_JOURNAL_FRAME_BYTES);
        ce_journal_frame_write(to,
                               CE_JOURNAL_FRAME_ITEM,
                               message,
                               file->written + buffer->bytes,
                               file->header_crc);
        buffer->bytes += record;
    }
    *pending = buffer->bytes;
    (void)pthread_mutex_unlock(&file->lock);
    return status;
}

/* ---- writing */

/* The number of bytes that were written; errno tells why not all. */
static size_t
write_all(int fd, uint64_t offset, const unsigned char *data, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t count = pwrite(fd, data + done, bytes - done, (off_t)(offset + done));

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            break;
        }
        done += (size_t)count;
    }
    return done;
}

/* What stays of a write that failed. Should the cut fail too, the next open does it. */
static enum ce_status keep_whole(const struct ce_journal_file *file,
                                 uint64_t offset,
                                 size_t written,
                                 int why,
                                 struct ce_error *err)
{
    uint64_t end = offset + ce_journal_frame_whole(file->writing.data, written);
    bool kept = ftruncate(file->fd, (off_t)end) == 0 && fdatasync(file->fd) == 0;

    return ce_fail(err,
                   CE_ERR_IO,
                   "%s: cannot append: %s; the records up to byte %" PRIu64
                   " are kept%s: make room, then resume",
                   file->path,
                   strerror(why),
                   end,
                   kept ? "" : ", but not what follows");
}

/* Of a buffer that is not empty. */
static enum ce_status
write_buffer(const struct ce_journal_file *file, uint64_t offset, struct ce_error *err)
{
    const struct ce_journal_buffer *buffer = &file->writing;
    size_t count = write_all(file->fd, offset, buffer->data, buffer->bytes);

    if (count < buffer->bytes) {
        return keep_whole(file, offset, count, errno, err);
    }
    if (fdatasync(file->fd) != 0) {
        return ce_fail(err,
                       CE_ERR_IO,
                       "%s: cannot be brought to the disk: %s; of the records behind "
                       "byte %" PRIu64 " some may be lost",
                       file->path,
                       strerror(errno),
                       offset);
    }
    return CE_OK;
}

/* Swaps the buffers: what was pending is now in `writing`. */
static enum ce_status
take_pending(struct ce_journal_file *file, uint64_t *offset, struct ce_error *err)
{
    (void)pthread_mutex_lock(&file->lock);
    enum ce_status status = report_failure(file, err);
    struct ce_journal_buffer taken = file->pending;

    if (status == CE_OK) {
        file->pending = file->writing;
        file->writing = taken;
        *offset = file->written;
        file->written += taken.bytes;
    }
    (void)pthread_mutex_unlock(&file->lock);
    return status;
}

enum ce_status ce_journal_file_sync(struct ce_journal_file *file, struct ce_error *err)
{
    struct ce_error why = {.text = ""};
    uint64_t offset = 0;

    (void)pthread_mutex_lock(&file->writer);
    enum ce_status status = take_pending(file, &offset, err);

    if (status == CE_OK && file->writing.bytes > 0) {
        status = write_buffer(file, offset, &why);
        file->writing.bytes = 0;
        if (status != CE_OK) {
            ce_journal_file_fail(file, status, &why);
            status = ce_fail(err, status, "%s", why.text);
        }
    }
    (void)pthread_mutex_unlock(&file->writer);
    return status;
}

void ce_journal_file_fail(struct ce_journal_file *file,
                          enum ce_status status,
                          const struct ce_error *why)
{
    (void)pthread_mutex_lock(&file->lock);
    if (file->failure == CE_OK) {
        file->failure = status;
        file->why = *why;
    }
    (void)pthread_mutex_unlock(&file->lock);
}
