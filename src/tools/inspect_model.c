/* inspect_model.c - parameters, stored tensors and memory, from headers alone */

#include "base/file.h"
#include "model/checkpoint.h"
#include "model/packed_model.h"
#include "model/tensor_walk.h"
#include "model/weights.h"
#include "moe/placement.h"
#include "tools/inspect.h"

#include <stdlib.h>
#include <string.h>

/* What is open while inspecting. */
struct sources {
    struct ce_checkpoint checkpoint;
    struct ce_packed_file packed; /* used instead where it is open */
    struct ce_weight_formats formats;
    struct ce_weights plan;                /* of a rank that owned every expert */
    struct ce_safetensors tables;          /* of compressed experts: a separate file, */
    struct ce_compressed_experts separate; /* and what is in it */
    unsigned char *owned;                  /* [layers][experts], all 1 */
};

static bool exists_in(const char *dir, const char *name)
{
    char *path = ce_path_join(dir, name);
    bool exists = path != NULL && ce_file_exists(path);

    free(path);
    return exists;
}

/* A directory without weights is fine; one with weights that cannot be read, or
 * with weights in another format, is not. */
static enum ce_status open_checkpoint(struct ce_inspection *inspection,
                                      struct ce_checkpoint *checkpoint,
                                      struct ce_error *err)
{
    const char *dir = inspection->model;
    enum ce_status status = ce_checkpoint_open(checkpoint, dir, err);

    inspection->has_weights = status == CE_OK;
    inspection->files = checkpoint->files;
    if (status == CE_ERR_IO && !exists_in(dir, "model.safetensors") &&
        !exists_in(dir, "model.safetensors.index.json")) {
        return CE_OK;
    }
    return status;
}

static enum ce_status
open_weights(struct ce_inspection *inspection, struct sources *s, struct ce_error *err)
{
    enum ce_status status = ce_packed_model_open(&s->packed,
                                                 &s->formats,
                                                 inspection->model,
                                                 &inspection->config,
                                                 ce_kernels_get(ce_isa_detect()),
                                                 err);

    if (status != CE_OK || s->packed.path == NULL) {
        return status != CE_OK ? status
                               : open_checkpoint(inspection, &s->checkpoint, err);
    }
    inspection->has_weights = true;
    inspection->files = 1;
    return CE_OK;
}

static enum ce_status open_compressed(const struct ce_inspection *inspection,
                                      struct sources *s,
                                      struct ce_error *err)
{
    const char *path = inspection->compressed_experts;
    enum ce_status status = CE_OK;

    if (path != NULL) {
        status = ce_safetensors_open(&s->tables, path, err);
    }
    return status == CE_OK && path != NULL
               ? ce_compressed_experts_plan(
                     &s->separate, &s->tables, &inspection->config, err)
               : status;
}

static enum ce_status choose_n_ce(struct ce_inspection *inspection,
                                  const struct sources *s,
                                  struct ce_error *err)
{
    const struct ce_config *config = &inspection->config;

    if (inspection->n_ce == CE_INSPECT_DEFAULT_N_CE) {
        inspection->n_ce = config->n_ce > 0 ? config->n_ce : config->top_k / 2;
        if (s->separate.n_ce > 0) {
            inspection->n_ce = s->separate.n_ce;
        }
    }
    if (inspection->n_ce >= config->top_k) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s/config.json: n_ce (--compressed) %zu is out of range: 0 to "
                       "%zu, one less than num_experts_per_tok",
                       inspection->model,
                       inspection->n_ce,
                       config->top_k - 1);
    }
    return CE_OK;
}

/* Names, shapes and types of all tensors, and their bytes. */
static enum ce_status check_tensors(const struct ce_inspection *inspection,
                                    struct sources *s,
                                    struct ce_error *err)
{
    const struct ce_config *config = &inspection->config;
    size_t experts = config->layers * config->experts;
    struct ce_weights_request request = {.config = config,
                                         .checkpoint = &s->checkpoint,
                                         .formats = s->formats,
                                         .want_compressed =
                                             inspection->n_ce > 0 &&
                                             inspection->compressed_experts == NULL};

    s->owned = malloc(experts);
    if (s->owned == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the list of experts");
    }
    memset(s->owned, 1, experts);
    request.owned = s->owned;
    request.packed = s->packed.path != NULL ? &s->packed : NULL;
    if (!inspection->has_weights) {
        return ce_weights_plan_dummy(&s->plan,
                                     config,
                                     s->owned,
                                     (struct ce_weights_split){0},
                                     (struct ce_weight_formats){0},
                                     err);
    }
    return ce_weights_plan(&s->plan, &request, err);
}

static uint64_t count_values(size_t dims, const size_t *shape)
{
    uint64_t values = 1;

    for (size_t i = 0; i < dims; i++) {
        values *= shape[i];
    }
    return values;
}

static void add_stored(struct ce_inspect_stored *stored,
                       size_t dims,
                       const size_t *shape,
                       size_t bytes)
{
    stored->tensors++;
    stored->values += count_values(dims, shape);
    stored->bytes += bytes;
}

static enum ce_dtype dtype_of(const struct ce_packed_tensor *tensor)
{
    int d = CE_INSPECT_DTYPES - 1;

    while (d > 0 && strcmp(tensor->dtype, ce_dtype_name((enum ce_dtype)d)) != 0) {
        d--;
    }
    return (enum ce_dtype)d;
}

static void count_stored(struct ce_inspection *inspection, const struct sources *s)
{
    for (size_t i = 0; i < s->checkpoint.count; i++) {
        const struct ce_tensor *tensor = s->checkpoint.entries[i].tensor;

        add_stored(&inspection->stored[tensor->dtype],
                   tensor->dims,
                   tensor->shape,
                   tensor->bytes);
    }
    for (size_t i = 0; i < s->packed.count; i++) {
        const struct ce_packed_tensor *tensor = &s->packed.tensors[i];

        add_stored(&inspection->stored[dtype_of(tensor)],
                   tensor->dims,
                   tensor->shape,
                   tensor->bytes);
    }
}

/* Context of the walk that counts parameters. */
struct counting {
    struct ce_inspection *inspection;
    const struct sources *sources;
};

static uint64_t *matrix_count(const struct counting *counting,
                              const struct ce_tensor_slot *slot)
{
    const struct ce_weights *plan = &counting->sources->plan;
    struct ce_inspect_parameters *parameters = &counting->inspection->parameters;

    if (slot->matrix == &plan->embedding) {
        return &parameters->embedding;
    }
    if (slot->matrix == &plan->output) {
        return &parameters->output;
    }
    return slot->matrix == &plan->layers[slot->layer].router ? &parameters->router
                                                             : &parameters->attention;
}

/* Tables are optional: without weights they are there where config.json says
 * that they are used. */
static bool has_table(const struct counting *counting, const char *name)
{
    const struct ce_inspection *inspection = counting->inspection;

    if (!inspection->has_weights) {
        return inspection->config.use_ce;
    }
    return ce_checkpoint_find(&counting->sources->checkpoint, name, NULL) != NULL ||
           ce_packed_file_find(&counting->sources->packed, name) != NULL;
}

static enum ce_status
count_slot(void *context, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    struct counting *counting = context;
    struct ce_inspect_parameters *parameters = &counting->inspection->parameters;
    uint64_t values = count_values(slot->dims, slot->shape);

    (void)err;
    switch (slot->role) {
    case CE_TENSOR_EXACT:
    case CE_TENSOR_MATRIX:
        *matrix_count(counting, slot) += values;
        break;
    case CE_TENSOR_VECTOR:
        parameters->vectors += values;
        break;
    case CE_TENSOR_EXPERT:
        parameters->experts += values;
        break;
    case CE_TENSOR_TABLE:
        if (counting->inspection->compressed_experts != NULL) {
            break; /* not used */
        }
        if (has_table(counting, slot->name)) {
            parameters->tables += values;
        } else {
            counting->inspection->has_tables = false;
        }
        break;
    }
    return CE_OK;
}

/* `experts` of a token run. */
static uint64_t count_active(const struct ce_inspection *inspection, size_t experts)
{
    const struct ce_inspect_parameters *p = &inspection->parameters;

    return p->embedding + p->attention + p->router + p->output +
           p->experts / inspection->config.experts * experts;
}

static enum ce_status count_parameters(struct ce_inspection *inspection,
                                       struct sources *sources,
                                       struct ce_error *err)
{
    const struct ce_config *config = &inspection->config;
    struct ce_inspect_parameters *p = &inspection->parameters;
    struct counting counting = {inspection, sources};
    enum ce_status status = CE_OK;

    inspection->has_tables = sources->separate.missing_tables == 0;
    p->tables = sources->separate.parameters;
    status = ce_olmoe_walk(config, &sources->plan, count_slot, &counting, err);
    p->total = p->embedding + p->attention + p->router + p->experts + p->output +
               p->vectors + p->tables;
    p->active = count_active(inspection, config->top_k);
    p->active_compressed = count_active(inspection, config->top_k - inspection->n_ce);
    p->compressed_vectors = (uint64_t)config->layers * inspection->n_ce *
                            (2 * config->hidden_size + config->intermediate_size);
    inspection->kind = sources->separate.kind;
    if (inspection->kind == CE_COMPRESSED_AFFINE) {
        p->compressed_vectors = p->tables / config->experts * inspection->n_ce;
    } else if (inspection->compressed_experts == NULL && p->tables > 0) {
        inspection->kind = CE_COMPRESSED_SCALING;
    }
    return status;
}

static uint64_t matrix_bytes(const struct ce_matrix *matrix)
{
    return ce_weights_matrix_bytes(matrix->dtype, matrix->outputs, matrix->inputs);
}

static uint64_t expert_bytes(const struct ce_expert_weights *expert)
{
    return matrix_bytes(&expert->gate) + matrix_bytes(&expert->up) +
           matrix_bytes(&expert->down);
}

/* bytes[r] of the full experts of rank r, in all layers. */
static void add_shards(const struct ce_placement *placement,
                       const struct ce_weights *plan,
                       uint64_t *bytes)
{
    for (size_t i = 0; i < placement->layers * placement->experts; i++) {
        struct ce_owners owners = ce_placement_owners(placement, 0, i);

        for (size_t j = 0; j < owners.count; j++) {
            bytes[owners.rank[j]] += expert_bytes(&plan->experts[i]);
        }
    }
}

static void
find_extremes(struct ce_inspect_memory *memory, const uint64_t *bytes, size_t ranks)
{
    memory->experts_least = memory->experts_most = bytes[0];
    for (size_t r = 1; r < ranks; r++) {
        uint64_t one = bytes[r];

        memory->experts_least =
            one < memory->experts_least ? one : memory->experts_least;
        memory->experts_most = one > memory->experts_most ? one : memory->experts_most;
    }
}

static enum ce_status count_shards(struct ce_inspection *inspection,
                                   const struct ce_weights *plan,
                                   struct ce_error *err)
{
    size_t ranks = inspection->ranks;
    struct ce_placement placement = {0};
    uint64_t *bytes = calloc(ranks, sizeof(bytes[0]));
    enum ce_status status = CE_OK;

    if (bytes == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu ranks", ranks);
    }
    status = ce_placement_contiguous(&placement,
                                     inspection->config.layers,
                                     inspection->config.experts,
                                     (int)ranks,
                                     err);
    if (status == CE_OK) {
        add_shards(&placement, plan, bytes);
        find_extremes(&inspection->memory, bytes, ranks);
    }
    ce_placement_destroy(&placement);
    free(bytes);
    return status;
}

static enum ce_status count_memory(struct ce_inspection *inspection,
                                   const struct sources *s,
                                   struct ce_error *err)
{
    const struct ce_config *config = &inspection->config;
    const size_t compressed = inspection->compressed_experts != NULL
                                  ? s->separate.bytes
                                  : s->plan.compressed_bytes;

    inspection->memory = (struct ce_inspect_memory){
        .dense = s->plan.dense_bytes,
        .tables = inspection->n_ce > 0 ? compressed : 0,
        .cache_per_token = (uint64_t)config->layers * 2 * config->kv_heads *
                           config->head_dim * sizeof(float),
        .shard_least = config->experts / inspection->ranks,
        .shard_most = (config->experts + inspection->ranks - 1) / inspection->ranks};
    return count_shards(inspection, &s->plan, err);
}

/* Opens what there is and checks it. */
static enum ce_status
open_model(struct ce_inspection *inspection, struct sources *s, struct ce_error *err)
{
    enum ce_status status = ce_config_load(&inspection->config, inspection->model, err);

    if (status == CE_OK) {
        status = open_compressed(inspection, s, err);
    }
    if (status == CE_OK) {
        status = choose_n_ce(inspection, s, err);
    }
    if (status == CE_OK) {
        status = open_weights(inspection, s, err);
    }
    if (status == CE_OK) {
        status = check_tensors(inspection, s, err);
    }
    return status;
}

static void close_model(struct sources *sources)
{
    ce_weights_destroy(&sources->plan);
    ce_compressed_experts_destroy(&sources->separate);
    ce_safetensors_close(&sources->tables);
    ce_packed_file_close(&sources->packed);
    ce_checkpoint_close(&sources->checkpoint);
    free(sources->owned);
}

enum ce_status ce_inspect_model(struct ce_inspection *inspection, struct ce_error *err)
{
    struct sources sources = {.owned = NULL};
    enum ce_status status = open_model(inspection, &sources, err);

    if (status == CE_OK) {
        count_stored(inspection, &sources);
        status = count_parameters(inspection, &sources, err);
    }
    if (status == CE_OK) {
        status = count_memory(inspection, &sources, err);
    }
    close_model(&sources);
    return status;
}

enum ce_status ce_inspect_experts(struct ce_inspect_experts *experts,
                                  const char *model,
                                  struct ce_error *err)
{
    struct ce_inspection inspection = {.model = model};
    struct sources sources = {.owned = NULL};
    enum ce_status status = open_model(&inspection, &sources, err);
    size_t count = inspection.config.layers * inspection.config.experts;

    *experts = (struct ce_inspect_experts){.layers = inspection.config.layers,
                                           .experts = inspection.config.experts};
    if (status == CE_OK) {
        experts->bytes = calloc(count, sizeof(experts->bytes[0]));
        if (experts->bytes == NULL) {
            status = ce_fail(err, CE_ERR_NOMEM, "no memory for %zu experts", count);
        }
    }
    for (size_t i = 0; status == CE_OK && i < count; i++) {
        experts->bytes[i] = expert_bytes(&sources.plan.experts[i]);
    }
    close_model(&sources);
    return status;
}
