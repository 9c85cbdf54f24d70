/* affine.h - compressed experts that are small maps: what they add to a token's result
 *
 * For each auxiliary expert j of a token, with the router's weight a_j:
 *
 *   z += a_j (U_j (V_j x) + down_j (silu(gate_j x) * (up_j x)) + b_j)
 *
 * Every rank has all of them and computes those of its own tokens, from x as it is:
 * nothing of it travels, and no wire rounds it. Pairs of token and auxiliary expert are
 * grouped by expert and worked on in tiles of bounded size: one product gives the
 * factors c = (1, V x, silu(gate x) * (up x)), another adds a sum_i c_i outputs_i
 * (model/compressed_experts.h). A thread has columns of z and takes the experts by
 * ascending id, so a token's sum has one order: its bits do not depend on ranks,
 * threads, batch or tile.
 */

#ifndef CE_MOE_AFFINE_H
#define CE_MOE_AFFINE_H

#include "base/arena.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "model/compressed_experts.h"
#include "moe/router.h"

#include <stddef.h>
#include <stdint.h>

/* The pairs of one expert within a tile. */
struct ce_affine_segment {
    const struct ce_affine_expert *expert;
    size_t id;
    size_t first; /* pair of the tile */
    size_t pairs;
};

struct ce_affine {
    const struct ce_kernels *kernels;
    size_t experts;
    size_t hidden;
    size_t
        auxiliary; /* the last experts of a token in the router's order; 0: nothing */
    size_t inputs; /* the largest r + 2 s of all experts */
    size_t max_tokens; /* of a step on this rank */

    /* Taken by ce_affine_take: */
    size_t tile;                       /* pairs worked on at once */
    size_t *begin;                     /* [experts + 1] pairs of each expert */
    uint32_t *token;                   /* [pairs] grouped by expert, ascending */
    float *weight;                     /* [pairs] */
    struct ce_affine_segment *segment; /* [experts] those of a tile */
    size_t segments;
    float *x;       /* [tile][hidden] */
    float *factors; /* [tile][1 + inputs] */
    float *z;       /* [max_tokens][hidden] */
    /* Called by the calling thread between pieces of work; NULL: nobody. */
    void (*progress)(void *context);
    void *progress_context;
};

/* The sizes in `affine` must be set; takes the arrays from the arena. */
void ce_affine_take(struct ce_affine *affine, struct ce_arena *arena);

/* z of the rank's tokens [routing->tokens][hidden], with the experts [experts] of a
 * layer. Errors: CE_ERR_NUMERIC naming the expert whose share is not finite. */
CE_MUST_CHECK enum ce_status ce_affine_run(struct ce_affine *affine,
                                           const struct ce_affine_expert *expert,
                                           size_t layer_index,
                                           const struct ce_routing *routing,
                                           const float *x,
                                           struct ce_error *err);

/* y += z, of so many tokens. */
void ce_affine_add(const struct ce_affine *affine, float *y, size_t tokens);

#endif
