/* walk.c - packing windows into steps, and running a layer over these */

#include "calibrate/walk.h"

#include "base/memory.h"

#include <stdlib.h>

static size_t pages_of(size_t tokens)
{
    return (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;
}

size_t
ce_walk_bytes(const struct ce_text_windows *windows, size_t hidden, int rank, int ranks)
{
    return ce_text_windows_tokens_of_rank(windows, rank, ranks) * hidden *
           sizeof(float);
}

/* A window takes at most a page more than its tokens, and has at least two of them. */
size_t ce_walk_cache_tokens(const struct ce_text_windows *windows, size_t step_tokens)
{
    const size_t fit = windows->count[CE_TEXT_FIT];
    const size_t heldout = windows->count[CE_TEXT_HELDOUT];
    const size_t at_once =
        ce_size_min(step_tokens / 2 + 1, fit > heldout ? fit : heldout);

    return step_tokens + at_once * CE_PAGE_TOKENS;
}

/* Which windows of a rank are in a step. */
struct step {
    size_t first; /* of the rank's windows of the set */
    size_t windows;
    size_t tokens;
};

static const struct ce_text_window *
window_of(const struct ce_walk *walk, enum ce_text_set set, int rank, size_t index)
{
    const size_t ranks = (size_t)walk->engine->transport->ranks;

    return &walk->windows->window[set][index * ranks + (size_t)rank];
}

/* As many windows from step->first on as a step takes; none after the last. */
static void
fill_step(const struct ce_walk *walk, enum ce_text_set set, int rank, struct step *step)
{
    const size_t count = ce_text_windows_of_rank(
        walk->windows, set, rank, walk->engine->transport->ranks);
    size_t pages = 0;

    step->windows = 0;
    step->tokens = 0;
    for (size_t i = step->first; i < count; i++) {
        const size_t tokens = window_of(walk, set, rank, i)->count;

        pages += pages_of(tokens);
        if (step->tokens + tokens > walk->engine->options.step_tokens ||
            pages > walk->engine->cache.pages) {
            break;
        }
        step->tokens += tokens;
        step->windows++;
    }
}

/* All ranks know all windows, so nobody has to be asked. */
static size_t count_steps(const struct ce_walk *walk, enum ce_text_set set)
{
    size_t most = 0;

    for (int rank = 0; rank < walk->engine->transport->ranks; rank++) {
        struct step step = {0};
        size_t steps = 0;

        for (fill_step(walk, set, rank, &step); step.windows > 0; steps++) {
            step.first += step.windows;
            fill_step(walk, set, rank, &step);
        }
        most = steps > most ? steps : most;
    }
    return most;
}

static enum ce_status take(struct ce_walk *walk, size_t at_once, struct ce_error *err)
{
    const struct ce_transport *transport = walk->engine->transport;

    walk->hidden_bytes = ce_walk_bytes(walk->windows,
                                       walk->engine->config.hidden_size,
                                       transport->rank,
                                       transport->ranks);
    walk->hidden = ce_memory_map(walk->hidden_bytes);
    walk->sequence = calloc(at_once, sizeof(walk->sequence[0]));
    walk->item = calloc(at_once, sizeof(walk->item[0]));
    if (walk->hidden == NULL || walk->sequence == NULL || walk->item == NULL) {
        return ce_fail(err,
                       CE_ERR_NOMEM,
                       "no memory for the residual stream of %zu bytes",
                       walk->hidden_bytes);
    }
    walk->items = at_once;
    for (size_t i = 0; i < at_once; i++) {
        enum ce_status status =
            ce_sequence_create(&walk->sequence[i], walk->engine, err);

        if (status != CE_OK) {
            return status;
        }
    }
    return CE_OK;
}

enum ce_status ce_walk_open(struct ce_walk *walk,
                            struct ce_engine *engine,
                            const struct ce_text_windows *windows,
                            struct ce_error *err)
{
    const size_t step_tokens = engine->options.step_tokens;

    *walk = (struct ce_walk){.engine = engine, .windows = windows};
    if (windows->longest > step_tokens ||
        pages_of(windows->longest) > engine->cache.pages) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "a window of %zu tokens does not fit into a step of %zu "
                       "(--step-tokens) or into the KV cache (--cache-tokens)",
                       windows->longest,
                       step_tokens);
    }
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        walk->steps[set] = count_steps(walk, (enum ce_text_set)set);
    }
    return take(walk, ce_size_min(step_tokens, engine->cache.pages), err);
}

void ce_walk_close(struct ce_walk *walk)
{
    for (size_t i = 0; i < walk->items; i++) {
        ce_sequence_destroy(walk->sequence[i]);
    }
    free(walk->sequence);
    free(walk->item);
    ce_memory_unmap(walk->hidden, walk->hidden_bytes);
    *walk = (struct ce_walk){0};
}

/* Where the set's rows begin: those to fit come first. */
static float *rows_of(const struct ce_walk *walk, enum ce_text_set set)
{
    const struct ce_transport *transport = walk->engine->transport;
    const struct ce_text_windows *windows = walk->windows;
    size_t tokens = 0;

    for (size_t i = 0; set == CE_TEXT_HELDOUT &&
                       i < ce_text_windows_of_rank(
                               windows, CE_TEXT_FIT, transport->rank, transport->ranks);
         i++) {
        tokens += window_of(walk, CE_TEXT_FIT, transport->rank, i)->count;
    }
    return walk->hidden + tokens * walk->engine->config.hidden_size;
}

static void
list_items(struct ce_walk *walk, enum ce_text_set set, const struct step *step)
{
    for (size_t i = 0; i < step->windows; i++) {
        const struct ce_text_window *window =
            window_of(walk, set, walk->engine->transport->rank, step->first + i);

        walk->item[i] = (struct ce_step_item){.sequence = walk->sequence[i],
                                              .tokens = window->ids,
                                              .count = window->count,
                                              .logits = CE_LOGITS_NONE};
    }
}

enum ce_status ce_walk_layer(struct ce_walk *walk,
                             size_t layer,
                             enum ce_text_set set,
                             bool advance,
                             struct ce_error *err)
{
    const int rank = walk->engine->transport->rank;
    float *rows = rows_of(walk, set);
    struct step step = {0};

    for (size_t i = 0; i < walk->steps[set]; i++) {
        enum ce_status status = CE_OK;

        fill_step(walk, set, rank, &step);
        list_items(walk, set, &step);
        status = ce_engine_step_layer(walk->engine,
                                      walk->item,
                                      step.windows,
                                      layer,
                                      rows,
                                      advance ? rows : NULL,
                                      err);
        if (status != CE_OK) {
            return status;
        }
        step.first += step.windows;
        rows += step.tokens * walk->engine->config.hidden_size;
        if (walk->on_step != NULL) {
            walk->on_step(walk->context);
        }
    }
    return CE_OK;
}
