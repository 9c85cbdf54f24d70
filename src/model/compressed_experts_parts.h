/* compressed_experts_parts.h - what the files of the reader share */

#ifndef CE_MODEL_COMPRESSED_EXPERTS_PARTS_H
#define CE_MODEL_COMPRESSED_EXPERTS_PARTS_H

#include "model/compressed_experts.h"

/* A file being read. */
struct ce_compressed_file {
    const struct ce_safetensors *file;
    const struct ce_config *config;
    unsigned char *used; /* [file->count] 1: belongs to the compressed experts */
};

/* A tensor that may be absent: then NULL. */
const struct ce_tensor *ce_compressed_find(struct ce_compressed_file *in,
                                           const char *name);

/* CE_ERR_FORMAT naming file and tensor. */
CE_MUST_CHECK enum ce_status ce_compressed_fail(const struct ce_compressed_file *in,
                                                const char *name,
                                                const char *what,
                                                struct ce_error *err);

/* The tensor is of F32, BF16 or F16 and has this shape. */
CE_MUST_CHECK enum ce_status ce_compressed_check(const struct ce_compressed_file *in,
                                                 const char *name,
                                                 const struct ce_tensor *tensor,
                                                 unsigned dims,
                                                 const size_t *shape,
                                                 struct ce_error *err);

/* Of a tensor. */
struct ce_compressed_name {
    char text[96];
};

/* Finds and checks all that the kind has, and takes its memory from experts->arena,
 * which may measure; copies nothing. */
CE_MUST_CHECK enum ce_status ce_affine_place(struct ce_compressed_experts *experts,
                                             struct ce_compressed_file *in,
                                             struct ce_error *err);
/* After it: the values. */
CE_MUST_CHECK enum ce_status ce_affine_fill(struct ce_compressed_experts *experts,
                                            struct ce_compressed_file *in,
                                            struct ce_error *err);

#endif
