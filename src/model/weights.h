/* weights.h - the tensors a rank owns, in its own memory, in their stored type
 *
 * Loading copies each owned tensor once from the mapped checkpoint into one
 * anonymous mapping (huge pages) and then needs the files no more: the dense
 * tensors and the compressed tables on every rank, of the full experts only the
 * rank's shard. Vectors (norms, biases, tables) are widened to F32, matrices
 * keep their 16 or 32 bits unless another format is asked for. A packed model has all
 * that as it will be in memory, and is read there or used in its mapped file. Not
 * collective.
 */

#ifndef CE_MODEL_WEIGHTS_H
#define CE_MODEL_WEIGHTS_H

#include "base/arena.h"
#include "base/status.h"
#include "base/tensor.h"
#include "kernels/quantised.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/packed_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One full expert; data is NULL where this rank does not own it. */
struct ce_expert_weights {
    struct ce_matrix gate; /* [f][d], or a slice of the f rows */
    struct ce_matrix up;   /* [f][d], likewise */
    struct ce_matrix down; /* [d][f], or a slice of the d rows */
};

struct ce_affine_expert; /* model/compressed_experts.h */
struct ce_identity;      /* model/identity.h */

struct ce_layer_weights {
    const float *attention_norm;                    /* [d] */
    const float *moe_norm;                          /* [d] */
    const float *q_norm;                            /* [heads * head_dim] */
    const float *k_norm;                            /* [kv_heads * head_dim] */
    struct ce_matrix q, k, v, o;                    /* or slices of their rows */
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* NULL without attention_bias */
    struct ce_matrix router;                        /* [E][d] */
    struct ce_expert_weights *experts;              /* [E], indexed by expert id */
    const float *compressed; /* [E][3][width] scaling vectors, NULL: all ones */
    size_t compressed_width; /* max(d, f) */
    const struct ce_affine_expert
        *affine; /* [E], NULL: none; see compressed_experts.h */
};

struct ce_weights {
    struct ce_arena arena;
    struct ce_file_map map;     /* of a packed model that is used in place */
    size_t mapped_bytes;        /* of tensors in it; all others are in the arena */
    struct ce_matrix embedding; /* [vocab][d] */
    struct ce_matrix output;    /* [vocab][d], lm_head or the embedding, or a slice */
    const float *norm;          /* [d] */
    struct ce_layer_weights *layers;
    struct ce_expert_weights *experts; /* [layers][E], what the layers point into */
    size_t dense_bytes;
    size_t expert_bytes;     /* resident bytes of owned full experts */
    size_t compressed_bytes; /* resident bytes of the compressed tables */
};

/* Types of matrices in memory. What is not stored so is rounded (BF16) or quantised
 * (q8, q4: kernels/quantised.h) when it is loaded. */
enum ce_weight_format {
    CE_WEIGHTS_STORED = 0,
    CE_WEIGHTS_BF16,
    CE_WEIGHTS_Q8,
    CE_WEIGHTS_Q4,
    CE_WEIGHT_FORMATS
};
const char *ce_weight_format_name(enum ce_weight_format format);
/* By name; NULL is stored. Errors: CE_ERR_ARG with `option` and the names. */
CE_MUST_CHECK enum ce_status ce_weight_format_by_name(enum ce_weight_format *format,
                                                      const char *name,
                                                      const char *option,
                                                      struct ce_error *err);
bool ce_weight_format_is_packed(enum ce_weight_format format);

/* Of the full experts, and of the dense matrices: attention's and the output layer's.
 * Router, embedding (also where it is the output layer) and all vectors stay exact. */
struct ce_weight_formats {
    enum ce_weight_format experts;
    enum ce_weight_format dense;
};

/* Ranks that share matrices: this one has part `rank` of `ranks` of the outputs of
 * every expert's matrices, of attention's and of the output matrix. Zeroed: the whole
 * of them. */
struct ce_weights_split {
    size_t rank;
    size_t ranks;
};
struct ce_slice {
    size_t first;
    size_t count;
};
/* Whole panels of 16 outputs, as equal as can be; none where ranks outnumber them. */
struct ce_slice ce_weights_slice(struct ce_weights_split split, size_t outputs);

/* Of one matrix in memory, stored or packed. */
size_t ce_weights_matrix_bytes(enum ce_dtype dtype, size_t outputs, size_t inputs);

/* What to load. `owned` has one byte per (layer, expert), [layers][E]. */
struct ce_weights_request {
    const struct ce_config *config;
    const struct ce_checkpoint *checkpoint;
    const struct ce_packed_file *packed; /* used instead, or NULL; of these formats */
    const unsigned char *owned;
    struct ce_weights_split split;
    struct ce_weight_formats formats;
    bool want_compressed; /* load the checkpoint's tables; missing ones are NULL */
    bool map;             /* use a packed model in its mapped file */
    /* Gets every tensor's hash of what is read while it is loaded; NULL: not wanted. */
    struct ce_identity *identity;
    const struct ce_kernels *kernels; /* for that; any set, the value is the same */
};

/* Checks names, shapes and dtypes of every tensor of the model, owned or not,
 * and refuses leftovers it does not know. `plan` gets the byte counts that
 * loading will have on this rank (arena.used and mapped_bytes) and no data; destroy
 * it like weights. */
CE_MUST_CHECK enum ce_status ce_weights_plan(struct ce_weights *plan,
                                             const struct ce_weights_request *request,
                                             struct ce_error *err);

/* Plans, takes the memory and copies or reads, with a line of progress every 4 GiB.
 * *missing_tables gets the number of layers without a table. On failure the
 * weights are still to be destroyed. */
CE_MUST_CHECK enum ce_status ce_weights_load(struct ce_weights *weights,
                                             const struct ce_weights_request *request,
                                             size_t *missing_tables,
                                             struct ce_error *err);

/* What a dummy model of this configuration will take; like ce_weights_plan. */
CE_MUST_CHECK enum ce_status ce_weights_plan_dummy(struct ce_weights *plan,
                                                   const struct ce_config *config,
                                                   const unsigned char *owned,
                                                   struct ce_weights_split split,
                                                   struct ce_weight_formats formats,
                                                   struct ce_error *err);

/* Random weights of the right shapes and of config's dtype, a pure function of
 * (seed, tensor, element): the same for any number of ranks. For benchmarks. */
CE_MUST_CHECK enum ce_status ce_weights_dummy(struct ce_weights *weights,
                                              const struct ce_config *config,
                                              const unsigned char *owned,
                                              struct ce_weights_split split,
                                              struct ce_weight_formats formats,
                                              uint64_t seed,
                                              struct ce_error *err);

void ce_weights_destroy(struct ce_weights *weights); /* accepts a zeroed object */

#endif
