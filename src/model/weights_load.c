/* weights_load.c - copying or reading what a rank owns */

#include "base/progress.h"
#include "model/tensor_walk.h"
#include "model/weights.h"
#include "model/weights_internal.h"

#include <stdlib.h>
#include <string.h>

/* One tensor to copy: where from, where to. */
struct copy {
    char name[sizeof(((struct ce_tensor_slot *)0)->name)];
    struct ce_matrix from; /* of a vector: one output */
    struct ce_matrix to;
    size_t bytes; /* of the source */
    bool widen;
};

struct load {
    struct ce_weights_finder finder;
    struct ce_weights *weights;
    struct ce_arena *arena;
    struct copy *copy;
    size_t copies;
    size_t copies_capacity;
    struct ce_packed_read *read; /* of a packed model: as they will be in memory */
    size_t reads;
    size_t reads_capacity;
    struct ce_progress progress;
};

static bool is_owned(const struct ce_weights_request *request,
                     const struct ce_tensor_slot *slot)
{
    return slot->role != CE_TENSOR_EXPERT ||
           request->owned[slot->layer * request->config->experts + slot->expert] != 0;
}

/* A list with room for one more; NULL when there is no memory. */
static void *make_room(void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return list;
    }
    void *grown = reallocarray(list, *capacity * 2 + 64, size);

    if (grown != NULL) {
        *capacity = *capacity * 2 + 64;
    }
    return grown;
}

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the list of tensors");
}

static enum ce_status
add_copy(struct load *load, const struct copy *copy, struct ce_error *err)
{
    struct copy *list =
        make_room(load->copy, load->copies, &load->copies_capacity, sizeof(list[0]));

    if (list == NULL) {
        return fail_memory(err);
    }
    load->copy = list;
    list[load->copies++] = *copy;
    load->progress.total += copy->bytes;
    return CE_OK;
}

static enum ce_status
add_read(struct load *load, const struct ce_packed_read *read, struct ce_error *err)
{
    struct ce_packed_read *list =
        make_room(load->read, load->reads, &load->reads_capacity, sizeof(list[0]));

    if (list == NULL) {
        return fail_memory(err);
    }
    load->read = list;
    list[load->reads++] = *read;
    return CE_OK;
}

/* Where a tensor comes from and of what type it will be; the memory is taken. */
static struct copy plan_copy(struct load *load,
                             const struct ce_tensor_slot *slot,
                             const struct ce_tensor *from,
                             size_t *bytes)
{
    const size_t elements = from->bytes / ce_dtype_size(from->dtype);
    const bool widen = slot->vector != NULL;
    const struct ce_slice slice = ce_weights_rows(load->finder.request->split, slot);
    const size_t outputs = widen ? 1 : slice.count;
    const size_t inputs = widen ? elements : slot->shape[1];
    const enum ce_dtype dtype =
        widen ? CE_DTYPE_F32
              : ce_weights_dtype(load->finder.request->formats, slot, from->dtype);
    const size_t row_bytes = inputs * ce_dtype_size(from->dtype);
    struct copy copy = {.from = {from->dtype, outputs, inputs, from->data},
                        .bytes = outputs * row_bytes,
                        .widen = widen};

    if (!widen) { /* rows follow each other: a slice is one piece */
        copy.from.data = (const unsigned char *)from->data + slice.first * row_bytes;
    }

    *bytes = ce_weights_matrix_bytes(dtype, outputs, inputs);
    copy.to = (struct ce_matrix){
        dtype, outputs, inputs, ce_arena_take(load->arena, *bytes, 1)};
    memcpy(copy.name, slot->name, sizeof(copy.name));
    return copy;
}

/* The view of a tensor that is, or will be, in this memory. */
static void place_slot(struct load *load,
                       const struct ce_tensor_slot *slot,
                       const struct ce_matrix *to,
                       size_t bytes)
{
    if (slot->vector != NULL) {
        *slot->vector = to->data;
    } else {
        *slot->matrix = *to;
    }
    ce_weights_count(load->weights, slot->role, bytes);
}

static enum ce_status
visit_stored(struct load *load, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    struct ce_tensor from = {0};
    size_t bytes = 0;
    enum ce_status status = ce_weights_find(&load->finder, slot, &from, err);

    if (status != CE_OK || from.data == NULL || !is_owned(load->finder.request, slot)) {
        return status;
    }
    const struct copy copy = plan_copy(load, slot, &from, &bytes);

    place_slot(load, slot, &copy.to, bytes);
    return load->arena->measuring ? CE_OK : add_copy(load, &copy, err);
}

static enum ce_status
visit_packed(struct load *load, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    const struct ce_packed_tensor *from = NULL;
    struct ce_matrix to = {.outputs = slot->shape[0], .inputs = slot->shape[1]};
    enum ce_status status =
        ce_weights_find_packed(&load->finder, slot, &from, &to.dtype, err);

    if (status != CE_OK || from == NULL || !is_owned(load->finder.request, slot)) {
        return status;
    }
    struct ce_packed_read read = {.tensor = from};

    if (load->finder.request->map) {
        to.data =
            load->arena->measuring ? NULL : load->weights->map.data + from->offset;
        load->weights->mapped_bytes += from->bytes;
    } else {
        read.to = ce_arena_take(load->arena, from->bytes, 1);
        to.data = read.to;
    }
    place_slot(load, slot, &to, from->bytes);
    return load->arena->measuring ? CE_OK : add_read(load, &read, err);
}

static enum ce_status
visit_slot(void *context, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    struct load *load = context;

    return load->finder.request->packed != NULL ? visit_packed(load, slot, err)
                                                : visit_stored(load, slot, err);
}

static void fini_load(struct load *load)
{
    ce_weights_finder_fini(&load->finder);
    free(load->copy);
    free(load->read);
}

/* False when a weight cannot be quantised. */
static bool run_copy(const struct copy *copy)
{
    const struct ce_matrix *from = &copy->from;
    size_t count = from->outputs;

    if (copy->widen) {
        ce_tensor_widen(
            (float *)(uintptr_t)copy->to.data, from->data, from->dtype, from->inputs);
        return true;
    }
    if (ce_dtype_is_packed(copy->to.dtype)) {
        count = ce_quantised_panels(from->outputs);
    }
    return ce_weights_convert(&copy->to, from, 0, count) == from->outputs;
}

static enum ce_status run_copies(struct load *load, struct ce_error *err)
{
    size_t bad = SIZE_MAX;

#pragma omp parallel for schedule(dynamic) reduction(min : bad)
    for (size_t i = 0; i < load->copies; i++) {
        if (!run_copy(&load->copy[i])) {
            bad = i < bad ? i : bad;
        }
        ce_progress_add(&load->progress, load->copy[i].bytes);
    }
    if (bad == SIZE_MAX) {
        return CE_OK;
    }
    return ce_weights_fail_quantising(load->copy[bad].name, err);
}

static enum ce_status fill(struct load *load, struct ce_error *err)
{
    enum ce_status status = run_copies(load, err);

    if (status == CE_OK && load->reads > 0) {
        status = ce_packed_file_read(load->finder.request->packed,
                                     &load->weights->map,
                                     load->read,
                                     load->reads,
                                     err);
    }
    return status;
}

/* Walks all tensors with a measuring or a real arena. */
static enum ce_status walk(struct load *load, struct ce_error *err)
{
    enum ce_status status =
        ce_weights_take_layers(load->weights, load->finder.request->config, err);

    if (status == CE_OK) {
        status = ce_olmoe_walk(
            load->finder.request->config, load->weights, visit_slot, load, err);
    }
    if (status == CE_OK) {
        status = ce_weights_check_leftovers(&load->finder, err);
    }
    return status;
}

enum ce_status ce_weights_plan(struct ce_weights *plan,
                               const struct ce_weights_request *request,
                               struct ce_error *err)
{
    struct load load = {
        .finder = {.request = request}, .weights = plan, .arena = &plan->arena};
    enum ce_status status = CE_OK;

    *plan = (struct ce_weights){0};
    ce_arena_measure(&plan->arena);
    status = walk(&load, err);
    fini_load(&load);
    return status;
}

enum ce_status ce_weights_load(struct ce_weights *weights,
                               const struct ce_weights_request *request,
                               size_t *missing_tables,
                               struct ce_error *err)
{
    struct load load = {.finder = {.request = request},
                        .weights = weights,
                        .arena = &weights->arena,
                        .progress = {.verb = "loaded"}};
    struct ce_weights plan = {0};
    enum ce_status status = ce_weights_plan(&plan, request, err);

    *weights = (struct ce_weights){0};
    if (status == CE_OK) {
        status = ce_arena_create(&weights->arena, plan.arena.used, err);
    }
    if (status == CE_OK && request->map) {
        status = ce_packed_file_map(request->packed, &weights->map, err);
    }
    if (status == CE_OK) {
        status = walk(&load, err);
    }
    if (status == CE_OK) {
        status = fill(&load, err);
    }
    if (status == CE_OK) {
        if (request->config->tie_word_embeddings) {
            ce_weights_tie(weights, request->split);
        }
        *missing_tables = load.finder.missing_tables;
    }
    ce_weights_destroy(&plan);
    fini_load(&load);
    return status;
}
