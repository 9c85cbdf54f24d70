/* packed_file.c - opening a packed model, finding a tensor in it */

#include "model/packed_file.h"

#include "model/packed_file_parts.h"
#include "packed.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t read_u64_little_endian(const unsigned char *bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static enum ce_status
read_size(int fd, uint64_t *size, const char *path, struct ce_error *err)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    *size = (uint64_t)info.st_size;
    return CE_OK;
}

/* Where the header is; it ends where the file ends. */
static enum ce_status read_front(int fd,
                                 uint64_t size,
                                 uint64_t *place,
                                 uint64_t *bytes,
                                 const char *path,
                                 struct ce_error *err)
{
    unsigned char front[CE_PACKED_FRONT_BYTES] = {0};
    size_t there = size < sizeof(front) ? (size_t)size : sizeof(front);
    enum ce_status status = ce_packed_read_at(fd, 0, front, there, err);

    if (status != CE_OK) {
        ce_error_prefix(err, "%s", path);
        return status;
    }
    if (there < sizeof(front) ||
        memcmp(front, CE_PACKED_MAGIC, CE_PACKED_MAGIC_BYTES) != 0) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: not a packed model: cemoe pack writes them", path);
    }
    *place = read_u64_little_endian(front + CE_PACKED_MAGIC_BYTES);
    *bytes = read_u64_little_endian(front + CE_PACKED_MAGIC_BYTES + 8);
    if (*bytes > size || *place != size - *bytes) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: has %llu bytes, but a header of %llu should end it at "
                       "%llu: cut short or damaged",
                       path,
                       (unsigned long long)size,
                       (unsigned long long)*bytes,
                       (unsigned long long)*place);
    }
    if (*bytes > CE_PACKED_MOST_HEADER) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: has a header of %llu bytes, more than are read",
                       path,
                       (unsigned long long)*bytes);
    }
    return CE_OK;
}

static enum ce_status read_header(struct ce_packed_file *file,
                                  int fd,
                                  uint64_t place,
                                  size_t bytes,
                                  const char *path,
                                  const struct ce_kernels *kernels,
                                  struct ce_error *err)
{
    unsigned char *header = malloc(bytes + 1);
    enum ce_status status = CE_OK;

    if (header == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its header", path);
    }
    status = ce_packed_read_at(fd, place, header, bytes, err);
    if (status == CE_OK) {
        status = ce_packed_file_parse(file, header, bytes, place, path, kernels, err);
    } else {
        ce_error_prefix(err, "%s: header", path);
    }
    free(header);
    return status;
}

static enum ce_status open_descriptor(struct ce_packed_file *file,
                                      int fd,
                                      const char *path,
                                      const struct ce_kernels *kernels,
                                      struct ce_error *err)
{
    uint64_t size = 0;
    uint64_t place = 0;
    uint64_t bytes = 0;
    struct ce_file_stamp stamp = {0};
    enum ce_status status = read_size(fd, &size, path, err);

    if (status == CE_OK) {
        status = ce_file_stamp_descriptor(&stamp, fd, path, err);
    }
    if (status == CE_OK) {
        status = read_front(fd, size, &place, &bytes, path, err);
    }
    if (status == CE_OK) {
        status = read_header(file, fd, place, (size_t)bytes, path, kernels, err);
    }
    file->stamp = stamp;
    return status;
}

enum ce_status ce_packed_file_open(struct ce_packed_file *file,
                                   const char *path,
                                   const struct ce_kernels *kernels,
                                   struct ce_error *err)
{
    int fd = -1;
    enum ce_status status = ce_file_open(&fd, path, O_RDONLY, err);

    *file = (struct ce_packed_file){.fd = -1};
    if (status != CE_OK) {
        return status;
    }
    status = open_descriptor(file, fd, path, kernels, err);
    if (status == CE_OK) {
        file->fd = fd;
    } else {
        (void)close(fd);
    }
    return status;
}

void ce_packed_file_close(struct ce_packed_file *file)
{
    if (file->path != NULL && file->fd >= 0) {
        (void)close(file->fd);
    }
    cemoe__packed_header__free_unpacked(file->message, NULL);
    free(file->tensors);
    free(file->path);
    *file = (struct ce_packed_file){.fd = -1};
}

static int compare_name_with_tensor(const void *name, const void *tensor)
{
    return strcmp(name, ((const struct ce_packed_tensor *)tensor)->name);
}

const struct ce_packed_tensor *ce_packed_file_find(const struct ce_packed_file *file,
                                                   const char *name)
{
    if (file->count == 0) {
        return NULL;
    }
    return bsearch(name,
                   file->tensors,
                   file->count,
                   sizeof(file->tensors[0]),
                   compare_name_with_tensor);
}

static bool is_alike(const struct ce_packed_tensor *a, const struct ce_packed_tensor *b)
{
    return strcmp(a->dtype, b->dtype) == 0 && a->dims == b->dims &&
           memcmp(a->shape, b->shape, a->dims * sizeof(a->shape[0])) == 0 &&
           a->bytes == b->bytes;
}

/* "q8 [64, 2048]" */
static const char *
describe(const struct ce_packed_tensor *tensor, char *text, size_t size)
{
    struct ce_tensor view = {.dims = tensor->dims};
    char shape[128];

    memcpy(view.shape, tensor->shape, sizeof(view.shape));
    (void)snprintf(text,
                   size,
                   "%s %s",
                   tensor->dtype,
                   ce_tensor_shape_text(&view, shape, sizeof(shape)));
    return text;
}

enum ce_status ce_packed_file_require(const struct ce_packed_file *file,
                                      const struct ce_packed_tensor *wanted,
                                      const struct ce_packed_tensor **found,
                                      struct ce_error *err)
{
    char here[144];
    char there[144];

    *found = ce_packed_file_find(file, wanted->name);
    if (*found == NULL) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: tensor '%s' is missing", file->path, wanted->name);
    }
    if (is_alike(*found, wanted)) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: tensor '%s' is %s in %zu bytes, expected %s in %zu",
                   file->path,
                   wanted->name,
                   describe(*found, there, sizeof(there)),
                   (*found)->bytes,
                   describe(wanted, here, sizeof(here)),
                   wanted->bytes);
}
