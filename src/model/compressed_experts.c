/* compressed_experts.c - what a file of compressed experts is, and the scaling kind */

#include "model/compressed_experts.h"

#include "model/compressed_experts_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FINGERPRINT_DIGITS 16

static const char *const kind_name[CE_COMPRESSED_KINDS] = {"none", "scaling", "affine"};

const char *ce_compressed_kind_name(enum ce_compressed_kind kind)
{
    return kind_name[kind];
}

/* ---- tensors ---- */

const struct ce_tensor *ce_compressed_find(struct ce_compressed_file *in,
                                           const char *name)
{
    const struct ce_tensor *tensor = ce_safetensors_find(in->file, name);

    if (tensor != NULL) {
        const unsigned char *first = (const void *)&in->file->entries[0].tensor;
        const size_t offset = (size_t)((const unsigned char *)tensor - first);

        in->used[offset / sizeof(in->file->entries[0])] = 1;
    }
    return tensor;
}

enum ce_status ce_compressed_fail(const struct ce_compressed_file *in,
                                  const char *name,
                                  const char *what,
                                  struct ce_error *err)
{
    return ce_fail(
        err, CE_ERR_FORMAT, "%s: tensor '%.128s' %s", in->file->path, name, what);
}

enum ce_status ce_compressed_check(const struct ce_compressed_file *in,
                                   const char *name,
                                   const struct ce_tensor *tensor,
                                   unsigned dims,
                                   const size_t *shape,
                                   struct ce_error *err)
{
    struct ce_tensor wanted = {.dims = dims};
    char found_text[96];
    char wanted_text[96];

    memcpy(wanted.shape, shape, dims * sizeof(shape[0]));
    if (tensor->dims == dims && ce_dtype_is_float(tensor->dtype) &&
        memcmp(tensor->shape, shape, dims * sizeof(shape[0])) == 0) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: tensor '%.128s' is %s %s, expected F32, BF16 or F16 %s",
                   in->file->path,
                   name,
                   ce_dtype_name(tensor->dtype),
                   ce_tensor_shape_text(tensor, found_text, sizeof(found_text)),
                   ce_tensor_shape_text(&wanted, wanted_text, sizeof(wanted_text)));
}

static enum ce_status check_leftovers(const struct ce_compressed_file *in,
                                      struct ce_error *err)
{
    for (size_t i = 0; i < in->file->count; i++) {
        if (!in->used[i]) {
            return ce_compressed_fail(in,
                                      in->file->entries[i].name,
                                      "is not part of the compressed experts of the "
                                      "model config.json describes",
                                      err);
        }
    }
    return CE_OK;
}

/* ---- what the file is ---- */

static enum ce_status fail_metadata(const struct ce_safetensors *file,
                                    const char *key,
                                    const char *text,
                                    const char *wanted,
                                    struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: metadata %s is \"%.40s\", not %s",
                   file->path,
                   key,
                   text,
                   wanted);
}

/* A name of the affine kind, whatever its layer, expert and part are. */
static bool is_affine_name(const char *name)
{
    return strstr(name, ".mlp.affine.") != NULL;
}

static enum ce_status choose_kind(struct ce_compressed_experts *experts,
                                  const struct ce_safetensors *file,
                                  struct ce_error *err)
{
    const char *text = ce_safetensors_metadata(file, "kind");
    size_t affine = 0;

    for (size_t i = 0; i < file->count; i++) {
        affine += is_affine_name(file->entries[i].name);
    }
    for (size_t i = 0; affine > 0 && i < file->count; i++) {
        const char *name = file->entries[i].name;
        const char *end = strrchr(name, '.');

        if (end != NULL && strcmp(end, ".ces") == 0) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: tensor '%.128s' is of the scaling kind, others are of "
                           "the affine kind: a file has one",
                           file->path,
                           name);
        }
    }
    experts->kind = affine > 0 ? CE_COMPRESSED_AFFINE : CE_COMPRESSED_SCALING;
    if (text == NULL) {
        return CE_OK;
    }
    if (file->count == 0 && strcmp(text, kind_name[CE_COMPRESSED_AFFINE]) == 0) {
        experts->kind = CE_COMPRESSED_AFFINE;
    }
    return strcmp(text, kind_name[experts->kind]) == 0
               ? CE_OK
               : fail_metadata(file, "kind", text, kind_name[experts->kind], err);
}

static enum ce_status read_format(struct ce_compressed_experts *experts,
                                  const struct ce_safetensors *file,
                                  struct ce_error *err)
{
    const char *format = ce_safetensors_metadata(file, "format");
    const char *version = ce_safetensors_metadata(file, "version");

    if (format == NULL || strcmp(format, CE_COMPRESSED_FORMAT) != 0) {
        return CE_OK; /* of other programs */
    }
    if (version != NULL && strcmp(version, CE_COMPRESSED_VERSION_ROUTERS) == 0) {
        experts->model_by_routers = true;
        return CE_OK;
    }
    return version != NULL && strcmp(version, CE_COMPRESSED_VERSION) == 0
               ? CE_OK
               : fail_metadata(file,
                               "version",
                               version != NULL ? version : "",
                               "\"" CE_COMPRESSED_VERSION_ROUTERS
                               "\" or \"" CE_COMPRESSED_VERSION
                               "\", which this program reads",
                               err);
}

static enum ce_status read_n_ce(struct ce_compressed_experts *experts,
                                const struct ce_safetensors *file,
                                const struct ce_config *config,
                                struct ce_error *err)
{
    const char *text = ce_safetensors_metadata(file, "n_ce");
    const long most = (long)config->top_k - 1;
    char wanted[64];
    char *end = NULL;
    long n_ce = 0;

    if (text == NULL) {
        return CE_OK;
    }
    errno = 0;
    n_ce = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || n_ce < 1 || n_ce > most) {
        (void)snprintf(wanted, sizeof(wanted), "a number from 1 to %ld", most);
        return fail_metadata(file, "n_ce", text, wanted, err);
    }
    experts->n_ce = (size_t)n_ce;
    return CE_OK;
}

static enum ce_status read_model(struct ce_compressed_experts *experts,
                                 const struct ce_safetensors *file,
                                 struct ce_error *err)
{
    static const char digits[] = "0123456789abcdef";
    const char *text = ce_safetensors_metadata(file, "model");

    if (text == NULL) {
        return CE_OK;
    }
    if (strlen(text) != FINGERPRINT_DIGITS ||
        strspn(text, digits) != FINGERPRINT_DIGITS) {
        return fail_metadata(
            file, "model", text, "a fingerprint of 16 digits of 0-9a-f", err);
    }
    experts->has_model = true;
    experts->model = strtoull(text, NULL, 16);
    return CE_OK;
}

static enum ce_status read_metadata(struct ce_compressed_experts *experts,
                                    const struct ce_safetensors *file,
                                    const struct ce_config *config,
                                    struct ce_error *err)
{
    enum ce_status status = choose_kind(experts, file, err);

    if (status == CE_OK) {
        status = read_format(experts, file, err);
    }
    if (status == CE_OK) {
        status = read_n_ce(experts, file, config, err);
    }
    return status == CE_OK ? read_model(experts, file, err) : status;
}

enum ce_status
ce_compressed_experts_check_model(const struct ce_compressed_experts *experts,
                                  uint64_t identity,
                                  const char *path,
                                  struct ce_error *err)
{
    if (experts->has_model && experts->model_by_routers) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: says its model by the routers alone, as earlier versions "
                       "wrote it, so that it may be of another one: make it again with "
                       "cemoe calibrate",
                       path);
    }
    if (!experts->has_model || experts->model == identity) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: its compressed experts were made for the model %016" PRIx64
                   ", but this one is %016" PRIx64,
                   path,
                   experts->model,
                   identity);
}

/* ---- scaling ---- */

static struct ce_compressed_name name_table(size_t layer)
{
    struct ce_compressed_name name;

    (void)snprintf(name.text, sizeof(name.text), "model.layers.%zu.mlp.ces", layer);
    return name;
}

static size_t table_values(const struct ce_config *config)
{
    const size_t d = config->hidden_size;
    const size_t f = config->intermediate_size;

    return config->experts * 3 * (d > f ? d : f);
}

static enum ce_status place_tables(struct ce_compressed_experts *experts,
                                   struct ce_compressed_file *in,
                                   struct ce_error *err)
{
    const size_t values = table_values(in->config);
    const size_t shape[] = {in->config->experts, 3, values / (in->config->experts * 3)};

    for (size_t l = 0; l < experts->layers; l++) {
        const struct ce_compressed_name name = name_table(l);
        const struct ce_tensor *tensor = ce_compressed_find(in, name.text);
        enum ce_status status = CE_OK;

        if (tensor == NULL) {
            experts->missing_tables++;
            continue;
        }
        status = ce_compressed_check(in, name.text, tensor, 3, shape, err);
        if (status != CE_OK) {
            return status;
        }
        experts->table[l] = ce_arena_take(&experts->arena, values, sizeof(float));
        experts->parameters += values;
        experts->bytes += values * sizeof(float);
    }
    return CE_OK;
}

static bool are_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return false;
        }
    }
    return true;
}

static enum ce_status fill_tables(struct ce_compressed_experts *experts,
                                  struct ce_compressed_file *in,
                                  struct ce_error *err)
{
    const size_t values = table_values(in->config);

    for (size_t l = 0; l < experts->layers; l++) {
        const struct ce_compressed_name name = name_table(l);
        const struct ce_tensor *tensor = ce_compressed_find(in, name.text);

        if (tensor == NULL) {
            continue;
        }
        ce_tensor_widen(
            (float *)(uintptr_t)experts->table[l], tensor->data, tensor->dtype, values);
        if (!are_finite(experts->table[l], values)) {
            return ce_compressed_fail(
                in, name.text, "has a value that is not finite", err);
        }
    }
    return CE_OK;
}

/* ---- the whole ---- */

static enum ce_status take_lists(struct ce_compressed_experts *experts,
                                 struct ce_compressed_file *in,
                                 const struct ce_config *config,
                                 struct ce_error *err)
{
    experts->layers = config->layers;
    experts->experts = config->experts;
    experts->table = calloc(config->layers, sizeof(experts->table[0]));
    experts->replaced = calloc(config->layers, sizeof(experts->replaced[0]));
    in->used = calloc(in->file->count + 1, 1);
    if (experts->kind == CE_COMPRESSED_AFFINE) {
        experts->affine =
            calloc(config->layers * config->experts, sizeof(experts->affine[0]));
    }
    if (experts->table == NULL || experts->replaced == NULL || in->used == NULL ||
        (experts->kind == CE_COMPRESSED_AFFINE && experts->affine == NULL)) {
        return ce_fail(err,
                       CE_ERR_NOMEM,
                       "%s: no memory for the list of compressed experts",
                       in->file->path);
    }
    return CE_OK;
}

/* With a measuring arena, or one that has the room. */
static enum ce_status place(struct ce_compressed_experts *experts,
                            struct ce_compressed_file *in,
                            struct ce_error *err)
{
    enum ce_status status = read_metadata(experts, in->file, in->config, err);

    if (status == CE_OK) {
        status = take_lists(experts, in, in->config, err);
    }
    if (status == CE_OK) {
        status = experts->kind == CE_COMPRESSED_AFFINE
                     ? ce_affine_place(experts, in, err)
                     : place_tables(experts, in, err);
    }
    return status == CE_OK ? check_leftovers(in, err) : status;
}

enum ce_status ce_compressed_experts_plan(struct ce_compressed_experts *plan,
                                          const struct ce_safetensors *file,
                                          const struct ce_config *config,
                                          struct ce_error *err)
{
    struct ce_compressed_file in = {.file = file, .config = config};
    enum ce_status status = CE_OK;

    *plan = (struct ce_compressed_experts){.kind = CE_COMPRESSED_NONE};
    ce_arena_measure(&plan->arena);
    status = place(plan, &in, err);
    free(in.used);
    return status;
}

enum ce_status ce_compressed_experts_load(struct ce_compressed_experts *experts,
                                          const struct ce_safetensors *file,
                                          const struct ce_config *config,
                                          struct ce_error *err)
{
    struct ce_compressed_file in = {.file = file, .config = config};
    struct ce_compressed_experts plan = {.kind = CE_COMPRESSED_NONE};
    enum ce_status status = ce_compressed_experts_plan(&plan, file, config, err);

    *experts = (struct ce_compressed_experts){.kind = CE_COMPRESSED_NONE};
    if (status == CE_OK) {
        status = ce_arena_create(&experts->arena, plan.arena.used, err);
    }
    if (status == CE_OK) {
        status = place(experts, &in, err);
    }
    if (status == CE_OK) {
        status = experts->kind == CE_COMPRESSED_AFFINE
                     ? ce_affine_fill(experts, &in, err)
                     : fill_tables(experts, &in, err);
    }
    free(in.used);
    ce_compressed_experts_destroy(&plan);
    return status;
}

void ce_compressed_experts_attach(struct ce_compressed_experts *experts,
                                  struct ce_weights *weights)
{
    for (size_t l = 0; l < experts->layers; l++) {
        struct ce_layer_weights *layer = &weights->layers[l];

        experts->replaced[l] = layer->compressed;
        layer->compressed = experts->table[l];
        if (experts->affine != NULL) {
            layer->affine = experts->affine + l * experts->experts;
        }
    }
    experts->attached = true;
}

void ce_compressed_experts_detach(struct ce_compressed_experts *experts,
                                  struct ce_weights *weights)
{
    for (size_t l = 0; experts->attached && l < experts->layers; l++) {
        weights->layers[l].compressed = experts->replaced[l];
        weights->layers[l].affine = NULL;
    }
    experts->attached = false;
}

void ce_compressed_experts_destroy(struct ce_compressed_experts *experts)
{
    free(experts->table);
    free(experts->replaced);
    free(experts->affine);
    ce_arena_destroy(&experts->arena);
    *experts = (struct ce_compressed_experts){.kind = CE_COMPRESSED_NONE};
}
