/* sampler.h - one token from one row of logits
 *
 * The random number is a pure function of (seed, request, position): the same
 * sample whatever rank or batch the request is in.
 */

#ifndef CE_ENGINE_SAMPLER_H
#define CE_ENGINE_SAMPLER_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct ce_sampling {
    double temperature; /* 0: greedy */
    size_t top_k;       /* 0: all */
    double top_p;       /* 1: all; else the smallest set with at least this mass */
    uint64_t seed;
};

/* Work space for `vocab` candidates. */
struct ce_sampler {
    struct ce_candidate *candidate;
    size_t capacity;
};

CE_MUST_CHECK enum ce_status
ce_sampler_create(struct ce_sampler *sampler, size_t vocab, struct ce_error *err);
void ce_sampler_destroy(struct ce_sampler *sampler); /* accepts a zeroed object */

/* The largest logit, the lowest id among equals; vocab >= 1. */
int32_t ce_sample_greedy(const float *logits, size_t vocab);

/* temperature, then top_k, then top_p, then one draw. Only the first `vocab`
 * logits are candidates. */
int32_t ce_sample(struct ce_sampler *sampler,
                  const struct ce_sampling *sampling,
                  const float *logits,
                  size_t vocab,
                  uint64_t request,
                  uint64_t position);

#endif
