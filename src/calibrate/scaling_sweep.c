/* scaling_sweep.c - step by step over the tokens, and what ranks share afterwards */

#include "calibrate/scaling_sweep.h"

#include "base/memory.h"
#include "comm/collective.h"

#include <string.h>

/* ---- tokens and memory ---- */

void ce_scaling_sweep_count(struct ce_scaling_sweep *sweep,
                            const struct ce_text_windows *windows,
                            const struct ce_walk_limits *limits,
                            int rank)
{
    sweep->most_tokens = limits->step_tokens;
    for (int s = 0; s < CE_TEXT_SETS; s++) {
        const enum ce_text_set set = (enum ce_text_set)s;
        size_t most = 0;

        sweep->tokens[set] = ce_walk_tokens_of_set(windows, set, limits, rank);
        for (int r = 0; r < limits->ranks; r++) {
            const size_t tokens = ce_walk_tokens_of_set(windows, set, limits, r);

            most = tokens > most ? tokens : most;
        }
        sweep->steps[set] = (most + limits->step_tokens - 1) / limits->step_tokens;
    }
}

bool ce_scaling_sweep_take(struct ce_scaling_sweep *sweep, struct ce_arena *arena)
{
    const size_t row = sweep->block.moe.hidden * sizeof(float);
    const size_t tokens = sweep->tokens[CE_TEXT_FIT] + sweep->tokens[CE_TEXT_HELDOUT];

    sweep->values = sweep->block.moe.experts * sweep->block.moe.intermediate;
    sweep->inputs = ce_arena_take(arena, tokens, row);
    sweep->table = ce_arena_take(arena, sweep->values, sizeof(float));
    sweep->sum = ce_arena_take(arena, sweep->values, sizeof(double));
    sweep->full = ce_arena_take(arena, sweep->most_tokens, row);
    sweep->scaled = ce_arena_take(arena, sweep->most_tokens, row);
    sweep->ignored = ce_arena_take(arena, sweep->most_tokens, row);
    return ce_scaled_block_take(&sweep->block, arena) && sweep->inputs != NULL &&
           sweep->table != NULL && sweep->sum != NULL && sweep->full != NULL &&
           sweep->scaled != NULL && sweep->ignored != NULL;
}

void ce_scaling_sweep_begin(struct ce_scaling_sweep *sweep, size_t layer)
{
    sweep->layer = layer;
    sweep->block.table = sweep->table;
}

/* ---- a step ---- */

/* The tokens of a step and what is done with them. */
struct step {
    struct ce_scaling_sweep *sweep;
    const float *x;
    size_t tokens;
    struct ce_error *err;
};

/* True when the ranks have left the step together. */
static bool is_over(const struct step *step, enum ce_status status)
{
    return status != CE_OK && step->sweep->told;
}

/* Squares are added in these units: sums of them are larger than others. */
#define SQUARE_UNIT 0x1p16

/* Adds |row|^2 of all tokens; a failure of this rank so far is returned. */
static enum ce_status add_squares(const struct step *step,
                                  enum ce_status status,
                                  const float *rows,
                                  struct ce_exact *sum)
{
    const size_t d = step->sweep->block.moe.hidden;

    for (size_t t = 0; status == CE_OK && t < step->tokens; t++) {
        double square = 0.0;

        for (size_t i = 0; i < d; i++) {
            square += (double)rows[t * d + i] * (double)rows[t * d + i];
        }
        if (!ce_exact_add(sum, square / SQUARE_UNIT)) {
            status = ce_fail(step->err,
                             CE_ERR_NUMERIC,
                             "layer %zu: the square of a token's output is %g",
                             step->sweep->layer,
                             square);
        }
    }
    return status;
}

/* Overwrites the scaled rows by the full ones minus them, and adds their squares. */
static enum ce_status
subtract(const struct step *step, enum ce_status status, struct ce_exact *sum)
{
    const size_t count = step->tokens * step->sweep->block.moe.hidden;
    const float *full = step->sweep->full;
    float *scaled = step->sweep->scaled;

    for (size_t i = 0; i < count; i++) {
        scaled[i] = full[i] - scaled[i];
    }
    return add_squares(step, status, scaled, sum);
}

/* Each run is an exchange of its own. */
static struct ce_scaled_step next_exchange(const struct step *step)
{
    struct ce_scaling_sweep *sweep = step->sweep;
    struct ce_engine *engine = sweep->engine;

    engine->step++;
    engine->transport->activity.step = engine->step;
    return (struct ce_scaled_step){.layer = &engine->weights.layers[sweep->layer],
                                   .layer_index = sweep->layer,
                                   .step = engine->step,
                                   .tokens = step->tokens};
}

static enum ce_status run_full(const struct step *step, enum ce_status status)
{
    const struct ce_scaled_step at = next_exchange(step);
    struct ce_moe *moe = &step->sweep->engine->moe;

    status = ce_moe_run(moe,
                        at.layer,
                        at.layer_index,
                        at.step,
                        status,
                        step->x,
                        step->sweep->full,
                        at.tokens,
                        step->err);
    step->sweep->told = moe->told;
    return status;
}

static enum ce_status
run_scaled(const struct step *step, enum ce_scaled_theta theta, enum ce_status status)
{
    const struct ce_scaled_step at = next_exchange(step);
    struct ce_scaled_block *block = &step->sweep->block;

    block->theta = theta;
    status = ce_scaled_block_run(
        block, &at, status, step->x, step->sweep->scaled, step->err);
    step->sweep->told = block->moe.told;
    return status;
}

static enum ce_status
run_transpose(const struct step *step, const float *q, enum ce_status status)
{
    const struct ce_scaled_step at = next_exchange(step);
    struct ce_scaled_block *block = &step->sweep->block;

    status = ce_scaled_block_transpose(
        block, &at, status, q, step->sweep->ignored, step->err);
    step->sweep->told = block->moe.told;
    return status;
}

static enum ce_status step_right(const struct step *step)
{
    struct ce_scaling_sweep *sweep = step->sweep;
    enum ce_status status = run_full(step, CE_OK);

    if (!is_over(step, status)) {
        status = add_squares(step, status, sweep->full, &sweep->full_square);
        status = run_scaled(step, CE_SCALED_SIGNS, status);
    }
    if (!is_over(step, status)) {
        status = add_squares(step, status, sweep->scaled, &sweep->trace);
        status = run_scaled(step, CE_SCALED_ONES, status);
    }
    if (!is_over(step, status)) {
        status = subtract(step, status, &sweep->truncated_square);
        status = run_transpose(step, sweep->scaled, status);
    }
    return status;
}

static enum ce_status step_product(const struct step *step)
{
    enum ce_status status = run_scaled(step, CE_SCALED_TABLE, CE_OK);

    return is_over(step, status) ? status
                                 : run_transpose(step, step->sweep->scaled, status);
}

static enum ce_status step_errors(const struct step *step)
{
    struct ce_scaling_sweep *sweep = step->sweep;
    enum ce_status status = run_full(step, CE_OK);

    if (!is_over(step, status)) {
        status = add_squares(step, status, sweep->full, &sweep->full_square);
        status = run_scaled(step, CE_SCALED_ONES, status);
    }
    if (!is_over(step, status)) {
        status = subtract(step, status, &sweep->truncated_square);
        status = run_scaled(step, CE_SCALED_TABLE, status);
    }
    if (!is_over(step, status)) {
        status = subtract(step, status, &sweep->fitted_square);
    }
    return status;
}

/* ---- a sweep ---- */

/* What only this rank knows of a failure is agreed upon. */
static enum ce_status end_step(const struct step *step, enum ce_status status)
{
    struct ce_transport *transport = step->sweep->engine->transport;

    if (!is_over(step, status)) {
        status = ce_transport_enter(transport, "agree", status, step->err);
        status = ce_agree(transport, status, step->err);
    }
    transport->activity.stage = NULL;
    return status;
}

static enum ce_status run_steps(struct ce_scaling_sweep *sweep,
                                enum ce_text_set set,
                                enum ce_status (*work)(const struct step *step),
                                struct ce_error *err)
{
    const size_t hidden = sweep->block.moe.hidden;
    const size_t first = set == CE_TEXT_FIT ? 0 : sweep->tokens[CE_TEXT_FIT];
    enum ce_status status = CE_OK;

    sweep->engine->transport->activity.layer = sweep->layer;
    sweep->full_square = sweep->truncated_square = (struct ce_exact){0, 0};
    sweep->fitted_square = sweep->trace = (struct ce_exact){0, 0};
    memset(sweep->block.transposed, 0, sweep->values * sizeof(struct ce_exact));
    for (size_t i = 0, at = 0; status == CE_OK && i < sweep->steps[set]; i++) {
        const struct step step = {
            .sweep = sweep,
            .x = sweep->inputs + (first + at) * hidden,
            .tokens = ce_size_min(sweep->most_tokens, sweep->tokens[set] - at),
            .err = err};

        status = end_step(&step, work(&step));
        at += step.tokens;
        if (sweep->on_step != NULL) {
            sweep->on_step(sweep->context);
        }
    }
    return status;
}

/* sum [count] = `mine` of all ranks. Collective. */
static enum ce_status share(struct ce_transport *transport,
                            const struct ce_exact *mine,
                            double *sum,
                            size_t count,
                            struct ce_error *err)
{
    const struct ce_bytes *all = NULL;
    enum ce_status status = ce_allgather(
        transport, (struct ce_bytes){mine, count * sizeof(*mine)}, &all, err);

    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        if (all[r].bytes != count * sizeof(*mine)) {
            ce_transport_fail(transport);
            return ce_fail(err, CE_ERR_COMM, "rank %d sent no sums of a layer", r);
        }
    }
    for (size_t i = 0; status == CE_OK && i < count; i++) {
        struct ce_exact whole = {0, 0};

        for (int r = 0; r < transport->ranks; r++) {
            struct ce_exact theirs;

            memcpy(&theirs,
                   (const unsigned char *)all[r].data + i * sizeof(theirs),
                   sizeof(theirs));
            ce_exact_merge(&whole, theirs);
        }
        sum[i] = ce_exact_value(whole);
    }
    return status;
}

static enum ce_status share_sums(struct ce_scaling_sweep *sweep,
                                 struct ce_scaling_sums *sums,
                                 struct ce_error *err)
{
    const struct ce_exact mine[] = {sweep->full_square,
                                    sweep->truncated_square,
                                    sweep->fitted_square,
                                    sweep->trace};
    enum { COUNT = sizeof(mine) / sizeof(mine[0]) };
    double all[COUNT] = {0};
    enum ce_status status = share(sweep->engine->transport, mine, all, COUNT, err);

    *sums = (struct ce_scaling_sums){.full = all[0] * SQUARE_UNIT,
                                     .truncated = all[1] * SQUARE_UNIT,
                                     .fitted = all[2] * SQUARE_UNIT,
                                     .trace = all[3] * SQUARE_UNIT};
    return status;
}

static enum ce_status share_transposed(struct ce_scaling_sweep *sweep,
                                       struct ce_error *err)
{
    return share(sweep->engine->transport,
                 sweep->block.transposed,
                 sweep->sum,
                 sweep->values,
                 err);
}

enum ce_status ce_scaling_sweep_right(struct ce_scaling_sweep *sweep,
                                      struct ce_scaling_sums *sums,
                                      struct ce_error *err)
{
    enum ce_status status = run_steps(sweep, CE_TEXT_FIT, step_right, err);

    if (status == CE_OK) {
        status = share_transposed(sweep, err);
    }
    return status == CE_OK ? share_sums(sweep, sums, err) : status;
}

enum ce_status ce_scaling_sweep_product(struct ce_scaling_sweep *sweep,
                                        struct ce_error *err)
{
    enum ce_status status = run_steps(sweep, CE_TEXT_FIT, step_product, err);

    return status == CE_OK ? share_transposed(sweep, err) : status;
}

enum ce_status ce_scaling_sweep_errors(struct ce_scaling_sweep *sweep,
                                       enum ce_text_set set,
                                       struct ce_scaling_sums *sums,
                                       struct ce_error *err)
{
    enum ce_status status = run_steps(sweep, set, step_errors, err);

    return status == CE_OK ? share_sums(sweep, sums, err) : status;
}
