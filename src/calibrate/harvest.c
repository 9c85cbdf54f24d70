/* harvest.c - rows of runs to buffers, full buffers to moments */

#include "calibrate/harvest.h"

#include "base/clock.h"

#include <omp.h>
#include <string.h>

static void take_slot(struct ce_harvest *harvest, size_t index, struct ce_arena *arena)
{
    const size_t row = harvest->hidden * sizeof(float);
    struct ce_harvest_slot measured = {0};
    struct ce_harvest_slot *slot =
        harvest->slot != NULL ? &harvest->slot[index] : &measured;

    slot->x = ce_arena_take(arena, CE_HARVEST_ROWS, row);
    slot->y = ce_arena_take(arena, CE_HARVEST_ROWS, row);
    slot->weights = ce_arena_take(arena, CE_HARVEST_ROWS, sizeof(float));
    if (harvest->neurons.most > 0) {
        slot->h = ce_arena_take(
            arena, CE_HARVEST_ROWS, harvest->neurons.most * sizeof(float));
    }
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        /* With a real arena the last piece tells whether all had room. */
        (void)ce_moments_take(
            &slot->moments[set], harvest->hidden, harvest->neurons.most, arena);
    }
}

static void take_neurons(struct ce_harvest *harvest, struct ce_arena *arena)
{
    const size_t most = harvest->neurons.most;

    if (most == 0) {
        return;
    }
    (void)ce_neurons_take(&harvest->neurons, arena);
    harvest->columns = ce_arena_take(arena, most, sizeof(harvest->columns[0]));
    for (size_t i = 0; harvest->columns != NULL && i < most; i++) {
        harvest->columns[i] = (uint32_t)i;
    }
}

bool ce_harvest_take(struct ce_harvest *harvest, struct ce_arena *arena)
{
    const struct ce_moments sizes = {.hidden = harvest->hidden,
                                     .inputs = harvest->hidden + harvest->neurons.most};

    harvest->scratch_floats = ce_moments_scratch(&sizes, CE_HARVEST_ROWS);
    harvest->slot = ce_arena_take(arena, harvest->slots, sizeof(harvest->slot[0]));
    for (size_t i = 0; i < harvest->slots; i++) {
        take_slot(harvest, i, arena);
    }
    harvest->slot_of =
        ce_arena_take(arena, harvest->experts, sizeof(harvest->slot_of[0]));
    harvest->scratch =
        ce_arena_take(arena, harvest->threads * harvest->scratch_floats, sizeof(float));
    harvest->own_of =
        ce_arena_take(arena, harvest->experts, sizeof(harvest->own_of[0]));
    take_neurons(harvest, arena);
    harvest->output_weight = ce_arena_take(arena, harvest->own, sizeof(double));
    harvest->output_sum =
        ce_arena_take(arena, harvest->own * harvest->hidden, sizeof(double));
    return harvest->output_sum != NULL;
}

void ce_harvest_begin_layer(struct ce_harvest *harvest,
                            const size_t *experts,
                            size_t count)
{
    for (size_t e = 0; e < harvest->experts; e++) {
        harvest->own_of[e] = -1;
    }
    for (size_t i = 0; i < count; i++) {
        harvest->own_of[experts[i]] = (int32_t)i;
    }
    memset(harvest->output_weight, 0, harvest->own * sizeof(double));
    memset(harvest->output_sum, 0, harvest->own * harvest->hidden * sizeof(double));
    ce_neurons_clear(&harvest->neurons);
}

void ce_harvest_begin_group(struct ce_harvest *harvest,
                            const size_t *experts,
                            size_t count)
{
    harvest->used = count;
    harvest->status = CE_OK;
    for (size_t e = 0; e < harvest->experts; e++) {
        harvest->slot_of[e] = -1;
    }
    for (size_t i = 0; i < count; i++) {
        struct ce_harvest_slot *slot = &harvest->slot[i];

        harvest->slot_of[experts[i]] = (int32_t)i;
        slot->expert = experts[i];
        slot->rows = 0;
        for (int set = 0; set < CE_TEXT_SETS; set++) {
            ce_moments_clear(&slot->moments[set]);
        }
    }
}

/* Adds the rows of a slot. */
static enum ce_status add_rows(struct ce_harvest *harvest,
                               struct ce_harvest_slot *slot,
                               float *scratch,
                               struct ce_error *err)
{
    const struct ce_moments_rows rows = {.rows = slot->rows,
                                         .x = slot->x,
                                         .x_stride = harvest->hidden,
                                         .y = slot->y,
                                         .y_stride = harvest->hidden,
                                         .weights = slot->weights,
                                         .h = slot->h,
                                         .h_stride = harvest->neurons.most,
                                         .candidates = harvest->columns};

    slot->rows = 0;
    if (rows.rows == 0) {
        return CE_OK;
    }
    if (harvest->tee != NULL) {
        harvest->tee(harvest->tee_context, harvest->set, slot->expert, &rows);
    }
    return ce_moments_add(&slot->moments[harvest->set], &rows, scratch, err);
}

static void note(struct ce_harvest *harvest,
                 size_t expert,
                 enum ce_status status,
                 const struct ce_error *err)
{
    if (status != CE_OK && harvest->status == CE_OK) {
        harvest->status = status;
        harvest->err = *err;
        ce_error_prefix(&harvest->err, "expert %zu", expert);
    }
}

static void count_rows(struct ce_harvest *harvest, size_t rows)
{
    const double n = (double)rows;
    const double d = (double)harvest->hidden;
    const double m = d + (double)harvest->neurons.most;

    harvest->rows += rows;
    harvest->flops += n * m * m + 2.0 * n * m * d; /* xx is symmetric, xy is not */
}

static void
sum_outputs(struct ce_harvest *harvest, size_t expert, const float *y, double a)
{
    const size_t own = (size_t)harvest->own_of[expert];
    double *sum = harvest->output_sum + own * harvest->hidden;
    const double w = a * a;

    for (size_t j = 0; j < harvest->hidden; j++) {
        sum[j] += w * (double)y[j];
    }
    harvest->output_weight[own] += w;
}

/* Of the chosen neurons of the slot's expert, as the columns of the moments. */
static void take_activations(const struct ce_harvest *harvest,
                             const struct ce_harvest_slot *slot,
                             const float *h)
{
    const size_t most = harvest->neurons.most;
    const size_t own = (size_t)harvest->own_of[slot->expert];
    float *to = slot->h + slot->rows * most;

    for (size_t i = 0; i < most; i++) {
        to[i] = h[harvest->neurons.chosen[own * most + i]];
    }
}

static void take_row(struct ce_harvest *harvest,
                     struct ce_harvest_slot *slot,
                     const struct ce_expert_run *run,
                     size_t row)
{
    const size_t d = harvest->hidden;
    const size_t bytes = d * sizeof(float);

    memcpy(slot->x + slot->rows * d, run->x + row * d, bytes);
    memcpy(slot->y + slot->rows * d, run->y + row * d, bytes);
    if (harvest->neurons.most > 0) {
        take_activations(harvest, slot, run->h + row * harvest->neurons.intermediate);
    }
    slot->weights[slot->rows++] = run->assignment[row].weight;
    if (slot->rows == CE_HARVEST_ROWS) {
        struct ce_error err = {.text = ""};

        count_rows(harvest, slot->rows);
        note(harvest,
             slot->expert,
             add_rows(harvest, slot, harvest->scratch, &err),
             &err);
    }
}

static void see(void *context, const struct ce_expert_run *run)
{
    struct ce_harvest *harvest = context;
    const int32_t index = harvest->slot_of[run->expert];
    const bool sums = harvest->sums_outputs && harvest->set == CE_TEXT_FIT;
    const uint64_t since = ce_clock_ns();

    for (size_t i = 0; i < run->rows; i++) {
        if (run->assignment[i].position < harvest->first_auxiliary) {
            continue;
        }
        if (sums) {
            sum_outputs(harvest,
                        run->expert,
                        run->y + i * harvest->hidden,
                        (double)run->assignment[i].weight);
        }
        if (harvest->sums_activations) {
            ce_neurons_add(&harvest->neurons,
                           (size_t)harvest->own_of[run->expert],
                           run->h + i * harvest->neurons.intermediate,
                           (double)run->assignment[i].weight);
        }
        if (index >= 0) {
            take_row(harvest, &harvest->slot[index], run, i);
        }
    }
    harvest->ns += ce_clock_ns() - since;
}

struct ce_expert_observer ce_harvest_observer(struct ce_harvest *harvest)
{
    return (struct ce_expert_observer){.see = see, .context = harvest};
}

enum ce_status
ce_harvest_end_set(struct ce_harvest *harvest, size_t layer, struct ce_error *err)
{
    const uint64_t since = ce_clock_ns();

    for (size_t i = 0; i < harvest->used; i++) {
        count_rows(harvest, harvest->slot[i].rows);
    }
#pragma omp parallel for schedule(dynamic)                                             \
    num_threads((int)harvest->threads) if (harvest->tee == NULL)
    for (size_t i = 0; i < harvest->used; i++) {
        struct ce_error mine = {.text = ""};
        float *scratch =
            harvest->scratch + (size_t)omp_get_thread_num() * harvest->scratch_floats;
        const enum ce_status status =
            add_rows(harvest, &harvest->slot[i], scratch, &mine);

#pragma omp critical(ce_harvest_note)
        note(harvest, harvest->slot[i].expert, status, &mine);
    }
    harvest->ns += ce_clock_ns() - since;
    if (harvest->status != CE_OK) {
        *err = harvest->err;
        ce_error_prefix(err, "layer %zu", layer);
    }
    return harvest->status;
}
