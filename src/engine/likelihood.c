/* likelihood.c - the softmax of one id */

#include "engine/likelihood.h"

#include "engine/sampler.h"

#include <math.h>

double ce_log_probability(const struct ce_kernels *kernels,
                          float *logits,
                          size_t vocab,
                          int32_t id)
{
    return ce_log_probability_beside(
        kernels, logits, vocab, id, ce_sample_greedy(logits, vocab));
}

double ce_log_probability_beside(const struct ce_kernels *kernels,
                                 float *logits,
                                 size_t vocab,
                                 int32_t id,
                                 int32_t most_likely)
{
    const float largest = logits[most_likely];
    const float wanted = logits[id];

    kernels->softmax(logits, vocab);
    /* Its logit less itself is 0: what it has is exp(0) / sum. */
    return (double)wanted - (double)largest + log((double)logits[most_likely]);
}
