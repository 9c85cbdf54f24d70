/* scaled_block.c - the experts of a block in pieces, and their transpose */

#include "calibrate/scaled_block.h"

#include "base/random.h"
#include "moe/flow.h"

#include <math.h>
#include <string.h>

/* Columns of h that are one task: a tile of the kernel that multiplies. */
#define PANEL 32

#define SIGNS_A_DRAW 128

void ce_scaled_block_init(struct ce_scaled_block *block,
                          const struct ce_moe *full,
                          size_t compressed)
{
    *block = (struct ce_scaled_block){.moe = {.kernels = full->kernels,
                                              .transport = full->transport,
                                              .placement = full->placement,
                                              .hidden = full->hidden,
                                              .intermediate = full->intermediate,
                                              .experts = full->experts,
                                              .top_k = full->top_k,
                                              .mains = full->top_k - compressed,
                                              .auxiliary = compressed,
                                              .norm_topk_prob = full->norm_topk_prob,
                                              .wire = full->wire,
                                              .max_tokens = full->max_tokens,
                                              .combine = full->combine,
                                              .overlap = CE_OVERLAP_OFF,
                                              .split = CE_EXPERT_SPLIT_NONE}};
}

bool ce_scaled_block_take(struct ce_scaled_block *block, struct ce_arena *arena)
{
    struct ce_moe *moe = &block->moe;

    ce_moe_take(moe, arena);
    block->kept =
        ce_arena_take(arena, moe->work.capacity, moe->intermediate * sizeof(float));
    block->factors = ce_arena_take(arena, moe->work.tile, sizeof(float));
    block->row = ce_arena_take(arena, moe->work.tile, sizeof(uint32_t));
    block->transposed =
        ce_arena_take(arena, moe->experts, moe->intermediate * sizeof(struct ce_exact));
    for (size_t i = 0; block->row != NULL && i < moe->work.tile; i++) {
        block->row[i] = (uint32_t)i;
    }
    return block->kept != NULL && block->factors != NULL && block->row != NULL &&
           block->transposed != NULL;
}

/* ---- theta2 ---- */

/* a'_j is the weight of auxiliary expert j times `scale` plus `shift`, as in
 * ce_compressed_theta: uniform where the weights sum to 0. */
struct shares {
    float scale;
    float shift;
};

static struct shares find_shares(const struct ce_pair *auxiliary, size_t count)
{
    float sum = 0.0F;

    for (size_t j = 0; j < count; j++) {
        sum += auxiliary[j].weight;
    }
    return sum > 0.0F ? (struct shares){1.0F / sum, 0.0F}
                      : (struct shares){0.0F, 1.0F / (float)count};
}

static float share_of(const struct shares *shares, const struct ce_pair *pair)
{
    return pair->weight * shares->scale + shares->shift;
}

static void scale_by_table(const struct ce_scaled_block *block,
                           const struct ce_pair *pair,
                           float *h)
{
    const size_t f = block->moe.intermediate;
    const struct shares shares = find_shares(pair, block->moe.auxiliary);

    for (size_t q = 0; q < f; q++) {
        float theta = 0.0F;

        for (size_t j = 0; j < block->moe.auxiliary; j++) {
            theta += share_of(&shares, &pair[j]) * block->table[pair[j].expert * f + q];
        }
        h[q] *= theta;
    }
}

/* The token's auxiliary experts travel with each of its rows, so all its main experts
 * draw the same signs. */
static void scale_by_signs(const struct ce_scaled_block *block,
                           const struct ce_pair *pair,
                           float *h)
{
    const size_t count = block->moe.auxiliary;
    const uint64_t key = block->moe.kernels->checksum(pair, count * sizeof(*pair));
    const struct shares shares = find_shares(pair, count);
    struct ce_philox draw = {{0}};
    float square = 0.0F;

    for (size_t j = 0; j < count; j++) {
        square += share_of(&shares, &pair[j]) * share_of(&shares, &pair[j]);
    }
    for (size_t q = 0; q < block->moe.intermediate; q++) {
        const size_t bit = q % SIGNS_A_DRAW;

        if (bit == 0) {
            draw = ce_philox4x32(key, q / SIGNS_A_DRAW, 0);
        }
        h[q] *=
            (draw.word[bit / 32] >> bit % 32 & 1) != 0 ? sqrtf(square) : -sqrtf(square);
    }
}

/* ---- the block ---- */

/* Keeps h of the tile, whose first assignment is number `first`, and scales it. */
static void scale_hidden(const struct ce_scaled_block *block,
                         const struct ce_tile *tile,
                         size_t first)
{
    const size_t f = block->moe.intermediate;

#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < tile->rows; i++) {
        const struct ce_pair *auxiliary = tile->assignment[i].auxiliary;
        float *h = tile->experts->gate + i * f;

        memcpy(block->kept + (first + i) * f, h, f * sizeof(*h));
        if (block->theta == CE_SCALED_TABLE) {
            scale_by_table(block, auxiliary, h);
        } else if (block->theta == CE_SCALED_SIGNS) {
            scale_by_signs(block, auxiliary, h);
        }
    }
}

static enum ce_status run_experts(void *context,
                                  struct ce_experts *experts,
                                  const struct ce_layer_weights *layer,
                                  size_t layer_index,
                                  struct ce_error *err)
{
    struct ce_scaled_block *block = context;
    size_t bad = SIZE_MAX;

    for (size_t first = 0; first < experts->count && bad == SIZE_MAX;
         first += experts->tile) {
        const struct ce_tile tile = ce_experts_tile(experts, layer, first, 0);

        (void)ce_experts_scale(&tile, layer);
        bad = ce_experts_gate_up(&tile);
        scale_hidden(block, &tile, first);
        if (bad == SIZE_MAX) {
            bad = ce_experts_down(&tile);
        }
    }
    block->kept_rows = experts->count;
    return bad == SIZE_MAX ? CE_OK : ce_experts_fail(layer_index, bad, err);
}

enum ce_status ce_scaled_block_run(struct ce_scaled_block *block,
                                   const struct ce_scaled_step *at,
                                   enum ce_status status,
                                   const float *x,
                                   float *y,
                                   struct ce_error *err)
{
    block->kept_rows = 0;
    block->moe.work.substitute =
        (struct ce_expert_substitute){.run = run_experts, .context = block};
    return ce_moe_run(&block->moe,
                      at->layer,
                      at->layer_index,
                      at->step,
                      status,
                      x,
                      y,
                      at->tokens,
                      err);
}

/* ---- its transpose ---- */

/* Columns of a_i D_i^T q of the tile's rows, to where h was. */
static void multiply_columns(const struct ce_scaled_block *block,
                             const struct ce_tile *tile,
                             size_t column,
                             size_t width)
{
    const struct ce_experts *experts = tile->experts;
    const size_t f = experts->intermediate;

    for (size_t i = 0; i < tile->rows; i++) {
        memset(experts->gate + i * f + column, 0, width * sizeof(float));
    }
    for (size_t s = 0; s < tile->segments; s++) {
        const struct ce_segment *segment = &tile->segment[s];
        const struct ce_combination sums = {.sums = segment->rows,
                                            .row = block->row,
                                            .scale = block->factors + segment->first,
                                            .factors = experts->gate_input +
                                                       segment->first * experts->hidden,
                                            .ld = experts->hidden};

        experts->kernels->add_combined(experts->gate + segment->first * f + column,
                                       f,
                                       &sums,
                                       &segment->weights->down,
                                       column,
                                       width);
    }
}

/* The same columns of A^T q. False when a value is too large for a sum. */
static bool add_columns(const struct ce_scaled_block *block,
                        const struct ce_tile *tile,
                        size_t first,
                        size_t column,
                        size_t width)
{
    const size_t f = block->moe.intermediate;
    const size_t count = block->moe.auxiliary;
    bool fits = true;

    for (size_t i = 0; i < tile->rows; i++) {
        const struct ce_pair *pair = tile->assignment[i].auxiliary;
        const struct shares shares = find_shares(pair, count);
        const float *g = tile->experts->gate + i * f + column;
        const float *h = block->kept + (first + i) * f + column;

        for (size_t j = 0; j < count; j++) {
            const double share = share_of(&shares, &pair[j]);
            struct ce_exact *to = block->transposed + pair[j].expert * f + column;

            for (size_t q = 0; q < width; q++) {
                const double value = share * ((double)g[q] * (double)h[q]);

                fits = ce_exact_add(&to[q], value) && fits;
            }
        }
    }
    return fits;
}

static bool transpose_tile(const struct ce_scaled_block *block,
                           const struct ce_tile *tile,
                           size_t first)
{
    const size_t f = block->moe.intermediate;
    bool fits = true;

    for (size_t i = 0; i < tile->rows; i++) {
        block->factors[i] = tile->assignment[i].weight;
        memset(tile->assignment[i].out, 0, tile->experts->results_wire.row_bytes);
    }
#pragma omp parallel for schedule(dynamic) reduction(&& : fits)
    for (size_t column = 0; column < f; column += PANEL) {
        const size_t width = f - column < PANEL ? f - column : PANEL;

        multiply_columns(block, tile, column, width);
        fits = add_columns(block, tile, first, column, width) && fits;
    }
    return fits;
}

static enum ce_status transpose_experts(void *context,
                                        struct ce_experts *experts,
                                        const struct ce_layer_weights *layer,
                                        size_t layer_index,
                                        struct ce_error *err)
{
    struct ce_scaled_block *block = context;
    bool fits = true;

    if (experts->count != block->kept_rows) {
        return ce_fail(err,
                       CE_ERR_COMM,
                       "layer %zu, experts: %zu rows of a transposed product, not %zu",
                       layer_index,
                       experts->count,
                       block->kept_rows);
    }
    for (size_t first = 0; first < experts->count; first += experts->tile) {
        const struct ce_tile tile = ce_experts_tile(experts, layer, first, 0);

        (void)ce_experts_scale(&tile, layer);
        fits = transpose_tile(block, &tile, first) && fits;
    }
    return fits ? CE_OK
                : ce_fail(
                      err,
                      CE_ERR_NUMERIC,
                      "layer %zu, experts: a product of activations is not finite, or "
                      "over %g; are the weights damaged?",
                      layer_index,
                      CE_EXACT_LIMIT);
}

enum ce_status ce_scaled_block_transpose(struct ce_scaled_block *block,
                                         const struct ce_scaled_step *at,
                                         enum ce_status status,
                                         const float *q,
                                         float *ignored,
                                         struct ce_error *err)
{
    const struct ce_message_key key = {
        at->step, (uint16_t)at->layer_index, CE_PHASE_DISPATCH};

    block->moe.told = false;
    block->moe.work.substitute =
        (struct ce_expert_substitute){.run = transpose_experts, .context = block};
    return ce_flow_run(&block->moe, at->layer, key, status, q, ignored, err);
}
