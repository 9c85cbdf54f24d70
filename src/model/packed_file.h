/* packed_file.h - the tensors of a model in one file, as the kernels read them
 *
 *   | front |  tensor  | 0 | tensor |  0  | tensor ... | 0 | header |
 *   0     4096       each at a multiple of 4096          place      end
 *
 * The file is the same for any number of ranks: a rank finds its tensors by name
 * and reads only those. What the bytes of a tensor mean is its dtype's business.
 * Nothing in a file is trusted: opening checks everything but the data, reading
 * checks every piece of the data that it reads. proto/packed.proto has the format.
 * Of the kernels only the checksum is used, whose value no set changes.
 */

#ifndef CE_MODEL_PACKED_FILE_H
#define CE_MODEL_PACKED_FILE_H

#include "base/file.h"
#include "base/status.h"
#include "base/tensor.h"
#include "kernels/kernels.h"

#include <stddef.h>
#include <stdint.h>

#define CE_PACKED_FORMAT_NAME 32

/* What a file was packed from and to: a job compares it with what it wants. */
struct ce_packed_source {
    uint64_t config_hash;
    uint64_t tensors_hash;
    uint64_t content_hash; /* of all weights as stored (identity.h); 0: unknown */
    char expert_format[CE_PACKED_FORMAT_NAME]; /* as the command line says it */
    char dense_format[CE_PACKED_FORMAT_NAME];
};

struct ce_packed_tensor {
    const char *name;
    const char *dtype; /* "F32", "BF16", "F16", "q8", "q4" */
    unsigned dims;
    size_t shape[CE_TENSOR_MAX_DIMS];
    size_t bytes; /* at least what dtype and shape need: packed formats pad */

    /* Found out by the writer. */
    uint64_t offset;
    const uint64_t *checksum; /* one a piece */
    size_t checksums;
};

/* ---- writing: open, add all tensors, commit; close in any case */

struct ce_packed_writer {
    const struct ce_kernels *kernels;
    struct ce_file_writer file;
    struct ce_packed_source source;
    struct ce_packed_tensor *tensors; /* in the order of the file */
    size_t count;
    size_t capacity;
    uint64_t end; /* of the last tensor */
};

/* The file appears under its name with the commit, whole, in place of an older one;
 * without a commit nothing is left of it. */
CE_MUST_CHECK enum ce_status
ce_packed_writer_open(struct ce_packed_writer *writer,
                      const char *path,
                      const struct ce_packed_source *source,
                      const struct ce_kernels *kernels,
                      struct ce_error *err);
/* Writes tensor->bytes of `data` at once and keeps only the description. */
CE_MUST_CHECK enum ce_status ce_packed_writer_add(struct ce_packed_writer *writer,
                                                  const struct ce_packed_tensor *tensor,
                                                  const void *data,
                                                  struct ce_error *err);
/* Once the source has been read: what only then is known of it. */
void ce_packed_writer_set_content(struct ce_packed_writer *writer,
                                  uint64_t content_hash);
CE_MUST_CHECK enum ce_status ce_packed_writer_commit(struct ce_packed_writer *writer,
                                                     struct ce_error *err);
void ce_packed_writer_close(struct ce_packed_writer *writer); /* accepts a zeroed one */

/* ---- reading */

struct ce_packed_file {
    const struct ce_kernels *kernels;
    char *path; /* NULL when closed */
    int fd;
    struct ce_file_stamp stamp; /* of the file when it was opened */
    struct ce_packed_source source;
    uint64_t hash; /* of the header, so of everything: it has every checksum */
    size_t piece_bytes;
    size_t count;
    struct ce_packed_tensor *tensors; /* sorted by name */
    void *message;                    /* what names and checksums are in */
};

CE_MUST_CHECK enum ce_status ce_packed_file_open(struct ce_packed_file *file,
                                                 const char *path,
                                                 const struct ce_kernels *kernels,
                                                 struct ce_error *err);
void ce_packed_file_close(struct ce_packed_file *file); /* accepts a zeroed object */

/* NULL when there is no such tensor. */
const struct ce_packed_tensor *ce_packed_file_find(const struct ce_packed_file *file,
                                                   const char *name);
/* The tensor of this name, which must have this dtype, shape and number of bytes. */
CE_MUST_CHECK enum ce_status
ce_packed_file_require(const struct ce_packed_file *file,
                       const struct ce_packed_tensor *wanted,
                       const struct ce_packed_tensor **found,
                       struct ce_error *err);

/* One tensor to read: tensor->bytes to `to`, any alignment. */
struct ce_packed_read {
    const struct ce_packed_tensor *tensor;
    void *to; /* NULL: the tensor stays where `map` has it, and is only checked */
};

/* Maps the file, with every tensor that the header tells of. To be closed by the
 * caller, before or after the file is. */
CE_MUST_CHECK enum ce_status ce_packed_file_map(const struct ce_packed_file *file,
                                                struct ce_file_map *map,
                                                struct ce_error *err);

/* Reads tensors of this file, all threads at once, with a line of progress every
 * 4 GiB. A failure names the first piece that cannot be read or does not have its
 * checksum; what is in memory then is not to be used. `map` may be NULL where all are
 * read to somewhere. */
CE_MUST_CHECK enum ce_status ce_packed_file_read(const struct ce_packed_file *file,
                                                 const struct ce_file_map *map,
                                                 const struct ce_packed_read *reads,
                                                 size_t count,
                                                 struct ce_error *err);

#endif
