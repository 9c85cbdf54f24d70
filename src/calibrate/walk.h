/* walk.h - all windows through one layer, then through the next
 *
 *   windows of a set   | 0 1 | 2 3 | 4 5 | 6 7 | 8 9 | ...
 *   on two ranks         r0    r1    r0    r1    r0
 *                      '-- step 0 -' '-- step 1 -' '- ...
 *
 *   hidden [tokens of this rank][d]   the residual stream before the layer at hand
 *
 * A step takes some windows through the layer and puts their rows back, so each layer's
 * inputs are there as often as they are wanted. Steps are of one set: what a rank gets
 * from others in a step belongs to the set, too. Whatever the number of ranks, rows of
 * windows come in the order of these, step by step and in a step rank by rank.
 */

#ifndef CE_CALIBRATE_WALK_H
#define CE_CALIBRATE_WALK_H

#include "calibrate/text_windows.h"
#include "engine/engine.h"

#include <stdbool.h>
#include <stddef.h>

/* What one rank takes of a step. */
struct ce_walk_limits {
    size_t step_tokens;
    size_t cache_tokens;
    int ranks;
};

struct ce_walk {
    struct ce_engine *engine;
    const struct ce_text_windows *windows;
    struct ce_walk_limits limits;
    size_t steps[CE_TEXT_SETS]; /* of all ranks */
    size_t hidden_bytes;
    float *hidden;
    struct ce_sequence **sequence; /* [items] */
    struct ce_step_item *item;     /* [items] */
    size_t items;                  /* the most of a step */
    size_t first; /* window of the set that is the first of this rank's in the step */
    size_t count; /* of them */
    /* Called on every rank after each step; NULL: nobody. */
    void (*on_step)(void *context);
    void *context;
};

/* Tokens of both sets on a rank. */
size_t ce_walk_tokens(const struct ce_text_windows *windows,
                      const struct ce_walk_limits *limits,
                      int rank);
size_t ce_walk_tokens_of_set(const struct ce_text_windows *windows,
                             enum ce_text_set set,
                             const struct ce_walk_limits *limits,
                             int rank);
/* Tokens of KV cache with which a step can be as full as it may. */
size_t ce_walk_cache_tokens(const struct ce_text_windows *windows, size_t step_tokens);

/* The engine's step_tokens are at least windows->longest. Errors are this rank's own.
 * ce_walk_close frees, also after a failure. */
CE_MUST_CHECK enum ce_status ce_walk_open(struct ce_walk *walk,
                                          struct ce_engine *engine,
                                          const struct ce_text_windows *windows,
                                          struct ce_error *err);
void ce_walk_close(struct ce_walk *walk); /* accepts a zeroed object */

/* Runs the layer over all windows of a set. `advance`: afterwards `hidden` is what
 * comes after the layer; else it is as before. Collective. */
CE_MUST_CHECK enum ce_status ce_walk_layer(struct ce_walk *walk,
                                           size_t layer,
                                           enum ce_text_set set,
                                           bool advance,
                                           struct ce_error *err);

#endif
