/* scoring.h - log-likelihoods of a text, over all ranks
 *
 * The ids are cut into windows that do not overlap; each is run on its own from
 * position 0, and every token but a window's first is scored. A last window of
 * one token is dropped. Window w lives on rank w mod ranks.
 */

#ifndef CE_ENGINE_SCORING_H
#define CE_ENGINE_SCORING_H

#include "base/status.h"
#include "engine/engine.h"

#include <stddef.h>
#include <stdint.h>

struct ce_scoring {
    const int32_t *ids; /* the same on all ranks */
    size_t count;
    size_t window; /* 2 .. the model's context */
    /* Called on every rank, now and then: tokens scored so far by all. */
    void (*on_progress)(void *context, size_t scored);
    void *context;
};

/* logprob[i] is the natural logarithm of p(ids[i] | its window before it), NAN
 * where a token is not scored; [count], filled on rank 0 only (NULL is fine
 * elsewhere). Collective. */
CE_MUST_CHECK enum ce_status ce_score(struct ce_engine *engine,
                                      const struct ce_scoring *scoring,
                                      double *logprob,
                                      struct ce_error *err);

#endif
