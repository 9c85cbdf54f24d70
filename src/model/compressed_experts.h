/* compressed_experts.h - the compressed experts of a model, out of a file of their own
 *
 * Two kinds, each with something for every expert of every layer:
 *
 *   scaling   vectors that scale the inputs of a token's main experts
 *             (arXiv 2503.00634; moe/compressed.h): model.layers.N.mlp.ces
 *   affine    for each auxiliary expert j of a token, with the router's weight a_j,
 *             y += a_j (U_j (V_j x) + down_j (silu(gate_j x) * (up_j x)) + b_j)
 *             (moe/affine.h). Of model.layers.N.mlp.affine.E.
 *               b              [d]                      always
 *               u, v           [d, r], [r, d]           where r > 0
 *               gate, up, down [s, d], [s, d], [d, s]   where s > 0
 *
 * r and s may differ from expert to expert. The file is a safetensors file with one
 * kind only; its metadata may say `kind`, `n_ce` and the `model` it was made for. All
 * of it is checked before it is used. Not collective.
 */

#ifndef CE_MODEL_COMPRESSED_EXPERTS_H
#define CE_MODEL_COMPRESSED_EXPERTS_H

#include "base/arena.h"
#include "base/status.h"
#include "base/tensor.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "model/weights.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the metadata say in `format` and `version`, in files of this program. */
#define CE_COMPRESSED_FORMAT  "cemoe.compressed_experts"
#define CE_COMPRESSED_VERSION "2"
/* Also read. What its files say of the model is of routers and norms alone. */
#define CE_COMPRESSED_VERSION_ROUTERS "1"

enum ce_compressed_kind {
    CE_COMPRESSED_NONE = 0,
    CE_COMPRESSED_SCALING,
    CE_COMPRESSED_AFFINE,
    CE_COMPRESSED_KINDS
};
const char *ce_compressed_kind_name(enum ce_compressed_kind kind); /* "affine" */

/* One expert of the affine kind, BF16: y += a * sum_i c_i * outputs_i with
 * c = (1, V x, silu(gate x) * (up x)). */
struct ce_affine_expert {
    size_t rank;              /* r */
    size_t neurons;           /* s */
    struct ce_matrix inputs;  /* [r + 2 s][d]: V, gate, up */
    struct ce_matrix outputs; /* [1 + r + s] rows of d: b, U^T, down^T */
};

struct ce_compressed_experts {
    enum ce_compressed_kind kind;
    struct ce_arena arena;
    size_t layers;
    size_t experts;
    size_t bytes;                    /* resident */
    size_t parameters;               /* values in the file */
    size_t missing_tables;           /* scaling: layers without one */
    size_t most_inputs;              /* affine: the largest r + 2 s */
    size_t most_outputs;             /* affine: the largest 1 + r + s */
    size_t n_ce;                     /* the metadata's, 0: it does not say */
    bool has_model;                  /* the metadata say which it was made for */
    bool model_by_routers;           /* by routers and norms alone: nothing to go by */
    uint64_t model;                  /* its identity (ce_identity_sum) */
    uint64_t hash;                   /* of all names, types, shapes and values */
    const float **table;             /* scaling: [layers], NULL where there is none */
    struct ce_affine_expert *affine; /* affine: [layers][experts] */
    bool attached;
    const float **replaced; /* [layers] attached: what the layers had before */
};

/* Checks names, shapes, types and metadata of the whole file and that all tensors
 * belong to it; `plan` gets the counts that loading will have (arena.used) and no data;
 * destroy it like the loaded one. Errors: CE_ERR_FORMAT naming file and field. */
CE_MUST_CHECK enum ce_status
ce_compressed_experts_plan(struct ce_compressed_experts *plan,
                           const struct ce_safetensors *file,
                           const struct ce_config *config,
                           struct ce_error *err);

/* Plans, takes the memory and copies; the file is not needed afterwards. Errors: also
 * for a value that is not finite. On failure still to be destroyed. */
CE_MUST_CHECK enum ce_status
ce_compressed_experts_load(struct ce_compressed_experts *experts,
                           const struct ce_safetensors *file,
                           const struct ce_config *config,
                           struct ce_error *err);

/* CE_ERR_FORMAT with both for a file that was made for another model than the one whose
 * weights have this identity, or that says it by routers alone; a file that says
 * nothing is accepted. */
CE_MUST_CHECK enum ce_status
ce_compressed_experts_check_model(const struct ce_compressed_experts *experts,
                                  uint64_t identity,
                                  const char *path,
                                  struct ce_error *err);

/* Makes the layers of `weights` use these instead of their own tables, until detached;
 * detaching what is not attached does nothing. */
void ce_compressed_experts_attach(struct ce_compressed_experts *experts,
                                  struct ce_weights *weights);
void ce_compressed_experts_detach(struct ce_compressed_experts *experts,
                                  struct ce_weights *weights);

void ce_compressed_experts_destroy(
    struct ce_compressed_experts *experts); /* accepts a zeroed object */

#endif
