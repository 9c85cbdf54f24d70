/* collector.c - rows of runs to buffers, full buffers to moments */

#include "calibrate/collector.h"

#include "base/clock.h"

#include <omp.h>
#include <string.h>

static void
take_slot(struct ce_collector *collector, size_t index, struct ce_arena *arena)
{
    const size_t row = collector->hidden * sizeof(float);
    struct ce_collector_slot measured = {0};
    struct ce_collector_slot *slot =
        collector->slot != NULL ? &collector->slot[index] : &measured;

    slot->x = ce_arena_take(arena, CE_COLLECTOR_ROWS, row);
    slot->y = ce_arena_take(arena, CE_COLLECTOR_ROWS, row);
    slot->weights = ce_arena_take(arena, CE_COLLECTOR_ROWS, sizeof(float));
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        /* With a real arena the last piece tells whether all had room. */
        (void)ce_moments_take(&slot->moments[set], collector->hidden, 0, arena);
    }
}

bool ce_collector_take(struct ce_collector *collector, struct ce_arena *arena)
{
    const struct ce_moments sizes = {.hidden = collector->hidden,
                                     .inputs = collector->hidden};

    collector->scratch_floats = ce_moments_scratch(&sizes, CE_COLLECTOR_ROWS);
    collector->slot =
        ce_arena_take(arena, collector->slots, sizeof(collector->slot[0]));
    for (size_t i = 0; i < collector->slots; i++) {
        take_slot(collector, i, arena);
    }
    collector->slot_of =
        ce_arena_take(arena, collector->experts, sizeof(collector->slot_of[0]));
    collector->scratch = ce_arena_take(
        arena, collector->threads * collector->scratch_floats, sizeof(float));
    collector->output_sum = ce_arena_take(arena, collector->hidden, sizeof(double));
    return collector->output_sum != NULL;
}

void ce_collector_begin_layer(struct ce_collector *collector)
{
    collector->sums_outputs = true;
    collector->output_weight = 0;
    memset(collector->output_sum, 0, collector->hidden * sizeof(double));
}

void ce_collector_begin_group(struct ce_collector *collector,
                              const size_t *experts,
                              size_t count)
{
    collector->used = count;
    collector->status = CE_OK;
    for (size_t e = 0; e < collector->experts; e++) {
        collector->slot_of[e] = -1;
    }
    for (size_t i = 0; i < count; i++) {
        struct ce_collector_slot *slot = &collector->slot[i];

        collector->slot_of[experts[i]] = (int32_t)i;
        slot->expert = experts[i];
        slot->rows = 0;
        for (int set = 0; set < CE_TEXT_SETS; set++) {
            ce_moments_clear(&slot->moments[set]);
        }
    }
}

/* Adds the rows of a slot. */
static enum ce_status add_rows(struct ce_collector *collector,
                               struct ce_collector_slot *slot,
                               float *scratch,
                               struct ce_error *err)
{
    const struct ce_moments_rows rows = {.rows = slot->rows,
                                         .x = slot->x,
                                         .x_stride = collector->hidden,
                                         .y = slot->y,
                                         .y_stride = collector->hidden,
                                         .weights = slot->weights};

    slot->rows = 0;
    if (rows.rows == 0) {
        return CE_OK;
    }
    if (collector->tee != NULL) {
        collector->tee(collector->tee_context, collector->set, slot->expert, &rows);
    }
    return ce_moments_add(&slot->moments[collector->set], &rows, scratch, err);
}

static void note(struct ce_collector *collector,
                 size_t expert,
                 enum ce_status status,
                 const struct ce_error *err)
{
    if (status != CE_OK && collector->status == CE_OK) {
        collector->status = status;
        collector->err = *err;
        ce_error_prefix(&collector->err, "expert %zu", expert);
    }
}

static void count_rows(struct ce_collector *collector, size_t rows)
{
    const double n = (double)rows;
    const double d = (double)collector->hidden;

    collector->rows += rows;
    collector->flops += n * d * d + 2.0 * n * d * d; /* xx is symmetric, xy is not */
}

static void sum_outputs(struct ce_collector *collector, const float *y, double a)
{
    const double w = a * a;

    for (size_t j = 0; j < collector->hidden; j++) {
        collector->output_sum[j] += w * (double)y[j];
    }
    collector->output_weight += w;
}

static void take_row(struct ce_collector *collector,
                     struct ce_collector_slot *slot,
                     const struct ce_expert_run *run,
                     size_t row)
{
    const size_t d = collector->hidden;
    const size_t bytes = d * sizeof(float);

    memcpy(slot->x + slot->rows * d, run->x + row * d, bytes);
    memcpy(slot->y + slot->rows * d, run->y + row * d, bytes);
    slot->weights[slot->rows++] = run->assignment[row].weight;
    if (slot->rows == CE_COLLECTOR_ROWS) {
        struct ce_error err = {.text = ""};

        count_rows(collector, slot->rows);
        note(collector,
             slot->expert,
             add_rows(collector, slot, collector->scratch, &err),
             &err);
    }
}

static void see(void *context, const struct ce_expert_run *run)
{
    struct ce_collector *collector = context;
    const int32_t index = collector->slot_of[run->expert];
    const bool sums = collector->sums_outputs && collector->set == CE_TEXT_FIT;
    const uint64_t since = ce_clock_ns();

    for (size_t i = 0; i < run->rows; i++) {
        if (run->assignment[i].position < collector->first_auxiliary) {
            continue;
        }
        if (sums) {
            sum_outputs(collector,
                        run->y + i * collector->hidden,
                        (double)run->assignment[i].weight);
        }
        if (index >= 0) {
            take_row(collector, &collector->slot[index], run, i);
        }
    }
    collector->ns += ce_clock_ns() - since;
}

struct ce_expert_observer ce_collector_observer(struct ce_collector *collector)
{
    return (struct ce_expert_observer){.see = see, .context = collector};
}

enum ce_status
ce_collector_end_set(struct ce_collector *collector, size_t layer, struct ce_error *err)
{
    const uint64_t since = ce_clock_ns();

    for (size_t i = 0; i < collector->used; i++) {
        count_rows(collector, collector->slot[i].rows);
    }
#pragma omp parallel for schedule(dynamic)                                             \
    num_threads((int)collector->threads) if (collector->tee == NULL)
    for (size_t i = 0; i < collector->used; i++) {
        struct ce_error mine = {.text = ""};
        float *scratch = collector->scratch +
                         (size_t)omp_get_thread_num() * collector->scratch_floats;
        const enum ce_status status =
            add_rows(collector, &collector->slot[i], scratch, &mine);

#pragma omp critical(ce_collector_note)
        note(collector, collector->slot[i].expert, status, &mine);
    }
    collector->ns += ce_clock_ns() - since;
    if (collector->status != CE_OK) {
        *err = collector->err;
        ce_error_prefix(err, "layer %zu", layer);
    }
    return collector->status;
}
