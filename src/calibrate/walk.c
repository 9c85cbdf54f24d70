/* walk.c - dealing windows to steps and ranks, and running a layer over them */

#include "calibrate/walk.h"

#include "base/memory.h"

#include <stdlib.h>

static size_t pages_of(size_t tokens)
{
    return (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;
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

/* ---- who has which windows ---- */

/* Neighbouring windows of a set: what one rank takes of one step. */
struct share {
    size_t first;
    size_t windows;
    size_t tokens;
};

/* As many windows from `first` on as fit; none after the last. */
static struct share cut_share(const struct ce_text_windows *windows,
                              enum ce_text_set set,
                              const struct ce_walk_limits *limits,
                              size_t first)
{
    struct share share = {.first = first};
    size_t pages = 0;

    for (size_t i = first; i < windows->count[set]; i++) {
        const size_t tokens = windows->window[set][i].count;

        pages += pages_of(tokens);
        if (share.tokens + tokens > limits->step_tokens ||
            pages > pages_of(limits->cache_tokens)) {
            break;
        }
        share.tokens += tokens;
        share.windows++;
    }
    return share;
}

/* The share of `rank` in the step that begins with window *next, which is moved to the
 * beginning of the one after it. */
static struct share deal_step(const struct ce_text_windows *windows,
                              enum ce_text_set set,
                              const struct ce_walk_limits *limits,
                              int rank,
                              size_t *next)
{
    struct share mine = {.first = *next};

    for (int r = 0; r < limits->ranks; r++) {
        const struct share share = cut_share(windows, set, limits, *next);

        *next += share.windows;
        if (r == rank) {
            mine = share;
        }
    }
    return mine;
}

/* Goes through the steps of a set: the tokens of `rank`, and *steps. */
static size_t count_tokens(const struct ce_text_windows *windows,
                           enum ce_text_set set,
                           const struct ce_walk_limits *limits,
                           int rank,
                           size_t *steps)
{
    size_t tokens = 0;
    size_t next = 0;

    for (*steps = 0; next < windows->count[set]; (*steps)++) {
        const size_t before = next;

        tokens += deal_step(windows, set, limits, rank, &next).tokens;
        if (next == before) {
            break; /* a window that is too long; ce_walk_open refuses it */
        }
    }
    return tokens;
}

size_t ce_walk_tokens_of_set(const struct ce_text_windows *windows,
                             enum ce_text_set set,
                             const struct ce_walk_limits *limits,
                             int rank)
{
    size_t steps = 0;

    return count_tokens(windows, set, limits, rank, &steps);
}

size_t ce_walk_tokens(const struct ce_text_windows *windows,
                      const struct ce_walk_limits *limits,
                      int rank)
{
    return ce_walk_tokens_of_set(windows, CE_TEXT_FIT, limits, rank) +
           ce_walk_tokens_of_set(windows, CE_TEXT_HELDOUT, limits, rank);
}

/* ---- memory ---- */

static enum ce_status take(struct ce_walk *walk, struct ce_error *err)
{
    const struct ce_transport *transport = walk->engine->transport;
    const size_t at_once =
        ce_size_min(walk->limits.step_tokens, pages_of(walk->limits.cache_tokens));

    walk->hidden_bytes = ce_walk_tokens(walk->windows, &walk->limits, transport->rank) *
                         walk->engine->config.hidden_size * sizeof(float);
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
    *walk = (struct ce_walk){
        .engine = engine,
        .windows = windows,
        .limits = {.step_tokens = engine->options.step_tokens,
                   .cache_tokens = engine->cache.pages * CE_PAGE_TOKENS,
                   .ranks = engine->transport->ranks}};
    if (windows->longest > walk->limits.step_tokens ||
        windows->longest > walk->limits.cache_tokens) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "a window of %zu tokens does not fit into a step of %zu "
                       "(--step-tokens) or into the KV cache of %zu (--cache-tokens)",
                       windows->longest,
                       walk->limits.step_tokens,
                       walk->limits.cache_tokens);
    }
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        (void)count_tokens(
            windows, (enum ce_text_set)set, &walk->limits, 0, &walk->steps[set]);
    }
    return take(walk, err);
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

/* ---- the walk ---- */

/* Where the set's rows begin: those to fit come first. */
static float *rows_of(const struct ce_walk *walk, enum ce_text_set set)
{
    const int rank = walk->engine->transport->rank;
    size_t before = 0;

    if (set == CE_TEXT_HELDOUT) {
        before = ce_walk_tokens_of_set(walk->windows, CE_TEXT_FIT, &walk->limits, rank);
    }
    return walk->hidden + before * walk->engine->config.hidden_size;
}

static void
list_items(struct ce_walk *walk, enum ce_text_set set, const struct share *share)
{
    walk->first = share->first;
    walk->count = share->windows;
    for (size_t i = 0; i < share->windows; i++) {
        const struct ce_text_window *window =
            &walk->windows->window[set][share->first + i];

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
    size_t next = 0;

    for (size_t i = 0; i < walk->steps[set]; i++) {
        const struct share share =
            deal_step(walk->windows, set, &walk->limits, rank, &next);
        enum ce_status status = CE_OK;

        list_items(walk, set, &share);
        status = ce_engine_step_layer(walk->engine,
                                      walk->item,
                                      share.windows,
                                      layer,
                                      rows,
                                      advance ? rows : NULL,
                                      err);
        if (status != CE_OK) {
            return status;
        }
        rows += share.tokens * walk->engine->config.hidden_size;
        if (walk->on_step != NULL) {
            walk->on_step(walk->context);
        }
    }
    return CE_OK;
}
