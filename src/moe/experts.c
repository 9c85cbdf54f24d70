/* experts.c - grouping assignments by expert and running them tile by tile */

#include "moe/experts.h"

#include <omp.h>
#include <string.h>

/* Outputs of one task: small enough to balance, large enough to stream; whole panels
 * of packed weights. */
#define PANEL 64

/* Rows of an expert up to which it matters how its weights are read. */
#define FEW_ROWS 16

static struct ce_quantised_block *
take_blocks(struct ce_arena *arena, size_t rows, size_t inputs)
{
    return ce_arena_take(
        arena, rows * ce_quantised_blocks(inputs), sizeof(struct ce_quantised_block));
}

void ce_experts_take(struct ce_experts *experts, struct ce_arena *arena)
{
    size_t tile = experts->tile;

    experts->assignment =
        ce_arena_take(arena, experts->capacity, sizeof(experts->assignment[0]));
    experts->begin =
        ce_arena_take(arena, experts->experts + 1, sizeof(experts->begin[0]));
    experts->segment =
        ce_arena_take(arena, experts->experts, sizeof(experts->segment[0]));
    experts->gate_input = ce_arena_take(arena, tile * experts->hidden, sizeof(float));
    experts->up_input = ce_arena_take(arena, tile * experts->hidden, sizeof(float));
    experts->down_scale =
        ce_arena_take(arena, tile * experts->intermediate, sizeof(float));
    experts->gate = ce_arena_take(arena, tile * experts->intermediate, sizeof(float));
    experts->gate_slice = (struct ce_slice){0, experts->intermediate};
    experts->down_slice = (struct ce_slice){0, experts->hidden};
    experts->up = ce_arena_take(arena, tile * experts->intermediate, sizeof(float));
    experts->down = ce_arena_take(arena, tile * experts->hidden, sizeof(float));
    if (experts->packed) {
        experts->gate_blocks = take_blocks(arena, tile, experts->hidden);
        experts->up_blocks = take_blocks(arena, tile, experts->hidden);
        experts->down_blocks = take_blocks(arena, tile, experts->intermediate);
    }
}

/* A peer's message is checked like a file: nothing in it is used as an index
 * before it is known to be one. */
static enum ce_status check_row(const struct ce_experts *experts,
                                const struct ce_layer_weights *layer,
                                const struct ce_pair *pair,
                                size_t mains,
                                size_t auxiliary,
                                int source,
                                struct ce_error *err)
{
    for (size_t i = 0; i < mains + auxiliary; i++) {
        size_t e = pair[i].expert;

        if (e >= experts->experts ||
            (i < mains && layer->experts[e].gate.data == NULL)) {
            return ce_fail(err,
                           CE_ERR_COMM,
                           "rank %d sent a row for expert %zu, which is not here",
                           source,
                           e);
        }
    }
    return CE_OK;
}

static enum ce_status count_view(struct ce_experts *experts,
                                 const struct ce_layer_weights *layer,
                                 const struct ce_dispatch_view *view,
                                 int source,
                                 struct ce_error *err)
{
    const struct ce_pair *pair = view->pairs;

    for (size_t i = 0; i < view->rows; i++) {
        size_t mains = view->row_mains[i];
        enum ce_status status =
            check_row(experts, layer, pair, mains, view->auxiliary, source, err);

        if (status != CE_OK) {
            return status;
        }
        for (size_t j = 0; j < mains; j++) {
            experts->begin[pair[j].expert + 1]++;
        }
        pair += mains + view->auxiliary;
    }
    experts->count += view->assignments;
    return CE_OK;
}

static void place_arrival(struct ce_experts *experts, const struct ce_arrival *arrival)
{
    const struct ce_dispatch_view *view = &arrival->view;
    const struct ce_pair *pair = view->pairs;
    unsigned char *result = arrival->results;

    for (size_t i = 0; i < view->rows; i++) {
        size_t mains = view->row_mains[i];

        size_t row = view->token != NULL ? view->token[i] : i;

        for (size_t j = 0; j < mains; j++) {
            size_t index = experts->begin[pair[j].expert]++;
            struct ce_assignment *assignment = &experts->assignment[index];

            *assignment =
                (struct ce_assignment){.x = view->x + row * experts->wire.row_bytes,
                                       .auxiliary = pair + mains,
                                       .weight = pair[j].weight,
                                       .expert = pair[j].expert,
                                       .position = pair[j].position};
            assignment->out = result;
            result += experts->results_wire.row_bytes;
        }
        pair += mains + view->auxiliary;
    }
}

enum ce_status ce_experts_collect(struct ce_experts *experts,
                                  const struct ce_layer_weights *layer,
                                  const struct ce_arrival *arrival,
                                  const int *source,
                                  size_t count,
                                  struct ce_error *err)
{
    size_t n = experts->experts;

    experts->count = 0;
    memset(experts->begin, 0, (n + 1) * sizeof(experts->begin[0]));
    for (size_t i = 0; i < count; i++) {
        enum ce_status status =
            count_view(experts, layer, &arrival[source[i]].view, source[i], err);

        if (status != CE_OK) {
            return status;
        }
    }
    for (size_t e = 0; e < n; e++) {
        experts->experts_read += experts->begin[e + 1] > 0;
        experts->begin[e + 1] += experts->begin[e];
    }
    for (size_t i = 0; i < count; i++) {
        place_arrival(experts, &arrival[source[i]]);
    }
    /* The begins were cursors: each now points to its expert's end. */
    memmove(experts->begin + 1, experts->begin, n * sizeof(experts->begin[0]));
    experts->begin[0] = 0;
    return CE_OK;
}

/* The inputs of the gate and up products of one row: x, or x times theta1 and theta3.
 * Returns 1 when its weights were uniform for want of others. */
static unsigned
scale_row(const struct ce_tile *tile, const struct ce_compressed_table *table, size_t i)
{
    struct ce_experts *experts = tile->experts;
    const struct ce_kernels *kernels = experts->kernels;
    const struct ce_assignment *a = &tile->assignment[i];
    size_t hidden = experts->hidden;
    float *gate = experts->gate_input + i * hidden;
    float *up = experts->up_input + i * hidden;
    const float *x = NULL;
    unsigned uniform = 0;

    if (tile->auxiliary == 0) {
        ce_wire_decode(&experts->wire, gate, a->x);
        return 0;
    }
    /* The place of the result is free until then. */
    x = ce_wire_view(&experts->wire, a->x, experts->down + i * hidden);
    uniform = ce_compressed_theta(table,
                                  a->auxiliary,
                                  tile->auxiliary,
                                  gate,
                                  experts->down_scale + i * experts->intermediate,
                                  up);
    kernels->multiply(gate, gate, x, hidden);
    kernels->multiply(up, up, x, hidden);
    return uniform;
}

static void quantise_row(const struct ce_experts *experts,
                         struct ce_quantised_block *blocks,
                         const float *values,
                         size_t row,
                         size_t inputs)
{
    const size_t stride = ce_quantised_blocks(inputs);

    experts->kernels->quantise_rows(
        blocks + row * stride, stride, values + row * inputs, inputs, 1, inputs);
}

/* Inputs of the gate and up products of all rows. */
static uint64_t scale_inputs(const struct ce_tile *tile,
                             const struct ce_compressed_table *table)
{
    const struct ce_experts *experts = tile->experts;
    uint64_t uniform = 0;

#pragma omp parallel for schedule(static) reduction(+ : uniform)
    for (size_t i = 0; i < tile->rows; i++) {
        uniform += scale_row(tile, table, i);
        if (experts->packed) {
            quantise_row(
                experts, experts->gate_blocks, experts->gate_input, i, experts->hidden);
        }
        if (experts->packed && tile->auxiliary > 0) {
            quantise_row(
                experts, experts->up_blocks, experts->up_input, i, experts->hidden);
        }
    }
    return uniform;
}

/* Rows of a segment in one of the tile's arrays. */
static struct ce_rows segment_rows(const struct ce_segment *segment,
                                   const float *values,
                                   const struct ce_quantised_block *blocks,
                                   size_t inputs)
{
    const struct ce_rows all = {values, inputs, blocks, ce_quantised_blocks(inputs)};

    return ce_rows_from(&all, segment->first);
}

static size_t panels(size_t outputs)
{
    return (outputs + PANEL - 1) / PANEL;
}

static size_t panel_width(size_t panel, size_t outputs)
{
    size_t left = outputs - panel * PANEL;

    return left < PANEL ? left : PANEL;
}

/* h = silu(W_gate xg) * (W_up xu) * theta2 for one panel of one expert. */
static void gate_up_panel(const struct ce_tile *tile,
                          const struct ce_segment *segment,
                          size_t panel)
{
    const struct ce_experts *experts = tile->experts;
    const struct ce_kernels *kernels = experts->kernels;
    size_t hidden = experts->hidden;
    size_t f = experts->intermediate;
    size_t first = panel * PANEL;
    size_t width = panel_width(panel, experts->gate_slice.count);
    size_t base = segment->first * f + experts->gate_slice.first + first;
    const bool scaled = tile->auxiliary > 0;
    const struct ce_rows gate_rows =
        segment_rows(segment, experts->gate_input, experts->gate_blocks, hidden);
    const struct ce_rows up_rows =
        scaled ? segment_rows(segment, experts->up_input, experts->up_blocks, hidden)
               : gate_rows;

    ce_product(kernels,
               experts->gate + base,
               f,
               &gate_rows,
               segment->rows,
               &segment->weights->gate,
               first,
               width);
    ce_product(kernels,
               experts->up + base,
               f,
               &up_rows,
               segment->rows,
               &segment->weights->up,
               first,
               width);
    for (size_t i = 0; i < segment->rows; i++) {
        size_t at = base + i * f;
        const float *scale = scaled ? experts->down_scale + at : NULL;

        kernels->silu_multiply(
            experts->gate + at, experts->gate + at, experts->up + at, scale, width);
    }
}

static void
down_panel(const struct ce_tile *tile, const struct ce_segment *segment, size_t panel)
{
    const struct ce_experts *experts = tile->experts;
    size_t hidden = experts->hidden;
    size_t first = panel * PANEL;
    const struct ce_rows rows = segment_rows(
        segment, experts->gate, experts->down_blocks, experts->intermediate);

    ce_product(experts->kernels,
               experts->down + segment->first * hidden + experts->down_slice.first +
                   first,
               hidden,
               &rows,
               segment->rows,
               &segment->weights->down,
               first,
               panel_width(panel, experts->down_slice.count));
}

/* Results times router weights to their places; the lowest expert id with a
 * result that is not finite, or SIZE_MAX. */
static size_t write_results(const struct ce_tile *tile)
{
    struct ce_experts *experts = tile->experts;
    const struct ce_slice slice = experts->down_slice;
    const struct ce_wire wire = ce_wire_for(experts->results_wire.format, slice.count);
    size_t bad = SIZE_MAX;

#pragma omp parallel for schedule(static) reduction(min : bad)
    for (size_t i = 0; i < tile->rows; i++) {
        const struct ce_assignment *a = &tile->assignment[i];
        float *down = experts->down + i * experts->hidden + slice.first;

        for (size_t j = 0; j < slice.count; j++) {
            down[j] = a->weight * down[j];
        }
        if (!experts->kernels->all_finite(down, slice.count)) {
            bad = a->expert < bad ? a->expert : bad;
            continue;
        }
        ce_wire_encode(&wire, a->out, down);
    }
    return bad;
}

/* Bytes move while experts are multiplied: the calling thread, which alone may touch
 * the transport, looks after them between its tasks. */
static void look_after_others(const struct ce_experts *experts)
{
    if (experts->progress != NULL && omp_get_thread_num() == 0) {
        experts->progress(experts->progress_context);
    }
}

/* Inside the parallel region: all of h, between the products that write and read it. */
static void quantise_hidden(const struct ce_tile *tile)
{
    const struct ce_experts *experts = tile->experts;

    if (!experts->packed) {
        return;
    }
#pragma omp for schedule(static)
    for (size_t i = 0; i < tile->rows; i++) {
        quantise_row(
            experts, experts->down_blocks, experts->gate, i, experts->intermediate);
    }
}

static bool has_few_rows(const struct ce_tile *tile)
{
    for (size_t i = 0; i < tile->segments; i++) {
        if (tile->segment[i].rows > FEW_ROWS) {
            return false;
        }
    }
    return true;
}

/* How many neighbouring tasks a thread takes at a time. With few rows it should read
 * long runs of weights: where a run ends, what was read ahead is lost and memory starts
 * anew. With many, small pieces balance better. */
static int tasks_at_once(const struct ce_tile *tile, size_t tasks)
{
    const size_t runs = 4 * (size_t)omp_get_num_threads();

    return has_few_rows(tile) ? (int)((tasks + runs - 1) / runs) : 1;
}

/* Inside the parallel region, as the next. */
static void gate_up_tasks(const struct ce_tile *tile)
{
    size_t width = panels(tile->experts->gate_slice.count);

    size_t tasks = tile->segments * width;

#pragma omp for schedule(dynamic, tasks_at_once(tile, tasks))
    for (size_t task = 0; task < tasks; task++) {
        gate_up_panel(tile, &tile->segment[task / width], task % width);
        look_after_others(tile->experts);
    }
}

static void down_tasks(const struct ce_tile *tile)
{
    size_t width = panels(tile->experts->down_slice.count);

    size_t tasks = tile->segments * width;

#pragma omp for schedule(dynamic, tasks_at_once(tile, tasks))
    for (size_t task = 0; task < tasks; task++) {
        down_panel(tile, &tile->segment[task / width], task % width);
        look_after_others(tile->experts);
    }
}

static void multiply_tile(const struct ce_tile *tile)
{
#pragma omp parallel
    {
        gate_up_tasks(tile);
        quantise_hidden(tile);
        down_tasks(tile);
    }
}

static void show_segment(const struct ce_tile *tile, size_t layer_index, size_t index)
{
    const struct ce_experts *experts = tile->experts;
    const struct ce_segment *segment = &tile->segment[index];
    const struct ce_expert_run run = {
        .layer = layer_index,
        .expert = tile->assignment[segment->first].expert,
        .rows = segment->rows,
        .x = experts->gate_input + segment->first * experts->hidden,
        .h = experts->gate + segment->first * experts->intermediate,
        .y = experts->down + segment->first * experts->hidden,
        .assignment = tile->assignment + segment->first};

    experts->observer.see(experts->observer.context, &run);
}

/* Of a tile whose results have no weights yet. */
static void show_tile(const struct ce_tile *tile, size_t layer_index)
{
    for (size_t i = 0; tile->experts->observer.see != NULL && i < tile->segments; i++) {
        show_segment(tile, layer_index, i);
    }
}

/* Cuts assignments [first, first + rows) into runs of one expert. */
static size_t find_segments(const struct ce_experts *experts,
                            const struct ce_layer_weights *layer,
                            size_t first,
                            size_t rows,
                            struct ce_segment *segment)
{
    size_t count = 0;

    for (size_t e = 0; e < experts->experts; e++) {
        size_t from = experts->begin[e] > first ? experts->begin[e] : first;
        size_t to =
            experts->begin[e + 1] < first + rows ? experts->begin[e + 1] : first + rows;

        if (from < to) {
            segment[count++] =
                (struct ce_segment){&layer->experts[e], from - first, to - from};
        }
    }
    return count;
}

struct ce_tile ce_experts_tile(struct ce_experts *experts,
                               const struct ce_layer_weights *layer,
                               size_t first,
                               size_t auxiliary)
{
    size_t left = experts->count - first;
    struct ce_tile tile = {.experts = experts,
                           .assignment = experts->assignment + first,
                           .rows = left < experts->tile ? left : experts->tile,
                           .auxiliary = auxiliary,
                           .segment = experts->segment};

    tile.segments = find_segments(experts, layer, first, tile.rows, experts->segment);
    return tile;
}

uint64_t ce_experts_scale(const struct ce_tile *tile,
                          const struct ce_layer_weights *layer)
{
    const struct ce_experts *experts = tile->experts;
    const struct ce_compressed_table table = {.data = layer->compressed,
                                              .width = layer->compressed_width,
                                              .hidden = experts->hidden,
                                              .intermediate = experts->intermediate};

    return scale_inputs(tile, &table);
}

size_t ce_experts_gate_up(const struct ce_tile *tile)
{
    const struct ce_experts *experts = tile->experts;
    const struct ce_slice slice = experts->gate_slice;
    size_t bad = SIZE_MAX;

#pragma omp parallel
    gate_up_tasks(tile);
#pragma omp parallel for schedule(static) reduction(min : bad) if (tile->rows >= 32)
    for (size_t i = 0; i < tile->rows; i++) {
        const float *h = experts->gate + i * experts->intermediate + slice.first;

        if (!experts->kernels->all_finite(h, slice.count) &&
            tile->assignment[i].expert < bad) {
            bad = tile->assignment[i].expert;
        }
    }
    return bad;
}

size_t ce_experts_down(const struct ce_tile *tile)
{
#pragma omp parallel
    {
        quantise_hidden(tile);
        down_tasks(tile);
    }
    return write_results(tile);
}

enum ce_status ce_experts_fail(size_t layer_index, size_t expert, struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_NUMERIC,
                   "layer %zu, experts: the result of expert %zu is not finite; are "
                   "the weights damaged?",
                   layer_index,
                   expert);
}

enum ce_status ce_experts_run(struct ce_experts *experts,
                              const struct ce_layer_weights *layer,
                              size_t layer_index,
                              size_t auxiliary,
                              struct ce_error *err)
{
    const struct ce_expert_substitute *substitute = &experts->substitute;
    size_t bad = SIZE_MAX;

    if (substitute->run != NULL) {
        return substitute->run(substitute->context, experts, layer, layer_index, err);
    }
    for (size_t first = 0; first < experts->count && bad == SIZE_MAX;
         first += experts->tile) {
        const struct ce_tile tile = ce_experts_tile(experts, layer, first, auxiliary);

        experts->uniform_thetas += ce_experts_scale(&tile, layer);
        multiply_tile(&tile);
        show_tile(&tile, layer_index);
        bad = write_results(&tile);
    }
    return bad == SIZE_MAX ? CE_OK : ce_experts_fail(layer_index, bad, err);
}
