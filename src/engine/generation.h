/* generation.h - a list of prompts to their continuations, over all ranks
 *
 * Request i lives on rank i mod ranks. Each step a rank puts one token of every
 * running request and chunks of waiting prompts into one ragged batch; a request
 * is admitted when the cache has room for all it may become. After each step the
 * ranks tell each other the new tokens, so that rank 0 can stream them and every
 * rank knows when all are done.
 */

#ifndef CE_ENGINE_GENERATION_H
#define CE_ENGINE_GENERATION_H

#include "base/status.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_generation_request {
    const int32_t *prompt; /* needed on the rank that owns it only */
    size_t prompt_tokens;
    size_t max_tokens;
};

struct ce_generation {
    const struct ce_generation_request
        *requests; /* [count], the same count on all ranks */
    size_t count;
    struct ce_sampling sampling;
    size_t vocab;     /* ids a sample may take: those the tokenizer knows */
    bool ignore_stop; /* go on after stop tokens */
    size_t chunk;     /* most prompt tokens of one request in a step; 0: any */
    /* Called on every rank, in the same order, for each new token; required. */
    void (*on_token)(void *context, size_t request, int32_t id, enum ce_finish finish);
    void *context;
};

/* Tokens of the KV cache a request takes at most, in whole pages. */
size_t ce_generation_cache_tokens(const struct ce_generation_request *request,
                                  size_t max_positions);

/* CE_ERR_ARG for a prompt that is empty or leaves no room in the context. */
CE_MUST_CHECK enum ce_status
ce_generation_check_prompt(const struct ce_generation_request *request,
                           size_t index,
                           size_t max_positions,
                           struct ce_error *err);

/* Runs all requests to their end. Collective. Errors: a prompt that is empty or
 * longer than the context, a request larger than the cache, those of a step. */
CE_MUST_CHECK enum ce_status ce_generate(struct ce_engine *engine,
                                         const struct ce_generation *generation,
                                         struct ce_error *err);

#endif
