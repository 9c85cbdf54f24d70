/* safetensors.h - one safetensors file, mapped read-only and fully validated
 *
 * Format: u64 little-endian N, N bytes of JSON header, data. Everything the
 * reference reader checks is checked here before the first view is given out:
 * header length, JSON, duplicate keys, dtypes, shapes without overflow, offsets
 * that tile the data exactly (no hole, no overlap), exact file size.
 * Source: the safetensors format description and its reference implementation.
 */

#ifndef CE_MODEL_SAFETENSORS_H
#define CE_MODEL_SAFETENSORS_H

#include "base/file.h"
#include "base/status.h"
#include "base/tensor.h"
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_safetensors_entry {
    char *name;
    struct ce_tensor tensor; /* data points into the mapping */
};

struct ce_safetensors {
    char *path;
    struct ce_file_map map;
    size_t count;
    struct ce_safetensors_entry *entries; /* sorted by name */
    size_t metadata_count;
    struct {
        char *key;
        char *value;
    } * metadata;
};

CE_MUST_CHECK enum ce_status ce_safetensors_open(struct ce_safetensors *file,
                                                 const char *path,
                                                 struct ce_error *err);
void ce_safetensors_close(struct ce_safetensors *file); /* accepts a zeroed object */

/* Validates `bytes` of memory as a file image; borrows it. For tests and fuzzing. */
CE_MUST_CHECK enum ce_status ce_safetensors_parse(struct ce_safetensors *file,
                                                  const void *image,
                                                  size_t bytes,
                                                  const char *path,
                                                  struct ce_error *err);

/* NULL when there is no such tensor. */
const struct ce_tensor *ce_safetensors_find(const struct ce_safetensors *file,
                                            const char *name);
/* Of names, types and shapes. */
uint64_t ce_safetensors_hash(const struct ce_safetensors *file);
/* XXH3 of all bytes of the file; 0 of one that is not open. */
uint64_t ce_safetensors_checksum(const struct ce_safetensors *file,
                                 const struct ce_kernels *kernels);
/* NULL when there is no such key. */
const char *ce_safetensors_metadata(const struct ce_safetensors *file, const char *key);

/* Writes named tensors as one file, atomically; data starts at a multiple of 8.
 * Names must be unique. The metadata say what PyTorch's do: {"format": "pt"}. */
CE_MUST_CHECK enum ce_status
ce_safetensors_write(const char *path,
                     const struct ce_safetensors_entry *entries,
                     size_t count,
                     struct ce_error *err);

/* The same with these metadata and no others; keys must be unique too. */
struct ce_safetensors_text {
    const char *key;
    const char *value;
};
CE_MUST_CHECK enum ce_status
ce_safetensors_write_with(const char *path,
                          const struct ce_safetensors_entry *entries,
                          size_t count,
                          const struct ce_safetensors_text *metadata,
                          size_t metadata_count,
                          struct ce_error *err);

#endif
