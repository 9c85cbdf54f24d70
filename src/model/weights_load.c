/* weights_load.c - copying or reading what a rank owns */

#include "base/progress.h"
#include "model/identity.h"
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
    struct ce_tensor whole; /* what the source is a slice of, from byte `first` on */
    size_t first;
    size_t mark; /* of the tensor, in the request's identity */
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
                        .widen = widen,
                        .whole = *from,
                        .first = widen ? 0 : slice.first * row_bytes};

    /* Rows follow each other: a slice is one piece. */
    copy.from.data = (const unsigned char *)from->data + copy.first;

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

/* A tensor of the model, here or not, gets its mark once: when it is loaded. `packed`
 * is NULL for one of a checkpoint. */
static enum ce_status add_mark(struct load *load,
                               const struct ce_tensor_slot *slot,
                               const char *dtype,
                               const struct ce_packed_tensor *packed,
                               struct ce_error *err)
{
    struct ce_identity *identity = load->finder.request->identity;
    enum ce_status status = CE_OK;

    if (identity == NULL || load->arena->measuring) {
        return CE_OK;
    }
    status = ce_identity_add(identity, slot, dtype, err);
    if (status == CE_OK && packed != NULL) {
        ce_identity_take_packed(identity, packed);
    }
    return status;
}

static enum ce_status
visit_stored(struct load *load, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    const struct ce_identity *identity = load->finder.request->identity;
    struct ce_tensor from = {0};
    size_t bytes = 0;
    enum ce_status status = ce_weights_find(&load->finder, slot, &from, err);

    if (status == CE_OK && from.data != NULL) {
        status = add_mark(load, slot, ce_dtype_name(from.dtype), NULL, err);
    }
    if (status != CE_OK || from.data == NULL || !is_owned(load->finder.request, slot)) {
        return status;
    }
    struct copy copy = plan_copy(load, slot, &from, &bytes);

    copy.mark = identity != NULL ? identity->count - 1 : 0;
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

    if (status == CE_OK && from != NULL) {
        status = add_mark(load, slot, from->dtype, from, err);
    }
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

/* Adds what is in bytes begin .. end - 1 of the slice, which a core's cache has
 * afterwards for whoever converts them. */
static void
hash_bytes(const struct load *load, const struct copy *copy, size_t begin, size_t end)
{
    const struct ce_weights_request *request = load->finder.request;

    if (request->identity != NULL) {
        request->identity->mark[copy->mark].content +=
            ce_identity_chunks(request->kernels,
                               copy->whole.data,
                               copy->whole.bytes,
                               copy->first + begin,
                               copy->first + end);
    }
}

static void cover(const struct load *load, const struct copy *copy)
{
    struct ce_identity *identity = load->finder.request->identity;

    if (identity != NULL) {
        identity->mark[copy->mark].cover =
            copy->bytes == copy->whole.bytes ? CE_IDENTITY_WHOLE : CE_IDENTITY_PART;
    }
}

/* Rows that fill a chunk, in whole panels of 16. */
static size_t block_rows(size_t row_bytes)
{
    const size_t rows = CE_IDENTITY_CHUNK / row_bytes + 1;

    return (rows + CE_QUANTISED_PANEL - 1) / CE_QUANTISED_PANEL * CE_QUANTISED_PANEL;
}

/* False when a weight cannot be quantised. */
static bool convert_copy(const struct load *load, const struct copy *copy)
{
    const struct ce_matrix *from = &copy->from;
    const bool panels = ce_dtype_is_packed(copy->to.dtype);
    const size_t row_bytes = from->inputs * ce_dtype_size(from->dtype);
    const size_t step = block_rows(row_bytes);
    bool good = true;

    for (size_t o = 0; o < from->outputs; o += step) {
        const size_t rows = o + step < from->outputs ? step : from->outputs - o;
        const size_t first = panels ? o / CE_QUANTISED_PANEL : o;
        const size_t count = panels ? ce_quantised_panels(rows) : rows;

        hash_bytes(load, copy, o * row_bytes, (o + rows) * row_bytes);
        good =
            ce_weights_convert(&copy->to, from, first, count) == from->outputs && good;
    }
    return good;
}

static bool run_copy(const struct load *load, const struct copy *copy)
{
    cover(load, copy);
    if (!copy->widen) {
        return convert_copy(load, copy);
    }
    hash_bytes(load, copy, 0, copy->bytes);
    ce_tensor_widen((float *)(uintptr_t)copy->to.data,
                    copy->from.data,
                    copy->from.dtype,
                    copy->from.inputs);
    return true;
}

static enum ce_status run_copies(struct load *load, struct ce_error *err)
{
    size_t bad = SIZE_MAX;

#pragma omp parallel for schedule(dynamic) reduction(min : bad)
    for (size_t i = 0; i < load->copies; i++) {
        if (!run_copy(load, &load->copy[i])) {
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
