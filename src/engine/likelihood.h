/* likelihood.h - how likely a token is, from one row of logits */

#ifndef CE_ENGINE_LIKELIHOOD_H
#define CE_ENGINE_LIKELIHOOD_H

#include "kernels/kernels.h"

#include <stddef.h>
#include <stdint.h>

/* log p(id) under softmax(logits); the row is overwritten. Softmax in F32 by the
 * kernel set, the rest in double, so the bits are those of the set. */
double ce_log_probability(const struct ce_kernels *kernels,
                          float *logits,
                          size_t vocab,
                          int32_t id);
/* The same where the id of the largest logit is known: ce_sample_greedy of the row. */
double ce_log_probability_beside(const struct ce_kernels *kernels,
                                 float *logits,
                                 size_t vocab,
                                 int32_t id,
                                 int32_t most_likely);

#endif
