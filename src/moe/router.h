/* router.h - which experts a token goes to, and with what weights */

#ifndef CE_MOE_ROUTER_H
#define CE_MOE_ROUTER_H

#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Selected experts of each token in the router's order: position 0 has the
 * largest probability; the first k - n_ce are main, the others auxiliary. */
struct ce_routing {
    size_t tokens;
    size_t top_k;
    uint16_t *expert; /* [tokens][top_k] */
    float *weight;    /* [tokens][top_k] */
};

/* Softmax over all experts, then the top_k largest, ties to the lower index;
 * with `normalize` the k weights are divided by their sum.
 * logits: [experts], overwritten with the probabilities.
 * Source: OLMoE (Muennighoff et al., arXiv 2409.02060) as in Hugging Face. */
void ce_router_select(const struct ce_kernels *kernels,
                      float *logits,
                      size_t experts,
                      size_t top_k,
                      bool normalize,
                      uint16_t *expert,
                      float *weight);

#endif
