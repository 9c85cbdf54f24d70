/* weights_load.c - checking a checkpoint and copying what a rank owns */

#include "base/log.h"
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
    const struct ce_weights_request *request;
    struct ce_weights *weights;
    struct ce_arena *arena;
    struct copy *copy;
    size_t copies;
    size_t capacity;
    size_t missing_tables;
    char **name; /* of all tensors the model knows, for the check of leftovers */
    size_t names;
    size_t names_capacity;
};

static bool is_owned(const struct ce_weights_request *request,
                     const struct ce_tensor_slot *slot)
{
    return request->owned[slot->layer * request->config->experts + slot->expert] != 0;
}

static enum ce_status
remember_name(struct load *load, const char *name, struct ce_error *err)
{
    if (load->names == load->names_capacity) {
        size_t capacity = load->names_capacity * 2 + 64;
        char **grown = realloc(load->name, capacity * sizeof(grown[0]));

        if (grown == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for the tensor names");
        }
        load->name = grown;
        load->names_capacity = capacity;
    }
    load->name[load->names] = strdup(name);
    if (load->name[load->names] == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the tensor names");
    }
    load->names++;
    return CE_OK;
}

/* An expert's matrix out of the fused tensor of its layer. */
static enum ce_status find_fused(struct load *load,
                                 const struct ce_tensor_slot *slot,
                                 const char *fused,
                                 struct ce_tensor *out,
                                 struct ce_error *err)
{
    const struct ce_config *config = load->request->config;
    bool down = slot->part == CE_EXPERT_DOWN;
    size_t matrices = down ? 1 : 2;
    size_t shape[] = {config->experts, slot->shape[0] * matrices, slot->shape[1]};
    struct ce_tensor all = {0};
    size_t bytes = 0;
    enum ce_status status =
        ce_checkpoint_require(load->request->checkpoint, fused, 3, shape, &all, err);

    if (status != CE_OK) {
        return status;
    }
    bytes = slot->shape[0] * slot->shape[1] * ce_dtype_size(all.dtype);
    *out = (struct ce_tensor){.dtype = all.dtype, .dims = 2, .bytes = bytes};
    out->shape[0] = slot->shape[0];
    out->shape[1] = slot->shape[1];
    out->data = (const unsigned char *)all.data +
                (slot->expert * matrices + (slot->part == CE_EXPERT_UP)) * bytes;
    return slot->expert == 0 ? remember_name(load, fused, err) : CE_OK;
}

static enum ce_status find_expert(struct load *load,
                                  const struct ce_tensor_slot *slot,
                                  struct ce_tensor *out,
                                  struct ce_error *err)
{
    const struct ce_checkpoint *checkpoint = load->request->checkpoint;
    enum ce_status status = CE_OK;
    char fused[128];

    ce_olmoe_fused_name(slot, fused, sizeof(fused));
    if (ce_checkpoint_find(checkpoint, fused, NULL) != NULL) {
        return find_fused(load, slot, fused, out, err);
    }
    status = ce_checkpoint_require(checkpoint, slot->name, 2, slot->shape, out, err);
    return status == CE_OK ? remember_name(load, slot->name, err) : status;
}

static enum ce_status check_table(const struct ce_tensor *table,
                                  const struct ce_tensor_slot *slot,
                                  const char *file,
                                  struct ce_error *err)
{
    char found[96];
    bool same = table->dims == slot->dims &&
                memcmp(table->shape, slot->shape, sizeof(slot->shape)) == 0;

    if (same && ce_dtype_is_float(table->dtype)) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: %s is %s %s, expected F32, BF16 or F16 [%zu, %zu, %zu]",
                   file,
                   slot->name,
                   ce_dtype_name(table->dtype),
                   ce_tensor_shape_text(table, found, sizeof(found)),
                   slot->shape[0],
                   slot->shape[1],
                   slot->shape[2]);
}

/* The table of a layer, from the separate file where one was given; *found is
 * false where there is none. */
static enum ce_status find_table(struct load *load,
                                 const struct ce_tensor_slot *slot,
                                 struct ce_tensor *out,
                                 bool *found,
                                 struct ce_error *err)
{
    const struct ce_weights_request *request = load->request;
    const struct ce_tensor *table = NULL;
    const char *file = NULL;
    enum ce_status status = remember_name(load, slot->name, err);

    *found = false;
    if (status != CE_OK || !request->want_compressed) {
        return status;
    }
    if (request->tables != NULL) {
        table = ce_safetensors_find(request->tables, slot->name);
        file = request->tables->path;
    } else {
        table = ce_checkpoint_find(request->checkpoint, slot->name, &file);
    }
    if (table == NULL) {
        load->missing_tables++;
        return CE_OK;
    }
    *found = true;
    *out = *table;
    return check_table(table, slot, file, err);
}

static enum ce_status
add_copy(struct load *load, const struct copy *copy, struct ce_error *err)
{
    if (load->arena->measuring) {
        return CE_OK;
    }
    if (load->copies == load->capacity) {
        size_t capacity = load->capacity * 2 + 64;
        struct copy *grown = realloc(load->copy, capacity * sizeof(grown[0]));

        if (grown == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for the list of tensors");
        }
        load->copy = grown;
        load->capacity = capacity;
    }
    load->copy[load->copies++] = *copy;
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
    const struct ce_slice slice = ce_weights_rows(load->request->split, slot);
    const size_t outputs = widen ? 1 : slice.count;
    const size_t inputs = widen ? elements : slot->shape[1];
    const enum ce_dtype dtype =
        widen ? CE_DTYPE_F32
              : ce_weights_dtype(load->request->formats, slot, from->dtype);
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

static enum ce_status add_slot(struct load *load,
                               const struct ce_tensor_slot *slot,
                               const struct ce_tensor *from,
                               struct ce_error *err)
{
    size_t bytes = 0;
    const struct copy copy = plan_copy(load, slot, from, &bytes);
    enum ce_status status = add_copy(load, &copy, err);

    if (status != CE_OK) {
        return status;
    }
    if (copy.widen) {
        *slot->vector = copy.to.data;
    } else {
        *slot->matrix = copy.to;
    }
    ce_weights_count(load->weights, slot->role, bytes);
    return CE_OK;
}

static enum ce_status
visit_slot(void *context, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    struct load *load = context;
    struct ce_tensor from = {0};
    enum ce_status status = CE_OK;
    bool wanted = true;

    if (slot->role == CE_TENSOR_EXPERT) {
        status = find_expert(load, slot, &from, err);
        wanted = is_owned(load->request, slot);
    } else if (slot->role == CE_TENSOR_TABLE) {
        status = find_table(load, slot, &from, &wanted, err);
    } else {
        status = ce_checkpoint_require(
            load->request->checkpoint, slot->name, slot->dims, slot->shape, &from, err);
        if (status == CE_OK) {
            status = remember_name(load, slot->name, err);
        }
    }
    return status == CE_OK && wanted ? add_slot(load, slot, &from, err) : status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Old checkpoints store the RoPE frequencies; tied ones sometimes the head. */
static bool is_ignored(const struct ce_config *config, const char *name)
{
    static const char suffix[] = "rotary_emb.inv_freq";
    size_t length = strlen(name);

    if (config->tie_word_embeddings && strcmp(name, "lm_head.weight") == 0) {
        return true;
    }
    return length >= sizeof(suffix) - 1 &&
           strcmp(name + length - (sizeof(suffix) - 1), suffix) == 0;
}

/* A tensor nobody asked for means that the file is another model than the
 * config says. */
static enum ce_status check_leftovers(struct load *load, struct ce_error *err)
{
    const struct ce_checkpoint *checkpoint = load->request->checkpoint;

    qsort(load->name, load->names, sizeof(load->name[0]), compare_names);
    for (size_t i = 0; i < checkpoint->files; i++) {
        const struct ce_safetensors *file = &checkpoint->file[i];

        for (size_t j = 0; j < file->count; j++) {
            const char *name = file->entries[j].name;

            if (bsearch(&name, load->name, load->names, sizeof(name), compare_names) ==
                    NULL &&
                !is_ignored(load->request->config, name)) {
                return ce_fail(err,
                               CE_ERR_FORMAT,
                               "%s: tensor %s is not part of the model config.json "
                               "describes",
                               file->path,
                               name);
            }
        }
    }
    return CE_OK;
}

static void fini_load(struct load *load)
{
    for (size_t i = 0; i < load->names; i++) {
        free(load->name[i]);
    }
    free(load->name);
    free(load->copy);
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

/* Says every 4 GiB how far the copy is. */
static void report_progress(size_t *done, size_t bytes, size_t total)
{
    const size_t interval = (size_t)4 << 30;
    size_t before = 0;

#pragma omp atomic capture
    {
        before = *done;
        *done += bytes;
    }
    if (before / interval != (before + bytes) / interval) {
        ce_log(
            CE_LOG_INFO, "loaded %zu of %zu MiB", (before + bytes) >> 20, total >> 20);
    }
}

static enum ce_status run_copies(const struct load *load, struct ce_error *err)
{
    size_t done = 0;
    size_t bad = SIZE_MAX;

#pragma omp parallel for schedule(dynamic) reduction(min : bad)
    for (size_t i = 0; i < load->copies; i++) {
        if (!run_copy(&load->copy[i])) {
            bad = i < bad ? i : bad;
        }
        report_progress(&done, load->copy[i].bytes, load->arena->used);
    }
    if (bad == SIZE_MAX) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_NUMERIC,
                   "tensor %s cannot be quantised: a weight is not finite or too large",
                   load->copy[bad].name);
}

/* Walks all tensors with a measuring or a real arena. */
static enum ce_status walk(struct load *load, struct ce_error *err)
{
    enum ce_status status =
        ce_weights_take_layers(load->weights, load->request->config, err);

    if (status == CE_OK) {
        status =
            ce_olmoe_walk(load->request->config, load->weights, visit_slot, load, err);
    }
    if (status == CE_OK) {
        status = check_leftovers(load, err);
    }
    return status;
}

enum ce_status ce_weights_plan(struct ce_weights *plan,
                               const struct ce_weights_request *request,
                               struct ce_error *err)
{
    struct load load = {.request = request, .weights = plan, .arena = &plan->arena};
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
    struct load load = {
        .request = request, .weights = weights, .arena = &weights->arena};
    struct ce_weights plan = {0};
    enum ce_status status = ce_weights_plan(&plan, request, err);

    *weights = (struct ce_weights){0};
    if (status == CE_OK) {
        status = ce_arena_create(&weights->arena, plan.arena.used, err);
    }
    if (status == CE_OK) {
        status = walk(&load, err);
    }
    if (status == CE_OK) {
        status = run_copies(&load, err);
    }
    if (status == CE_OK) {
        if (request->config->tie_word_embeddings) {
            weights->output = weights->embedding;
        }
        *missing_tables = load.missing_tables;
    }
    ce_weights_destroy(&plan);
    fini_load(&load);
    return status;
}
