/* identity.h - what tells one model from another: hashes of all bytes of its tensors
 *
 * A tensor is cut into chunks of 64 KiB. Each is hashed (XXH3) by whoever reads its
 * first byte, with its place mixed in, and the hash of the tensor is their sum. So
 * ranks that read a tensor in parts, at any cut, only add what they have, and nothing
 * is read twice but the rest of a chunk at a cut. Tensors are those of the walk
 * (tensor_walk.h), under their own names whatever files and fused tensors hold them.
 *
 * Against accidents (stale copies, damaged or half-written files), not against
 * somebody who looks for two models of the same hash. No function is collective.
 */

#ifndef CE_MODEL_IDENTITY_H
#define CE_MODEL_IDENTITY_H

#include "base/status.h"
#include "kernels/kernels.h"
#include "model/tensor_walk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CE_IDENTITY_CHUNK ((size_t)64 << 10)

/* The sum over the chunks that begin at `begin` or later and before `end`, of a tensor
 * of `bytes` bytes at `data`; up to a chunk is read beyond `end`. */
uint64_t ce_identity_chunks(const struct ce_kernels *kernels,
                            const void *data,
                            size_t bytes,
                            size_t begin,
                            size_t end);
/* How much of a tensor was read here. */
enum ce_identity_cover {
    CE_IDENTITY_NONE = 0,
    CE_IDENTITY_PART, /* other ranks have the rest */
    CE_IDENTITY_WHOLE
};

/* As ranks send it to each other. */
struct ce_identity_mark {
    uint64_t kind;    /* of name, type and shape */
    uint64_t content; /* sum of the chunks that were read */
    uint64_t cover;   /* enum ce_identity_cover */
};

/* All tensors of a model in the order of the walk. Zeroed: none. */
struct ce_identity {
    size_t count;
    size_t capacity;
    struct ce_identity_mark *mark;   /* [count] */
    struct ce_identity_name *tensor; /* [count] */
};
struct ce_identity_name {
    char name[sizeof(((struct ce_tensor_slot *)0)->name)];
    bool is_table; /* compressed experts, which are read only where they are used */
};

/* Adds the tensor of `slot` as it is stored, with nothing read yet. `dtype` is its name
 * in the file. */
CE_MUST_CHECK enum ce_status ce_identity_add(struct ce_identity *identity,
                                             const struct ce_tensor_slot *slot,
                                             const char *dtype,
                                             struct ce_error *err);
/* The content of the tensor that was added last, by the checksums of a packed model,
 * which whoever reads its bytes compares them with. */
void ce_identity_take_packed(struct ce_identity *identity,
                             const struct ce_packed_tensor *tensor);
void ce_identity_free(struct ce_identity *identity); /* accepts a zeroed one */

/* Two ranks that have not the same tensor. */
struct ce_identity_difference {
    size_t tensor; /* index; of lists of other lengths, the shorter length */
    int rank;      /* the later one */
    int other;
    bool kind; /* another name, type or shape, or none there; else other values */
};

/* Finds the first one, and of what several ranks read in whole, any. all[r] are the
 * marks of rank r, count[r] of them. False: there is none. */
bool ce_identity_find_difference(const struct ce_identity_mark *const *all,
                                 const size_t *count,
                                 int ranks,
                                 struct ce_identity_difference *difference);

/* Makes every content that of the whole tensor: what one rank read in whole, or the sum
 * of what several read in parts. The ranks do not differ. Errors: CE_ERR_MISMATCH for a
 * tensor that nobody read. */
CE_MUST_CHECK enum ce_status
ce_identity_combine(struct ce_identity *identity,
                    const struct ce_identity_mark *const *all,
                    int ranks,
                    struct ce_error *err);

/* One number for all tensors but tables, or for the tables alone, after `start`. */
uint64_t
ce_identity_sum(const struct ce_identity *identity, bool tables, uint64_t start);

#endif
