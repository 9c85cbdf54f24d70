/* walk.h - all windows through one layer, then through the next
 *
 *   hidden [tokens of this rank][d]   the residual stream before the layer at hand
 *     | window | window | ...  a step takes some through the layer, and puts them back
 *
 * So each layer's inputs are there as often as they are wanted, and a token passes
 * through each layer once for it. Steps are of one set: what a rank gets from others in
 * a step belongs to the set, too.
 */

#ifndef CE_CALIBRATE_WALK_H
#define CE_CALIBRATE_WALK_H

#include "calibrate/text_windows.h"
#include "engine/engine.h"

#include <stdbool.h>
#include <stddef.h>

struct ce_walk {
    struct ce_engine *engine;
    const struct ce_text_windows *windows;
    size_t steps[CE_TEXT_SETS]; /* of all ranks */
    size_t hidden_bytes;
    float *hidden;
    struct ce_sequence **sequence; /* [step_tokens / 2] as many as a step can have */
    struct ce_step_item *item;
    size_t items;
    /* Called on every rank after each step; NULL: nobody. */
    void (*on_step)(void *context);
    void *context;
};

/* Bytes of `hidden` for a rank. */
size_t ce_walk_bytes(const struct ce_text_windows *windows,
                     size_t hidden,
                     int rank,
                     int ranks);
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
