/* affine.c - grouping pairs by expert; factors, then columns of sums, tile by tile */

#include "moe/affine.h"

#include "base/memory.h"

#include <omp.h>
#include <string.h>

enum {
    TILE = 512, /* pairs worked on at once: bounds the scratch, not the results */
    FACTOR_PANEL = 16,  /* factors of one task */
    COLUMN_STEP = 32,   /* columns that a kernel takes at once */
    COLUMN_PANEL = 128, /* of one task when there are many pairs: z stays in a cache */
    FEW_PAIRS = 32,     /* up to which a thread reads its columns in one run */
};

static size_t most_pairs(const struct ce_affine *affine)
{
    return affine->max_tokens * affine->auxiliary;
}

void ce_affine_take(struct ce_affine *affine, struct ce_arena *arena)
{
    const size_t pairs = most_pairs(affine);

    affine->tile = ce_size_min(pairs, TILE);
    affine->begin = ce_arena_take(arena, affine->experts + 1, sizeof(affine->begin[0]));
    affine->token = ce_arena_take(arena, pairs, sizeof(affine->token[0]));
    affine->weight = ce_arena_take(arena, pairs, sizeof(affine->weight[0]));
    affine->segment = ce_arena_take(arena, affine->experts, sizeof(affine->segment[0]));
    affine->x = ce_arena_take(arena, affine->tile * affine->hidden, sizeof(float));
    affine->factors =
        ce_arena_take(arena, affine->tile * (1 + affine->inputs), sizeof(float));
    affine->z =
        ce_arena_take(arena, affine->max_tokens * affine->hidden, sizeof(float));
}

/* ---- pairs by expert ---- */

static void group_pairs(struct ce_affine *affine, const struct ce_routing *routing)
{
    const size_t mains = routing->top_k - affine->auxiliary;
    size_t *begin = affine->begin;

    memset(begin, 0, (affine->experts + 1) * sizeof(begin[0]));
    for (size_t t = 0; t < routing->tokens; t++) {
        for (size_t p = mains; p < routing->top_k; p++) {
            begin[routing->expert[t * routing->top_k + p] + 1]++;
        }
    }
    for (size_t e = 0; e < affine->experts; e++) {
        begin[e + 1] += begin[e];
    }
    for (size_t t = 0; t < routing->tokens; t++) {
        for (size_t p = mains; p < routing->top_k; p++) {
            const size_t at = t * routing->top_k + p;
            const size_t pair = begin[routing->expert[at]]++;

            affine->token[pair] = (uint32_t)t;
            affine->weight[pair] = routing->weight[at];
        }
    }
    /* The begins were cursors: each now points to its expert's end. */
    memmove(begin + 1, begin, affine->experts * sizeof(begin[0]));
    begin[0] = 0;
}

/* Pairs first .. first + pairs - 1 of a step. */
struct tile {
    struct ce_affine *affine;
    const float *x; /* of all tokens */
    size_t first;
    size_t pairs;
    size_t tokens; /* of the step, whose z begins at 0 in the first tile */
    size_t inputs; /* the most of the experts here */
    bool has_neurons;
    size_t width; /* columns of one task of the second product */
};

static void find_segments(struct tile *tile, const struct ce_affine_expert *expert)
{
    struct ce_affine *affine = tile->affine;
    const size_t end = tile->first + tile->pairs;

    affine->segments = 0;
    for (size_t e = 0; e < affine->experts; e++) {
        const size_t from =
            affine->begin[e] > tile->first ? affine->begin[e] : tile->first;
        const size_t to = ce_size_min(affine->begin[e + 1], end);

        if (from >= to) {
            continue;
        }
        affine->segment[affine->segments++] =
            (struct ce_affine_segment){&expert[e], e, from - tile->first, to - from};
        tile->has_neurons = tile->has_neurons || expert[e].neurons > 0;
        if (expert[e].inputs.outputs > tile->inputs) {
            tile->inputs = expert[e].inputs.outputs;
        }
    }
}

static struct tile begin_tile(struct ce_affine *affine,
                              const struct ce_affine_expert *expert,
                              const struct ce_routing *routing,
                              const float *x,
                              size_t first)
{
    const size_t threads = (size_t)omp_get_max_threads();
    const size_t left = affine->begin[affine->experts] - first;
    struct tile tile = {.affine = affine,
                        .x = x,
                        .first = first,
                        .pairs = ce_size_min(left, affine->tile),
                        .tokens = routing->tokens,
                        .width = COLUMN_PANEL};

    find_segments(&tile, expert);
    if (tile.pairs <= FEW_PAIRS) {
        const size_t share = (affine->hidden + threads - 1) / threads;

        tile.width = (share + COLUMN_STEP - 1) / COLUMN_STEP * COLUMN_STEP;
    }
    return tile;
}

/* ---- inside the parallel region ---- */

static void look_after_others(const struct ce_affine *affine)
{
    if (affine->progress != NULL && omp_get_thread_num() == 0) {
        affine->progress(affine->progress_context);
    }
}

static void clear_sums(const struct tile *tile)
{
    const struct ce_affine *affine = tile->affine;

#pragma omp for schedule(static) nowait
    for (size_t t = 0; t < tile->tokens; t++) {
        memset(affine->z + t * affine->hidden, 0, affine->hidden * sizeof(float));
    }
}

static float *factors_of(const struct ce_affine *affine, size_t pair)
{
    return affine->factors + pair * (1 + affine->inputs);
}

static void gather_rows(const struct tile *tile)
{
    const struct ce_affine *affine = tile->affine;

#pragma omp for schedule(static)
    for (size_t i = 0; i < tile->pairs; i++) {
        const size_t token = affine->token[tile->first + i];

        memcpy(affine->x + i * affine->hidden,
               tile->x + token * affine->hidden,
               affine->hidden * sizeof(float));
        *factors_of(affine, i) = 1;
    }
}

/* Some of the products of one expert's inputs with its rows. */
static void multiply_panel(const struct tile *tile,
                           const struct ce_affine_segment *segment,
                           size_t first)
{
    const struct ce_affine *affine = tile->affine;
    const struct ce_matrix *inputs = &segment->expert->inputs;

    if (first >= inputs->outputs) {
        return; /* others have more */
    }
    affine->kernels->matmul(factors_of(affine, segment->first) + 1 + first,
                            1 + affine->inputs,
                            affine->x + segment->first * affine->hidden,
                            affine->hidden,
                            segment->pairs,
                            inputs,
                            first,
                            ce_size_min(FACTOR_PANEL, inputs->outputs - first));
}

static void multiply_inputs(const struct tile *tile)
{
    const struct ce_affine *affine = tile->affine;
    const size_t panels = (tile->inputs + FACTOR_PANEL - 1) / FACTOR_PANEL;

#pragma omp for schedule(dynamic)
    for (size_t task = 0; task < affine->segments * panels; task++) {
        multiply_panel(
            tile, &affine->segment[task / panels], task % panels * FACTOR_PANEL);
        look_after_others(affine);
    }
}

/* silu(gate x) * (up x) in the place of gate x. */
static void activate_neurons(const struct tile *tile)
{
    const struct ce_affine *affine = tile->affine;

#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < affine->segments; i++) {
        const struct ce_affine_segment *segment = &affine->segment[i];
        const size_t s = segment->expert->neurons;

        for (size_t k = 0; k < segment->pairs; k++) {
            float *gate =
                factors_of(affine, segment->first + k) + 1 + segment->expert->rank;

            affine->kernels->silu_multiply(gate, gate, gate + s, NULL, s);
        }
    }
}

/* One expert's share of the columns first .. first + count - 1; false when a sum is
 * not finite any more. */
static bool add_segment(const struct tile *tile,
                        const struct ce_affine_segment *segment,
                        size_t first,
                        size_t count)
{
    const struct ce_affine *affine = tile->affine;
    const size_t pair = tile->first + segment->first;
    const struct ce_combination combination = {.sums = segment->pairs,
                                               .row = affine->token + pair,
                                               .scale = affine->weight + pair,
                                               .factors =
                                                   factors_of(affine, segment->first),
                                               .ld = 1 + affine->inputs};
    bool finite = true;

    affine->kernels->add_combined(affine->z + first,
                                  affine->hidden,
                                  &combination,
                                  &segment->expert->outputs,
                                  first,
                                  count);
    for (size_t k = 0; k < segment->pairs; k++) {
        const float *z = affine->z + combination.row[k] * affine->hidden + first;

        finite = affine->kernels->all_finite(z, count) && finite;
    }
    return finite;
}

/* The lowest expert with a share that is not finite, or SIZE_MAX. */
static size_t add_outputs(const struct tile *tile)
{
    const struct ce_affine *affine = tile->affine;
    size_t bad = SIZE_MAX;

#pragma omp for schedule(static)
    for (size_t first = 0; first < affine->hidden; first += tile->width) {
        const size_t count = ce_size_min(tile->width, affine->hidden - first);

        for (size_t i = 0; i < affine->segments; i++) {
            const struct ce_affine_segment *segment = &affine->segment[i];

            if (!add_segment(tile, segment, first, count) && segment->id < bad) {
                bad = segment->id;
            }
            look_after_others(affine);
        }
    }
    return bad;
}

/* ---- the whole ---- */

static size_t run_tile(const struct tile *tile)
{
    size_t bad = SIZE_MAX;

#pragma omp parallel reduction(min : bad)
    {
        if (tile->first == 0) {
            clear_sums(tile);
        }
        gather_rows(tile);
        multiply_inputs(tile);
        if (tile->has_neurons) {
            activate_neurons(tile);
        }
        bad = add_outputs(tile);
    }
    return bad;
}

enum ce_status ce_affine_run(struct ce_affine *affine,
                             const struct ce_affine_expert *expert,
                             size_t layer_index,
                             const struct ce_routing *routing,
                             const float *x,
                             struct ce_error *err)
{
    const size_t pairs = routing->tokens * affine->auxiliary;
    size_t bad = SIZE_MAX;

    group_pairs(affine, routing);
    for (size_t first = 0; first < pairs && bad == SIZE_MAX; first += affine->tile) {
        const struct tile tile = begin_tile(affine, expert, routing, x, first);

        bad = run_tile(&tile);
    }
    if (bad == SIZE_MAX) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_NUMERIC,
                   "layer %zu, compressed experts: the result of expert %zu is not "
                   "finite; are the weights damaged?",
                   layer_index,
                   bad);
}

void ce_affine_add(const struct ce_affine *affine, float *y, size_t tokens)
{
    const size_t d = affine->hidden;

#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < tokens; t++) {
        affine->kernels->add_scaled(y + t * d, affine->z + t * d, 1.0F, d);
    }
}
