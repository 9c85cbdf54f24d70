/* router.c - softmax, then top-k */

#include "moe/router.h"

static size_t largest(const float *probability, size_t experts)
{
    size_t best = 0;

    for (size_t e = 1; e < experts; e++) {
        if (probability[e] > probability[best]) {
            best = e;
        }
    }
    return best;
}

static void normalize_sum(float *weight, size_t count)
{
    float sum = 0.0F;

    for (size_t i = 0; i < count; i++) {
        sum += weight[i];
    }
    for (size_t i = 0; i < count; i++) {
        weight[i] /= sum;
    }
}

void ce_router_select(const struct ce_kernels *kernels,
                      float *logits,
                      size_t experts,
                      size_t top_k,
                      bool normalize,
                      uint16_t *expert,
                      float *weight)
{
    kernels->softmax(logits, experts);
    for (size_t i = 0; i < top_k; i++) {
        size_t best = largest(logits, experts);

        expert[i] = (uint16_t)best;
        weight[i] = logits[best];
        logits[best] = -1.0F; /* below every probability: taken */
    }
    if (normalize) {
        normalize_sum(weight, top_k);
    }
}
