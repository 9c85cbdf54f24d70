/* scheduler.h - a list of requests through one loop of ragged steps, over all ranks
 *
 *   requests ─► handed out, group by group ─► queue of a rank ─► running ─► step ─┐
 *      ▲ every rank computes the same handout from the same reports               │
 *      └──── one exchange: results and free room of each rank ◄───────────────────┘
 *
 * A step of a rank is one token of every running generation, then chunks of prompts as
 * room allows. A request is admitted when the cache has room for all it may become, so
 * it never runs out half-way. What requests have in common at their beginning is
 * computed once (kv_cache.h), which saves work and changes no bit: results depend on
 * nothing but the request, its key and its sampling.
 */

#ifndef CE_ENGINE_SCHEDULER_H
#define CE_ENGINE_SCHEDULER_H

#include "base/status.h"
#include "engine/engine.h"
#include "engine/sampler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ce_finish {
    CE_FINISH_NONE = 0, /* still running */
    CE_FINISH_STOP,     /* a stop token, which is the last id, or the caller's stop */
    CE_FINISH_LENGTH,   /* max_new_tokens or the context */
    CE_FINISH_SCORED,   /* all of `scored` have been */
};

/* "stop", "length", "scored"; never NULL. */
const char *ce_finish_name(enum ce_finish finish);

/* Token ids are known on all ranks. Exactly one of scored and max_new_tokens is not 0.
 */
struct ce_schedule_request {
    const int32_t *tokens; /* the prompt, or all tokens of which some are scored */
    size_t count;
    /* The last `scored` tokens, fewer than count, get a log-probability; the very last
     * is not fed to the model. */
    size_t scored;
    size_t max_new_tokens; /* fewer where the context ends */
    uint64_t key;          /* names the request in the sampler's random numbers */
    uint32_t group; /* neighbours of one group share a beginning and run on one rank */
    const struct ce_sampling *sampling; /* NULL: greedy; may be shared by requests */
};

struct ce_new_token {
    int32_t id;
    int32_t
        most_likely; /* scored: the id with the largest logit, the lowest of equals */
    double logprob;  /* scored: natural logarithm of p(id | what is before it) */
};

enum ce_pace {
    CE_PACE_GO_ON = 0,
    CE_PACE_DRAIN, /* begin nothing more, finish what runs; cannot be taken back */
    CE_PACE_QUIT,  /* leave now; what runs is lost */
};

/* After a step, of all ranks; the same on each. */
struct ce_schedule_state {
    size_t done;      /* requests that have finished */
    size_t running;   /* requests that are under way */
    size_t tokens;    /* fed to the model in this step */
    size_t room;      /* for tokens in a step */
    size_t pages;     /* of the cache that requests use */
    size_t all_pages; /* of the cache */
};

/* Of all ranks; the same on each. */
struct ce_schedule_summary {
    size_t done;
    size_t steps;
    uint64_t tokens;   /* fed to the model */
    uint64_t room;     /* for tokens in those steps; tokens / room is the occupancy */
    uint64_t reused;   /* tokens that were found in the cache instead */
    enum ce_pace pace; /* why it ended: GO_ON at the end of the list */
};

struct ce_schedule {
    const struct ce_schedule_request *requests; /* [count], the same on all ranks */
    size_t count;
    size_t most_sequences; /* of a rank at once; 0: as many as a step has room for */
    size_t chunk;          /* most prompt tokens of one request in a step; 0: any */
    size_t vocab;     /* ids a sample may take: those the tokenizer knows; 0: all */
    bool ignore_stop; /* go on after stop tokens */
    bool unshared;    /* compute every beginning anew; for tests and comparisons */
    /* All may be NULL. Called on every rank, in the same order, with new results of a
     * step: tokens that were generated, or scored in the order of the request. */
    void (*on_tokens)(void *context,
                      size_t request,
                      const struct ce_new_token *tokens,
                      size_t count,
                      enum ce_finish finish);
    /* Called on the rank that runs the request, with all ids it has generated: true
     * ends it after the newest of them. */
    bool (*stop)(void *context, size_t request, const int32_t *ids, size_t count);
    /* Called on every rank before the first step and after each, just before its
     * results are told; the strictest answer holds for all from the next step on. */
    enum ce_pace (*pace)(void *context);
    /* Called on every rank after each step. */
    void (*on_step)(void *context, const struct ce_schedule_state *state);
    void *context;
};

/* Runs all requests to their end, or as long as pace says. Collective. Errors:
 * CE_ERR_ARG for a request that makes no sense or is longer than the context,
 * CE_ERR_NOMEM for one that is larger than the cache, each by its index, before
 * anything runs; those of a step. `summary` may be NULL. */
CE_MUST_CHECK enum ce_status ce_schedule_run(struct ce_engine *engine,
                                             const struct ce_schedule *schedule,
                                             struct ce_schedule_summary *summary,
                                             struct ce_error *err);

#endif
