/* packed_file_parts.h - shared by the reader and the writer; private to
 * packed_file*.c */

#ifndef CE_MODEL_PACKED_FILE_PARTS_H
#define CE_MODEL_PACKED_FILE_PARTS_H

#include "base/status.h"
#include "model/packed_file.h"

#include <stddef.h>
#include <stdint.h>

#define CE_PACKED_MAGIC       "cemoepk\n"
#define CE_PACKED_MAGIC_BYTES 8
#define CE_PACKED_FRONT_BYTES (CE_PACKED_MAGIC_BYTES + 16)
#define CE_PACKED_FORMAT      1

/* Of tensors, so that a page of the file has bytes of one tensor only and the file
 * may be mapped or read around the page cache. */
#define CE_PACKED_ALIGN UINT64_C(4096)

/* A terabyte of weights in small tensors has a header of about 20 MB. */
#define CE_PACKED_MOST_HEADER ((size_t)64 << 20)

/* The first place for a tensor at or after `end`. */
static inline uint64_t ce_packed_align(uint64_t end)
{
    return (end + CE_PACKED_ALIGN - 1) & ~(CE_PACKED_ALIGN - 1);
}

static inline size_t ce_packed_pieces(size_t bytes, size_t piece_bytes)
{
    return bytes / piece_bytes + (bytes % piece_bytes != 0);
}

/* Name, dtype, and that the bytes hold the shape. */
CE_MUST_CHECK enum ce_status ce_packed_tensor_check(
    const struct ce_packed_tensor *tensor, const char *path, struct ce_error *err);

/* Validates the `bytes` of a header that stands at `place`: afterwards all of
 * `file` is valid but the fd, which is -1. `path` is for messages. */
CE_MUST_CHECK enum ce_status ce_packed_file_parse(struct ce_packed_file *file,
                                                  const void *header,
                                                  size_t bytes,
                                                  uint64_t place,
                                                  const char *path,
                                                  const struct ce_kernels *kernels,
                                                  struct ce_error *err);

/* Fills `data` from the file; CE_ERR_IO, also when the file ends too early. */
CE_MUST_CHECK enum ce_status ce_packed_read_at(
    int fd, uint64_t offset, void *data, size_t bytes, struct ce_error *err);

#endif
