/* scaling.c - keeping inputs, conjugate gradients and parts, layer by layer */

#include "calibrate/scaling.h"

#include "base/clock.h"
#include "base/memory.h"
#include "calibrate/conjugate.h"
#include "comm/collective.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Steps end when one gains less than this part of what all have gained. */
#define LEAST_GAIN 1e-3

/* Sweeps of a layer beside the steps: the walk, A^T r, the errors. */
#define OTHER_PASSES 3

struct scaling {
    struct ce_calibrate_run *run;
    struct ce_engine *engine;
    double ridge;
    struct ce_walk walk;
    struct ce_scaling_sweep sweep;
    struct ce_conjugate conjugate;
    struct ce_arena arena;
    float *next_input;   /* where the rows of the next step go; NULL: nowhere */
    unsigned char *body; /* of a part */
    size_t last;         /* layer that is walked through last */
    struct ce_scaling_facts facts;
    struct ce_calibrate_progress progress;
};

/* ---- memory ---- */

size_t ce_scaling_body_bytes(size_t experts, size_t intermediate)
{
    return sizeof(struct ce_scaling_facts) + experts * intermediate * sizeof(float);
}

/* All that lives as long as the run, but the walk. */
static bool take_arrays(struct ce_scaling_sweep *sweep,
                        struct ce_conjugate *conjugate,
                        struct ce_arena *arena)
{
    const bool taken = ce_scaling_sweep_take(sweep, arena);

    conjugate->n = sweep->values;
    return ce_conjugate_take(conjugate, arena) && taken;
}

static void prepare_sweep(struct ce_scaling_sweep *sweep,
                          const struct ce_scaling_sizes *sizes)
{
    *sweep = (struct ce_scaling_sweep){.most_tokens = sizes->limits.step_tokens};
    ce_scaled_block_init(&sweep->block, sizes->full, sizes->compressed);
    ce_scaling_sweep_count(sweep, sizes->windows, &sizes->limits, sizes->rank);
}

static double mebibytes(size_t bytes)
{
    return (double)bytes / 0x1p20;
}

enum ce_status ce_scaling_needs_find(struct ce_scaling_needs *needs,
                                     const struct ce_scaling_sizes *sizes,
                                     size_t limit,
                                     struct ce_error *err)
{
    const struct ce_moe *full = sizes->full;
    const struct ce_text_windows *windows = sizes->windows;
    const size_t f = full->intermediate;
    const size_t width = full->hidden > f ? full->hidden : f;
    const size_t file = sizes->layers * full->experts * 3 * width * sizeof(float);
    struct ce_scaling_sweep sweep;
    struct ce_conjugate conjugate = {0};
    struct ce_arena measure;

    prepare_sweep(&sweep, sizes);
    ce_arena_measure(&measure);
    (void)take_arrays(&sweep, &conjugate, &measure);
    *needs = (struct ce_scaling_needs){
        .tokens = (windows->tokens[CE_TEXT_FIT] + windows->tokens[CE_TEXT_HELDOUT]) *
                  sizeof(int32_t),
        .residual = ce_walk_tokens(windows, &sizes->limits, sizes->rank) *
                    full->hidden * sizeof(float),
        .gathered =
            (size_t)sizes->limits.ranks * sweep.values * sizeof(struct ce_exact),
        .records =
            sizes->rank == 0 ? ce_scaling_body_bytes(full->experts, f) + file : 0};
    needs->inputs = needs->residual;
    needs->block = measure.used - needs->inputs;
    needs->total = needs->tokens + needs->residual + needs->inputs + needs->block +
                   needs->gathered + needs->records;
    if (needs->total <= limit) {
        return CE_OK;
    }
    return ce_fail(
        err,
        CE_ERR_NOMEM,
        "calibration needs %.1f MiB per rank beside the model, and %.1f MiB are left: "
        "residual stream and inputs of a layer %.1f (fewer --tokens, more ranks), "
        "messages, rows and vectors %.1f (fewer --step-tokens), sums of ranks %.1f, "
        "tables %.1f",
        mebibytes(needs->total),
        mebibytes(limit),
        mebibytes(needs->residual + needs->inputs),
        mebibytes(needs->block),
        mebibytes(needs->gathered),
        mebibytes(needs->records));
}

static enum ce_status take(struct scaling *scaling, struct ce_error *err)
{
    struct ce_arena measure;
    enum ce_status status = CE_OK;

    ce_arena_measure(&measure);
    (void)take_arrays(&scaling->sweep, &scaling->conjugate, &measure);
    status = ce_arena_create(&scaling->arena, measure.used, err);
    if (status != CE_OK) {
        return status;
    }
    scaling->body =
        calloc(1,
               ce_scaling_body_bytes(scaling->engine->config.experts,
                                     scaling->sweep.block.moe.intermediate));
    if (scaling->body == NULL ||
        !take_arrays(&scaling->sweep, &scaling->conjugate, &scaling->arena)) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the inputs of a layer");
    }
    return CE_OK;
}

/* ---- what steps show ---- */

static void see_values(void *context,
                       const char *name,
                       size_t layer,
                       const float *values,
                       size_t tokens,
                       size_t hidden)
{
    struct scaling *scaling = context;

    (void)layer;
    if (scaling->next_input == NULL || strcmp(name, "moe_in") != 0) {
        return;
    }
    memcpy(scaling->next_input, values, tokens * hidden * sizeof(*values));
    scaling->next_input += tokens * hidden;
}

static void say(struct scaling *scaling)
{
    if (scaling->run->on_progress != NULL) {
        scaling->run->on_progress(scaling->run->progress_context, &scaling->progress);
    }
}

/* Sweeps have other steps than the walk, never more: the last of a layer is told when
 * it is done. */
static void on_step(void *context)
{
    struct scaling *scaling = context;

    if (scaling->progress.step + 1 < scaling->progress.steps) {
        scaling->progress.step++;
        say(scaling);
    }
}

static void begin_pass(struct scaling *scaling, size_t pass)
{
    scaling->progress.pass = pass;
    scaling->progress.step = 0;
}

/* ---- one layer ---- */

/* Both sets through the layer; `keeps`: its inputs are wanted. */
static enum ce_status
walk(struct scaling *scaling, size_t layer, bool keeps, struct ce_error *err)
{
    struct ce_calibrate_counters *counters = &scaling->run->counters;
    const uint64_t since = ce_clock_ns();
    enum ce_status status = CE_OK;

    begin_pass(scaling, 0);
    scaling->next_input = keeps ? scaling->sweep.inputs : NULL;
    for (int set = 0; status == CE_OK && set < CE_TEXT_SETS; set++) {
        status = ce_walk_layer(&scaling->walk, layer, (enum ce_text_set)set, true, err);
        counters->tokens += scaling->run->windows->tokens[set];
    }
    scaling->next_input = NULL;
    counters->walk_ns += ce_clock_ns() - since;
    return status;
}

/* What the largest value is brought to 0.5 .. 1 by: exact sums have a fixed grid. */
static double find_unit(const double *values, size_t n)
{
    double most = 0.0;
    int exponent = 0;

    for (size_t i = 0; i < n; i++) {
        most = fabs(values[i]) > most ? fabs(values[i]) : most;
    }
    (void)frexp(most, &exponent);
    return ldexp(1.0, -exponent);
}

/* A^T A times the direction, to sweep.sum. */
static enum ce_status multiply(struct scaling *scaling, struct ce_error *err)
{
    struct ce_scaling_sweep *sweep = &scaling->sweep;
    const double *direction = scaling->conjugate.direction;
    const double unit = find_unit(direction, sweep->values);
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < sweep->values; i++) {
        sweep->table[i] = (float)(direction[i] * unit);
    }
    status = ce_scaling_sweep_product(sweep, err);
    for (size_t i = 0; i < sweep->values; i++) {
        sweep->sum[i] /= unit;
    }
    scaling->run->counters.tokens += scaling->run->windows->tokens[CE_TEXT_FIT];
    return status;
}

/* All ranks have the same numbers, so they take the same steps. */
static enum ce_status find_vectors(struct scaling *scaling, struct ce_error *err)
{
    struct ce_scaling_sweep *sweep = &scaling->sweep;
    struct ce_conjugate *conjugate = &scaling->conjugate;
    struct ce_scaling_sums sums = {0};
    enum ce_status status = CE_OK;
    bool goes_on = true;

    begin_pass(scaling, 1);
    status = ce_scaling_sweep_right(sweep, &sums, err);
    scaling->facts = (struct ce_scaling_facts){.lambda = scaling->ridge * sums.trace /
                                                         (double)sweep->values};
    if (status == CE_OK) {
        ce_conjugate_begin(conjugate, sweep->sum, scaling->facts.lambda);
        goes_on = conjugate->norm > 0;
    }
    for (size_t i = 0; status == CE_OK && goes_on && i < CE_SCALING_STEPS; i++) {
        begin_pass(scaling, 2 + i);
        status = multiply(scaling, err);
        goes_on = status == CE_OK && ce_conjugate_step(conjugate, sweep->sum) &&
                  !ce_conjugate_is_done(conjugate, LEAST_GAIN);
    }
    scaling->facts.steps = conjugate->steps;
    for (size_t i = 0; status == CE_OK && i < sweep->values; i++) {
        sweep->table[i] = (float)(1.0 + conjugate->x[i]);
    }
    return status;
}

static enum ce_status measure_errors(struct scaling *scaling, struct ce_error *err)
{
    struct ce_scaling_facts *facts = &scaling->facts;
    enum ce_status status = CE_OK;

    begin_pass(scaling, scaling->progress.passes - 1);
    for (int set = 0; status == CE_OK && set < CE_TEXT_SETS; set++) {
        struct ce_scaling_sums sums = {0};

        status =
            ce_scaling_sweep_errors(&scaling->sweep, (enum ce_text_set)set, &sums, err);
        facts->full[set] = sums.full;
        facts->truncated[set] = sums.truncated;
        facts->fitted[set] = sums.fitted;
        scaling->run->counters.tokens += scaling->run->windows->tokens[set];
    }
    return status;
}

/* Rank 0 alone. */
static enum ce_status
write_part(struct scaling *scaling, size_t layer, struct ce_error *err)
{
    const struct ce_scaling_sweep *sweep = &scaling->sweep;
    struct ce_part_facts facts = {.moe_out = {0}};

    memcpy(facts.moe_out, scaling->facts.full, sizeof(facts.moe_out));
    memcpy(scaling->body, &scaling->facts, sizeof(scaling->facts));
    memcpy(scaling->body + sizeof(scaling->facts),
           sweep->table,
           sweep->values * sizeof(float));
    return ce_parts_write(scaling->run->parts, layer, &facts, scaling->body, err);
}

static enum ce_status
solve_layer(struct scaling *scaling, size_t layer, struct ce_error *err)
{
    struct ce_transport *transport = scaling->engine->transport;
    struct ce_calibrate_counters *counters = &scaling->run->counters;
    enum ce_status status = walk(scaling, layer, true, err);
    uint64_t since = ce_clock_ns();

    if (status == CE_OK) {
        ce_scaling_sweep_begin(&scaling->sweep, layer);
        status = find_vectors(scaling, err);
    }
    if (status == CE_OK) {
        status = measure_errors(scaling, err);
    }
    counters->solve_ns += ce_clock_ns() - since;
    if (status != CE_OK) {
        return status;
    }
    since = ce_clock_ns();
    if (transport->rank == 0) {
        status = write_part(scaling, layer, err);
    }
    status = ce_agree(transport, status, err);
    counters->write_ns += ce_clock_ns() - since;
    scaling->run->solved[layer] = status == CE_OK;
    return status;
}

/* ---- all layers ---- */

enum ce_status ce_scaling_check_engine(const struct ce_engine *engine,
                                       struct ce_error *err)
{
    if (engine->moe.packed_experts) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "scaling vectors cannot be fitted with the experts' weights in "
                       "%s; use --weights stored or bf16",
                       ce_weight_format_name(engine->formats.experts));
    }
    return CE_OK;
}

static enum ce_status prepare(struct scaling *scaling, struct ce_error *err)
{
    const struct ce_calibrate_run *run = scaling->run;
    enum ce_status status =
        ce_walk_open(&scaling->walk, scaling->engine, run->windows, err);

    if (status != CE_OK) {
        return status;
    }
    const struct ce_scaling_sizes sizes = {.full = &scaling->engine->moe,
                                           .compressed = run->compressed,
                                           .windows = run->windows,
                                           .limits = scaling->walk.limits,
                                           .rank = scaling->engine->transport->rank};

    prepare_sweep(&scaling->sweep, &sizes);
    scaling->sweep.engine = scaling->engine;
    scaling->sweep.on_step = scaling->walk.on_step = on_step;
    scaling->sweep.context = scaling->walk.context = scaling;
    scaling->progress =
        (struct ce_calibrate_progress){.layers = scaling->last + 1,
                                       .steps = scaling->walk.steps[CE_TEXT_FIT] +
                                                scaling->walk.steps[CE_TEXT_HELDOUT]};
    return take(scaling, err);
}

static enum ce_status run_layers(struct scaling *scaling, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t layer = 0; status == CE_OK && layer <= scaling->last; layer++) {
        const bool solves = scaling->run->solved[layer] == 0;

        scaling->progress.layer = layer;
        scaling->progress.passes = solves ? CE_SCALING_STEPS + OTHER_PASSES : 1;
        status = solves ? solve_layer(scaling, layer, err)
                        : walk(scaling, layer, false, err);
        if (status == CE_OK) {
            scaling->progress.pass = scaling->progress.passes - 1;
            scaling->progress.step = scaling->progress.steps;
            say(scaling);
        }
    }
    return status;
}

enum ce_status
ce_scaling_layers(struct ce_calibrate_run *run, double ridge, struct ce_error *err)
{
    struct scaling scaling = {.run = run, .engine = run->engine, .ridge = ridge};
    enum ce_status status = CE_OK;

    if (!ce_calibrate_find_last(
            scaling.run, scaling.engine->config.layers, &scaling.last)) {
        return CE_OK;
    }
    run->engine->observer =
        (struct ce_observer){.see = see_values, .context = &scaling};
    status = ce_agree(run->engine->transport, prepare(&scaling, err), err);
    if (status == CE_OK) {
        status = run_layers(&scaling, err);
    }
    run->engine->observer.see = NULL;
    ce_walk_close(&scaling.walk);
    ce_arena_destroy(&scaling.arena);
    free(scaling.body);
    return status;
}
