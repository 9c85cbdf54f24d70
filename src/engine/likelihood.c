/* likelihood.c - the softmax of one id */

#include "engine/likelihood.h"

#include <math.h>

double ce_log_probability(const struct ce_kernels *kernels,
                          float *logits,
                          size_t vocab,
                          int32_t id)
{
    float largest = logits[0];
    float wanted = logits[id];
    float most_likely = 0.0F;
    size_t at = 0;

    for (size_t i = 1; i < vocab; i++) {
        if (logits[i] > largest) {
            largest = logits[i];
            at = i;
        }
    }
    kernels->softmax(logits, vocab);
    most_likely = logits[at]; /* exp(0) / sum */
    return (double)wanted - (double)largest + log((double)most_likely);
}
