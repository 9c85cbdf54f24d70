/* packed_file_read.c - tensors of a packed model to memory, all threads at once
 *
 * A thread takes one piece after the other: one read (of a mapped file none), then the
 * checksum while the bytes are still in its cache. Pieces are handed out in the order
 * of the list, so a list in the order of the file is read from front to back.
 */

#include "base/progress.h"
#include "model/packed_file.h"
#include "model/packed_file_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct piece {
    const struct ce_packed_read *read;
    size_t index; /* in its tensor */
};

struct reading {
    const struct ce_packed_file *file;
    const struct ce_file_map *map;
    struct piece *piece;
    size_t pieces;
    struct ce_progress progress;
    size_t failed; /* the first piece that failed, `pieces` when none did */
    enum ce_status status;
    struct ce_error err;
};

enum ce_status ce_packed_read_at(
    int fd, uint64_t offset, void *data, size_t bytes, struct ce_error *err)
{
    unsigned char *to = data;

    while (bytes > 0) {
        ssize_t count = pread(fd, to, bytes, (off_t)offset);

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return ce_fail(err, CE_ERR_IO, "%s", strerror(errno));
        }
        if (count == 0) {
            return ce_fail(err,
                           CE_ERR_IO,
                           "the file ends at %llu: it was cut after it was opened",
                           (unsigned long long)offset);
        }
        to += count;
        offset += (uint64_t)count;
        bytes -= (size_t)count;
    }
    return CE_OK;
}

static size_t piece_size(const struct reading *reading, const struct piece *piece)
{
    size_t left =
        piece->read->tensor->bytes - piece->index * reading->file->piece_bytes;

    return left < reading->file->piece_bytes ? left : reading->file->piece_bytes;
}

/* Brings a piece to memory, or finds it in the map. One call for all its pages is much
 * faster than a fault for each; older kernels do not know it and fault. */
static enum ce_status fetch_piece(const struct reading *reading,
                                  const struct piece *piece,
                                  const unsigned char **data,
                                  struct ce_error *err)
{
    size_t begin = piece->index * reading->file->piece_bytes;
    size_t bytes = piece_size(reading, piece);
    uint64_t offset = piece->read->tensor->offset + begin;
    unsigned char *to = piece->read->to;

    if (to != NULL) {
        *data = to + begin;
        return ce_packed_read_at(reading->file->fd, offset, to + begin, bytes, err);
    }
    *data = reading->map->data + offset;
    (void)madvise((void *)(uintptr_t)*data, bytes, MADV_POPULATE_READ);
    return CE_OK;
}

static enum ce_status read_piece(const struct reading *reading,
                                 const struct piece *piece,
                                 struct ce_error *err)
{
    const struct ce_packed_tensor *tensor = piece->read->tensor;
    const unsigned char *data = NULL;
    size_t begin = piece->index * reading->file->piece_bytes;
    size_t bytes = piece_size(reading, piece);
    enum ce_status status = fetch_piece(reading, piece, &data, err);

    if (status == CE_OK && reading->file->kernels->checksum(data, bytes) !=
                               tensor->checksum[piece->index]) {
        status = ce_fail(
            err, CE_ERR_FORMAT, "the checksum does not match: the file is damaged");
    }
    if (status != CE_OK) {
        ce_error_prefix(err,
                        "%s: tensor '%s': piece %zu of %zu, bytes %zu to %zu",
                        reading->file->path,
                        tensor->name,
                        piece->index + 1,
                        tensor->checksums,
                        begin,
                        begin + bytes - 1);
    }
    return status;
}

/* The first failure in the order of the list, whichever thread meets it when. */
static void keep_failure(struct reading *reading,
                         size_t i,
                         enum ce_status status,
                         const struct ce_error *err)
{
#pragma omp critical(ce_packed_failure)
    if (i < reading->failed) {
#pragma omp atomic write
        reading->failed = i;
        reading->status = status;
        reading->err = *err;
    }
}

static void run_piece(struct reading *reading, size_t i)
{
    struct ce_error err = {.text = ""};
    enum ce_status status = CE_OK;
    size_t failed = 0;

#pragma omp atomic read
    failed = reading->failed;
    if (i > failed) {
        return;
    }
    status = read_piece(reading, &reading->piece[i], &err);
    if (status != CE_OK) {
        keep_failure(reading, i, status, &err);
    }
    ce_progress_add(&reading->progress, piece_size(reading, &reading->piece[i]));
}

static enum ce_status list_pieces(struct reading *reading,
                                  const struct ce_packed_read *reads,
                                  size_t count,
                                  struct ce_error *err)
{
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        reading->pieces += reads[i].tensor->checksums;
        reading->progress.total += reads[i].tensor->bytes;
    }
    reading->failed = reading->pieces;
    reading->piece = malloc((reading->pieces + 1) * sizeof(reading->piece[0]));
    if (reading->piece == NULL) {
        return ce_fail(
            err, CE_ERR_NOMEM, "%s: no memory to read it", reading->file->path);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < reads[i].tensor->checksums; j++) {
            reading->piece[used++] = (struct piece){&reads[i], j};
        }
    }
    return CE_OK;
}

enum ce_status ce_packed_file_map(const struct ce_packed_file *file,
                                  struct ce_file_map *map,
                                  struct ce_error *err)
{
    enum ce_status status = ce_file_map_descriptor(map, file->fd, file->path, err);

    for (size_t i = 0; status == CE_OK && i < file->count; i++) {
        const struct ce_packed_tensor *tensor = &file->tensors[i];

        if (tensor->offset > map->bytes ||
            tensor->bytes > map->bytes - tensor->offset) {
            status = ce_fail(err,
                             CE_ERR_FORMAT,
                             "%s: tensor '%s' is not within the file: it was cut after "
                             "it was opened",
                             file->path,
                             tensor->name);
        }
    }
    return status;
}

enum ce_status ce_packed_file_read(const struct ce_packed_file *file,
                                   const struct ce_file_map *map,
                                   const struct ce_packed_read *reads,
                                   size_t count,
                                   struct ce_error *err)
{
    struct reading reading = {.file = file, .map = map, .progress = {.verb = "read"}};
    enum ce_status status = list_pieces(&reading, reads, count, err);

    if (status != CE_OK) {
        return status;
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < reading.pieces; i++) {
        run_piece(&reading, i);
    }
    free(reading.piece);
    return reading.status == CE_OK
               ? CE_OK
               : ce_fail(err, reading.status, "%s", reading.err.text);
}
